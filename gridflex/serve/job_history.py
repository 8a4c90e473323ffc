"""What earlier jobs say about one: its run time, and the slack its owner might grant."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import BaseModel

from gridflex.adapters.jobs.store import JobStore
from gridflex.forecasting.past_runs import PastRun, run_times
from gridflex.forecasting.run_times import KEPT_RUNS, kinds_of
from gridflex.forecasting.tolerance import Tolerance, span_text, tolerance
from gridflex.lifecycle import Attempt, Job, Outcome, StopReason
from gridflex.run_time import RunTime
from gridflex.serve.run_times import RUNS_REMEMBERED


class RunTimeView(BaseModel):
    """What is known of a job's run time.

    Attributes:
        median_s: As many runs are shorter as are longer.
        safe_s: Nine in ten are shorter.
        runs: How many earlier runs of the closest kind it rests on.
        basis: What those have in common with the job.
        is_used: Whether plans count on it; false where the owner declared a run time.
        remaining_median_s: Of what is left, given how long it has run.
        remaining_safe_s: Of what is left, to be safe.
    """

    median_s: float
    safe_s: float
    runs: int
    basis: str
    is_used: bool
    remaining_median_s: float
    remaining_safe_s: float


class SuggestionView(BaseModel):
    """Slack that the past of similar jobs would allow; shown, never imposed.

    Attributes:
        granted_slack_s: From submission to deadline, less the run time.
        suggested_slack_s: What the evidence would allow; null where there is too little.
        waits_of: Whose runs waited.
        waits: Runs that waited at least ``accepted_wait_s`` and were still wanted.
        accepted_wait_s: That wait.
        given_up: Similar jobs that their owner stopped while they waited.
        repeats: How often the command came again.
        period_s: Usual time from one to the next.
        free_s: Time after the end of one before which nine in ten had not come again.
    """

    granted_slack_s: float
    suggested_slack_s: float | None
    waits_of: str | None = None
    waits: int = 0
    accepted_wait_s: float | None = None
    given_up: int = 0
    repeats: int = 0
    period_s: float | None = None
    free_s: float | None = None

    @classmethod
    def of(cls, found: Tolerance, *, granted: timedelta) -> SuggestionView:
        """Return the view of what was found."""
        view = cls(
            granted_slack_s=granted.total_seconds(),
            suggested_slack_s=found.slack.total_seconds() if found.slack else None,
        )
        if found.waits:
            view.waits, view.given_up = found.waits.runs, found.waits.given_up
            view.waits_of = found.waits.basis
            view.accepted_wait_s = found.waits.accepted.total_seconds()
        if found.rhythm:
            view.repeats = found.rhythm.repeats
            view.period_s = found.rhythm.period.total_seconds()
            view.free_s = found.rhythm.free.total_seconds()
        return view


class JobHistory(BaseModel):
    """What earlier jobs say about one.

    Attributes:
        run_time: Its run time; null where next to nothing like it ever ran.
        suggestion: The slack that the past would allow.
        lines: The same in sentences.
    """

    run_time: RunTimeView | None
    suggestion: SuggestionView
    lines: list[str]


async def history_of(job: Job, *, jobs: JobStore, now: datetime, restart: timedelta) -> JobHistory:
    """Return what the jobs that have ended say about ``job``.

    Raises:
        SourceError: The database cannot be reached.
    """
    same = await jobs.past_runs(most=KEPT_RUNS, entrypoint=job.request.entrypoint)
    found = await jobs.past_runs(most=RUNS_REMEMBERED)
    past = {run.job_id: run for run in (*same, *found) if run.job_id != job.id}
    return await asyncio.to_thread(told_by, past.values(), job, now=now, restart=restart)


def told_by(past: Iterable[PastRun], job: Job, *, now: datetime, restart: timedelta) -> JobHistory:
    """Return what ``past`` says about ``job``."""
    past = list(past)
    flexibility = job.flexibility
    entrypoint, team = job.request.entrypoint, flexibility.team
    kinds = kinds_of(entrypoint=entrypoint, team=team, gpus=flexibility.gpus)
    learned = flexibility.run_time or run_times(past).of(kinds)
    granted = flexibility.deadline - job.submitted_at - flexibility.safe_duration
    slack = tolerance(past, entrypoint=entrypoint, team=team)
    view = _run_time(job, learned, now=now, restart=restart) if learned else None
    return JobHistory(
        run_time=view,
        suggestion=SuggestionView.of(slack, granted=granted),
        lines=[_of_run_time(job, view), " ".join(slack.sentences(granted=granted))],
    )


def past_lines(job: Job) -> list[str]:
    """Return what an ended job did, in sentences: each of its runs, and whether it was in time."""
    runs = [f"Run {one.number} at {one.site}: {_course(one)}." for one in job.attempts]
    if job.ended_at is None:
        return runs
    ended, due = _minute(job.ended_at), _minute(job.flexibility.deadline)
    when = "in time for" if job.ended_at <= job.flexibility.deadline else "after it was due by"
    ran = job.run_time(job.ended_at)
    work = f"after {span_text(ran)} of runs" if ran else "and never ran"
    return [*runs, f"It ended at {ended}, {when} {due}, {work}."]


def _course(attempt: Attempt) -> str:
    is_pause = attempt.outcome is Outcome.STOPPED and attempt.stop_reason is StopReason.PAUSE
    how = "paused" if is_pause else (attempt.outcome or attempt.state).value
    if attempt.started_at is None:
        return f"never started, {how}"
    until = f" to {_minute(attempt.ended_at)}" if attempt.ended_at else ""
    return f"{_minute(attempt.started_at)}{until}, {how}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _run_time(job: Job, learned: RunTime, *, now: datetime, restart: timedelta) -> RunTimeView:
    return RunTimeView(
        median_s=learned.median.total_seconds(),
        safe_s=learned.safe.total_seconds(),
        runs=learned.runs,
        basis=learned.basis,
        is_used=job.flexibility.run_time is not None,
        remaining_median_s=job.remaining(now, restart=restart).total_seconds(),
        remaining_safe_s=job.safe_remaining(now, restart=restart).total_seconds(),
    )


def _of_run_time(job: Job, view: RunTimeView | None) -> str:
    assumed = span_text(job.flexibility.duration)
    declared = job.flexibility.duration_is_declared
    if view is None:
        source = "as its owner says" if declared else "assumed: nothing like it has run yet"
        return f"Run time {assumed}, {source}."
    learned = (
        f"{span_text(timedelta(seconds=view.median_s))} in the median and below "
        f"{span_text(timedelta(seconds=view.safe_s))} nine times in ten "
        f"({view.runs} runs of {view.basis})"
    )
    if not view.is_used:
        source = "as its owner says" if declared else "assumed when it arrived"
        return f"Run time {assumed}, {source}; earlier runs took {learned}."
    left = (
        ""
        if job.state.is_final
        else f" Left now: {span_text(timedelta(seconds=view.remaining_median_s))}, to be safe "
        f"{span_text(timedelta(seconds=view.remaining_safe_s))}."
    )
    return f"Run time learned: {learned}.{left}"
