"""From rows of PostgreSQL to jobs with their attempts, and to what is remembered of ended ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, Select, func, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from gridflex.adapters.tables import AttemptRow, JobRow
from gridflex.forecasting.past_runs import PastRun
from gridflex.jobs import Flexibility, JobId, JobState
from gridflex.lifecycle import Attempt, Job, JobRequest

FLEXIBILITY: Final = TypeAdapter(Flexibility)
REQUEST: Final = TypeAdapter(JobRequest)
_ATTEMPTS: Final = TypeAdapter(tuple[Attempt, ...])

_RUNS: Final = (
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
    .label("attempts")
)
JOBS: Final[Select[Any]] = select(JobRow, _RUNS)
"""Jobs with their attempts in order, as JSON."""

_OPEN: Final[Select[Any]] = (
    select(
        *(
            col(getattr(JobRow, name))
            for name in (
                *("id", "seq", "state", "submitted_at"),
                *("message", "stop_requested_at", "ended_at"),
            )
        ),
        _RUNS,
    )
    .where(col(JobRow.ended_at).is_(None))
    .order_by(col(JobRow.seq))
)
_GRANTED: Final = text("SELECT id, request, flexibility FROM job WHERE id = ANY(:job_ids)")


_PAST: Final = """
    SELECT j.id AS job_id, j.request->>'entrypoint' AS entrypoint, j.flexibility->>'team' AS team,
        CAST(j.flexibility->>'gpus' AS integer) AS gpus, j.submitted_at, j.ended_at,
        j.state = 'succeeded' AS has_succeeded, j.stop_requested_at IS NOT NULL AS was_given_up,
        runs.started_at, greatest(runs.run_time, interval '0') AS run_time
    FROM job j, LATERAL (
        SELECT min(a.started_at) AS started_at,
            sum((a.ended_at - a.started_at) * a.speed_fraction) AS run_time
        FROM attempt a WHERE a.job_id = j.id
    ) AS runs
"""
PAST_OF_ALL: Final = text(
    _PAST + "WHERE j.ended_at IS NOT NULL ORDER BY j.ended_at DESC LIMIT :most"
)
PAST_OF_COMMAND: Final = text(
    _PAST
    + """
    WHERE j.state = 'succeeded' AND md5(j.request->>'entrypoint') = md5(:entrypoint)
        AND j.request->>'entrypoint' = :entrypoint
    ORDER BY j.ended_at DESC LIMIT :most
"""
)


async def read_jobs(
    connection: AsyncConnection, statement: Select[Any], values: Mapping[str, Any] | None = None
) -> list[Job]:
    """Return the jobs that a statement built on `JOBS` finds."""
    return [_job(row) for row in (await connection.execute(statement, values)).mappings()]


class OpenJobs:
    """Reads every job that has not ended, and of each only once what cannot change.

    An agent looks at thousands of jobs every few seconds, and their requests are most of it.
    """

    def __init__(self) -> None:
        self._granted: dict[JobId, tuple[JobRequest, Flexibility]] = {}

    async def read(self, connection: AsyncConnection) -> list[Job]:
        """Return them, oldest first."""
        known = self._granted
        rows = (await connection.execute(_OPEN)).mappings().all()
        if unknown := [row["id"] for row in rows if row["id"] not in known]:
            known = known | await _granted(connection, unknown)
        self._granted = {row["id"]: known[row["id"]] for row in rows}
        return [_job_of(row, *known[row["id"]]) for row in rows]


async def _granted(
    connection: AsyncConnection, job_ids: list[JobId]
) -> dict[JobId, tuple[JobRequest, Flexibility]]:
    rows = (await connection.execute(_GRANTED, {"job_ids": job_ids})).mappings()
    return {row["id"]: (_request(row), _flexibility(row)) for row in rows}


async def read_past_runs(
    connection: AsyncConnection, *, most: int, entrypoint: str | None
) -> list[PastRun]:
    """Return the jobs that ended last, or of those that succeeded the ones with a command."""
    statement = PAST_OF_ALL if entrypoint is None else PAST_OF_COMMAND
    command = {} if entrypoint is None else {"entrypoint": entrypoint}
    rows = (await connection.execute(statement, {"most": most, **command})).mappings().all()
    return [PastRun(**row) for row in rows]


def _job(row: RowMapping) -> Job:
    return _job_of(row, _request(row), _flexibility(row))


def _request(row: RowMapping) -> JobRequest:
    return REQUEST.validate_python(row["request"])


def _flexibility(row: RowMapping) -> Flexibility:
    return FLEXIBILITY.validate_python(row["flexibility"])


def _job_of(row: RowMapping, request: JobRequest, flexibility: Flexibility) -> Job:
    return Job(
        id=JobId(row["id"]),
        seq=row["seq"],
        state=JobState(row["state"]),
        submitted_at=row["submitted_at"],
        request=request,
        flexibility=flexibility,
        attempts=_ATTEMPTS.validate_python(row["attempts"]),
        message=row["message"],
        stop_requested_at=row["stop_requested_at"],
        ended_at=row["ended_at"],
    )
