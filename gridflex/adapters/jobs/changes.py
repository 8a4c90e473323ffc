"""Changes of a job within a transaction, each with the event that says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Update, bindparam, insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from gridflex.adapters.jobs.rows import JOBS, read_jobs
from gridflex.adapters.tables import AttemptRow, JobEventRow, JobRow
from gridflex.jobs import FINAL_STATES, JobId, JobState
from gridflex.lifecycle import Job, JobEventKind

VISIBLE: Final = JOBS.where(col(JobRow.deleted_at).is_(None))
"""Jobs that were not deleted."""

ONE_JOB: Final = VISIBLE.where(col(JobRow.id) == bindparam("job_id"))
_LOCK: Final = text("SELECT 1 FROM job WHERE id = :job_id FOR UPDATE")


def is_job(job_id: JobId) -> ColumnElement[bool]:
    """Return the condition that a row is of this job."""
    return col(JobRow.id) == job_id


def of_attempt(job_id: JobId, number: int) -> Update:
    """Return the update of one attempt, to be given its values."""
    return update(AttemptRow).where(
        col(AttemptRow.job_id) == job_id, col(AttemptRow.number) == number
    )


async def locked(connection: AsyncConnection, job_id: JobId) -> Job | None:
    """Return a job that nobody else changes meanwhile, or None if it is unknown or was deleted."""
    await connection.execute(_LOCK, {"job_id": job_id})
    jobs = await read_jobs(
        connection, ONE_JOB, {"job_id": job_id}
    )  # a new snapshot, under the lock
    return jobs[0] if jobs else None


async def move(
    connection: AsyncConnection,
    job: Job,
    state: JobState,
    *,
    at: datetime,
    message: str | None = None,
) -> None:
    """Move a job on to ``state``; that it is another than before is an event."""
    ended_at = at if state in FINAL_STATES else None
    await change(connection, job.id, state=state, ended_at=ended_at, message=message)
    if state is not job.state:
        await record(connection, job.id, at, JobEventKind.STATE, {"from": job.state, "to": state})


async def change(connection: AsyncConnection, job_id: JobId, **changes: object) -> None:
    """Change columns of a job."""
    await connection.execute(update(JobRow).where(is_job(job_id)).values(**changes))


async def record(
    connection: AsyncConnection,
    job_id: JobId,
    at: datetime,
    kind: JobEventKind,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append an event of a job."""
    row = {"job_id": job_id, "at": at, "kind": kind, "detail": dict(detail or {})}
    await connection.execute(insert(JobEventRow).values(**row))
