"""Jobs, their attempts and their events in PostgreSQL.

Each method is one transaction that changes a job and records the event that says so. A method
that finds the job already past the step it wants to take changes nothing, so that any of them
can be repeated after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.adapters.jobs.changes import (
    ONE_JOB,
    VISIBLE,
    change,
    is_job,
    locked,
    move,
    of_attempt,
    record,
)
from gridflex.adapters.jobs.intake import JobIntake
from gridflex.adapters.jobs.rows import (
    FLEXIBILITY,
    JOBS,
    REQUEST,
    OpenJobs,
    read_jobs,
    read_past_runs,
)
from gridflex.adapters.tables import AttemptRow, EnergyRow, JobEventRow, JobRow
from gridflex.forecasting.past_runs import PastRun
from gridflex.jobs import Flexibility, JobId, JobState, Shape
from gridflex.lifecycle import (
    Attempt,
    AttemptState,
    Job,
    JobEventKind,
    JobRequest,
    Outcome,
    PowerChange,
    StopReason,
    state_after,
)

_OPEN: Final = text("SELECT state, count(*) AS jobs FROM job WHERE ended_at IS NULL GROUP BY state")
_METERED: Final = text("""
    SELECT a.site, max(e.start) AS newest
    FROM energy e JOIN attempt a ON a.job_id = e.job_id AND a.number = e.attempt
    WHERE e.start >= :since GROUP BY a.site
""")


class Added(StrEnum):
    """What came of adding a job."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


class JobStore:
    """Reads and writes jobs.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = single_statements(engine)
        self._open = OpenJobs()
        self._intake = JobIntake(engine)

    async def add(
        self,
        job_id: JobId,
        request: JobRequest,
        flexibility: Flexibility,
        *,
        submitted_at: datetime,
    ) -> Added:
        """Store a new held job.

        Returns:
            ``NEW``; ``SAME`` when the same request is already stored under this id, which
            makes a repeated submission harmless; ``CONFLICT`` when a different one is, or one
            that was deleted.

        Raises:
            SourceError: The database cannot be reached.
        """
        row = {
            "id": job_id,
            "state": JobState.HELD,
            "submitted_at": submitted_at,
            "request": REQUEST.dump_json(request).decode(),
            "flexibility": FLEXIBILITY.dump_json(flexibility).decode(),
        }
        if await self._intake.add(row):
            return Added.NEW
        async with source_errors("storing a job"), self._single.connect() as connection:
            known = select(col(JobRow.request), col(JobRow.deleted_at)).where(is_job(job_id))
            stored, deleted_at = (await connection.execute(known)).one()
        same = REQUEST.validate_python(stored).digest() == request.digest()
        return Added.SAME if same and deleted_at is None else Added.CONFLICT

    async def get(self, job_id: JobId) -> Job | None:
        """Return one job, or None if it is unknown or was deleted."""
        jobs = await self._jobs(ONE_JOB, {"job_id": job_id})
        return jobs[0] if jobs else None

    async def newest(self, *, limit: int = 1000, before_seq: int | None = None) -> list[Job]:
        """Return jobs that were not deleted, newest first."""
        statement = VISIBLE.order_by(col(JobRow.seq).desc()).limit(limit)
        if before_seq is not None:
            statement = statement.where(col(JobRow.seq) < before_seq)
        return await self._jobs(statement)

    async def open_jobs(self) -> list[Job]:
        """Return every job that has not reached a final state, oldest first."""
        async with source_errors("reading jobs"), self._single.connect() as connection:
            return await self._open.read(connection)

    async def live_jobs(self) -> list[Job]:
        """Return every job with a run that is decided and not over, oldest first."""
        live = select(col(AttemptRow.job_id)).where(col(AttemptRow.state) != "ended")
        return await self._jobs(JOBS.where(col(JobRow.id).in_(live)).order_by(col(JobRow.seq)))

    async def count_open(self) -> Mapping[JobState, int]:
        """Return how many jobs have not reached a final state, by state."""
        rows = await read_rows(self._single, _OPEN, doing="counting jobs")
        return {JobState(row["state"]): row["jobs"] for row in rows}

    async def ended_since(self, moment: datetime, *, site: str | None = None) -> list[Job]:
        """Return the jobs that ended at or after ``moment``, oldest first.

        Args:
            moment: GridFlex time.
            site: Only those that ran there; None for all.
        """
        statement = JOBS.where(col(JobRow.ended_at) >= moment).order_by(col(JobRow.seq))
        if site is not None:
            ran_there = select(col(AttemptRow.number)).where(
                col(AttemptRow.job_id) == col(JobRow.id), col(AttemptRow.site) == site
            )
            statement = statement.where(ran_there.exists())
        return await self._jobs(statement)

    async def with_attempts(self, ray_ids: Sequence[str]) -> list[Job]:
        """Return the jobs, deleted ones included, that have an attempt under one of these ids."""
        if not ray_ids:
            return []
        owners = select(col(AttemptRow.job_id)).where(col(AttemptRow.ray_id).in_(ray_ids))
        return await self._jobs(JOBS.where(col(JobRow.id).in_(owners)))

    async def past_runs(self, *, most: int, entrypoint: str | None = None) -> list[PastRun]:
        """Return what is remembered of the jobs that ended last, the newest first.

        Args:
            most: How many at most.
            entrypoint: Only those with this command that succeeded; None for all.
        """
        async with source_errors("reading past runs"), self._single.connect() as connection:
            return await read_past_runs(connection, most=most, entrypoint=entrypoint)

    async def request_stop(self, job_id: JobId, *, at: datetime) -> Job | None:
        """Note that the owner wants the job stopped; one that is not on a cluster ends at once.

        Returns:
            The job as it now is, or None if it is unknown.
        """
        async with source_errors("stopping a job"), self._engine.begin() as connection:
            job = await locked(connection, job_id)
            if job is None or job.state.is_final:
                return job
            if job.stop_requested_at is None:
                await change(connection, job_id, stop_requested_at=at)
                await record(connection, job_id, at, JobEventKind.STOP_REQUESTED)
            if job.live_attempt is None:
                await move(connection, job, JobState.STOPPED, at=at, message="stopped by its owner")
        return await self.get(job_id)

    async def delete(self, job_id: JobId, *, at: datetime) -> bool:
        """Hide a job that has ended; its events stay.

        Returns:
            Whether it had ended and is now hidden.
        """
        async with source_errors("deleting a job"), self._engine.begin() as connection:
            job = await locked(connection, job_id)
            if job is None or not job.state.is_final:
                return False
            await change(connection, job_id, deleted_at=at)
            await record(connection, job_id, at, JobEventKind.DELETED)
        return True

    async def decide_attempt(
        self,
        job_id: JobId,
        *,
        site: str,
        at: datetime,
        shape: Shape | None = None,
        speed_fraction: float = 1.0,
        power_change: PowerChange | None = None,
    ) -> Attempt | None:
        """Store the intent to run the job at ``site``, before anything is sent there.

        Args:
            job_id: The job.
            site: Where.
            at: GridFlex time.
            shape: GPUs and power limit; None is the job's own GPUs at full power.
            speed_fraction: Its expected speed as a share of that in its own shape.
            power_change: How much more or less than the run before it may draw, if at all.

        Returns:
            The new attempt, or None if the job has ended, is to stop, or already has a live one.
        """
        async with source_errors("deciding an attempt"), self._engine.begin() as connection:
            job = await locked(connection, job_id)
            if job is None or job.state.is_final or job.stop_requested_at or job.live_attempt:
                return None
            number = len(job.attempts) + 1
            attempt = Attempt(
                number,
                job.next_ray_id,
                site,
                AttemptState.DECIDED,
                decided_at=at,
                gpus=shape.gpus if shape else None,
                power_cap_fraction=shape.power_cap_fraction if shape else 1.0,
                speed_fraction=speed_fraction,
            )
            await connection.execute(
                insert(AttemptRow).values(
                    job_id=job_id,
                    number=number,
                    ray_id=attempt.ray_id,
                    site=site,
                    state=attempt.state,
                    decided_at=at,
                    gpus=attempt.gpus,
                    power_cap_fraction=attempt.power_cap_fraction,
                    speed_fraction=attempt.speed_fraction,
                )
            )
            detail: dict[str, Any] = {"attempt": number, "site": site}
            if shape:
                detail |= {"gpus": shape.gpus, "power_cap_fraction": shape.power_cap_fraction}
            await record(connection, job_id, at, JobEventKind.DECIDED, detail)
            if power_change:
                changed = {"attempt": number, **asdict(power_change)}
                await record(connection, job_id, at, JobEventKind.CAP_CHANGED, changed)
        return attempt

    async def attempt_submitted(self, job_id: JobId, number: int, *, at: datetime) -> None:
        """Note that the cluster has accepted the attempt."""
        async with source_errors("noting a submission"), self._engine.begin() as connection:
            await locked(connection, job_id)
            statement = of_attempt(job_id, number).where(
                col(AttemptRow.state) == AttemptState.DECIDED
            )
            if (await connection.execute(statement.values(state=AttemptState.SUBMITTED))).rowcount:
                await record(connection, job_id, at, JobEventKind.DISPATCHED, {"attempt": number})

    async def attempt_started(
        self, job_id: JobId, number: int, *, at: datetime, driver: Mapping[str, Any]
    ) -> None:
        """Note that the cluster runs the attempt since ``at``."""
        async with source_errors("noting a start"), self._engine.begin() as connection:
            job = await locked(connection, job_id)
            attempt = job.live_attempt if job else None
            if job is None or attempt is None or attempt.number != number or attempt.started_at:
                return
            state = (
                attempt.state if attempt.state is AttemptState.STOPPING else AttemptState.RUNNING
            )
            await connection.execute(
                of_attempt(job_id, number).values(state=state, started_at=at, driver=dict(driver))
            )
            await record(connection, job_id, at, JobEventKind.STARTED, {"attempt": number})
            await move(connection, job, JobState.RUNNING, at=at)

    async def attempt_stopping(
        self, job_id: JobId, number: int, *, reason: StopReason, at: datetime
    ) -> None:
        """Store the intent to stop the attempt, or to ask again, before the cluster is asked."""
        async with source_errors("stopping an attempt"), self._engine.begin() as connection:
            job = await locked(connection, job_id)
            attempt = job.live_attempt if job else None
            if attempt is None or attempt.number != number:
                return
            changes = {"state": AttemptState.STOPPING, "stop_asked_at": at, "stop_reason": reason}
            await connection.execute(of_attempt(job_id, number).values(**changes))
            if attempt.stop_reason is not reason:
                detail = {"attempt": number, "reason": reason}
                await record(connection, job_id, at, JobEventKind.STOP_ASKED, detail)

    async def attempt_ended(
        self,
        job_id: JobId,
        number: int,
        *,
        outcome: Outcome,
        at: datetime,
        driver: Mapping[str, Any],
        started_at: datetime | None = None,
    ) -> None:
        """Note how the attempt ended and move the job on.

        Args:
            job_id: The job.
            number: The attempt.
            outcome: How it ended.
            at: When, as the cluster says.
            driver: What the cluster says about it.
            started_at: When it started, where the start itself was never seen.
        """
        async with source_errors("noting an end"), self._engine.begin() as connection:
            job = await locked(connection, job_id)
            attempt = job.live_attempt if job else None
            if job is None or attempt is None or attempt.number != number:
                return
            await connection.execute(
                of_attempt(job_id, number).values(
                    state=AttemptState.ENDED,
                    outcome=outcome,
                    started_at=attempt.started_at or started_at,
                    ended_at=at,
                    driver=dict(driver),
                )
            )
            await record(
                connection, job_id, at, JobEventKind.ENDED, {"attempt": number, "outcome": outcome}
            )
            await move(
                connection,
                job,
                _next_state(job, attempt, outcome),
                at=at,
                message=driver.get("message"),
            )

    async def add_energy(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append metered half-hours (columns of `EnergyRow`); those already stored stay."""
        if not rows:
            return
        async with source_errors("storing energy"), self._engine.begin() as connection:
            await connection.execute(upsert(EnergyRow).on_conflict_do_nothing(), list(rows))

    async def newest_metered(self, *, since: datetime) -> Mapping[str, datetime]:
        """Return the start of the newest metered half-hour of each site, from ``since`` on."""
        rows = await read_rows(self._single, _METERED, {"since": since}, doing="reading energy")
        return {row["site"]: row["newest"] for row in rows}

    async def energy(self, job_ids: Sequence[str]) -> list[EnergyRow]:
        """Return the metered half-hours of some jobs, in order of time."""
        of_jobs = select(EnergyRow).where(col(EnergyRow.job_id).in_(job_ids))
        statement = of_jobs.order_by(col(EnergyRow.start))
        rows = await read_rows(self._single, statement, doing="reading energy")
        return [EnergyRow(**row) for row in rows]

    async def events(self, job_id: JobId) -> list[JobEventRow]:
        """Return what happened to a job, in order."""
        of_job = select(JobEventRow).where(col(JobEventRow.job_id) == job_id)
        statement = of_job.order_by(col(JobEventRow.id))
        rows = await read_rows(self._single, statement, doing="reading events")
        return [JobEventRow(**row) for row in rows]

    async def _jobs(
        self, statement: Select[Any], values: Mapping[str, Any] | None = None
    ) -> list[Job]:
        async with source_errors("reading jobs"), self._single.connect() as connection:
            return await read_jobs(connection, statement, values)


def _next_state(job: Job, attempt: Attempt, outcome: Outcome) -> JobState:
    state = state_after(attempt, outcome)
    if state is not JobState.PAUSED:
        return state
    if job.stop_requested_at:
        return JobState.STOPPED
    return JobState.HELD if job.state is JobState.HELD else JobState.PAUSED
