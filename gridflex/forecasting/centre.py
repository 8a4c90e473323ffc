"""The point forecast of one look back: straight lines, trees on what they miss, and trees alone.

The lines carry over well to levels never seen; one set of trees learns what they miss, another
the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import lightgbm
import numpy as np
from lightgbm.basic import LightGBMError
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import as_array, as_bytes
from gridflex.forecasting.checks import HALF_HOURS_A_DAY
from gridflex.forecasting.examples import Examples
from gridflex.forecasting.features import Recipe, Table
from gridflex.forecasting.history import Array, Indices
from gridflex.forecasting.linear import Linear

FARTHEST: Final = 5.0
"""Spreads from the anchor beyond which nothing is learnt."""

FOLD_DAYS: Final = 60
"""Days in a stretch of time that is left out together."""

_DATES: Final = {"own:level", "season_sin", "season_cos"}
"""By these a tree would know the year, and take it for a cause."""

_FOLDS: Final = 3
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
_OF_SIZES: Final = {**_BOOSTING, "num_leaves": 15, "learning_rate": 0.1}


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """Lines and trees on the features of one recipe.

    Args:
        recipe: Of the features.
        linear: The lines.
        above: Trees on what they miss.
        alone: Trees on the whole.
    """

    recipe: Recipe
    linear: Linear
    above: lightgbm.Booster
    alone: lightgbm.Booster

    @classmethod
    def fit(cls, recipe: Recipe, examples: Examples, *, trees: int, seed: int) -> Centre:
        """Learn from examples of the recipe; ``trees`` are in each of the two sets."""
        truth = np.clip(examples.scaled, -FARTHEST, FARTHEST)
        missed = truth - _out_of_fold(examples, truth)
        return cls(
            recipe,
            _line(examples, truth),
            boosted(examples, missed, trees=trees, seed=seed),
            boosted(examples, truth, trees=trees, seed=seed + 1),
        )

    def said(self, of: Table | Examples, leads: Indices) -> Array:
        """Return what the lines say, the lines with trees above, and the trees alone.

        Returns:
            Shape ``(3, N)``, in the unit of the target.
        """
        straight = self.linear.predict(of.matrix, leads)
        parts = [straight, straight + run(self.above, of), run(self.alone, of)]
        return np.asarray(of.anchor + of.spread * np.array(parts))

    def arrays(self, place: str) -> dict[str, NDArray[Any]]:
        """Return what is stored of it, each name with ``place`` at its end."""
        trees = {"above": stored_trees(self.above), "alone": stored_trees(self.alone)}
        linear = self.linear
        lines = {"middle": linear.middle, "size": linear.size, "weights": linear.weights}
        stored: dict[str, NDArray[Any]] = {**trees, **lines}
        return {f"{name}{place}": array for name, array in stored.items()}

    @classmethod
    def restore(
        cls, recipe: Recipe, names: Sequence[str], arrays: Mapping[str, NDArray[Any]], place: str
    ) -> Centre:
        """Return the one that was stored; `Linear` knows the ``names`` of its features."""
        lines = (arrays[f"{name}{place}"] for name in ("middle", "size", "weights"))
        above, alone = (trees_of(arrays, f"{name}{place}") for name in ("above", "alone"))
        return cls(recipe, Linear(tuple(names), *lines), above, alone)


def boosted(examples: Examples, truth: Array, *, trees: int, seed: int) -> lightgbm.Booster:
    """Return trees that tell ``truth``, shape ``(N,)``."""
    return _boost(examples, truth, _BOOSTING, trees=trees, seed=seed)


def boosted_sizes(examples: Examples, sizes: Array, *, trees: int, seed: int) -> lightgbm.Booster:
    """Return small trees that tell how large errors are, shape ``(N,)``."""
    return _boost(examples, sizes, _OF_SIZES, trees=trees, seed=seed)


def run(booster: lightgbm.Booster, of: Table | Examples) -> Array:
    """Return what trees say, shape ``(N,)``."""
    seen = of.matrix[:, _seen(of.names)]
    return np.asarray(booster.predict(seen, num_threads=1), dtype=np.float64)


def stored_trees(booster: lightgbm.Booster) -> NDArray[np.uint8]:
    """Return trees as LightGBM's own text."""
    return as_array(booster.model_to_string().encode())


def trees_of(arrays: Mapping[str, NDArray[Any]], name: str) -> lightgbm.Booster:
    """Return the trees stored under a name.

    Raises:
        ContractError: They cannot be read.
    """
    try:
        return lightgbm.Booster(model_str=as_bytes(arrays[name]).decode())
    except LightGBMError as error:
        raise ContractError(
            f"stored lightgbm forecaster is damaged: trees {name!r}: {error}"
        ) from error


def _seen(names: Sequence[str]) -> list[int]:
    """Columns that trees see."""
    return [column for column, name in enumerate(names) if name not in _DATES]


def _line(examples: Examples, truth: Array) -> Linear:
    return Linear.fit(examples.names, examples.matrix, examples.leads, truth)


def _out_of_fold(examples: Examples, truth: Array) -> Array:
    """What lines say of examples in stretches of time that they were not fitted with."""
    fold = examples.issued // (FOLD_DAYS * HALF_HOURS_A_DAY) % _FOLDS
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
