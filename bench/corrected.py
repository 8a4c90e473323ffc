"""A provider's forecast corrected by its own errors, and the usual level beyond its end.

A provider that is wrong now tends to be wrong in the same direction for hours, and one that has
just revised what it said of an hour tends not to have gone far enough. By how much, and how sure
one may be afterwards, is learned from its forecasts of the last weeks and what came. Only
benchmarks with a simulated provider use it: no agent corrects a forecast.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.quantiles import LEVELS

Array = NDArray[np.float64]

HOURS_A_DAY: Final = 24
DAYS_A_WEEK: Final = 7
SATURDAY: Final = 5

USUAL_WEEKS: Final = 8
LEAST_WEEKS: Final = 4
"""Weeks whose mean day, with the usual difference of a weekend, is the usual level."""

LEARNED_OVER_DAYS: Final = 60

REVISED_SINCE_H: Final = (6, 12)
"""Ages of the earlier forecasts with which the newest is compared: runs of the weather models."""

CAUTION: Final = 1.0
"""Ridge, in squared units of the series for each example, that keeps small samples in check."""

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
        first_weekday: Day of the week of period 0, from 0 for Monday.

    Raises:
        ContractError: The shapes do not fit.
    """

    def __init__(
        self, series: Array, said: Array, *, periods_a_day: int, first_weekday: int = 0
    ) -> None:
        if said.shape[0] != series.size:
            raise ContractError(f"{said.shape[0]} vintages and {series.size} outturns")
        self._series = series
        self._said = said
        self._a_day = periods_a_day
        self._first_weekday = first_weekday
        self._fade = FADE_AN_HOUR ** (HOURS_A_DAY / periods_a_day)
        self._ages = [max(h * periods_a_day // HOURS_A_DAY, 1) for h in REVISED_SINCE_H]
        self._learned: dict[int, tuple[Array, Array]] = {}

    def at(self, now: int, length: int) -> Array:
        """Return quantiles of `LEVELS`, shape ``(length, len(LEVELS))``, from period ``now`` on.

        Raises:
            ContractError: Less than four weeks are known by then.
        """
        if now + 1 < LEAST_WEEKS * DAYS_A_WEEK * self._a_day:
            raise ContractError(f"period {now} has less than {LEAST_WEEKS} weeks before it")
        share, sd = self._model(now // self._a_day * self._a_day)
        error = np.einsum("hk,hk->h", self._signs(np.array([now]))[:, 0], share)
        near = np.concatenate([[self._series[now]], self._said[now, 1:] - error])
        known = near[np.isfinite(near)]
        mean, spread = self._beyond(now, known, np.concatenate([[0.0], sd])[: known.size], length)
        out: Array = np.maximum(mean[:, None] + spread[:, None] * _NORMAL, 0.0)
        return out

    def _signs(self, made: NDArray[np.int64]) -> Array:
        """Return shape ``(H, n, 1 + ages)``: the newest error, and revisions of each lead's period.

        Args:
            made: Periods in which forecasts were made.
        """
        leads = self._said.shape[1] - 1
        out = np.zeros((leads, made.size, 1 + len(self._ages)))
        out[:, :, 0] = self._said[made, 0] - self._series[made]
        for column, age in enumerate(self._ages, start=1):
            same = np.arange(1, leads + 1 - age)
            before = np.maximum(made - age, 0)[None, :]
            revised = (
                self._said[made[None, :], same[:, None]] - self._said[before, same[:, None] + age]
            )
            out[: same.size, :, column] = np.nan_to_num(revised, nan=0.0)
        return out

    def _model(self, day: int) -> tuple[Array, Array]:
        """Return for each lead how much of each sign to take off, and what doubt is left."""
        if day not in self._learned:
            self._learned = {day: self._learn(day)}
        return self._learned[day]

    def _learn(self, day: int) -> tuple[Array, Array]:
        leads, oldest = self._said.shape[1] - 1, max(self._ages)
        first = max(day - LEARNED_OVER_DAYS * self._a_day, oldest)
        made = np.arange(first, day + 1)
        signs = self._signs(made)
        share, sd = np.zeros(signs.shape[::2]), np.zeros(leads)
        for lead in range(1, leads + 1):
            come = made[: made.size - lead]
            seen = signs[lead - 1, : come.size]
            wrong = self._said[come, lead] - self._series[come + lead]
            gram = seen.T @ seen + CAUTION * come.size * np.eye(seen.shape[1])
            share[lead - 1] = np.linalg.solve(gram, seen.T @ wrong)
            sd[lead - 1] = (wrong - seen @ share[lead - 1]).std()
        return share, sd

    def _beyond(self, now: int, near: Array, sd: Array, length: int) -> tuple[Array, Array]:
        """Return mean and standard deviation with the usual level beyond the provider's end."""
        lead = np.arange(1, max(length, near.size))
        usual, usual_sd = self._usual(now, lead)
        last = near.size - 1
        far = lead[last:]
        fade = self._fade ** (far - last)
        level = near[-1] - self._usual(now - 1, np.array([last + 1]))[0][0]
        variance = (sd[-1] * fade) ** 2 + usual_sd**2 * (1 - fade**2)
        return (
            np.concatenate([near, usual[last:] + level * fade])[:length],
            np.concatenate([sd, np.sqrt(variance)])[:length],
        )

    def _usual(self, now: int, lead: NDArray[np.int64]) -> tuple[Array, float]:
        """Return the usual level ``lead`` periods after ``now``, and how far days are from it."""
        week = DAYS_A_WEEK * self._a_day
        weeks = min((now + 1) // week, USUAL_WEEKS)
        periods = np.arange(now + 1 - weeks * week, now + 1)
        past, rest = self._series[periods], self._is_weekend(periods)
        off = float(past[rest].mean() - past[~rest].mean())
        days = (past - off * rest).reshape(-1, self._a_day)
        usual = days.mean(axis=0)
        out: Array = usual[(lead - 1) % self._a_day] + off * self._is_weekend(now + lead)
        return out, float((days - usual).std())

    def _is_weekend(self, periods: NDArray[np.int64]) -> NDArray[np.bool_]:
        weekday = (periods // self._a_day + self._first_weekday) % DAYS_A_WEEK
        out: NDArray[np.bool_] = weekday >= SATURDAY
        return out
