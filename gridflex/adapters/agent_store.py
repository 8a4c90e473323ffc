"""Signs of life of the agents in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.adapters.tables import AgentRow


class AgentStore:
    """Reads and writes the last sign of life of each agent.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = single_statements(engine)

    async def beat(self, name: str, *, at: datetime, detail: dict[str, Any]) -> None:
        """Note that an agent ticked at GridFlex time ``at``."""
        row = {
            "name": name,
            "ticked_at": at,
            "ticked_wall": datetime.now(UTC),
            "detail": detail,
        }
        statement = upsert(AgentRow).values(**row)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=row)
        async with source_errors("noting a tick"), self._engine.begin() as connection:
            await connection.execute(statement)

    async def all(self) -> list[AgentRow]:
        """Return every agent's last sign of life, by name."""
        statement = select(AgentRow).order_by(col(AgentRow.name))
        rows = await read_rows(self._single, statement, doing="reading agents")
        return [AgentRow(**row) for row in rows]
