"""How far a forecast may be off, learnt from how far its source has been off before.

What a source had last said at past issue times is held against what came. From a week of it on,
the errors of the last weeks make its bands, by lead time: in units of its own band where it has
one, which so follows the errors that it is served with, else in the unit of the signal. Until
then the published errors of the source stand in where there are any, and that is said.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import NormalDist
from typing import Final

import numpy as np

from gridflex.forecasting.conformal import Bands
from gridflex.forecasting.history import Array
from gridflex.forecasting.skill import LEAST_TO_PREFER, Said, Served
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS, MEDIAN
from gridflex.signals import BOUNDS, NATIONAL, Band, Series, Signal

LEARNT_DAYS: Final = 60
"""Days of errors that make a band. On GB 2022-23 bands of 90 % then covered 87 to 90 % of carbon
and price; with 30 to 120 days it was much the same, with 30 a little less."""

LEARNT_EVERY: Final = 11
"""Half-hours between two issue times looked from: prime to a day, so all times of day count."""

LEAST_HALF_HOURS: Final = LEAST_TO_PREFER
"""Different half-hours, a week of them, before errors say more than what is published."""

_LEAST_WIDTH: Final = 1e-3


@dataclass(frozen=True, slots=True)
class PublishedErrors:
    """Normal errors whose mean size grows with the square root of the horizon.

    Args:
        floor: Mean absolute error at horizon 0, in the unit of the signal.
        growth: What is added per square root of an hour ahead.
        longest_h: Hours ahead beyond which errors stop growing.
    """

    floor: float
    growth: float
    longest_h: float = 96.0

    def mean_abs_error(self, hours_ahead: Array) -> Array:
        """Return the expected absolute error, in the unit of the signal."""
        return np.asarray(
            self.floor + self.growth * np.sqrt(np.clip(hours_ahead, 0.0, self.longest_h))
        )


SD_PER_MEAN_ABS: Final = float(np.sqrt(np.pi / 2))
"""Of normal errors."""

CARBON_ERRORS: Final = PublishedErrors(floor=10.0, growth=3.1)
"""Of the national carbon forecast, in gCO2/kWh; its source is named in ``docs/grid.md``."""

PUBLISHED: Final[Mapping[str, PublishedErrors]] = {"carbon-intensity/fw48h": CARBON_ERRORS}
"""Sources whose errors are published."""


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """How far one source has been off.

    Args:
        source: Provider and product.
        bands: Of its errors, in units of half its own 90 % band if it has one, else 1.
        is_relative: Whether it has one.
        half_hours: Different half-hours among those learnt from.
    """

    source: str
    bands: Bands
    is_relative: bool
    half_hours: int


@dataclass(frozen=True, slots=True, eq=False)
class Doubts:
    """What was learnt of all sources of one signal.

    Args:
        signal: Of what.
        at: When, GridFlex time.
        of: Source to doubt; without those of which too little is known.
    """

    signal: Signal
    at: datetime
    of: Mapping[str, Doubt]


def learnt(said: Said, origins: Sequence[HalfHour], outturns: Array) -> Doubt | None:
    """Return how far a source has been off; None if too little is known of it.

    Args:
        said: What it had said at each issue time.
        origins: The issue times.
        outturns: Shape ``(origins, T)``, what came, as far as it is known by now; else NaN.
    """
    errors = outturns - said.values
    scales = np.ones_like(errors)
    is_relative = said.quantiles is not None
    if said.quantiles is not None:
        scales = _half_width(said.quantiles)
        errors = np.where(np.isfinite(scales), errors, np.nan)
    origin, lead = np.nonzero(np.isfinite(errors))
    starts = np.array([origins[0].until(one) for one in origins])
    different = int(np.unique(starts[origin] + lead).size)
    if different < LEAST_HALF_HOURS:
        return None
    leads = np.broadcast_to(np.arange(errors.shape[1]), errors.shape)
    bands = Bands.learn(leads.ravel(), errors.ravel(), scales.ravel())
    return Doubt(said.source, bands, is_relative, different)


def doubted(series: Series, doubts: Doubts | None, *, share: float = 1.0) -> Series:
    """Return a forecast with the band that its source's errors give it.

    Args:
        series: The forecast. Its own band stays until enough of its errors are known.
        doubts: What was learnt of the errors of national forecasts; None if nothing was.
        share: Of a region's forecast, how large its values are against the national ones; its
            errors are taken to be so as well.
    """
    found = None if doubts is None else doubts.of.get(series.source)
    lead = HalfHour.containing(series.available_at).until(series.start)
    if found is not None and found.is_relative is (series.quantiles is not None):
        scale: Array | float = share
        if series.quantiles is not None:
            scale = np.nan_to_num(_half_width(series.quantiles), nan=_LEAST_WIDTH)
        band = found.bands.around(series.values, scale, first_lead=lead)
        measured = Band.MEASURED if series.region == NATIONAL else Band.ASSUMED
        return _with(series, band, measured)
    published = PUBLISHED.get(series.source)
    if published is None or series.quantiles is not None:
        return series
    hours = (lead + np.arange(len(series))) / 2
    sizes = SD_PER_MEAN_ABS * share * published.mean_abs_error(hours)
    normal = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    return _with(series, series.values[:, None] + sizes[:, None] * normal, Band.ASSUMED)


def served_with(counted: Sequence[Doubts]) -> Served:
    """Return what gives a national forecast the band that it had in plans at an issue time.

    Args:
        counted: What was learnt of errors over time, the oldest first.
    """
    since = [doubts.at for doubts in counted]

    def served(series: Series, origin: HalfHour) -> Series:
        known = bisect_right(since, origin.start)
        return doubted(series, counted[known - 1] if known else None)

    return served


def share_of_national(series: Series, national: Sequence[Series]) -> float:
    """Return how large a region's values are against the same source's national ones; 1 if unknown.

    Args:
        series: The forecast of a region.
        national: The newest national forecasts.
    """
    twin = next((one for one in national if one.source == series.source), None)
    if twin is None or series.region == NATIONAL:
        return 1.0
    alike = twin.window(series.start, len(series))
    told = np.isfinite(alike) & np.isfinite(series.values)
    if not told.any() or alike[told].mean() <= 0:
        return 1.0
    return float(series.values[told].mean() / alike[told].mean())


def _half_width(quantiles: Array) -> Array:
    return np.asarray(np.maximum((quantiles[..., -1] - quantiles[..., 0]) / 2, _LEAST_WIDTH))


def _with(series: Series, band: Array, whose: Band) -> Series:
    inside = np.clip(band, *BOUNDS[series.signal])
    inside[:, MEDIAN] = series.values
    return replace(series, quantiles=inside, band=whose)
