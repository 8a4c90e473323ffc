"""How an error model compares with the published figures: the same figures, of its own errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.vintages import ErrorModel

Array = NDArray[np.float64]

HORIZON: Final = 96
"""Half-hours ahead that the published carbon figures cover."""

_DAY: Final = 48


PUBLISHED: Final[dict[str, float]] = {
    "mean": 24.24,
    "median": 20.0,
    "std": 19.5,
    "over_20": 0.497,
    "over_50": 0.104,
    "over_100": 0.004,
    "autocorrelation": 0.95,
    "late_over_early": 1.35,
    "daily_std": 10.5,
    "daily_log_std": 0.39,
    "next_day": 0.54,
    "second_day": 0.13,
}
"""What is known of the published GB carbon forecast, in gCO2/kWh, fractions and ratios.

Source:
    nmpowell/carbon-intensity-forecast-tracking: pooled figures of 1,305,616 forecasts, daily
    means of 90 days of 2023, three vintages of March 2023 (autocorrelation .91 to .97). The
    growth is that of eight other power systems (CarbonCast forecasts of 2022: 1.2 to 1.5).
"""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Figures of absolute errors in the unit of the signal, over all horizons together.

    Args:
        mean: Mean absolute error.
        median: Median absolute error.
        std: Standard deviation of the absolute error.
        over: Threshold to the fraction of absolute errors above it.
        autocorrelation: Between neighbouring half-hours of one vintage, mean over vintages.
        late_over_early: Mean absolute error in the second half of the horizon over the first.
        newest_over_oldest: Mean absolute error of a target in the last vintage before it over
            that in the first.
        daily_std: Standard deviation of the mean absolute error of a target's day.
        daily_log_std: The same of its logarithm.
        next_day: Correlation of a day's mean absolute error with the next day's.
        second_day: With that of the day after.
    """

    mean: float
    median: float
    std: float
    over: dict[int, float]
    autocorrelation: float
    late_over_early: float
    newest_over_oldest: float
    daily_std: float
    daily_log_std: float
    next_day: float
    second_day: float

    def figures(self) -> dict[str, float]:
        """Return every figure by name, the thresholds as ``over_20`` and so on."""
        figures = asdict(self)
        over = figures.pop("over")
        return {**figures, **{f"over_{limit}": fraction for limit, fraction in over.items()}}


def calibrate(
    model: ErrorModel,
    *,
    start: HalfHour,
    days: int,
    every: int = 1,
    horizon: int = HORIZON,
    thresholds: tuple[int, ...] = (20, 50, 100),
) -> Calibration:
    """Return the figures of the vintages issued in ``days`` days from ``start``.

    Args:
        model: Whose errors.
        start: First vintage.
        days: How many days of vintages.
        every: Half-hours between two vintages.
        horizon: Half-hours ahead that are scored.
        thresholds: Of ``over``.
    """
    issues = np.arange(0, days * _DAY, every)
    errors = np.array(
        [
            model.errors(issued=start + int(i), start=start + int(i), half_hours=horizon)
            for i in issues
        ]
    )
    size = np.abs(errors)
    daily = _daily_means(size, issues, days)
    by_horizon = size.mean(axis=0)
    return Calibration(
        mean=float(size.mean()),
        median=float(np.median(size)),
        std=float(size.std()),
        over={limit: float((size > limit).mean()) for limit in thresholds},
        autocorrelation=float(np.mean([_correlation(e[:-1], e[1:]) for e in errors])),
        late_over_early=float(
            by_horizon[horizon // 2 :].mean() / by_horizon[: horizon // 2].mean()
        ),
        newest_over_oldest=float(by_horizon[0] / by_horizon[-1]),
        daily_std=float(daily.std()),
        daily_log_std=float(np.log(daily).std()),
        next_day=_correlation(daily[:-1], daily[1:]),
        second_day=_correlation(daily[:-2], daily[2:]),
    )


def _daily_means(size: Array, issues: NDArray[np.int_], days: int) -> Array:
    """Mean absolute error of all forecasts of each day, without the edges that few forecast."""
    day = (issues[:, None] + np.arange(size.shape[1])[None, :]) // _DAY
    count = np.bincount(day.ravel())
    total = np.bincount(day.ravel(), weights=size.ravel())
    return np.asarray((total / count)[2:days])


def _correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one, other)[0, 1])
