"""A straight line through scaled features for every group of leads.

Deviations carry over to what is ahead almost in proportion, so ridge regression on them needs few
examples and goes on sensibly where trees have seen nothing. Each group of leads has its own
coefficients, learnt with the neighbouring leads for smoothness.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from gridflex.forecasting.checks import HALF_HOURS_A_DAY
from gridflex.forecasting.conformal import LEAD_EDGES
from gridflex.forecasting.features import Floats
from gridflex.forecasting.history import Array, Indices

_LEFT_OUT: Final = {
    *("lead", "clock", "weekday", "issue_clock", "season_sin", "season_cos", "own:level"),
}
"""Not in proportion to anything, or a date in disguise."""

_HARMONICS: Final = 3
_SATURDAY: Final = 5
_FARTHEST: Final = 4.0
_LEAST_SPREAD: Final = 1e-3
_AT_THE_END: Final = (":end24", ":end6", ":filled")
_MOST_ROWS: Final = 40_000
_LEAST_ROWS: Final = 500
_PENALTY: Final = 3.0
"""For a hundred examples; between 1 and 10 the error over 2022-23 hardly changes."""

_ROUNDS: Final = 4
_NEARLY_RIGHT: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Ridge regression by group of leads.

    Args:
        names: Features it was fitted with.
        middle: Mean of each feature that is used.
        size: Standard deviation of each.
        weights: Shape ``(len(LEAD_EDGES) - 1, columns of the design)``.
    """

    names: tuple[str, ...]
    middle: Array
    size: Array
    weights: Array

    @classmethod
    def fit(cls, names: tuple[str, ...], matrix: Floats, leads: Indices, truth: Array) -> Linear:
        """Learn ``truth``, shape ``(N,)``, from the rows of ``matrix``; leads may be missing."""
        used = matrix[:, _used(names)]
        told = np.isfinite(used)
        count = np.maximum(told.sum(axis=0), 1)
        middle = np.where(told, used, 0.0).sum(axis=0, dtype=np.float64) / count
        square = np.square(np.where(told, used - middle, 0.0)).sum(axis=0, dtype=np.float64)
        unfit = cls(names, middle, np.sqrt(square / count) + _LEAST_SPREAD, np.empty((0, 0)))
        bounded = np.clip(truth, -_FARTHEST, _FARTHEST)
        weights = []
        for first, after in pairwise(LEAD_EDGES):
            rows = _near(leads, first, after)
            weights.append(_solve(unfit.design(matrix[rows]), bounded[rows], _PENALTY))
        return cls(names, middle, unfit.size, np.array(weights))

    def predict(self, matrix: Floats, leads: Indices) -> Array:
        """Return shape ``(N,)``."""
        groups = np.clip(
            np.searchsorted(LEAD_EDGES, leads, side="right") - 1, 0, len(self.weights) - 1
        )
        return np.asarray((self.design(matrix) * self.weights[groups]).sum(axis=1))

    def design(self, matrix: Floats) -> Array:
        """Return what is multiplied by the weights: features, clock times, and what lies beyond.

        Beyond the end of what an input tells ahead, how unusual it is at that end counts more.
        """
        used = (matrix[:, _used(self.names)].astype(np.float64) - self.middle) / self.size
        scaled = np.clip(np.nan_to_num(used), -_FARTHEST, _FARTHEST)
        place = {name: column for column, name in enumerate(_used_names(self.names))}
        angle = matrix[:, self.names.index("clock")] * (2 * np.pi / HALF_HOURS_A_DAY)
        weekend = matrix[:, self.names.index("weekday")] >= _SATURDAY
        parts = [scaled, np.ones((len(matrix), 1)), weekend[:, None]]
        turns = [turn * angle for turn in range(1, _HARMONICS + 1)]
        parts += [wave(turn)[:, None] for turn in turns for wave in (np.sin, np.cos)]
        for name in self.names:
            if name.endswith(":beyond"):
                beyond = (matrix[:, self.names.index(name)] > 0)[:, None]
                source = name.removesuffix(":beyond")
                ends = [place[source + end] for end in _AT_THE_END] + [place["own:last"]]
                parts += [beyond, scaled[:, ends] * beyond]
        return np.hstack(parts)


def _near(leads: Indices, first: int, after: int) -> Indices:
    """Rows with leads from ``first`` to before ``after`` and near by, as many as it takes."""
    reach = max(1, (after - first) // 2)
    while True:
        rows = np.flatnonzero((leads >= first - reach) & (leads < after + reach))
        if rows.size >= _LEAST_ROWS or reach > LEAD_EDGES[-1]:
            return rows[:: 1 + rows.size // _MOST_ROWS]
        reach *= 2


def _used_names(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name not in _LEFT_OUT]


def _used(names: tuple[str, ...]) -> list[int]:
    return [column for column, name in enumerate(names) if name not in _LEFT_OUT]


def _solve(design: Array, truth: Array, penalty: float) -> Array:
    """Least absolute errors with the squared weights added, by reweighted least squares."""
    ridge = penalty * len(design) / 100 * np.eye(design.shape[1])
    counts = np.ones(len(design))
    for _ in range(_ROUNDS):
        counted = design * counts[:, None]
        gram = counted.T @ design + counts.mean() * ridge
        weights = np.linalg.solve(gram, counted.T @ truth)
        counts = 1 / np.maximum(np.abs(truth - design @ weights), _NEARLY_RIGHT)
    return np.asarray(weights)
