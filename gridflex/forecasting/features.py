"""What a learner sees of one half-hour ahead: numbers from what was known at the issue time.

Nearly every feature is a deviation: from the mean of the last weeks at the same clock time,
in units of how much the input varied in them. So a model carries over from years of
high prices to years of low ones, and through a change of level within a month. An input that
is told ahead (an auction price, a demand forecast) also gives its value at the half-hour, how
that ranks among recent values, and what the target was when the input was alike.

The target is treated likewise: a learner predicts how far it will be from an `anchor`, the
usual value with the present deviation fading out, in units of its recent spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridflex.forecasting.almanac import days_off, local_times
from gridflex.forecasting.checks import HALF_HOURS_A_DAY
from gridflex.forecasting.history import Array, Indices, Knowledge
from gridflex.halfhour import HALF_HOUR

Floats = NDArray[np.floating[Any]]

BACK: Final = 28 * HALF_HOURS_A_DAY
"""Half-hours before the issue time of which something must be known."""

_WEEK: Final = 7 * HALF_HOURS_A_DAY
_FORTNIGHT: Final = 14 * HALF_HOURS_A_DAY
_AROUND: Final = 8
_LATE: Final = 2
"""Half-hours by which the newest outturns are usually late."""

_FADE: Final = 16
"""Half-hours in which the present deviation fades to a third: MAE over 2022-23 is flat near it."""

_LEAST_PAIRS: Final = 2 * HALF_HOURS_A_DAY
_ALIKE: Final = 24
_LEAST_SPREAD: Final = 1e-3
_LOOKS_EVERY: Final = 193
"""Half-hours: four days and a half-hour, to see what is told ahead also when a feed is down."""

_DAYS_A_YEAR: Final = 365.25


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Features of the half-hours at some leads.

    Args:
        names: One for each column.
        matrix: Shape ``(leads, names)``, single precision; NaN where nothing was known.
        anchor: Shape ``(leads,)``, in the unit of the target.
        spread: How much the target varied in the days looked back at, above 0.
    """

    names: tuple[str, ...]
    matrix: Floats
    anchor: Array
    spread: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which inputs features are made of.

    Args:
        target: The input that is forecast.
        ahead: Inputs told before their half-hour.
        behind: Inputs known only after it.
        back: Half-hours before the issue time that features look at, at least `BACK`.
    """

    target: str
    ahead: tuple[str, ...]
    behind: tuple[str, ...]
    back: int = BACK

    @classmethod
    def of(cls, known: Knowledge, *, back: int = BACK) -> Recipe:
        """Return the recipe of all inputs of which something was known in the last 28 days."""
        alive = [
            name
            for name in known.names
            if name != known.target and np.isfinite(known.window(name, -BACK, BACK)).any()
        ]
        times = [known.as_of(known.issued - ago) for ago in range(0, BACK, _LOOKS_EVERY)]
        ahead = [
            name
            for name in alive
            if any(np.isfinite(then.window(name, 0, HALF_HOURS_A_DAY)).any() for then in times)
        ]
        return cls(known.target, tuple(ahead), tuple(n for n in alive if n not in ahead), back)

    def table(self, known: Knowledge, leads: Indices) -> Table:
        """Return the features of the half-hours ``leads`` ahead, at least one."""
        view = _View(known, leads, self.back)
        columns = _Columns(leads.size)
        own = view.past(self.target)
        anchor = view.usual_at(own) + np.nan_to_num(_mean(own.deviation[-6 - _LATE :])) * np.exp(
            -leads / _FADE
        )
        _put_calendar(columns, view)
        _put_own(columns, view, own)
        for name in self.ahead:
            _put_ahead(columns, view, own, name, anchor)
        for name in self.behind:
            _put_behind(columns, view, name)
        return Table(tuple(columns.names), columns.matrix(), anchor, own.spread)


class _Columns:
    def __init__(self, count: int) -> None:
        self.names: list[str] = []
        self._count = count
        self._columns: list[Array] = []

    def put(self, name: str, values: Array | Indices | float) -> None:
        column = np.empty(self._count)
        column[:] = values
        self.names.append(name)
        self._columns.append(column)

    def matrix(self) -> Floats:
        return np.column_stack(self._columns).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """One input in the days looked back at, shape ``(back,)``, and what is usual in them."""

    values: Array
    usual: Array
    deviation: Array
    spread: float


class _View:
    """All that the features of one issue time share; index ``back`` is the issue time."""

    def __init__(self, known: Knowledge, leads: Indices, back: int) -> None:
        self.known = known
        self.back = back
        self.leads = leads
        self.at = back + leads
        self.size = back + int(leads.max()) + 1 + _AROUND
        self.local = local_times(known.issued - back, self.size)
        wall = self.local.tz_localize(None)
        utc = self.local.tz_convert(UTC).tz_localize(None)
        self.clock: Indices = np.asarray(wall.hour * 2 + wall.minute // 30, dtype=np.int64)
        self.shift: Indices = np.asarray((wall - utc) // HALF_HOUR, dtype=np.int64)

    def told(self, name: str, count: int) -> Array:
        """``count`` half-hours of an input; NaN throughout for one that is gone."""
        if name not in self.known.names:
            return np.full(count, np.nan)
        return self.known.window(name, -self.back, count)

    def past(self, name: str) -> _Past:
        values = self.told(name, self.back)
        usual = _usual(values, self.clock[: self.back])
        return _Past(values, usual, values - usual[self.clock[: self.back]], _spread(values))

    def usual_at(self, past: _Past) -> Array:
        return past.usual[self.clock[self.at]]

    def same_clock(self, values: Array, *, days: int, tries: int) -> Array:
        """Newest value known at the clock time of each lead, at least ``days`` days before it."""
        out = np.full(self.at.size, np.nan)
        for day in range(days, days + tries):
            back = np.clip(self.at - day * HALF_HOURS_A_DAY, 0, None)
            back = back + self.shift[self.at] - self.shift[back]
            there = (back >= 0) & (back < values.size) & np.isnan(out)
            out[there] = values[back[there]]
            if np.isfinite(out).all():
                break
        return out


def _put_calendar(columns: _Columns, view: _View) -> None:
    local = view.local[view.at]
    season = 2 * np.pi * local.day_of_year.to_numpy() / _DAYS_A_YEAR
    columns.put("lead", view.leads)
    columns.put("clock", view.clock[view.at])
    columns.put("weekday", local.day_of_week.to_numpy())
    columns.put("day_off", days_off(local))
    columns.put("season_sin", np.sin(season))
    columns.put("season_cos", np.cos(season))
    columns.put("issue_clock", view.clock[view.back])


def _put_own(columns: _Columns, view: _View, own: _Past) -> None:
    scaled = own.deviation / own.spread
    _put_newest(columns, "own", scaled, spans=(3, 6, 12, 24, 48, 144, 336))
    columns.put("own:trend3", _mean(scaled[-26:]) - _mean(scaled[-74:-26]))
    columns.put("own:level", _mean(own.values))
    columns.put("own:spread", own.spread)
    columns.put("own:spread24", _spread(scaled[-48 - _LATE :]))
    columns.put("own:usual", (view.usual_at(own) - _mean(own.values)) / own.spread)
    week = _usual(own.values[-_WEEK:], view.clock[view.back - _WEEK : view.back])
    columns.put("own:week", (week - own.usual)[view.clock[view.at]] / own.spread)
    for days in (1, 2, 7):
        columns.put(f"own:day{days}", view.same_clock(scaled, days=days, tries=7))


def _put_behind(columns: _Columns, view: _View, name: str) -> None:
    past = view.past(name)
    scaled = past.deviation / past.spread
    _put_newest(columns, name, scaled, spans=(6, 48, 144))
    columns.put(f"{name}:day1", view.same_clock(scaled, days=1, tries=7))


def _put_newest(columns: _Columns, name: str, scaled: Array, *, spans: tuple[int, ...]) -> None:
    """The newest value, means over the last ``spans`` half-hours, and where they are going."""
    columns.put(f"{name}:last", _last(scaled))
    for span in spans:
        columns.put(f"{name}:mean{span}", _mean(scaled[-span - _LATE :]))
    columns.put(f"{name}:trend", _mean(scaled[-5:]) - _mean(scaled[-11:-5]))
    columns.put(f"{name}:trend2", _mean(scaled[-8:]) - _mean(scaled[-26:-8]))


def _put_ahead(columns: _Columns, view: _View, own: _Past, name: str, anchor: Array) -> None:
    raw = view.told(name, view.size)
    recent = raw[view.back - _FORTNIGHT : view.back]
    ordered = np.sort(recent[np.isfinite(recent)])
    middle, spread = (float(np.median(ordered)) if ordered.size else np.nan), _spread(recent)
    values = (raw - middle) / spread
    unusual = values - _usual(values[: view.back], view.clock[: view.back])[view.clock]
    told = values[view.at]
    is_told = np.isfinite(told)
    week = _usual(values[view.back - _WEEK : view.back], view.clock[view.back - _WEEK : view.back])
    columns.put(f"{name}:at", told)
    columns.put(f"{name}:filled", view.same_clock(unusual, days=0, tries=12))
    columns.put(f"{name}:unusual7", told - week[view.clock[view.at]])
    columns.put(f"{name}:unusual28", unusual[view.at])
    columns.put(f"{name}:ratio", raw[view.at] / _high(ordered))
    rank = np.searchsorted(ordered, np.where(is_told, raw[view.at], 0)) / max(ordered.size, 1)
    columns.put(f"{name}:rank", np.where(is_told, rank, np.nan))
    for step in (-4, -2, 2, 4):
        columns.put(f"{name}:step{step}", values[view.at + step] - told)
    for reach in (6, 24):
        columns.put(f"{name}:around{reach}", _around(unusual, view.at, reach))
    _put_outlook(columns, view, name, unusual)
    _put_implied(columns, view, own, name, unusual)
    alike = _alike(recent, own.values[-_FORTNIGHT:], raw[view.at])
    columns.put(f"{name}:alike", (alike - anchor) / own.spread)


def _put_outlook(columns: _Columns, view: _View, name: str, unusual: Array) -> None:
    """How unusual the input is now, in all it is told ahead, and at the end of that."""
    finite = np.flatnonzero(np.isfinite(unusual))
    end = int(finite[-1]) if finite.size else view.back - 1
    columns.put(f"{name}:beyond", view.at - end)
    columns.put(f"{name}:now", _mean(unusual[view.back - 2 : view.back + 2]))
    columns.put(f"{name}:change", unusual[view.at] - _mean(unusual[view.back - 6 : view.back]))
    columns.put(f"{name}:ahead", _mean(unusual[view.back :]))
    columns.put(f"{name}:end24", _mean(unusual[end - 24 : end + 1]))
    columns.put(f"{name}:end6", _mean(unusual[end - 6 : end + 1]))
    columns.put(f"{name}:past48", _mean(unusual[view.back - 48 : view.back]))


def _put_implied(columns: _Columns, view: _View, own: _Past, name: str, unusual: Array) -> None:
    """What a straight line through recent days says of the target, and how wrong it is now."""
    for days in (7, 28):
        count = days * HALF_HOURS_A_DAY
        given, truth = unusual[view.back - count : view.back], own.deviation[-count:]
        slope, level = _line(given, truth)
        columns.put(f"{name}:implied{days}", (level + slope * unusual[view.at]) / own.spread)
        missed = _mean((truth - level - slope * given)[-12 - _LATE :])
        columns.put(f"{name}:missed{days}", missed / own.spread)


def _line(given: Array, truth: Array) -> tuple[float, float]:
    both = np.isfinite(given) & np.isfinite(truth)
    if both.sum() < _LEAST_PAIRS:
        return np.nan, np.nan
    x, y = given[both], truth[both]
    slope = ((x - x.mean()) * (y - y.mean())).mean() / (x.var() + _LEAST_SPREAD**2)
    return float(slope), float(y.mean() - slope * x.mean())


def _alike(given: Array, truth: Array, asked: Array) -> Array:
    """Mean of the target in the recent half-hours in which the input was nearest to ``asked``."""
    both = np.isfinite(given) & np.isfinite(truth)
    if both.sum() < _LEAST_PAIRS:
        return np.full(asked.size, np.nan)
    order = np.argsort(given[both], kind="stable")
    ordered, sums = given[both][order], np.concatenate([[0.0], np.cumsum(truth[both][order])])
    place = np.searchsorted(ordered, np.nan_to_num(asked))
    low, high = np.clip(place - _ALIKE, 0, None), np.clip(place + _ALIKE, None, ordered.size)
    return np.where(np.isfinite(asked), (sums[high] - sums[low]) / (high - low), np.nan)


def _around(values: Array, at: Indices, reach: int) -> Array:
    """Mean of what is told within ``reach`` half-hours; NaN where that is less than half."""
    sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values))])
    counts = np.concatenate([[0], np.cumsum(np.isfinite(values))])
    low, high = np.clip(at - reach, 0, None), np.clip(at + reach + 1, None, values.size)
    told = counts[high] - counts[low]
    return np.where(told > reach, (sums[high] - sums[low]) / np.maximum(told, 1), np.nan)


def _high(ordered: Array) -> float:
    """What four of five recent values are below; NaN where that says nothing of the level."""
    high = float(np.quantile(ordered, 0.8)) if ordered.size else np.nan
    return high if high > 1.0 else np.nan


def _usual(values: Array, clock: Indices) -> Array:
    """Mean by half-hour of the local day, shape ``(48,)``; the mean of all where there is none."""
    told = np.isfinite(values)
    count = np.bincount(clock[told], minlength=HALF_HOURS_A_DAY)
    total = np.bincount(clock[told], weights=values[told], minlength=HALF_HOURS_A_DAY)
    return np.where(count > 0, total / np.maximum(count, 1), _mean(values))


def _spread(values: Array) -> float:
    told = values[np.isfinite(values)]
    return max(float(told.std()), _LEAST_SPREAD) if told.size > 1 else np.nan


def _mean(values: Array) -> float:
    told = values[np.isfinite(values)]
    return float(told.mean()) if told.size else np.nan


def _last(values: Array) -> float:
    told = values[np.isfinite(values)]
    return float(told[-1]) if told.size else np.nan
