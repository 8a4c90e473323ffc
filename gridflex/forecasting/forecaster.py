"""What every forecaster offers, whatever is inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.history import Array, Knowledge
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS, MEDIAN

NEAR_HALF_HOURS: Final = 96
"""48 h: the horizon on which forecasts are judged first."""

FAR_HALF_HOURS: Final = 432
"""48 h and 7 days beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantileForecast:
    """Quantiles of one quantity for consecutive half-hours, made at one issue time.

    Args:
        target: What is forecast, its unit at the end of the name.
        model: Who made it.
        start: Half-hour of row 0, which is the issue time.
        values: Shape ``(T, len(LEVELS))``, non-decreasing along a row, always finite.

    Raises:
        ContractError: The shape is wrong, a value is not finite, or quantiles cross.
    """

    target: str
    model: str
    start: HalfHour
    values: Array

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(LEVELS):  # noqa: PLR2004 - rows and levels
            raise ContractError(
                f"{self.model}: quantiles need shape (T, {len(LEVELS)}), got {self.values.shape}"
            )
        if not np.isfinite(self.values).all():
            raise ContractError(f"{self.model}: a forecast of {self.target} is not finite")
        if (np.diff(self.values, axis=1) < 0).any():
            raise ContractError(f"{self.model}: quantiles of {self.target} cross")

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def median(self) -> Array:
        """Shape ``(T,)``."""
        return self.values[:, MEDIAN]


class Forecaster(Protocol):
    """Forecasts one target from what is known at an issue time."""

    @property
    def name(self) -> str:
        """Short and stable, such as ``lightgbm``."""
        ...

    def fit(self, known: Knowledge) -> None:
        """Learn from everything known at ``known.issued``; examples come from `Knowledge.as_of`.

        Raises:
            ContractError: There is too little history, it is constant, or its unit cannot be right.
        """
        ...

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        """Return quantiles of the ``half_hours`` half-hours from the issue time on.

        Gaps in the inputs widen the band or fall back on other inputs, but never fail.

        Raises:
            ContractError: The forecaster was not fitted, or for another target.
        """
        ...

    def dump(self) -> bytes:
        """Return the fitted state; `gridflex.forecasting.models.load` reads it back."""
        ...
