"""How far sources of forecasts have been off, in PostgreSQL, append-only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import RowMapping, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.adapters.tables import ForecastDoubtRow
from gridflex.forecasting.conformal import Bands
from gridflex.forecasting.doubt import Doubt, Doubts
from gridflex.signals import Signal


class DoubtStore:
    """Reads and writes them; implements `gridflex.agents.doubts.DoubtStore`.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._single = single_statements(engine)

    async def add(self, doubts: Doubts) -> None:
        """Keep what was learnt."""
        row = {
            "signal": doubts.signal,
            "at": doubts.at,
            "doubts": [_stored(one) for one in doubts.of.values()],
        }
        async with source_errors("storing errors"), self._single.connect() as connection:
            await connection.execute(insert(ForecastDoubtRow).values(**row))

    async def newest(self, signal: Signal, *, now: datetime) -> Doubts | None:
        """Return what was learnt last by ``now``; None if nothing ever was."""
        statement = (
            select(ForecastDoubtRow)
            .where(col(ForecastDoubtRow.signal) == signal, col(ForecastDoubtRow.at) <= now)
            .order_by(col(ForecastDoubtRow.at).desc(), col(ForecastDoubtRow.id).desc())
            .limit(1)
        )
        async with source_errors("reading errors"), self._single.connect() as connection:
            row = (await connection.execute(statement)).mappings().first()
        return None if row is None else _doubts(signal, row)

    async def between(self, signal: Signal, *, since: datetime, now: datetime) -> Sequence[Doubts]:
        """Return what counted from ``since`` to ``now``, the oldest first."""
        same = col(ForecastDoubtRow.signal) == signal
        before = (
            select(func.max(col(ForecastDoubtRow.at)))
            .where(same, col(ForecastDoubtRow.at) <= since)
            .scalar_subquery()
        )
        statement = (
            select(ForecastDoubtRow)
            .where(
                same,
                col(ForecastDoubtRow.at) >= func.coalesce(before, since),
                col(ForecastDoubtRow.at) <= now,
            )
            .order_by(col(ForecastDoubtRow.at), col(ForecastDoubtRow.id))
        )
        rows = await read_rows(self._single, statement, doing="reading errors")
        return [_doubts(signal, row) for row in rows]


def _doubts(signal: Signal, row: RowMapping) -> Doubts:
    return Doubts(signal, row["at"], {one["source"]: _read(one) for one in row["doubts"]})


def _stored(doubt: Doubt) -> dict[str, Any]:
    return {
        "source": doubt.source,
        "offsets": doubt.bands.offsets.tolist(),
        "is_relative": doubt.is_relative,
        "half_hours": doubt.half_hours,
    }


def _read(stored: dict[str, Any]) -> Doubt:
    return Doubt(
        stored["source"],
        Bands(np.array(stored["offsets"], dtype=np.float64)),
        is_relative=stored["is_relative"],
        half_hours=stored["half_hours"],
    )
