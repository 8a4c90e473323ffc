"""From rows of PostgreSQL to jobs with their attempts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, Select, func, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from gridflex.adapters.tables import AttemptRow, JobRow
from gridflex.jobs import Flexibility, JobId, JobState
from gridflex.lifecycle import Attempt, Job, JobRequest

FLEXIBILITY: Final = TypeAdapter(Flexibility)
REQUEST: Final = TypeAdapter(JobRequest)
_ATTEMPTS: Final = TypeAdapter(tuple[Attempt, ...])

JOBS: Final[Select[Any]] = select(
    JobRow,
    select(
        func.coalesce(
            func.jsonb_agg(
                aggregate_order_by(
                    func.jsonb_build_object(
                        *(
                            part
                            for name in Attempt.__dataclass_fields__
                            for part in (name, getattr(AttemptRow, name))
                        )
                    ),
                    col(AttemptRow.number),
                )
            ),
            text("'[]'::jsonb"),
        )
    )
    .where(col(AttemptRow.job_id) == col(JobRow.id))
    .scalar_subquery()
    .label("attempts"),
)
"""Jobs with their attempts in order, as JSON."""


async def read_jobs(
    connection: AsyncConnection, statement: Select[Any], values: Mapping[str, Any] | None = None
) -> list[Job]:
    """Return the jobs that a statement built on `JOBS` finds."""
    return [_job(row) for row in (await connection.execute(statement, values)).mappings()]


def _job(row: RowMapping) -> Job:
    return Job(
        id=JobId(row["id"]),
        seq=row["seq"],
        state=JobState(row["state"]),
        submitted_at=row["submitted_at"],
        request=REQUEST.validate_python(row["request"]),
        flexibility=FLEXIBILITY.validate_python(row["flexibility"]),
        attempts=_ATTEMPTS.validate_python(row["attempts"]),
        message=row["message"],
        stop_requested_at=row["stop_requested_at"],
        ended_at=row["ended_at"],
    )
