"""The quantiles in which every forecast of price, carbon or load says how sure it is."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVELS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Quantile levels of every forecast: the median, and bands of 50, 80 and 90 %."""

MEDIAN: Final = LEVELS.index(0.5)
"""Column of the median."""

_BAND_WIDTHS: Final = 2 * NormalDist().inv_cdf(LEVELS[-1])
"""Standard deviations that the widest band spans, were errors normal."""


def standard_deviation(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each half-hour may be off, as the widest band says, were errors normal.

    Args:
        quantiles: Shape ``(T, len(LEVELS))``.
    """
    spread: NDArray[np.float64] = (quantiles[:, -1] - quantiles[:, 0]) / _BAND_WIDTHS
    return spread
