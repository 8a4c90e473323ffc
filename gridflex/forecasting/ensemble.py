"""A weighted mean of forecasters, with weights by lead time from a stretch that none had seen.

Quantiles are averaged level by level, then their width is set anew from how wrong the mean was
in the held-out stretch, in units of the bands that the members have once they know it. A member
that fails is left out and the others' weights grow; which were there is part of the model's name
in the forecast.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError, GridFlexError
from gridflex.forecasting.artefact import Artefact, as_array, as_bytes
from gridflex.forecasting.backtest import Backtest, backtest, rolling_origins
from gridflex.forecasting.checks import HALF_HOURS_A_DAY, learnable
from gridflex.forecasting.conformal import Bands
from gridflex.forecasting.forecaster import FAR_HALF_HOURS, Forecaster, QuantileForecast
from gridflex.forecasting.history import Array, Knowledge
from gridflex.forecasting.models import kind, load
from gridflex.forecasting.weights import learn_weights, weights_at
from gridflex.halfhour import HalfHour
from gridflex.quantiles import MEDIAN

_HELD_OUT_DAYS: Final = 365
_MOST_HELD_OUT: Final = 0.3
_ORIGINS_EVERY: Final = 67
_LEAST_WIDTH: Final = 1e-3

_logger = logging.getLogger(__name__)


class Ensemble:
    """See the module.

    Args:
        members: Unfitted forecasters with different names.
        every: Half-hours between two held-out issue times that weights are learnt from.
    """

    name = "ensemble"

    def __init__(
        self, members: Sequence[Forecaster] | None = None, *, every: int = _ORIGINS_EVERY
    ) -> None:
        chosen = [kind(name)() for name in ("lightgbm", "climatology")]
        self._members = list(members if members is not None else chosen)
        self._every = every
        self._target = ""
        self._weights: Array | None = None
        self._bands: Bands | None = None

    @property
    def weights(self) -> Mapping[str, Sequence[float]]:
        """Weight of each member for every group of `gridflex.forecasting.weights.WEIGHT_EDGES`.

        Raises:
            ContractError: It is not fitted.
        """
        weights = self._fitted()[0]
        names = [member.name for member in self._members]
        return {name: [float(w) for w in row] for name, row in zip(names, weights.T, strict=True)}

    def fit(self, known: Knowledge) -> None:
        """See `Forecaster.fit`; members are fitted twice, at first without the held-out stretch."""
        learnable(known)
        total = known.half_hours_of_history
        count = min(_HELD_OUT_DAYS * HALF_HOURS_A_DAY, int(_MOST_HELD_OUT * total))
        first = known.issued - count
        origins = rolling_origins(first, known.issued - 1, step=self._every)
        tests = [self._tested(member, known, origins) for member in self._members]
        truth = tests[0].outturns
        told = np.array([test.values for test in tests])
        leads = np.broadcast_to(np.arange(truth.shape[1]), truth.shape).ravel()
        said = told[..., MEDIAN].reshape(len(told), -1)
        self._weights = learn_weights(said, truth.ravel(), leads)
        missed = truth - _mix(told, self._weights)[..., MEDIAN]
        for member in self._members:
            member.fit(known)
        widths = _width(_mix(self._as_fitted(known, origins), self._weights))
        self._bands = Bands.learn(leads, missed.ravel(), widths.ravel())
        self._target = known.target

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        """See `Forecaster.predict`."""
        weights, bands = self._fitted()
        if known.target != self._target:
            raise ContractError(f"{self.name} is fitted for {self._target!r}, not {known.target!r}")
        told, there = [], []
        for place, member in enumerate(self._members):
            try:
                told.append(member.predict(known, half_hours).values)
                there.append(place)
            except GridFlexError as error:
                _logger.warning("forecaster %s left out of the ensemble: %s", member.name, error)
        if not there:
            raise ContractError(f"no member of the ensemble can forecast {known.target}")
        values = _mix(np.array(told)[:, None], weights[:, there])[0]
        spread = bands.around(values[:, MEDIAN], _width(values))
        return QuantileForecast(known.target, self._called(there), known.issued, spread)

    def dump(self) -> bytes:
        """See `Forecaster.dump`."""
        weights, bands = self._fitted()
        stored: dict[str, NDArray[Any]] = {
            f"member{i}": as_array(m.dump()) for i, m in enumerate(self._members)
        }
        state: dict[str, Any] = {
            "target": self._target,
            "every": self._every,
            "members": [member.name for member in self._members],
        }
        stored |= {"weights": weights, "offsets": bands.offsets}
        return Artefact(self.name, state, stored).dump()

    @classmethod
    def restore(cls, artefact: Artefact) -> Self:
        """Return the ensemble that was dumped, without the members that cannot be read."""
        members: list[Forecaster] = []
        for place, name in enumerate(artefact.state["members"]):
            try:
                members.append(load(as_bytes(artefact.arrays[f"member{place}"])))
            except (GridFlexError, ImportError) as error:
                _logger.warning("forecaster %s of the ensemble cannot be read: %s", name, error)
                members.append(_Missing(name))
        restored = cls(members, every=artefact.state["every"])
        restored._target = artefact.state["target"]
        restored._weights = artefact.arrays["weights"]
        restored._bands = Bands(artefact.arrays["offsets"])
        return restored

    def _tested(
        self, member: Forecaster, known: Knowledge, origins: Sequence[HalfHour]
    ) -> Backtest:
        member.fit(known.as_of(origins[0]))
        return backtest(member, known, origins, half_hours=FAR_HALF_HOURS)

    def _as_fitted(self, known: Knowledge, origins: Sequence[HalfHour]) -> Array:
        """What the members say of the held-out stretch with the bands that they now have.

        They have learnt from that stretch how wide bands must be. Were its errors held against the
        bands from before it, a calmer or wilder time would count twice.
        """
        said = [backtest(m, known, origins, half_hours=FAR_HALF_HOURS) for m in self._members]
        return np.array([one.values for one in said])

    def _fitted(self) -> tuple[Array, Bands]:
        if self._weights is None or self._bands is None:
            raise ContractError(f"{self.name} is not fitted")
        return self._weights, self._bands

    def _called(self, there: Sequence[int]) -> str:
        if len(there) == len(self._members):
            return self.name
        return f"{self.name} of {'+'.join(self._members[place].name for place in there)}"


class _Missing:
    """Stands where a member could not be read."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fit(self, known: Knowledge) -> None:
        raise ContractError(f"{self.name} could not be read, so it cannot learn {known.target}")

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        raise ContractError(f"{self.name} could not be read: {known.target}, {half_hours}")

    def dump(self) -> bytes:
        raise ContractError(f"{self.name} could not be read")


def _mix(told: Array, weights: Array) -> Array:
    """Mean of quantiles, shape ``(members, N, T, levels)``, with the weights of each lead."""
    by_lead = weights_at(weights, np.arange(told.shape[2]))
    total = by_lead.sum(axis=1, keepdims=True)
    equal = np.full_like(by_lead, 1 / by_lead.shape[1])
    shares = np.where(total > 0, by_lead / np.where(total > 0, total, 1.0), equal)
    return np.asarray(np.einsum("mntl,tm->ntl", told, shares))


def _width(values: Array) -> Array:
    """Half the distance between the outermost levels."""
    return np.asarray(np.maximum((values[..., -1] - values[..., 0]) / 2, _LEAST_WIDTH))
