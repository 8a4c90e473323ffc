"""Forecaster of GPU demand: persistence, corrected by what three small models agree on.

For some leads each, and between them for the rest, three members say how far demand will be from
its newest value: a robust regression on the level alone, one on all features, and boosted trees
of four leaves. All are held close to "as now" until the history is long enough to say otherwise:
clusters drift, and a model that trusts two weeks of data loses to persistence. Their mean is the
median; bands are as wide as the errors were on halves of the history they had not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact, as_array, as_bytes
from gridflex.forecasting.checks import learnable
from gridflex.forecasting.conformal import Bands
from gridflex.forecasting.demand_examples import EVERY, Examples, examples, usual
from gridflex.forecasting.demand_features import DAY, LEVEL, View, names_of, view
from gridflex.forecasting.forecaster import QuantileForecast
from gridflex.forecasting.history import Array, Indices, Knowledge

if TYPE_CHECKING:
    import lightgbm

LEAST_DAYS: Final = 8
"""A week, and a day to see what comes of it."""

LEADS: Final = (
    *(0, 1, 3, 7, 15, 23, 31),
    *(47, 55, 63, 71, 79, 87, 95),
    *(143, 151, 159, 167, 175, 183, 191),
)
"""Half-hours ahead that are learned; 7 is 4 h and 47 is 24 h after the newest value. The second and
the fourth day are learned whole, and so is how each time of day follows from any other."""

_SECOND_DAY, _FOURTH_DAY = 95, 191
"""The last half-hours of these days."""

_SHORT_LEAD: Final = 31
_CAUTION_DAYS: Final = {True: 60.0, False: 20.0}
"""Days of history after which a feature counts half of what the data say: longer for short leads,
whose changes are mostly noise. Chosen on the first parts of four recorded clusters."""

_TREE_CAUTION_DAYS: Final = 30.0

_HELD_ANYWAY: Final = 1e-3
_SMOOTH: Final = 0.3
_ROUNDS: Final = 30
_TREES: Final = 60
_TREE_OPTIONS: Final = {
    "objective": "l1",
    "num_leaves": 4,
    "learning_rate": 0.06,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "feature_fraction": 0.6,
    "lambda_l2": 5.0,
    "num_threads": 1,
    "seed": 1,
    "deterministic": True,
    "verbosity": -1,
}
_LEAST_EXAMPLES: Final = 60


@dataclass(frozen=True, slots=True, eq=False)
class _Members:
    """The fitted members of one lead."""

    level: Array
    all_features: Array
    trees: lightgbm.Booster
    trust: float

    def change(self, features: Array) -> Array:
        """Return shape ``(N,)``: the mean of what the members expect."""
        grown = self.trust * np.asarray(self.trees.predict(features, num_threads=1))
        each = (features @ self.level, features @ self.all_features, grown)
        return np.asarray(sum(each) / len(each))


class Demand:
    """GPUs in use at a site, or by work that nobody steers."""

    name = "demand"

    def __init__(self) -> None:
        self._target = ""
        self._features: tuple[str, ...] = ()
        self._usual = 1.0
        self._members: dict[int, _Members] = {}
        self._bands: Bands | None = None

    def fit(self, known: Knowledge) -> None:
        """See `Forecaster.fit`; queued GPUs and staying jobs are used where they are inputs."""
        past = learnable(known, least_days=LEAST_DAYS)
        self._target, self._features = known.target, names_of(known)
        self._usual, self._members = usual(past), {}
        missed = []
        for lead, given in zip(LEADS, examples(known, LEADS), strict=True):
            if len(given) >= _LEAST_EXAMPLES:
                self._members[lead] = self._fit(given, lead)
                missed.append(self._missed(given, lead))
        if not missed:
            raise ContractError(f"{known.target}: too little is known to learn from")
        leads, errors, spreads = (np.concatenate(part) for part in zip(*missed, strict=True))
        self._bands = Bands.learn(leads, errors, spreads)

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        """See `Forecaster.predict`."""
        if self._bands is None or known.target != self._target:
            raise ContractError(f"{self.name} is fitted for {self._target!r}, not {known.target!r}")
        if names_of(known) != self._features:
            raise ContractError(
                f"{self.name} is fitted on {self._features}, not on {names_of(known)}"
            )
        seen = view(known, np.arange(half_hours))
        centre = seen.now + self._change(seen) * self._usual
        values = np.maximum(self._bands.around(centre, seen.scale), 0.0)
        return QuantileForecast(known.target, self.name, known.issued, values)

    def dump(self) -> bytes:
        """See `Forecaster.dump`."""
        if self._bands is None:
            raise ContractError(f"{self.name} is not fitted")
        arrays: dict[str, Any] = {"offsets": self._bands.offsets}
        for lead, members in self._members.items():
            arrays[f"level_{lead}"] = members.level
            arrays[f"all_{lead}"] = members.all_features
            arrays[f"trees_{lead}"] = as_array(members.trees.model_to_string().encode())
        state = {
            "target": self._target,
            "features": list(self._features),
            "usual": self._usual,
            "leads": list(self._members),
            "trust": [members.trust for members in self._members.values()],
        }
        return Artefact(self.name, state, arrays).dump()

    @classmethod
    def restore(cls, artefact: Artefact) -> Self:
        """Return the forecaster that was dumped."""
        import lightgbm  # noqa: PLC0415 - slow to import, and needed where there is a model

        restored = cls()
        state, arrays = artefact.state, artefact.arrays
        restored._target, restored._usual = state["target"], float(state["usual"])
        restored._features = tuple(state["features"])
        restored._bands = Bands(arrays["offsets"])
        restored._members = {
            lead: _Members(
                arrays[f"level_{lead}"],
                arrays[f"all_{lead}"],
                lightgbm.Booster(model_str=as_bytes(arrays[f"trees_{lead}"]).decode()),
                trust,
            )
            for lead, trust in zip(state["leads"], state["trust"], strict=True)
        }
        return restored

    def _fit(self, given: Examples, lead: int) -> _Members:
        of_level = np.array([name in LEVEL for name in self._features])
        caution = _CAUTION_DAYS[lead < _SHORT_LEAD] * DAY / EVERY
        level = np.zeros(of_level.size)
        level[of_level] = robust_fit(given.features[:, of_level], given.change, caution)
        trees = _grow(given)
        left = np.abs(given.change - np.asarray(trees.predict(given.features, num_threads=1)))
        doubt = _TREE_CAUTION_DAYS * DAY / EVERY * unexplained(left, _size(given.change))
        return _Members(
            level=level,
            all_features=robust_fit(given.features, given.change, caution),
            trees=trees,
            trust=len(given) / (len(given) + doubt),
        )

    def _missed(self, given: Examples, lead: int) -> tuple[Indices, Array, Array]:
        """Return leads, errors and scales of each half of the history, fitted on the other."""
        middle = float(np.median(given.issued))
        errors = given.change.copy()
        for is_first in (True, False):
            unseen = (given.issued >= middle) == is_first
            rows = given.issued < middle - lead if is_first else given.issued >= middle + lead
            seen = given.part(np.flatnonzero(rows))
            if len(seen) >= _LEAST_EXAMPLES // 3:
                errors[unseen] -= self._fit(seen, lead).change(given.features[unseen])
        return np.full(len(given), lead), errors * self._usual, given.spread * self._usual

    def _change(self, seen: View) -> Array:
        """Return what the members expect for consecutive leads, between those they learned.

        From the third day on those count that look ahead to the same time of day: of the second
        day, and more and more of the fourth.
        """
        features = seen.values / self._usual
        leads = np.arange(len(features))
        second = np.where(leads > _SECOND_DAY, _SECOND_DAY + 1 - DAY + leads % DAY, leads)
        expected = self._expected(second, features)
        if _FOURTH_DAY not in self._members:
            return expected
        fourth = np.where(leads > _SECOND_DAY, _FOURTH_DAY + 1 - DAY + leads % DAY, leads)
        share = np.clip((leads - _SECOND_DAY) / (_FOURTH_DAY - _SECOND_DAY), 0.0, 1.0)
        return np.asarray((1 - share) * expected + share * self._expected(fourth, features))

    def _expected(self, leads: Indices, features: Array) -> Array:
        """Return what the members of these leads expect of those features, row by row."""
        learned = sorted(self._members)
        total = np.zeros(leads.size)
        for place, lead in enumerate(learned):
            weight = _nearness(leads, learned, place)
            near = np.flatnonzero(weight)
            if near.size:
                total[near] += weight[near] * self._members[lead].change(features[near])
        return total


def robust_fit(features: Array, change: Array, caution: float) -> Array:
    """Return coefficients of least absolute error, each held towards 0.

    The less they leave unexplained, the less they are held: a plain rhythm is believed at once.

    Args:
        features: Shape ``(N, F)``.
        change: Shape ``(N,)``, what they should sum to.
        caution: Examples after which a feature counts about half of what the data say.

    Returns:
        Shape ``(F,)``.

    Source:
        Hunter and Lange, "Quantile regression via an MM algorithm" (2000); the penalty is ridge
        in units of each feature's own weight.
    """
    found: Array = np.zeros(features.shape[1])
    size = _size(change)
    for _ in range(_ROUNDS):
        left = np.abs(change - features @ found)
        weighted = features / (2 * (_SMOOTH * size + left))[:, None]
        normal = weighted.T @ features
        held = _HELD_ANYWAY + caution / len(features) * unexplained(left, size)
        normal[np.diag_indices_from(normal)] *= 1 + held
        normal[np.diag_indices_from(normal)] += 1e-9
        found = np.asarray(np.linalg.solve(normal, weighted.T @ change), dtype=np.float64)
    return found


def unexplained(left: Array, size: float) -> float:
    """Return the share of the squared size of changes that a model leaves, at most 1."""
    return min(1.0, (float(left.mean()) / size) ** 2)


def _size(change: Array) -> float:
    return float(np.abs(change).mean()) + 1e-9


def _grow(given: Examples) -> lightgbm.Booster:
    import lightgbm  # noqa: PLC0415 - as above

    options = {**_TREE_OPTIONS, "min_data_in_leaf": max(5, min(400 // EVERY, len(given) // 6))}
    data = lightgbm.Dataset(given.features, given.change, params={"verbosity": -1})
    return lightgbm.train(options, data, _TREES)


def _nearness(leads: Indices, learned: Sequence[int], place: int) -> Array:
    """Return the weight of one learned lead for each lead: 1 at it, 0 at its neighbours."""
    marks = np.zeros(len(learned))
    marks[place] = 1.0
    return np.interp(leads, learned, marks)
