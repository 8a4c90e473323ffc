"""What agents ask of whoever keeps series, foretold or as they turned out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gridflex.halfhour import HalfHour
from gridflex.signals import Series, Signal


class Outturns(Protocol):
    """Where outturns are kept; see `gridflex.adapters.grid.store.GridStore`."""

    async def outturn(
        self,
        signal: Signal,
        *,
        region: str,
        source: str,
        start: HalfHour,
        half_hours: int,
        known_at: datetime,
    ) -> Series | None:
        """Return the outturns of one source as they were known at ``known_at``.

        The series starts at ``start``, has ``half_hours`` values with NaN for gaps, the
        ``available_at`` of its newest value and the weakest origin among its values
        (simulated before recorded before live). None if there is no value at all.
        """
        ...


class Observations(Outturns, Protocol):
    """Where series are kept; append-only."""

    async def save_series(self, series: Sequence[Series]) -> None:
        """Keep issued forecasts whole, and of outturns every value that is new or has changed.

        A value is new when the newest stored one of the same signal, region, source and
        half-hour differs or is absent. NaN is not a value. Saving the same series twice
        changes nothing.
        """
        ...
