"""Keeping what jobs are submitted at the same time in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.batching import Batched, arrays, unnest
from gridflex.adapters.database import single_statements, source_errors
from gridflex.lifecycle import JobEventKind

_NEW: Final = {
    "id": "text",
    "state": "text",
    "submitted_at": "timestamptz",
    "request": "jsonb",
    "flexibility": "jsonb",
}
_ADD: Final = text(f"""
    WITH new AS (
        INSERT INTO job ({", ".join(_NEW)}) SELECT * FROM {unnest(_NEW)}
        ON CONFLICT DO NOTHING RETURNING id, submitted_at
    )
    INSERT INTO job_event (job_id, at, kind, detail)
    SELECT id, submitted_at, '{JobEventKind.SUBMITTED}', '{{}}' FROM new RETURNING job_id
""")  # noqa: S608 - names and types of our own
"""One statement, so one transaction and one round trip: jobs and the events that say so."""


class JobIntake:
    """Answers for each job that is submitted.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = single_statements(engine)
        self._kept = Batched(self._keep)

    async def add(self, row: Mapping[str, Any]) -> bool:
        """Return whether a job was stored; False if there is one of that id.

        Args:
            row: By the names of the columns of ``job``.

        Raises:
            SourceError: The database cannot be reached; it may have been stored all the same.
            ContractError: A value does not fit into the database.
        """
        return await self._kept.ask(row)

    async def _keep(self, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        async with source_errors("storing a job"), self._engine.connect() as connection:
            new = set(await connection.scalars(_ADD, arrays(_NEW, rows)))
        first = {row["id"]: place for place, row in reversed(list(enumerate(rows)))}
        return [row["id"] in new and first[row["id"]] == place for place, row in enumerate(rows)]
