"""Whether the demo kept what GridFlex promises about jobs.

The database says what was intended, the cluster's own list of jobs says what really ran; a
promise is kept only where both agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from gridflex.jobs import JobId, JobState, Tier
from gridflex.lifecycle import Job
from gridflex.report import JobResult

TIMELY: Final = "no job is late that could have been on time"

T0_WITHIN_S: Final = 10.0
T0_WITHIN_STARTS: Final = 3.0
"""A rigid job must run within so many wall seconds of its submission, or, on a machine where
that is longer, so many times what Ray itself takes to start a job."""


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """One job as the cluster lists it.

    Args:
        ray_id: Submission id on the cluster.
        job_id: GridFlex job that it is an attempt of; None if it is none.
        status: Ray's status.
        started_wall: When the cluster accepted it.
        ended_wall: When it ended.
    """

    ray_id: str
    job_id: str | None
    status: str
    started_wall: datetime | None
    ended_wall: datetime | None


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise and what broke it.

    Args:
        text: What was promised.
        broken_by: Each case, for a person to read; empty if it was kept.
    """

    text: str
    broken_by: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Whether nothing broke it."""
        return not self.broken_by


def check_promises(
    submitted: Sequence[JobId],
    jobs: Sequence[Job],
    runs: Sequence[ClusterRun],
    results: Sequence[JobResult],
    *,
    speed: float,
    start_s: float,
) -> list[Promise]:
    """Return every promise about jobs, kept or not.

    Args:
        submitted: What was sent to GridFlex and acknowledged.
        jobs: What the database says.
        runs: What the cluster says.
        results: How the jobs went that ran to their end.
        speed: Seconds of GridFlex time per second of wall time.
        start_s: Wall seconds that Ray itself takes to start a job.
    """
    within_s = max(T0_WITHIN_S, T0_WITHIN_STARTS * start_s)
    return [
        Promise("no job is lost", tuple(_lost(submitted, jobs, runs))),
        Promise("no job runs that was not asked for", tuple(_unasked(jobs, runs))),
        Promise("no job runs twice at the same time", tuple(_overlapping(jobs, runs))),
        Promise("every job is done once", tuple(_not_once(jobs, runs))),
        Promise(TIMELY, tuple(_late(results))),
        Promise(
            f"rigid jobs (T0) run within {within_s:.0f} s",
            tuple(_slow(t0_start_s(jobs, speed=speed), within_s=within_s)),
        ),
    ]


def t0_start_s(jobs: Iterable[Job], *, speed: float) -> dict[JobId, float]:
    """Return the wall seconds from submission to running of each rigid job; inf if it never ran."""
    return {
        job.id: (job.attempts[0].started_at - job.submitted_at).total_seconds() / speed
        if job.attempts and job.attempts[0].started_at
        else float("inf")
        for job in jobs
        if job.flexibility.tier is Tier.T0
    }


def _lost(
    submitted: Sequence[JobId], jobs: Sequence[Job], runs: Sequence[ClusterRun]
) -> Iterable[str]:
    known = {job.id: job for job in jobs}
    listed = {run.ray_id: run for run in runs}
    for job_id in submitted:
        job = known.get(job_id)
        if job is None:
            yield f"{job_id} is not in the database"
        elif job.state is not JobState.SUCCEEDED:
            yield f"{job_id} is {job.state.value}: {job.message or 'no message'}"
    for job in jobs:
        for attempt in job.attempts:
            run = listed.get(attempt.ray_id)
            if run is None:
                yield f"{attempt.ray_id} is not on the cluster"
            elif attempt.outcome and run.status.lower() != attempt.outcome.value:
                yield (
                    f"{attempt.ray_id} is {run.status} on the cluster and "
                    f"{attempt.outcome.value} in the database"
                )


def _unasked(jobs: Sequence[Job], runs: Sequence[ClusterRun]) -> Iterable[str]:
    asked = {attempt.ray_id for job in jobs for attempt in job.attempts}
    ids = {str(job.id) for job in jobs}
    for run in runs:
        if run.ray_id not in asked and (run.job_id or run.ray_id in ids):
            yield f"{run.ray_id} ran on the cluster and is in no attempt of the database"


def _overlapping(jobs: Sequence[Job], runs: Sequence[ClusterRun]) -> Iterable[str]:
    for job in jobs:
        for before, after in pairwise(job.attempts):
            if before.ended_at is None or after.decided_at < before.ended_at:
                yield f"{after.ray_id} was decided before {before.ray_id} had ended"
    for of_one in _by_job(runs).values():
        for first, second in pairwise(of_one):
            began, over = second.started_wall, first.ended_wall
            if over is None or (began and began < over):
                yield f"{second.ray_id} ran on the cluster before {first.ray_id} had ended"


def _not_once(jobs: Sequence[Job], runs: Sequence[ClusterRun]) -> Iterable[str]:
    by_job = _by_job(runs)
    for job in jobs:
        done = [run.ray_id for run in by_job.get(job.id, ()) if run.status == "SUCCEEDED"]
        if len(done) != 1:
            yield f"{job.id} was finished {len(done)} times on the cluster: {', '.join(done)}"


def _late(results: Iterable[JobResult]) -> Iterable[str]:
    for result in results:
        if result.was_late and not result.was_late_now:
            ended_at, deadline = result.job.ended_at, result.job.flexibility.deadline
            yield (
                f"{result.job.id} ended at {ended_at:%H:%M}, its deadline was {deadline:%H:%M}; "
                + ", ".join(_starts(result.job))
            )


def _starts(job: Job) -> Iterable[str]:
    """Say when each attempt was wanted and ran: where these are far apart, Ray was kept waiting."""
    for attempt in job.attempts:
        ran = f"{attempt.started_at:%H:%M}" if attempt.started_at else "never"
        yield f"attempt {attempt.number} decided {attempt.decided_at:%H:%M}, ran {ran}"


def _slow(starts_s: Mapping[JobId, float], *, within_s: float) -> Iterable[str]:
    for job_id, start_s in starts_s.items():
        if start_s > within_s:
            yield f"{job_id} ran after {start_s:.1f} s"


def _by_job(runs: Iterable[ClusterRun]) -> dict[str, list[ClusterRun]]:
    by_job: dict[str, list[ClusterRun]] = {}
    for run in sorted(runs, key=lambda run: (run.started_wall is None, run.started_wall)):
        if run.job_id:
            by_job.setdefault(run.job_id, []).append(run)
    return by_job
