"""What followed on many issue times of the past, to learn demand from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.demand_features import DAY, View, view
from gridflex.forecasting.history import Array, Indices, Knowledge

LEARN_DAYS: Final = 120
EVERY: Final = 3
"""Half-hours between two examples; nearer ones say the same again."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What followed, for one lead.

    Args:
        issued: Shape ``(N,)``, half-hour at whose start the features were known.
        features: Shape ``(N, F)``, in units of the usual demand.
        change: Shape ``(N,)``, outturn less newest value, likewise.
        spread: Shape ``(N,)``, how much demand changed from day to day, likewise.
    """

    issued: Indices
    features: Array
    change: Array
    spread: Array

    def __len__(self) -> int:
        return self.change.size

    def part(self, rows: Indices) -> Examples:
        """Return some of them."""
        return Examples(
            self.issued[rows], self.features[rows], self.change[rows], self.spread[rows]
        )


def usual(values: Array) -> float:
    """Return the mean size of what is known, always above 0."""
    told = values[np.isfinite(values)]
    return max(float(np.abs(told).mean()), 1e-3) if told.size else 1e-3


def examples(known: Knowledge, leads: Sequence[int]) -> list[Examples]:
    """Return for each lead what followed on the issue times of the last `LEARN_DAYS`.

    Args:
        known: What is known now.
        leads: Half-hours ahead.
    """
    past = known.past()
    ahead = np.array(leads)
    last, unit = past.size, usual(past)
    seen: list[View] = []
    at = []
    for issued in range(max(DAY, last - LEARN_DAYS * DAY), last, EVERY):
        try:
            seen.append(view(known.as_of(known.issued + (issued - last)), ahead))
        except ContractError:
            continue  # a gap of a month
        at.append(issued)
    if not at:
        return [_none() for _ in leads]
    issues = np.array(at)
    about = issues[:, None] + ahead
    outturn = np.where(about < last, past[np.minimum(about, last - 1)], np.nan)
    change = (outturn - np.array([one.now for one in seen])[:, None]) / unit
    features = np.array([one.values for one in seen]) / unit
    spread = np.array([one.scale for one in seen]) / unit
    told = np.isfinite(change)
    return [
        Examples(issues[row], features[row, place], change[row, place], spread[row])
        for place, row in enumerate(told.T)
    ]


def _none() -> Examples:
    nothing = np.zeros(0)
    return Examples(np.zeros(0, dtype=np.int64), np.zeros((0, 0)), nothing, nothing)
