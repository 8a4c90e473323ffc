"""Whose forecast goes first, with the skill board behind it, in PostgreSQL, append-only."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import single_statements, source_errors
from gridflex.adapters.tables import ForecastRankRow
from gridflex.forecasting.skill import Rank, SkillRow
from gridflex.signals import Signal

_BOARD: Final = TypeAdapter(tuple[SkillRow, ...])


class RankStore:
    """Reads and writes ranks.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._single = single_statements(engine)

    async def add(self, rank: Rank) -> None:
        """Keep a decision."""
        row = {**asdict(rank), "leads": list(rank.leads), "board": [asdict(r) for r in rank.board]}
        async with source_errors("storing a rank"), self._single.connect() as connection:
            await connection.execute(insert(ForecastRankRow).values(**row))

    async def newest(self, signal: Signal, *, now: datetime) -> Rank | None:
        """Return what was decided last by ``now``; None if nothing ever was."""
        statement = (
            select(ForecastRankRow)
            .where(col(ForecastRankRow.signal) == signal, col(ForecastRankRow.at) <= now)
            .order_by(col(ForecastRankRow.at).desc(), col(ForecastRankRow.id).desc())
            .limit(1)
        )
        async with source_errors("reading a rank"), self._single.connect() as connection:
            row = (await connection.execute(statement)).mappings().first()
        if row is None:
            return None
        board = _BOARD.validate_python(row["board"])
        return Rank(signal, row["source"], tuple(row["leads"]), at=row["at"], board=board)
