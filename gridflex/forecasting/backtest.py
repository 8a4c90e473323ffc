"""Forecasts made again from what was known at many issue times, and how wrong they were.

Origins roll through all times of day. Every forecaster is scored on the same half-hours, by
lead time; the outturn is looked up only after the forecast was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.forecaster import NEAR_HALF_HOURS, Forecaster
from gridflex.forecasting.history import Array, Knowledge
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS, MEDIAN

STEP: Final = 37
"""Half-hours between two origins: prime to a day, so that all times of day have their turn."""

BANDS: Final = {50: (0.25, 0.75), 80: (0.1, 0.9), 90: (0.05, 0.95)}
"""Per cent of a band to the levels of its ends."""

LEAD_GROUPS: Final = {
    "0-6h": (0, 12),
    "6-12h": (12, 24),
    "12-24h": (24, 48),
    "24-48h": (48, 96),
    "2-4d": (96, 192),
    "4-9d": (192, 432),
}
"""Name to first half-hour ahead and the one after the last."""

_NOT_NEAR_ZERO: Final = 1.0


class Replayed(Protocol):
    """What can be gone through again: a `History`, or the past of a `Knowledge`."""

    @property
    def target(self) -> str:
        """Name of the input that is forecast."""
        ...

    def known_at(self, issued: HalfHour) -> Knowledge:
        """Return what was known when half-hour ``issued`` began."""
        ...

    def outturn(self, start: HalfHour, half_hours: int) -> Array:
        """Return what the target came to, as far as it is known by now."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What one forecaster said from every origin, and what happened.

    Args:
        model: Who forecast.
        target: What, with its unit.
        origins: The issue times.
        values: Shape ``(origins, T, len(LEVELS))``.
        outturns: Shape ``(origins, T)``; NaN where none is known.
    """

    model: str
    target: str
    origins: Sequence[HalfHour]
    values: Array
    outturns: Array

    def score(self, first: int = 0, after: int | None = None) -> Score:
        """Return the scores of leads ``first`` to before ``after``, in half-hours ahead.

        Raises:
            ContractError: No outturn is known there.
        """
        truth = self.outturns[:, first:after]
        told = np.isfinite(truth)
        if not told.any():
            raise ContractError(f"{self.model}: no outturn of {self.target} to score against")
        return score(self.values[:, first:after][told], truth[told])

    def by_lead(self) -> Mapping[str, Score]:
        """Return the scores of every group of `LEAD_GROUPS` that the forecasts reach."""
        return {
            name: self.score(first, after)
            for name, (first, after) in LEAD_GROUPS.items()
            if after <= self.outturns.shape[1]
        }


@dataclass(frozen=True, slots=True)
class Score:
    """How wrong forecasts were; errors in the unit of the target.

    Args:
        count: Half-hours scored.
        mae: Mean absolute error of the median.
        rmse: Root mean square error of the median.
        bias: Mean of forecast less outturn.
        mape_fraction: Mean of absolute error by size of outturn, where that is at least 1.
        pinball: Mean pinball loss over all levels.
        crps: Continuous ranked probability score, from the quantiles.
        coverage_fraction: Per cent of a band to the part of outturns inside it.
    """

    count: int
    mae: float
    rmse: float
    bias: float
    mape_fraction: float
    pinball: float
    crps: float
    coverage_fraction: Mapping[int, float]


def rolling_origins(first: HalfHour, after: HalfHour, *, step: int = STEP) -> list[HalfHour]:
    """Return issue times from ``first`` to before ``after``, ``step`` half-hours apart."""
    return [first + offset for offset in range(0, first.until(after), step)]


def backtest(
    forecaster: Forecaster,
    history: Replayed,
    origins: Iterable[HalfHour],
    *,
    half_hours: int = NEAR_HALF_HOURS,
) -> Backtest:
    """Return what a fitted forecaster says from every origin.

    Raises:
        ContractError: The forecaster is not fitted for the target of ``history``.
    """
    issues = list(origins)
    values = [forecaster.predict(history.known_at(i), half_hours).values for i in issues]
    outturns = [history.outturn(i, half_hours) for i in issues]
    return Backtest(forecaster.name, history.target, issues, np.array(values), np.array(outturns))


def score(values: Array, truth: Array) -> Score:
    """Return the scores of quantiles, shape ``(N, len(LEVELS))``, against ``(N,)`` outturns."""
    error = values[:, MEDIAN] - truth
    sizable = np.abs(truth) >= _NOT_NEAR_ZERO
    relative = np.abs(error[sizable]) / np.abs(truth[sizable])
    return Score(
        count=truth.size,
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt(np.square(error).mean())),
        bias=float(error.mean()),
        mape_fraction=float(relative.mean()) if relative.size else np.nan,
        pinball=float(_pinball(values, truth).mean()),
        crps=_crps(values, truth),
        coverage_fraction={
            per_cent: _inside(values, truth, low, high) for per_cent, (low, high) in BANDS.items()
        },
    )


def _pinball(values: Array, truth: Array) -> Array:
    """Pinball loss by level, shape ``(len(LEVELS),)``."""
    short = truth[:, None] - values
    return np.asarray(
        np.maximum(np.array(LEVELS) * short, (np.array(LEVELS) - 1) * short).mean(axis=0)
    )


def _crps(values: Array, truth: Array) -> float:
    """Twice the pinball loss integrated over the levels, each standing for its neighbourhood."""
    levels = np.array(LEVELS)
    ends = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    return float(2 * (_pinball(values, truth) * np.diff(ends)).sum())


def _inside(values: Array, truth: Array, low: float, high: float) -> float:
    least, most = values[:, LEVELS.index(low)], values[:, LEVELS.index(high)]
    return float(((least <= truth) & (truth <= most)).mean())
