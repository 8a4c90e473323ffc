"""Bands around a point forecast, as wide as past errors of the same lead time were.

Errors are kept in units of a local scale, so that a band learnt in a calm year widens in a
wild one. Quantiles of the kept errors have the conformal correction for a finite sample: the
band covers a new error of the same kind with at least the promised probability.

Source:
    Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (split conformal).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.forecaster import FAR_HALF_HOURS
from gridflex.forecasting.history import Array, Indices
from gridflex.quantiles import LEVELS, MEDIAN

LEAD_EDGES: Final = (
    0,
    1,
    2,
    4,
    6,
    8,
    12,
    16,
    20,
    24,
    32,
    40,
    48,
    60,
    72,
    96,
    144,
    240,
    FAR_HALF_HOURS,
)
"""Half-hours ahead at which a new group of leads begins; errors grow fastest at first."""

_LEAST_ERRORS: Final = 20
"""Fewer say nothing of a 5 % tail."""


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """Quantiles of scaled errors by group of leads.

    Args:
        offsets: Shape ``(len(LEAD_EDGES) - 1, len(LEVELS))``, 0 in the column of the median.
    """

    offsets: Array

    @classmethod
    def learn(cls, leads: Indices, errors: Array, scales: Array) -> Bands:
        """Return the bands of past errors.

        Args:
            leads: Shape ``(N,)``, half-hours ahead.
            errors: Shape ``(N,)``, outturn less forecast; NaN where no outturn is known.
            scales: Shape ``(N,)``, the scale at the time, above 0.

        Raises:
            ContractError: There are too few errors to learn from.
        """
        told = np.isfinite(errors)
        if told.sum() < _LEAST_ERRORS:
            raise ContractError(f"{told.sum()} past errors are known, {_LEAST_ERRORS} are needed")
        groups, sizes = _group(leads[told]), errors[told] / scales[told]
        offsets = np.full((len(LEAD_EDGES) - 1, len(LEVELS)), np.nan)
        for group in range(len(offsets)):
            of_group = sizes[groups == group]
            if of_group.size >= _LEAST_ERRORS:
                offsets[group] = _quantiles(of_group)
        return cls(_from_neighbours(offsets))

    def around(self, centre: Array, scale: Array | float, *, first_lead: int = 0) -> Array:
        """Return quantiles, shape ``(T, len(LEVELS))``, around a point forecast.

        Args:
            centre: Shape ``(T,)``, the point forecast of consecutive half-hours.
            scale: Shape ``(T,)`` or one for all, above 0.
            first_lead: Half-hours ahead of ``centre[0]``.
        """
        offsets = self.offsets[_group(first_lead + np.arange(centre.size))]
        scales: Array = np.broadcast_to(scale, centre.shape)
        return np.asarray(centre[:, None] + offsets * scales[:, None])


def _group(leads: Indices) -> Indices:
    groups: Indices = np.searchsorted(LEAD_EDGES, leads, side="right") - 1
    return np.clip(groups, 0, len(LEAD_EDGES) - 2)


def _quantiles(sizes: Array) -> Array:
    """Order statistics that lie further out than plain quantiles by one part in the sample."""
    levels = np.array(LEVELS)
    outward = np.where(levels < levels[MEDIAN], -1.0, 1.0) * np.abs(levels - levels[MEDIAN])
    corrected = levels + 2 * outward / sizes.size
    found = np.quantile(sizes, np.clip(corrected, 0.0, 1.0))
    found[:MEDIAN] = np.minimum(found[:MEDIAN], 0.0)
    found[MEDIAN] = 0.0
    found[MEDIAN + 1 :] = np.maximum(found[MEDIAN + 1 :], 0.0)
    return np.asarray(found)


def _from_neighbours(offsets: Array) -> Array:
    """Give a group without errors those of the next nearer one that has some, else of the first."""
    told = np.flatnonzero(np.isfinite(offsets[:, MEDIAN]))
    if told.size == 0:
        raise ContractError("no group of leads has enough past errors")
    nearest = told[
        np.clip(np.searchsorted(told, np.arange(len(offsets)), side="right") - 1, 0, None)
    ]
    return offsets[nearest]
