"""Forecast vintages with documented errors: what a provider would have said at an instant.

The error of a forecast for half-hour t issued at v is

    e(v, t) = sd(t - v) * (sqrt(a) common(t) + sqrt(1 - a) run(v, t))

``common`` is shared by all vintages of a target and by its neighbours: a wrong call shifts
whole days. ``run`` belongs to the weather model run behind the vintage; between two runs, six
hours apart, the forecast drifts from one to the next. All parts have unit variance, so the
pooled errors are those of ``sd`` alone, and they shrink as the target nears.

Source:
    Levels: 1.3 million live GB carbon forecasts scored by
    nmpowell/carbon-intensity-forecast-tracking (mean absolute error 24.24 gCO2/kWh over
    0 to 48 h). Clustering: 90 daily means and three vintages of 2023 from the same work, met
    by a = 0.7 with memories of 48 h and 18 h (``docs/grid.md``). The floor of 10 g at
    horizon 0 and the square root of the horizon are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.forecasting.doubt import CARBON_ERRORS, SD_PER_MEAN_ABS, PublishedErrors
from gridflex.halfhour import HalfHour

VERSION: Final = 1
"""Raised whenever the same seed would give other errors."""

RUN_EVERY: Final = 12
"""Half-hours between two runs of the weather models."""

COMMON_SHARE: Final = 0.7
COMMON_MEMORY_H: Final = 48.0
RUN_MEMORY_H: Final = 18.0

_EPOCH: Final = HalfHour(datetime(2000, 1, 1, tzinfo=UTC))
_BLOCK: Final = 96
_KERNEL_MEMORIES: Final = 5


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """Normal errors whose mean size grows with the square root of the horizon.

    Args:
        seed: Same seed, same errors.
        stream: Sets apart the signals of one seed.
        size: How large errors are on average, and how that grows.
    """

    seed: int
    stream: str
    size: PublishedErrors

    def errors(self, *, issued: HalfHour, start: HalfHour, half_hours: int) -> NDArray[np.float64]:
        """Return what the vintage of ``issued`` has too much, shape ``(half_hours,)``.

        Args:
            issued: Half-hour in which the forecast was made. A target before it has the error
                of the last forecast of it.
            start: Half-hour of index 0.
            half_hours: Length of the result.
        """
        targets = _EPOCH.until(start) + np.arange(half_hours)
        made = np.minimum(_EPOCH.until(issued), targets)
        common = self._smooth("common", targets, COMMON_MEMORY_H)
        unit = np.sqrt(COMMON_SHARE) * common + np.sqrt(1 - COMMON_SHARE) * self._run(made, targets)
        size = self.size.mean_abs_error((targets - made) / 2)
        return np.asarray(SD_PER_MEAN_ABS * size * unit)

    def _run(self, made: NDArray[np.int_], targets: NDArray[np.int_]) -> NDArray[np.float64]:
        """Drift from the last run to the next one, keeping unit variance."""
        last, past = np.divmod(made, RUN_EVERY)
        angle = past / RUN_EVERY * np.pi / 2
        drift = np.empty(targets.size)
        for run in np.unique(last):
            at = last == run
            before = self._smooth(f"run{run}", targets[at], RUN_MEMORY_H)
            after = self._smooth(f"run{run + 1}", targets[at], RUN_MEMORY_H)
            drift[at] = np.cos(angle[at]) * before + np.sin(angle[at]) * after
        return drift

    def _smooth(
        self, stream: str, targets: NDArray[np.int_], memory_h: float
    ) -> NDArray[np.float64]:
        """Noise of unit variance that forgets over ``memory_h``, the same from wherever asked."""
        reach = int(_KERNEL_MEMORIES * 2 * memory_h)
        kernel = np.exp(-np.arange(reach) / (2 * memory_h))
        first, count = int(targets[0]) - reach + 1, targets.size + reach - 1
        blocks = range(first // _BLOCK, (first + count - 1) // _BLOCK + 1)
        white = np.concatenate([_white(self.seed, f"{self.stream}/{stream}", b) for b in blocks])
        skip = first - blocks.start * _BLOCK
        return np.convolve(
            white[skip : skip + count], kernel / np.linalg.norm(kernel), mode="valid"
        )


def carbon_errors(seed: int) -> ErrorModel:
    """Return the errors of the published national carbon forecast, in gCO2/kWh."""
    return ErrorModel(seed=seed, stream="intensity", size=CARBON_ERRORS)


def demand_errors(seed: int) -> ErrorModel:
    """Return the errors of the day-ahead demand forecast, in MW.

    The day-ahead forecast of 2022-24 was 520 MW off on average, 0 to 29 h ahead; how that
    splits over the horizon is assumed.
    """
    return ErrorModel(seed=seed, stream="demand", size=PublishedErrors(floor=250.0, growth=75.0))


def wind_errors(seed: int) -> ErrorModel:
    """Return the errors of the wind forecast, in MW; their size is assumed.

    Day-ahead wind forecasts of 2021 were about 800 MW off after a linear fit.
    """
    return ErrorModel(seed=seed, stream="wind", size=PublishedErrors(floor=250.0, growth=160.0))


@lru_cache(maxsize=2048)
def _white(seed: int, stream: str, block: int) -> NDArray[np.float64]:
    key = [VERSION, seed, block % 2**32, *stream.encode()]
    return np.random.default_rng(key).standard_normal(_BLOCK)
