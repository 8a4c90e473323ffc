"""Weights for a mean of forecasts, by lead time, with the least absolute error on past outturns."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from scipy.optimize import minimize

from gridflex.forecasting.forecaster import FAR_HALF_HOURS
from gridflex.forecasting.history import Array, Indices

WEIGHT_EDGES: Final = (0, 12, 24, 48, 96, FAR_HALF_HOURS)
"""Half-hours ahead at which other weights begin."""

_MOST_ROWS: Final = 20_000


def learn_weights(said: Array, came: Array, leads: Indices) -> Array:
    """Return shape ``(groups of leads, members)``; every row sums to 1.

    Args:
        said: Shape ``(members, N)``, what each member forecast.
        came: Shape ``(N,)``, the outturns; NaN where none is known.
        leads: Shape ``(N,)``, half-hours ahead.
    """
    rows = [
        np.flatnonzero(np.isfinite(came) & _within(leads, *span)) for span in pairwise(WEIGHT_EDGES)
    ]
    return np.array([_simplex(said[:, row], came[row]) for row in map(_thinned, rows)])


def weights_at(weights: Array, leads: Indices) -> Array:
    """Return the weights of each lead, shape ``(N, members)``."""
    groups = np.searchsorted(WEIGHT_EDGES, leads, side="right") - 1
    return np.asarray(weights[np.clip(groups, 0, len(weights) - 1)])


def _within(leads: Indices, first: int, after: int) -> np.ndarray:
    return (leads >= first) & (leads < after)


def _thinned(rows: Indices) -> Indices:
    return rows[:: 1 + rows.size // _MOST_ROWS]


def _simplex(said: Array, came: Array) -> Array:
    """Weights from 0 to 1 that sum to 1; equal ones where nothing is known."""
    equal = np.full(len(said), 1 / len(said))
    if not came.size:
        return equal
    found = minimize(
        lambda weights: float(np.abs(weights @ said - came).mean()),
        equal,
        jac=lambda weights: np.asarray(said @ np.sign(weights @ said - came) / came.size),
        bounds=[(0.0, 1.0)] * len(said),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        method="SLSQP",
    )
    weights = np.clip(found.x, 0.0, None)
    return np.asarray(weights / weights.sum())
