"""Examples to learn from: features as they were at many issue times, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.forecasting.features import BACK, Floats, Recipe, Table
from gridflex.forecasting.forecaster import FAR_HALF_HOURS, NEAR_HALF_HOURS
from gridflex.forecasting.history import Array, Indices, Knowledge

EVERY: Final = 17
"""Half-hours between two issue times, prime to a day: three times as many gained nothing."""

_NEAR_LEADS: Final = 16
_FAR_LEADS: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Half-hours ahead of many issue times; every array has one row for each.

    Args:
        names: Columns of ``matrix``.
        matrix: Features, shape ``(N, names)``, single precision.
        leads: Half-hours ahead.
        issued: Half-hours from the start of the history to the issue time.
        anchor: In the unit of the target.
        spread: In the unit of the target, above 0.
        outturn: What came, in the unit of the target; always known.
    """

    names: tuple[str, ...]
    matrix: Floats
    leads: Indices
    issued: Indices
    anchor: Array
    spread: Array
    outturn: Array

    def __len__(self) -> int:
        return int(self.leads.size)

    @property
    def scaled(self) -> Array:
        """What is learnt: how far the outturn lies from the anchor, in spreads."""
        return (self.outturn - self.anchor) / self.spread

    def where(self, chosen: NDArray[np.bool_]) -> Examples:
        """Return the chosen rows."""
        return Examples(
            self.names,
            self.matrix[chosen],
            self.leads[chosen],
            self.issued[chosen],
            self.anchor[chosen],
            self.spread[chosen],
            self.outturn[chosen],
        )


def collect(
    known: Knowledge, recipes: Sequence[Recipe], *, every: int = EVERY, seed: int = 0
) -> list[Examples]:
    """Return examples from the whole history, each from what was known at its own issue time.

    Args:
        known: Outturns known now are what the examples teach.
        recipes: Of the features, the one that looks back least first; there are examples for
            each, with the same half-hours in the same rows.
        every: Half-hours between two issue times.
        seed: Of the leads drawn at each issue time, spread over near and far ones.
    """
    draw = np.random.default_rng(seed)
    past = known.past()
    rows: list[_Rows] = []
    for issued in range(BACK, past.size - 1, every):
        leads = _leads(draw)
        leads = leads[issued + leads < past.size]
        leads = leads[np.isfinite(past[issued + leads])]
        if not leads.size:
            continue
        then = known.as_of(known.issued - (past.size - issued))
        tables = [recipe.table(then, leads) for recipe in recipes]
        if not np.isfinite(tables[0].anchor).all():  # nothing was known of the days before
            continue
        rows.append(_Rows(issued, leads, tables))
    return [_examples(rows, past, place) for place in range(len(recipes))]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """One issue time, with a table for each recipe."""

    issued: int
    leads: Indices
    tables: Sequence[Table]


def _examples(rows: Sequence[_Rows], past: Array, place: int) -> Examples:
    tables = [row.tables[place] for row in rows]
    counts = [row.leads.size for row in rows]
    leads = np.concatenate([row.leads for row in rows])
    issued = np.repeat([row.issued for row in rows], counts)
    return Examples(
        names=tables[0].names,
        matrix=np.concatenate([table.matrix for table in tables]),
        leads=leads,
        issued=issued,
        anchor=np.concatenate([table.anchor for table in tables]),
        spread=np.repeat([table.spread for table in tables], counts),
        outturn=past[issued + leads],
    )


def _leads(draw: np.random.Generator) -> Indices:
    """Draw one lead from each of equal parts of the near and the far horizon."""
    near = (np.arange(_NEAR_LEADS) + draw.random(_NEAR_LEADS)) / _NEAR_LEADS * NEAR_HALF_HOURS
    far = (np.arange(_FAR_LEADS) + draw.random(_FAR_LEADS)) / _FAR_LEADS
    far = NEAR_HALF_HOURS + far * (FAR_HALF_HOURS - NEAR_HALF_HOURS)
    return np.unique(np.concatenate([near, far]).astype(np.int64))
