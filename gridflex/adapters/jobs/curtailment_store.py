"""Orders to free power in PostgreSQL: what must be followed survives whoever follows it.

Orders are given one at a time, so that no two count on the same job; each is noted with its jobs
as well, from where the ledger reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, Select, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import single_statements, source_errors
from gridflex.adapters.tables import CurtailmentRow, JobEventRow
from gridflex.curtailment import CurtailedJob, Curtailment, CurtailmentRequest
from gridflex.errors import ConflictError
from gridflex.lifecycle import JobEventKind

_REQUEST: Final = TypeAdapter(CurtailmentRequest)
_JOBS: Final = TypeAdapter(tuple[CurtailedJob, ...])
_TAKE_TURNS: Final = text("SELECT pg_advisory_xact_lock(hashtext('gridflex curtailment'))")

Choose = Callable[[Sequence[Curtailment]], Curtailment]


class CurtailmentStore:
    """Reads and writes orders.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = single_statements(engine)

    async def place(
        self, order_id: str, request: CurtailmentRequest, choose: Choose, *, now: datetime
    ) -> tuple[Curtailment, bool]:
        """Put an order into force and return it, and whether it is new.

        One that was given before under the same id is returned as it was.

        Args:
            order_id: Its id.
            request: What is asked for.
            choose: From the orders that are not over to the new one.
            now: GridFlex time.

        Raises:
            ConflictError: Another order was given under this id.
        """
        async with source_errors("storing an order"), self._engine.begin() as connection:
            await connection.execute(_TAKE_TURNS)
            known = await _read(connection, _ALL.where(col(CurtailmentRow.id) == order_id))
            if known:
                if known[0].request != request:
                    raise ConflictError(
                        f"order {order_id!r} was given before and asked for something else"
                    )
                return known[0], False
            order = choose(await _read(connection, _standing(now)))
            await connection.execute(insert(CurtailmentRow).values(**_row(order)))
            await _note(connection, order, JobEventKind.CURTAILED, at=order.placed_at)
        return order, True

    async def active(self, now: datetime) -> list[Curtailment]:
        """Return the orders that are to be followed, the oldest first."""
        async with source_errors("reading orders"), self._single.connect() as connection:
            return await _read(connection, _active(now))

    async def get(self, order_id: str) -> Curtailment | None:
        """Return one order, or None if there is none with this id."""
        statement = _ALL.where(col(CurtailmentRow.id) == order_id)
        async with source_errors("reading an order"), self._single.connect() as connection:
            found = await _read(connection, statement)
        return found[0] if found else None

    async def newest(self, *, limit: int) -> list[Curtailment]:
        """Return the last orders, the newest first."""
        statement = _ALL.order_by(col(CurtailmentRow.placed_at).desc()).limit(limit)
        async with source_errors("reading orders"), self._single.connect() as connection:
            return await _read(connection, statement)

    async def end(self, order_id: str, *, at: datetime) -> Curtailment | None:
        """End an order before its time; one that is over stays as it is.

        Returns:
            The order as it now is, or None if there is none with this id.
        """
        is_it = col(CurtailmentRow.id) == order_id
        async with source_errors("ending an order"), self._engine.begin() as connection:
            await connection.execute(_TAKE_TURNS)
            found = await _read(connection, _ALL.where(is_it))
            if found and found[0].is_active(at):
                await connection.execute(update(CurtailmentRow).where(is_it).values(ended_at=at))
                await _note(connection, found[0], JobEventKind.CURTAILMENT_ENDED, at=at)
        return await self.get(order_id)


_ALL: Final[Select[Any]] = select(CurtailmentRow.__table__)  # type: ignore[attr-defined]  # SQLModel


def _active(now: datetime) -> Select[Any]:
    return _standing(now).where(col(CurtailmentRow.placed_at) <= now)


def _standing(now: datetime) -> Select[Any]:
    """Select those that are not over, also what another gateway gave a moment after ``now``."""
    end = func.least(col(CurtailmentRow.until), col(CurtailmentRow.ended_at))
    return _ALL.where(end > now).order_by(col(CurtailmentRow.placed_at), col(CurtailmentRow.id))


async def _read(connection: AsyncConnection, statement: Select[Any]) -> list[Curtailment]:
    return [_order(row) for row in (await connection.execute(statement)).mappings()]


async def _note(
    connection: AsyncConnection, order: Curtailment, kind: JobEventKind, *, at: datetime
) -> None:
    rows = [
        {
            "job_id": one.job_id,
            "at": at,
            "kind": kind,
            "detail": {
                "order": order.id,
                "freed_kw": one.freed_kw,
                "until": order.until.isoformat(),
                "reason": order.request.reason,
            },
        }
        for one in order.jobs
    ]
    await connection.execute(insert(JobEventRow), rows)


def _row(order: Curtailment) -> dict[str, Any]:
    return {
        "id": order.id,
        "placed_at": order.placed_at,
        "until": order.until,
        "request": _REQUEST.dump_python(order.request, mode="json"),
        "jobs": _JOBS.dump_python(order.jobs, mode="json"),
        "limits_kw": dict(order.limits_kw),
    }


def _order(row: RowMapping) -> Curtailment:
    return Curtailment(
        id=row["id"],
        request=_REQUEST.validate_python(row["request"]),
        placed_at=row["placed_at"],
        jobs=_JOBS.validate_python(row["jobs"]),
        limits_kw=row["limits_kw"],
        ended_at=row["ended_at"],
    )
