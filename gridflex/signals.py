"""Price and carbon over time, and how old and how good each value is.

A series is one provider's statement about consecutive half-hours, made at one instant. What
GridFlex acts on is a `Blend`: for every half-hour the best statement known by then, with the
rung of the ladder it came from. Average intensity of generation, never mixed with marginal;
price is the wholesale day-ahead or market-index price.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError, StaleDataError
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS

NATIONAL: Final = "GB"
"""Region of what is said of the whole of Great Britain."""


class Signal(StrEnum):
    """What a series is about, with its unit."""

    INTENSITY = "intensity_gco2_per_kwh"
    PRICE = "price_gbp_per_mwh"
    SYSTEM_PRICE = "system_price_gbp_per_mwh"
    DEMAND = "demand_mw"
    WIND = "wind_mw"
    GENERATION_SHARE = "generation_share_fraction"
    OTHER_GPUS = "other_gpus"


BOUNDS: Final[dict[Signal, tuple[float, float]]] = {
    Signal.INTENSITY: (0.0, 2_000.0),
    Signal.PRICE: (-1_000.0, 10_000.0),
    Signal.SYSTEM_PRICE: (-1_000.0, 10_000.0),
    Signal.DEMAND: (0.0, 100_000.0),
    Signal.WIND: (0.0, 100_000.0),
    Signal.GENERATION_SHARE: (0.0, 1.0),
    Signal.OTHER_GPUS: (0.0, 100_000.0),
}
"""Wide enough for a wild day, narrow enough for a wrong unit."""


class Kind(StrEnum):
    """Whether a value was said before or after its half-hour."""

    FORECAST = "forecast"
    OUTTURN = "outturn"


class Origin(StrEnum):
    """What the numbers rest on."""

    LIVE = "live"
    RECORDED = "recorded"
    SIMULATED = "simulated"
    COMPUTED = "computed"


class Band(StrEnum):
    """What the quantiles around a forecast rest on."""

    SAID = "said"
    """Its source's own word."""
    MEASURED = "measured"
    """How far its source has been off lately."""
    ASSUMED = "assumed"
    """Published errors of its source, or for a region those of its national forecast."""
    NONE = "none"
    """Nothing: there are no quantiles."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Values of one signal over consecutive half-hours, as one source stated them.

    Args:
        signal: What and in which unit.
        kind: Forecast or outturn.
        source: Provider and product, such as ``carbon-intensity/fw48h``.
        origin: Live, recorded, simulated or computed by GridFlex.
        region: Region of the source; ``GB`` for national.
        start: Half-hour of ``values[0]``.
        values: Shape ``(T,)``; NaN where the source said nothing.
        issued_at: When the source made the statement, as far as it says.
        available_at: When GridFlex had it; what was known at t has ``available_at <= t``.
        quantiles: Shape ``(T, len(LEVELS))``, how sure the value is, non-decreasing along a row;
            None where nobody knows.
        band: What the quantiles rest on.

    Raises:
        ContractError: A value lies outside the plausible bounds of its signal, or the quantiles
            have another shape or cross.
    """

    signal: Signal
    kind: Kind
    source: str
    origin: Origin
    region: str
    start: HalfHour
    values: NDArray[np.float64]
    issued_at: datetime
    available_at: datetime
    quantiles: NDArray[np.float64] | None = None
    band: Band = Band.SAID

    def __post_init__(self) -> None:
        self._check_bounds(self.values)
        if self.quantiles is not None:
            self._check_quantiles(self.quantiles)

    def _check_bounds(self, values: NDArray[np.float64]) -> None:
        low, high = BOUNDS[self.signal]
        wrong = values[(values < low) | (values > high)]
        if wrong.size:
            raise ContractError(
                f"{self.source}: {self.signal} of {wrong[0]:g} is outside {low:g} to {high:g}"
            )

    def _check_quantiles(self, quantiles: NDArray[np.float64]) -> None:
        shape = (len(self), len(LEVELS))
        if quantiles.shape != shape:
            raise ContractError(f"{self.source}: quantiles need {shape}, got {quantiles.shape}")
        if (np.diff(quantiles, axis=1) < 0).any():
            raise ContractError(f"{self.source}: quantiles of {self.signal} cross")
        self._check_bounds(quantiles)

    def __len__(self) -> int:
        return int(self.values.size)

    @property
    def end(self) -> HalfHour:
        """The first half-hour after the last value."""
        return self.start + len(self)

    def window(self, start: HalfHour, half_hours: int) -> NDArray[np.float64]:
        """Return shape ``(half_hours,)`` from ``start``; NaN outside the series."""
        return _placed(self.values, start.until(self.start), half_hours)

    def window_quantiles(self, start: HalfHour, half_hours: int) -> NDArray[np.float64]:
        """Return shape ``(half_hours, len(LEVELS))`` from ``start``; NaN where none are said."""
        if self.quantiles is None:
            return np.full((half_hours, len(LEVELS)), np.nan)
        return _placed(self.quantiles, start.until(self.start), half_hours)


def _placed(rows: NDArray[np.float64], offset: int, count: int) -> NDArray[np.float64]:
    """``count`` rows, the given ones from ``offset`` on and NaN around them."""
    out = np.full((count, *rows.shape[1:]), np.nan)
    first, last = max(0, offset), min(count, offset + len(rows))
    if first < last:
        out[first:last] = rows[first - offset : last - offset]
    return out


@dataclass(frozen=True, slots=True)
class Known:
    """The newest that is stored of one source.

    Args:
        last: The latest half-hour with a value.
        available_at: When the newest statement became available.
    """

    last: HalfHour
    available_at: datetime


class Rung(IntEnum):
    """Steps of the ladder from the best knowledge to the last resort; lower is better."""

    FRESH = 0
    STALE = 1
    CLIMATOLOGY = 2
    UNKNOWN = 3


FRESH_FOR: Final = timedelta(hours=2)
"""Providers rewrite their forecasts every half-hour; four missed updates make one stale."""


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """The best known value of one signal for every half-hour of a window.

    Args:
        signal: What and in which unit.
        start: Half-hour of index 0.
        values: Shape ``(T,)``, always finite.
        rungs: Shape ``(T,)``, the `Rung` of each value.
        sources: Shape ``(T,)``, the source of each value.
        regions: Shape ``(T,)``, the region each value is about; ``GB`` for national.
        ages_s: Shape ``(T,)``, seconds since each value became available; NaN where unknown.
        origins: Shape ``(T,)``, what each value rests on.
        quantiles: Shape ``(T, len(LEVELS))``, how sure each value is; NaN where nobody knows.
        bands: Shape ``(T,)``, what the quantiles of each value rest on.
    """

    signal: Signal
    start: HalfHour
    values: NDArray[np.float64]
    rungs: NDArray[np.int8]
    sources: tuple[str, ...]
    regions: tuple[str, ...]
    ages_s: NDArray[np.float64]
    origins: tuple[Origin, ...]
    quantiles: NDArray[np.float64]
    bands: tuple[Band, ...]

    @property
    def origin(self) -> Origin:
        """The weakest origin in the window."""
        return weakest(self.origins)

    @property
    def worst_rung(self) -> Rung:
        """The weakest rung in the window."""
        return Rung(int(self.rungs.max(initial=0)))


@dataclass(frozen=True, slots=True, eq=False)
class UsualLevel:
    """What is usual for each half-hour of a window, computed from outturns.

    Args:
        values: Shape ``(T,)``, NaN where nothing is usual.
        origin: What the outturns behind it rest on, or computed.
        region: Region of the outturns.
        age_s: Seconds since the newest of them became available; NaN where there is none.
    """

    values: NDArray[np.float64]
    origin: Origin = Origin.COMPUTED
    region: str = NATIONAL
    age_s: float = np.nan


def blend(
    ranked: Sequence[Series],
    *,
    climatology: UsualLevel,
    start: HalfHour,
    now: datetime,
    fresh_for: timedelta = FRESH_FOR,
    final: Collection[str] = (),
) -> Blend:
    """Return for each half-hour the first known value down the ladder.

    Fresh series come first, in the order given; then the same series grown stale, newest
    first; then climatology; a half-hour without any takes the mean of what is known, so that
    it neither attracts nor repels work.

    Args:
        ranked: Statements about one signal and region, best source first; those that were not
            yet available at ``now`` are not used.
        climatology: The usual level of each half-hour; its length is the window.
        start: Half-hour of index 0.
        now: The instant at which the blend is used.
        fresh_for: Age up to which a series is fresh.
        final: Sources whose values never change once told, so that they never grow stale.

    Raises:
        StaleDataError: Nothing at all is known about the window.
        ContractError: The series are of different signals.
    """
    known = [series for series in ranked if series.available_at <= now]
    signals = {series.signal for series in ranked}
    if len(signals) != 1:
        raise ContractError(f"a blend needs series of one signal, got {sorted(signals)}")
    is_fresh = [one.source in final or now - one.available_at <= fresh_for for one in known]
    fresh = [series for series, fits in zip(known, is_fresh, strict=True) if fits]
    stale = [series for series, fits in zip(known, is_fresh, strict=True) if not fits]
    stale.sort(key=lambda series: series.available_at, reverse=True)
    board = _Board(start=start, size=climatology.values.size, now=now)
    for series in fresh:
        board.take(series, Rung.FRESH)
    for series in stale:
        board.take(series, Rung.STALE)
    return board.finish(signals.pop(), climatology)


class _Board:
    """Half-hours being filled from the top of the ladder down."""

    def __init__(self, *, start: HalfHour, size: int, now: datetime) -> None:
        self._start = start
        self._now = now
        self._values = np.full(size, np.nan)
        self._rungs = np.full(size, Rung.UNKNOWN, dtype=np.int8)
        self._sources = ["unknown"] * size
        self._regions = [NATIONAL] * size
        self._ages_s = np.full(size, np.nan)
        self._origins = [Origin.COMPUTED] * size
        self._quantiles = np.full((size, len(LEVELS)), np.nan)
        self._bands = [Band.NONE] * size

    def take(self, series: Series, rung: Rung) -> None:
        size = self._values.size
        candidate = series.window(self._start, size)
        usable = np.isnan(self._values) & np.isfinite(candidate)
        told = series.window_quantiles(self._start, size)
        self._quantiles[usable] = told[usable]
        for index in np.flatnonzero(usable & np.isfinite(told).all(axis=1)):
            self._bands[index] = series.band
        self._fill(
            candidate,
            rung,
            source=series.source,
            region=series.region,
            age_s=(self._now - series.available_at).total_seconds(),
            origin=series.origin,
        )

    def finish(self, signal: Signal, climatology: UsualLevel) -> Blend:
        self._fill(
            climatology.values,
            Rung.CLIMATOLOGY,
            source="climatology",
            region=climatology.region,
            age_s=climatology.age_s,
            origin=climatology.origin,
        )
        self._take_the_mean(signal)
        return Blend(
            signal=signal,
            start=self._start,
            values=self._values,
            rungs=self._rungs,
            sources=tuple(self._sources),
            regions=tuple(self._regions),
            ages_s=self._ages_s,
            origins=tuple(self._origins),
            quantiles=self._quantiles,
            bands=tuple(self._bands),
        )

    def _take_the_mean(self, signal: Signal) -> None:
        missing = np.isnan(self._values)
        if missing.all():
            raise StaleDataError(f"nothing is known about {signal} from {self._start}")
        known = np.flatnonzero(~missing)
        resting_on = weakest({Origin.COMPUTED, *(self._origins[index] for index in known)})
        self._values[missing] = self._values[known].mean()
        self._ages_s[missing] = self._ages_s[known].max()
        for index in np.flatnonzero(missing):
            self._origins[index] = resting_on

    def _fill(
        self,
        candidate: NDArray[np.float64],
        rung: Rung,
        *,
        source: str,
        region: str,
        age_s: float,
        origin: Origin,
    ) -> None:
        usable = np.isnan(self._values) & np.isfinite(candidate)
        self._values[usable] = candidate[usable]
        self._rungs[usable] = rung
        self._ages_s[usable] = age_s
        for index in np.flatnonzero(usable):
            self._sources[index] = source
            self._regions[index] = region
            self._origins[index] = origin


_ORIGIN_ORDER: Final = (Origin.SIMULATED, Origin.COMPUTED, Origin.RECORDED, Origin.LIVE)


def weakest(origins: Iterable[Origin]) -> Origin:
    """Return the origin that says least about the real grid: simulated before any other."""
    found = set(origins)
    return next(origin for origin in _ORIGIN_ORDER if origin in found)
