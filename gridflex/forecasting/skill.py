"""How good the forecasts that were issued have been: every source on the same half-hours.

Looked at from many issue times, each source is held to the newest it had said by then, as is the
usual level, computed from what was known. Within a group of lead times only those half-hours
count that every source spoke of, and the board says how many: errors of neighbouring half-hours
and of successive forecasts are much alike, so a week is little.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.forecasting.archive import OWN
from gridflex.forecasting.backtest import LEAD_GROUPS, score
from gridflex.forecasting.baselines import Past
from gridflex.forecasting.history import Array, History
from gridflex.forecasting.naive import climatology, same_clock
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS
from gridflex.signals import FRESH_FOR, Series, Signal

MOST_DAYS: Final = 90
"""How far back issue times are looked from at most."""

ORIGIN_EVERY: Final = 5
"""Half-hours between two issue times looked from: prime to a day, so all times of day count."""

BASELINES: Final = ("persistence", "climatology")

RECENT_PART: Final = 1 / 7
"""A source that said nothing in this last part of the time looked at has fallen silent."""

LEAST_TO_PREFER: Final = 7 * 48
"""Different half-hours, a week of them, on which a source must have been better."""

MARGIN: Final = 0.02
"""By how much smaller its mean absolute error must be, as a share."""


class Scored(StrEnum):
    """Signals of which there is a skill board."""

    INTENSITY = "intensity"
    PRICE = "price"
    DEMAND = "demand"
    WIND = "wind"


SCORED: Final[Mapping[Scored, Signal]] = {
    Scored.INTENSITY: Signal.INTENSITY,
    Scored.PRICE: Signal.PRICE,
    Scored.DEMAND: Signal.DEMAND,
    Scored.WIND: Signal.WIND,
}

Served = Callable[[Series, HalfHour], Series]
"""Returns a forecast with the band that plans of an issue time were made with."""


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What one source had said by each of the issue times.

    Args:
        source: Provider and product.
        values: Shape ``(origins, T)``; NaN where it had said nothing.
        quantiles: Shape ``(origins, T, len(LEVELS))``; None if it never said how sure it was.
        served: Alike, the bands that plans were made with; None if it never had one.
    """

    source: str
    values: Array
    quantiles: Array | None = None
    served: Array | None = None

    @property
    def reach(self) -> int:
        """How many half-hours ahead it ever spoke of."""
        spoken = np.flatnonzero(np.isfinite(self.values).any(axis=0))
        return int(spoken[-1]) + 1 if spoken.size else 0

    def leads(self, first: int, after: int) -> Said:
        """Return what it had said of half-hours ``first`` to before ``after`` ahead."""
        cut = [
            None if band is None else band[:, first:after] for band in (self.quantiles, self.served)
        ]
        return Said(self.source, self.values[:, first:after], *cut)


@dataclass(frozen=True, slots=True)
class SkillRow:
    """How wrong one source was in one group of lead times; errors in the unit of the signal.

    Args:
        source: Provider and product, or one of `BASELINES`.
        lead: Name of the group.
        count: Pairs of issue time and half-hour scored: those that every source spoke of.
        half_hours: Different half-hours among them.
        count_alone: Pairs that this source spoke of, whatever the others did.
        mae: Mean absolute error; None where nothing is scored, like all below.
        rmse: Root mean square error.
        bias: Mean of forecast less outturn.
        pinball: Mean pinball loss; None where the source does not say how sure it is.
        coverage_fraction: Per cent of a band to the part of outturns inside it; empty likewise.
        served_pinball: Mean pinball loss of the bands that plans were made with, over the pairs
            for which there was one; None where there never was.
        served_coverage_fraction: Of these, as above.
    """

    source: str
    lead: str
    count: int
    half_hours: int
    count_alone: int
    mae: float | None
    rmse: float | None
    bias: float | None
    pinball: float | None
    coverage_fraction: Mapping[int, float]
    served_pinball: float | None = None
    served_coverage_fraction: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rank:
    """How far ahead the forecast of a source of ours goes before the providers'.

    Args:
        signal: Of what.
        source: Ours.
        leads: Names of the groups of leads in which it does.
        at: When this was found, GridFlex time.
        board: What it was found from.
    """

    signal: Signal
    source: str
    leads: tuple[str, ...]
    at: datetime
    board: tuple[SkillRow, ...]


def said(
    source: str,
    series: Sequence[Series],
    *,
    origins: Sequence[HalfHour],
    half_hours: int,
    fresh_for: timedelta = FRESH_FOR,
    served: Served | None = None,
) -> Said:
    """Return what a source had said by each issue time, by its newest forecast that was fresh.

    Args:
        source: Whose forecasts they are.
        series: Its forecasts, in any order.
        origins: The issue times.
        half_hours: How far ahead to look.
        fresh_for: A forecast older than this at an issue time does not count.
        served: Gives a forecast the band that it had in plans; None leaves that open.
    """
    newest = _newest(series, origins, fresh_for)
    nothing = np.full(half_hours, np.nan)
    pairs = list(zip(newest, origins, strict=True))
    values = [one.window(origin, half_hours) if one else nothing for one, origin in pairs]
    return Said(
        source,
        np.array(values),
        _bands(newest, origins, half_hours),
        _bands([one and served(one, origin) for one, origin in pairs], origins, half_hours)
        if served
        else None,
    )


def baselines(
    history: History, *, origins: Sequence[HalfHour], half_hours: int
) -> tuple[Said, Said]:
    """Return persistence and climatology from what was known at each issue time.

    Args:
        history: Of the signal that is forecast.
        origins: The issue times.
        half_hours: How far ahead to look.
    """
    pasts = [(origin, Past(history.known_at(origin))) for origin in origins]
    rules = (same_clock, climatology)
    persistence, usual = (
        np.array([rule(past, start=origin, half_hours=half_hours) for origin, past in pasts])
        for rule in rules
    )
    return Said(BASELINES[0], persistence), Said(BASELINES[1], usual)


def board(sources: Sequence[Said], outturns: Array) -> list[SkillRow]:
    """Return the scores of every source in every group of leads, nearest leads first.

    A source that fell silent is listed without scores, for it would leave nothing to compare.

    Args:
        sources: From the same issue times.
        outturns: Shape ``(origins, T)``, with origins `ORIGIN_EVERY` apart; NaN where unknown.
    """
    rows: list[SkillRow] = []
    for lead, (first, after) in LEAD_GROUPS.items():
        if first >= outturns.shape[1]:
            break
        truth = outturns[:, first:after]
        group = [one.leads(first, after) for one in sources]
        speaking = _speaking(group)
        common = np.isfinite(truth)
        for one in speaking:
            common &= np.isfinite(one.values)
        nothing = np.zeros_like(common)
        rows += [
            _row(one, lead, truth, common if one in speaking else nothing)
            for one in group
            if np.isfinite(one.values).any()
        ]
    return rows


def preferred(rows: Sequence[SkillRow], *, source: str) -> list[str]:
    """Return the groups of leads in which a source of ours was better than every provider's.

    Better is a mean absolute error smaller by `MARGIN` on at least `LEAST_TO_PREFER` different
    half-hours; where no provider spoke there is nothing to prefer it to.

    Args:
        rows: The board.
        source: Whose forecasts might go first.
    """
    return [lead for lead in LEAD_GROUPS if _is_better(rows, source=source, lead=lead)]


def leads_of(series: Series, leads: Sequence[str], *, start: HalfHour) -> list[Series]:
    """Return the parts of a forecast that lie in groups of leads, counted from ``start``."""
    parts = (_part(series, *LEAD_GROUPS[lead], start=start) for lead in leads)
    return [part for part in parts if len(part)]


def _bands(
    newest: Sequence[Series | None], origins: Sequence[HalfHour], half_hours: int
) -> Array | None:
    if not any(one and one.quantiles is not None for one in newest):
        return None
    unsure = np.full((half_hours, len(LEVELS)), np.nan)
    return np.array([
        one.window_quantiles(origin, half_hours) if one else unsure
        for one, origin in zip(newest, origins, strict=True)
    ])  # fmt: skip


def _newest(
    series: Sequence[Series], origins: Sequence[HalfHour], fresh_for: timedelta
) -> list[Series | None]:
    ordered = sorted(series, key=lambda one: one.available_at)
    came = [one.available_at for one in ordered]
    found: list[Series | None] = []
    for origin in origins:
        known = bisect_right(came, origin.start)
        is_fresh = known and origin.start - came[known - 1] <= fresh_for
        found.append(ordered[known - 1] if is_fresh else None)
    return found


def _part(series: Series, first: int, after: int, *, start: HalfHour) -> Series:
    offset = series.start.until(start)
    part = slice(max(0, offset + first), max(0, offset + after))
    quantiles = None if series.quantiles is None else series.quantiles[part]
    begins = series.start + min(part.start, len(series))
    return replace(series, start=begins, values=series.values[part], quantiles=quantiles)


def _speaking(sources: Sequence[Said]) -> list[Said]:
    """Those that still speak; of ours only the last champion, for they never speak together."""
    speaking = [one for one in sources if _speaks(one)]
    ours = [one for one in speaking if one.source.startswith(OWN)]
    followed = [one for one in ours if _last_spoken(one) < max(map(_last_spoken, ours))]
    return [one for one in speaking if one not in followed]


def _last_spoken(one: Said) -> int:
    return int(np.flatnonzero(np.isfinite(one.values).any(axis=1))[-1])


def _speaks(one: Said) -> bool:
    """Whether it had something to say in the last part of the time looked at."""
    recent = -max(1, int(len(one.values) * RECENT_PART))
    return bool(np.isfinite(one.values[recent:]).any())


def _row(one: Said, lead: str, truth: Array, common: NDArray[np.bool_]) -> SkillRow:
    row = SkillRow(
        source=one.source,
        lead=lead,
        count=int(common.sum()),
        half_hours=_different(common),
        count_alone=int((np.isfinite(one.values) & np.isfinite(truth)).sum()),
        mae=None,
        rmse=None,
        bias=None,
        pinball=None,
        coverage_fraction={},
    )
    if not common.any():
        return row
    found = score(np.repeat(one.values[common][:, None], len(LEVELS), axis=1), truth[common])
    row = replace(row, mae=found.mae, rmse=found.rmse, bias=found.bias)
    if one.quantiles is not None and np.isfinite(one.quantiles[common]).all():
        own = score(one.quantiles[common], truth[common])
        row = replace(row, pinball=own.pinball, coverage_fraction=own.coverage_fraction)
    if one.served is None:
        return row
    has_band = common & np.isfinite(one.served).all(axis=-1)
    if not has_band.any():
        return row
    served = score(one.served[has_band], truth[has_band])
    return replace(
        row, served_pinball=served.pinball, served_coverage_fraction=served.coverage_fraction
    )


def _different(scored: NDArray[np.bool_]) -> int:
    """How many different half-hours are scored."""
    origin, lead = np.nonzero(scored)
    return int(np.unique(origin * ORIGIN_EVERY + lead).size)


def _is_better(rows: Sequence[SkillRow], *, source: str, lead: str) -> bool:
    of_lead = {row.source: row for row in rows if row.lead == lead and row.mae is not None}
    ours = of_lead.get(source)
    rivals = [
        row.mae
        for name, row in of_lead.items()
        if name not in BASELINES and not name.startswith(OWN)
    ]
    if ours is None or ours.mae is None or ours.half_hours < LEAST_TO_PREFER or not rivals:
        return False
    return all(mae is not None and ours.mae < (1 - MARGIN) * mae for mae in rivals)
