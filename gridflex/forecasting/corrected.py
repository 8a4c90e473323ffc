"""A provider's forecast corrected by its own newest error, and the usual level beyond its end.

A provider that is wrong now tends to be wrong in the same direction for hours. By how much, and
how sure one may be afterwards, is learned from its forecasts of the last weeks and what came.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.forecasting.forecaster import LEVELS

Array = NDArray[np.float64]

HOURS_A_DAY: Final = 24
USUAL_DAYS: Final = 28
LEARNED_OVER_DAYS: Final = 60

FADE_AN_HOUR: Final = 0.97
"""Share of the distance from the usual level that is left after an hour."""

_NORMAL: Final = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


class Corrected:
    """Forecasts a series from a provider's vintages and its own past.

    Args:
        series: Shape ``(T,)``, outturns; of a forecast made in period n only those up to n are
            used.
        said: Shape ``(T, H + 1)``: what the provider said in each period of it and of the H next
            ones; NaN where nothing.
        periods_a_day: How many periods a day has.

    Raises:
        ContractError: The shapes do not fit.
    """

    def __init__(self, series: Array, said: Array, *, periods_a_day: int) -> None:
        if said.shape[0] != series.size:
            raise ContractError(f"{said.shape[0]} vintages and {series.size} outturns")
        self._series = series
        self._said = said
        self._a_day = periods_a_day
        self._fade = FADE_AN_HOUR ** (HOURS_A_DAY / periods_a_day)
        self._learned: dict[int, tuple[Array, Array]] = {}

    def at(self, now: int, length: int) -> Array:
        """Return quantiles of `LEVELS`, shape ``(length, len(LEVELS))``, from period ``now`` on.

        Raises:
            ContractError: Less than 28 days are known by then.
        """
        if now + 1 < USUAL_DAYS * self._a_day:
            raise ContractError(f"period {now} has less than {USUAL_DAYS} days before it")
        share, sd = self._model(now // self._a_day * self._a_day)
        said = self._said[now]
        error = said[0] - self._series[now]
        near = np.concatenate([[self._series[now]], said[1:] - share * error])
        known = near[np.isfinite(near)]
        mean, spread = self._beyond(now, known, np.concatenate([[0.0], sd])[: known.size], length)
        out: Array = np.maximum(mean[:, None] + spread[:, None] * _NORMAL, 0.0)
        return out

    def _model(self, day: int) -> tuple[Array, Array]:
        """Return for each lead the share of the newest error to take off and what is left."""
        if day not in self._learned:
            self._learned = {day: self._learn(day)}
        return self._learned[day]

    def _learn(self, day: int) -> tuple[Array, Array]:
        leads = self._said.shape[1] - 1
        first = max(day - LEARNED_OVER_DAYS * self._a_day, 0)
        share, sd = np.zeros(leads), np.zeros(leads)
        for lead in range(1, leads + 1):
            made = np.arange(first, day - lead + 1)
            newest = self._said[made, 0] - self._series[made]
            later = self._said[made, lead] - self._series[made + lead]
            share[lead - 1] = (newest @ later) / max(newest @ newest, 1e-9)
            sd[lead - 1] = (later - share[lead - 1] * newest).std()
        return share, sd

    def _beyond(self, now: int, near: Array, sd: Array, length: int) -> tuple[Array, Array]:
        """Return mean and standard deviation with the usual level beyond the provider's end."""
        past = self._series[now + 1 - USUAL_DAYS * self._a_day : now + 1]
        days = past.reshape(USUAL_DAYS, self._a_day)
        usual, usual_sd = days.mean(axis=0), (days - days.mean(axis=0)).std()
        lead = np.arange(near.size, max(length, near.size))
        fade = self._fade ** (lead - near.size + 1)
        level = near[-1] - usual[(near.size - 2) % self._a_day]
        mean = usual[(lead - 1) % self._a_day] + level * fade
        variance = (sd[-1] * fade) ** 2 + usual_sd**2 * (1 - fade**2)
        return (
            np.concatenate([near, mean])[:length],
            np.concatenate([sd, np.sqrt(variance)])[:length],
        )
