"""Power limits in PostgreSQL: recorded before they are set, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.adapters.jobs.changes import record
from gridflex.adapters.tables import PowerAbilityRow, PowerLimitRow
from gridflex.capping import Ability, PowerLimit
from gridflex.jobs import JobId
from gridflex.lifecycle import JobEventKind

_ALL: Final[Select[Any]] = select(PowerLimitRow.__table__)  # type: ignore[attr-defined]  # SQLModel


class PowerStore:
    """Reads and writes them.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = single_statements(engine)

    async def open(self) -> list[PowerLimit]:
        """Return the limits that are, or may be, in force, the oldest first."""
        statement = _ALL.where(col(PowerLimitRow.lifted_at).is_(None))
        return await self._limits(statement.order_by(col(PowerLimitRow.id)))

    async def of_attempts(self, attempts: Collection[tuple[JobId, int]]) -> list[PowerLimit]:
        """Return all limits of some runs, each named by its job and number."""
        if not attempts:
            return []
        key = tuple_(col(PowerLimitRow.job_id), col(PowerLimitRow.attempt))
        return await self._limits(_ALL.where(key.in_(list(attempts))))

    async def record(
        self,
        job_id: JobId,
        attempt: int,
        *,
        site: str,
        node_id: str,
        gpu: str,
        before_w: float,
        limit_w: float,
        at: datetime,
    ) -> int:
        """Store the intent to set a limit, and return its number."""
        statement = insert(PowerLimitRow).values(
            job_id=job_id,
            attempt=attempt,
            site=site,
            node_id=node_id,
            gpu=gpu,
            before_w=before_w,
            limit_w=limit_w,
            recorded_at=at,
        )
        async with source_errors("storing a power limit"), self._engine.begin() as connection:
            found = await connection.execute(statement.returning(PowerLimitRow.__table__.c.id))  # type: ignore[attr-defined]  # SQLModel
            return int(found.scalar_one())

    async def note_set(self, numbers: Collection[int], *, at: datetime) -> None:
        """Note that limits came into force."""
        values = {"set_at": func.greatest(at, col(PowerLimitRow.recorded_at))}
        await self._note(numbers, values)

    async def note_lifted(self, numbers: Collection[int], *, at: datetime) -> None:
        """Note that limits were lifted, or never came into force."""
        known = (col(PowerLimitRow.recorded_at), col(PowerLimitRow.set_at))
        await self._note(numbers, {"lifted_at": func.greatest(at, *known)})

    async def tell(
        self,
        job_id: JobId,
        kind: JobEventKind,
        detail: Mapping[str, Any],
        *,
        at: datetime,
    ) -> None:
        """Record an event of the job about its power."""
        async with source_errors("recording an event"), self._single.connect() as connection:
            await record(connection, job_id, at, kind, detail)

    async def abilities(self) -> dict[str, Ability]:
        """Return whether limits can be set, by site that was ever looked at."""
        everything = select(PowerAbilityRow)
        rows = await read_rows(self._single, everything, doing="reading power limits")
        return {row["site"]: Ability(**row) for row in rows}

    async def note_ability(self, ability: Ability) -> None:
        """Keep what is known of a site now."""
        row = {name: getattr(ability, name) for name in Ability.__dataclass_fields__}
        statement = upsert(PowerAbilityRow).values(**row)
        statement = statement.on_conflict_do_update(index_elements=["site"], set_=row)
        async with source_errors("noting power limits"), self._single.connect() as connection:
            await connection.execute(statement)

    async def _note(self, numbers: Collection[int], values: Mapping[str, Any]) -> None:
        if not numbers:
            return
        statement = update(PowerLimitRow).where(col(PowerLimitRow.id).in_(list(numbers)))
        async with source_errors("noting a power limit"), self._engine.begin() as connection:
            await connection.execute(statement.values(**values))

    async def _limits(self, statement: Select[Any]) -> list[PowerLimit]:
        rows = await read_rows(self._single, statement, doing="reading power limits")
        return [PowerLimit(**row) for row in rows]


class PowerAbilities:
    """Where the limits of a plan cannot be set.

    Args:
        store: What was seen.
        asked: Sites where GridFlex is to set them.
    """

    def __init__(self, store: PowerStore, *, asked: Collection[str]) -> None:
        self._store = store
        self._asked = frozenset(asked)

    async def unlimited(self) -> frozenset[str]:
        """Return the sites of which it is not known that they can be set there."""
        if not self._asked:
            return frozenset()
        known = await self._store.abilities()
        return self._asked - {name for name, one in known.items() if one.is_able}
