"""How long a job probably runs, as far as earlier runs tell.

A `RunTime` is a distribution small enough to be kept with the job, so that what is left of the
job can be said at any moment from what it has already run: the longer it runs, the less the
short runs of the past count.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError

RUN_TIME_LEVELS: Final = (0.02, 0.05, *(step / 10 for step in range(1, 10)), 0.95, 0.98)
"""Quantile levels that are kept."""

SAFE_LEVEL: Final = 0.9
"""A deadline is kept for a run that takes as long as nine in ten; cost counts the median."""

MEDIAN_LEVEL: Final = 0.5

_STEEPEST_TAIL: Final = 8.0
"""Of a job that outruns all its like, a tenth of what it has run is still to come: however alike
earlier runs were, the next one need not be."""

_HEAVIEST_TAIL: Final = 1.0
"""It runs for as long again (Lindy), at most."""

_TOP: Final = len(RUN_TIME_LEVELS) - 1
_APART: Final = 1e-9


@dataclass(frozen=True, slots=True)
class RunTime:
    """Distribution of one job's run time at full speed.

    Args:
        quantiles_s: Seconds at each of `RUN_TIME_LEVELS`.
        runs: Earlier runs of the closest kind that there is evidence of.
        basis: What those runs have in common with the job.

    Raises:
        ContractError: The quantiles are not as many as the levels, not above zero, or cross.
    """

    quantiles_s: tuple[float, ...]
    runs: int
    basis: str

    def __post_init__(self) -> None:
        found = self.quantiles_s
        if len(found) != len(RUN_TIME_LEVELS):
            raise ContractError(
                f"a run time needs {len(RUN_TIME_LEVELS)} quantiles, got {len(found)}"
            )
        if not all(math.isfinite(value) and value > 0 for value in found):
            raise ContractError(f"run times must be above zero, got {found}")
        if any(later < earlier for earlier, later in itertools.pairwise(found)):
            raise ContractError(f"quantiles of a run time cross: {found}")

    @property
    def median(self) -> timedelta:
        """As many runs are shorter as are longer."""
        return self.quantile(MEDIAN_LEVEL)

    @property
    def safe(self) -> timedelta:
        """Nine in ten runs are shorter."""
        return self.quantile(SAFE_LEVEL)

    def quantile(self, level: float) -> timedelta:
        """Return the run time that a share ``level`` of runs stays below; 0 < level < 1."""
        return timedelta(seconds=self._seconds(level))

    def remaining(self, worked: timedelta, *, level: float) -> timedelta:
        """Return what is left of a run that has worked for ``worked`` and has not ended.

        Args:
            worked: How long it has run.
            level: Share of such runs that have less left.
        """
        worked_s = max(0.0, worked.total_seconds())
        if worked_s > self.quantiles_s[_TOP]:  # far beyond it all shares would round to one
            return timedelta(seconds=worked_s * ((1 - level) ** (-1 / self._tail()) - 1))
        ended = self.share_ended(worked)
        total_s = self._seconds(ended + level * (1 - ended))
        return timedelta(seconds=max(0.0, total_s - worked_s))

    def _seconds(self, level: float) -> float:
        top_s = self.quantiles_s[_TOP]
        if level > RUN_TIME_LEVELS[_TOP]:
            left = (1 - level) / (1 - RUN_TIME_LEVELS[_TOP])
            return float(top_s * left ** (-1 / self._tail()))
        logs = np.interp(level, RUN_TIME_LEVELS, np.log(self.quantiles_s))
        return float(np.exp(logs))

    def share_ended(self, worked: timedelta) -> float:
        """Return the share of runs that do not run longer than ``worked``."""
        return float(self.shares_ended(np.array([worked.total_seconds()]))[0])

    def shares_ended(self, worked_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of runs that do not run longer, for each of many times in seconds."""
        top_s, top = self.quantiles_s[_TOP], RUN_TIME_LEVELS[_TOP]
        apart = _APART * np.arange(len(self.quantiles_s))  # equal quantiles stay in order
        logs = np.log(np.maximum(worked_s, _APART))
        inside = np.interp(logs, np.log(self.quantiles_s) + apart, RUN_TIME_LEVELS, left=0.0)
        beyond = 1 - (1 - top) * np.maximum(worked_s / top_s, 1.0) ** -self._tail()
        return np.where(worked_s > top_s, beyond, inside)

    def _tail(self) -> float:
        """Return the exponent of the power law through the two quantiles around the safe one."""
        safe_s, top_s = self.quantiles_s[RUN_TIME_LEVELS.index(SAFE_LEVEL)], self.quantiles_s[_TOP]
        fewer = math.log((1 - SAFE_LEVEL) / (1 - RUN_TIME_LEVELS[_TOP]))
        further = math.log(top_s / safe_s)
        if further * _STEEPEST_TAIL <= fewer:
            return _STEEPEST_TAIL
        return max(fewer / further, _HEAVIEST_TAIL)
