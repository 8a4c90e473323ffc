"""The naive rules as forecasters, with bands: what every better model is measured against."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Final, Self

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.checks import HALF_HOURS_A_DAY, learnable
from gridflex.forecasting.conformal import LEAD_EDGES, Bands
from gridflex.forecasting.forecaster import QuantileForecast
from gridflex.forecasting.history import Array, Knowledge
from gridflex.forecasting.naive import climatology, same_clock
from gridflex.halfhour import HalfHour

_SCALE_LENGTH: Final = 28 * HALF_HOURS_A_DAY
_LEARN_DAYS: Final = 365
_LEARN_EVERY: Final = 61
"""Half-hours between two issue times to learn errors from; prime to a day and a week."""

_LEADS: Final = np.array(sorted({lead for a, b in pairwise(LEAD_EDGES) for lead in (a, b - 1)}))


def recent_scale(known: Knowledge) -> float:
    """Return how much the target usually changes from one day to the next, always above 0.

    The mean absolute difference over the last 28 days that are known, in the target's unit.
    """
    days = min(_SCALE_LENGTH, known.half_hours_of_history - HALF_HOURS_A_DAY)
    recent = known.window(known.target, -days - HALF_HOURS_A_DAY, days + HALF_HOURS_A_DAY)
    change = np.abs(recent[HALF_HOURS_A_DAY:] - recent[:-HALF_HOURS_A_DAY])
    told = np.isfinite(change)
    return max(float(change[told].mean()), 1e-3) if told.any() else 1.0


class Past:
    """The known outturns of the target, as the naive rules ask for them."""

    def __init__(self, known: Knowledge) -> None:
        self._known = known

    def window(self, start: HalfHour, half_hours: int) -> Array:
        """See `gridflex.forecasting.naive.Outturns`."""
        return self._known.window(self._known.target, self._known.issued.until(start), half_hours)


class _Baseline:
    """A rule, and bands as wide as its errors of the last year were."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._target = ""
        self._bands: Bands | None = None

    def fit(self, known: Knowledge) -> None:
        """See `Forecaster.fit`."""
        learnable(known)
        last = known.half_hours_of_history - 1
        first = max(HALF_HOURS_A_DAY * 7, last - _LEARN_DAYS * HALF_HOURS_A_DAY)
        past = known.past()
        leads, errors, scales = [], [], []
        for issued in range(first, last, _LEARN_EVERY):
            then = known.as_of(known.issued - (last + 1 - issued))
            ahead = _LEADS[issued + _LEADS < past.size]
            if not np.isfinite(then.window(then.target, -_SCALE_LENGTH, _SCALE_LENGTH)).any():
                continue
            centre = self._centre(then, int(ahead.max()) + 1)[ahead]
            leads.append(ahead)
            errors.append(past[issued + ahead] - centre)
            scales.append(np.full(ahead.size, recent_scale(then)))
        self._bands = Bands.learn(
            np.concatenate(leads), np.concatenate(errors), np.concatenate(scales)
        )
        self._target = known.target

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        """See `Forecaster.predict`."""
        if self._bands is None or known.target != self._target:
            raise ContractError(f"{self.name} is fitted for {self._target!r}, not {known.target!r}")
        centre = self._centre(known, half_hours)
        values = self._bands.around(centre, recent_scale(known))
        return QuantileForecast(known.target, self.name, known.issued, values)

    def dump(self) -> bytes:
        """See `Forecaster.dump`."""
        if self._bands is None:
            raise ContractError(f"{self.name} is not fitted")
        return Artefact(
            self.name, {"target": self._target}, {"offsets": self._bands.offsets}
        ).dump()

    @classmethod
    def restore(cls, artefact: Artefact) -> Self:
        """Return the forecaster that was dumped."""
        restored = cls()
        restored._target = artefact.state["target"]
        restored._bands = Bands(artefact.arrays["offsets"])
        return restored

    def _centre(self, known: Knowledge, half_hours: int) -> Array:
        """Return the rule's values; where it has none, the mean of those it has."""
        values = self._rule(Past(known), known.issued, half_hours)
        told = np.isfinite(values)
        if not told.any():
            raise ContractError(
                f"{known.target}: nothing is known of the weeks before {known.issued}"
            )
        return np.where(told, values, values[told].mean())

    def _rule(self, past: Past, start: HalfHour, half_hours: int) -> Array:
        raise NotImplementedError


class Persistence(_Baseline):
    """The same clock time yesterday, repeated."""

    name = "persistence"

    def _rule(self, past: Past, start: HalfHour, half_hours: int) -> Array:
        return same_clock(past, start=start, half_hours=half_hours)


class LastWeek(_Baseline):
    """The same clock time a week ago, repeated."""

    name = "last-week"

    def _rule(self, past: Past, start: HalfHour, half_hours: int) -> Array:
        return same_clock(past, start=start, half_hours=half_hours, days=7)


class Climatology(_Baseline):
    """The mean of the last 28 days at the same clock time."""

    name = "climatology"

    def _rule(self, past: Past, start: HalfHour, half_hours: int) -> Array:
        return climatology(past, start=start, half_hours=half_hours)
