"""Straight lines and gradient-boosted trees on the same features, averaged.

The lines carry over well to levels never seen; one set of trees learns what they miss, another the
whole. How much each counts at which lead, and the band, come from how wrong a copy was that
had been fitted without the last year: a small model tells calm situations from uncertain ones,
and the errors in its units set the quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import lightgbm
import numpy as np
from lightgbm.basic import LightGBMError
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact, as_array, as_bytes
from gridflex.forecasting.checks import HALF_HOURS_A_DAY, learnable
from gridflex.forecasting.conformal import Bands
from gridflex.forecasting.examples import EVERY, Examples, collect
from gridflex.forecasting.features import Floats, Recipe
from gridflex.forecasting.forecaster import QuantileForecast
from gridflex.forecasting.history import Array, Indices, Knowledge
from gridflex.forecasting.linear import Linear
from gridflex.forecasting.weights import learn_weights, weights_at
from gridflex.signals import BOUNDS, Signal

TREES: Final = 250
_DATES: Final = {"own:level", "season_sin", "season_cos"}
"""By these a tree would know the year, and take it for a cause."""

_HELD_OUT_DAYS: Final = 365
_MOST_HELD_OUT: Final = 0.3
_FOLD_DAYS: Final = 60
_FOLDS: Final = 3
_LEAST_SCALE: Final = 0.02
_FARTHEST: Final = 5.0

_BOOSTING: Final[dict[str, Any]] = {
    "objective": "l1",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
}
_OF_SCALE: Final = {**_BOOSTING, "num_leaves": 15, "learning_rate": 0.1}
_SCALE_TREES: Final = 60


@dataclass(frozen=True, slots=True, eq=False)
class _Centre:
    """The point forecast, in spreads from the anchor."""

    linear: Linear
    above: lightgbm.Booster
    alone: lightgbm.Booster

    @classmethod
    def fit(cls, examples: Examples, *, trees: int, seed: int) -> _Centre:
        truth = np.clip(examples.scaled, -_FARTHEST, _FARTHEST)
        missed = truth - _out_of_fold(examples, truth)
        return cls(
            _line(examples, truth),
            _boost(examples, missed, _BOOSTING, trees=trees, seed=seed),
            _boost(examples, truth, _BOOSTING, trees=trees, seed=seed + 1),
        )

    def parts(self, matrix: Floats, leads: Indices) -> Array:
        """What the lines say, the lines with trees above, and the trees alone: ``(3, N)``."""
        straight = self.linear.predict(matrix, leads)
        seen = matrix[:, _seen(self.linear.names)]
        return np.array([straight, straight + _run(self.above, seen), _run(self.alone, seen)])


class LightGbm:
    """See the module. Any target and inputs; it takes what was known lately.

    Args:
        trees: In each set of trees.
        every: Half-hours between two issue times that it learns from.
        seed: Same history and seed, same forecasts.
    """

    name = "lightgbm"

    def __init__(self, *, trees: int = TREES, every: int = EVERY, seed: int = 0) -> None:
        self._trees, self._every, self._seed = trees, every, seed
        self._fitted: _Fitted | None = None

    def fit(self, known: Knowledge) -> None:
        """See `Forecaster.fit`."""
        learnable(known)
        recipe = Recipe.of(known)
        examples = collect(known, recipe, every=self._every, seed=self._seed)
        held_out = self._held_out(examples, known.half_hours_of_history)
        early = examples.where(~held_out & _over(examples, examples.issued[held_out].min()))
        shares, scale, bands = self._judged(early, examples.where(held_out))
        centre = _Centre.fit(examples, trees=self._trees, seed=self._seed)
        self._fitted = _Fitted(recipe, centre, shares, scale, bands)

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        """See `Forecaster.predict`."""
        fitted = self._known_target(known)
        leads = np.arange(half_hours)
        table = fitted.recipe.table(known, leads)
        if table.names != fitted.centre.linear.names:
            raise ContractError(f"{self.name} was trained on other features; train it again")
        if not np.isfinite(table.anchor).all():
            raise ContractError(
                f"{known.target}: nothing is known of the 28 days before {known.issued}"
            )
        matrix = table.matrix.astype(np.float32)
        said = _shared(fitted.centre.parts(matrix, leads), fitted.shares, leads)
        centre = table.anchor + table.spread * said
        sizes = _run(fitted.scale, matrix[:, _seen(table.names)])
        scale = table.spread * np.maximum(sizes, _LEAST_SCALE)
        low, high = _bounds(known.target)
        values = np.clip(fitted.bands.around(centre, scale), low, high)
        return QuantileForecast(known.target, self.name, known.issued, values)

    def dump(self) -> bytes:
        """See `Forecaster.dump`."""
        if self._fitted is None:
            raise ContractError(f"{self.name} is not fitted")
        state = {"trees": self._trees, "every": self._every, "seed": self._seed}
        return Artefact(self.name, {**state, **self._fitted.state}, self._fitted.arrays).dump()

    @classmethod
    def restore(cls, artefact: Artefact) -> Self:
        """Return the forecaster that was dumped."""
        state = artefact.state
        restored = cls(trees=state["trees"], every=state["every"], seed=state["seed"])
        restored._fitted = _Fitted.restore(artefact)
        return restored

    def _known_target(self, known: Knowledge) -> _Fitted:
        if self._fitted is None:
            raise ContractError(f"{self.name} is not fitted")
        if known.target != self._fitted.recipe.target:
            raise ContractError(
                f"{self.name} is fitted for {self._fitted.recipe.target!r}, not {known.target!r}"
            )
        return self._fitted

    def _held_out(self, examples: Examples, half_hours: int) -> NDArray[np.bool_]:
        first = int(examples.issued.min())
        count = min(_HELD_OUT_DAYS * HALF_HOURS_A_DAY, int(_MOST_HELD_OUT * (half_hours - first)))
        return examples.issued >= half_hours - count

    def _judged(self, early: Examples, late: Examples) -> tuple[Array, lightgbm.Booster, Bands]:
        """Return shares of the parts, what tells how wrong they are, and bands in its units."""
        copy = _Centre.fit(early, trees=self._trees, seed=self._seed)
        parts = copy.parts(late.matrix, late.leads)
        shares = learn_weights(parts * late.spread, late.scaled * late.spread, late.leads)
        missed = late.scaled - _shared(parts, shares, late.leads)
        size = np.minimum(np.abs(missed), _FARTHEST)
        scales = np.empty(len(late))
        fold = late.issued // (_FOLD_DAYS * HALF_HOURS_A_DAY) % 2
        for part in np.unique(fold):
            here = fold == part
            others = ~here if not here.all() else here
            model = self._scale(late.where(others), size[others])
            sizes = _run(model, late.matrix[here][:, _seen(late.names)])
            scales[here] = np.maximum(sizes, _LEAST_SCALE)
        return shares, self._scale(late, size), Bands.learn(late.leads, missed, scales)

    def _scale(self, examples: Examples, sizes: Array) -> lightgbm.Booster:
        trees = min(_SCALE_TREES, self._trees)
        return _boost(examples, sizes, _OF_SCALE, trees=trees, seed=self._seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    recipe: Recipe
    centre: _Centre
    shares: Array
    scale: lightgbm.Booster
    bands: Bands

    @property
    def state(self) -> dict[str, Any]:
        recipe, linear = self.recipe, self.centre.linear
        return {
            "target": recipe.target,
            "ahead": recipe.ahead,
            "behind": recipe.behind,
            "names": linear.names,
        }

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        linear = self.centre.linear
        boosters = {"above": self.centre.above, "alone": self.centre.alone, "scale": self.scale}
        texts = {n: as_array(b.model_to_string().encode()) for n, b in boosters.items()}
        lines = {"middle": linear.middle, "size": linear.size, "weights": linear.weights}
        return {**texts, **lines, "shares": self.shares, "offsets": self.bands.offsets}

    @classmethod
    def restore(cls, artefact: Artefact) -> _Fitted:
        state, arrays = artefact.state, artefact.arrays

        def booster(name: str) -> lightgbm.Booster:
            try:
                return lightgbm.Booster(model_str=as_bytes(arrays[name]).decode())
            except LightGBMError as error:
                raise ContractError(
                    f"stored {artefact.kind} forecaster is damaged: trees {name!r}: {error}"
                ) from error

        names: Sequence[str] = state["names"]
        linear = Linear(tuple(names), arrays["middle"], arrays["size"], arrays["weights"])
        return cls(
            Recipe(state["target"], tuple(state["ahead"]), tuple(state["behind"])),
            _Centre(linear, booster("above"), booster("alone")),
            arrays["shares"],
            booster("scale"),
            Bands(arrays["offsets"]),
        )


def _seen(names: Sequence[str]) -> list[int]:
    """Columns that trees see."""
    return [column for column, name in enumerate(names) if name not in _DATES]


def _shared(parts: Array, shares: Array, leads: Indices) -> Array:
    return np.asarray((parts.T * weights_at(shares, leads)).sum(axis=1))


def _over(examples: Examples, issued: int) -> NDArray[np.bool_]:
    """Whether an example's half-hour was over at an issue time."""
    return examples.issued + examples.leads < issued


def _line(examples: Examples, truth: Array) -> Linear:
    return Linear.fit(examples.names, examples.matrix, examples.leads, truth)


def _out_of_fold(examples: Examples, truth: Array) -> Array:
    """What lines say of examples in stretches of time that they were not fitted with."""
    fold = examples.issued // (_FOLD_DAYS * HALF_HOURS_A_DAY) % _FOLDS
    said = np.zeros(len(examples))
    for part in np.unique(fold):
        here, others = fold == part, fold != part
        if others.any():
            line = _line(examples.where(others), truth[others])
            said[here] = line.predict(examples.matrix[here], examples.leads[here])
    return said


def _boost(
    examples: Examples, truth: Array, settings: dict[str, Any], *, trees: int, seed: int
) -> lightgbm.Booster:
    seen = examples.matrix[:, _seen(examples.names)]
    rows = lightgbm.Dataset(seen, truth, weight=examples.spread)
    return lightgbm.train({**settings, "seed": seed}, rows, num_boost_round=trees)


def _run(booster: lightgbm.Booster, matrix: Floats) -> Array:
    return np.asarray(booster.predict(matrix, num_threads=1), dtype=np.float64)


def _bounds(target: str) -> tuple[float, float]:
    """Values that a target can have at all."""
    if target.endswith("gco2_per_kwh"):
        return BOUNDS[Signal.INTENSITY]
    if target.endswith("gbp_per_mwh"):
        return BOUNDS[Signal.PRICE]
    return -np.inf, np.inf
