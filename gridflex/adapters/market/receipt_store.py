"""Receipts in PostgreSQL: the entry is in the ledger, its details beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import source_errors
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.ledger.tables import ReceiptRow
from gridflex.adapters.tables import JobRow, Json
from gridflex.jobs import JobId
from gridflex.market.billing.receipts import DraftReceipt, IssuedReceipt


class ReceiptStore:
    """Issues receipts and reads them back.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
        ledger: What they are entries of.
    """

    def __init__(self, engine: AsyncEngine, *, ledger: LedgerStore) -> None:
        self._engine = engine
        self._ledger = ledger

    async def issue(self, draft: DraftReceipt, *, now: datetime) -> int:
        """Record a receipt and return its index; the same one again keeps its place."""
        (index,) = await self._ledger.append([draft.event], now=now)
        row = {
            "ledger_index": index,
            "job_id": draft.event.body["job"],
            "details": dict(draft.details),
        }
        statement = upsert(ReceiptRow).values(**row).on_conflict_do_nothing()
        async with source_errors("storing a receipt"), self._engine.begin() as connection:
            await connection.execute(statement)
        return index

    async def newest(self, job_id: JobId) -> IssuedReceipt | None:
        """Return the last receipt of a job, or None while none is issued and signed."""
        checkpoint = await self._ledger.newest_checkpoint()
        row = await self._newest_row(job_id, before=checkpoint.size) if checkpoint else None
        if row is None or checkpoint is None:
            return None
        logged = await self._ledger.get(row.ledger_index)
        if logged is None:
            return None
        proof = await self._ledger.inclusion_proof(logged.index, size=checkpoint.size)
        return IssuedReceipt(
            index=logged.index,
            entry=logged.event,
            details=row.details,
            inclusion=[base64.b64encode(one).decode() for one in proof],
            checkpoint=checkpoint.note,
        )

    async def is_known(self, job_id: JobId) -> bool:
        """Return whether there is such a job, or a receipt of it that is not signed yet."""
        jobs = select(col(JobRow.id)).where(col(JobRow.id) == job_id)
        async with source_errors("looking for a job"), self._engine.connect() as connection:
            is_job = (await connection.execute(jobs)).first() is not None
        return is_job or bool(await self.issued([job_id]))

    async def issued(self, job_ids: Sequence[JobId]) -> frozenset[JobId]:
        """Return which of these jobs have a receipt."""
        of_jobs = select(col(ReceiptRow.job_id)).where(col(ReceiptRow.job_id).in_(job_ids))
        async with source_errors("reading receipts"), self._engine.connect() as connection:
            return frozenset(JobId(one) for one in (await connection.scalars(of_jobs)).all())

    async def jobs(self) -> list[JobId]:
        """Return the jobs with a receipt, the last one issued first."""
        newest = select(col(ReceiptRow.job_id)).order_by(col(ReceiptRow.ledger_index).desc())
        async with source_errors("reading receipts"), self._engine.connect() as connection:
            found = (await connection.scalars(newest)).all()
        return [JobId(one) for one in dict.fromkeys(found)]

    async def _newest_row(self, job_id: JobId, *, before: int) -> Row[int, Json] | None:
        statement = (
            select(col(ReceiptRow.ledger_index), col(ReceiptRow.details))
            .where(col(ReceiptRow.job_id) == job_id, col(ReceiptRow.ledger_index) < before)
            .order_by(col(ReceiptRow.ledger_index).desc())
            .limit(1)
        )
        async with source_errors("reading a receipt"), self._engine.connect() as connection:
            return (await connection.execute(statement)).first()
