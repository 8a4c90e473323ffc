"""What is remembered of a job that has ended, for learning from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gridflex.forecasting.run_times import KEPT_RUNS, PRIOR_RUNS, RunTimes, kinds_of
from gridflex.jobs import JobId

RUN_TIMES: Final = "run_time_s"
"""The target of a model that says how run times are learnt."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A job that has ended.

    Args:
        job_id: Its id.
        entrypoint: Its command.
        team: Whose it was, if that was said.
        gpus: GPUs while running.
        submitted_at: When it arrived.
        started_at: When it first ran; None if it never did.
        ended_at: When it reached its final state.
        run_time: How long it ran, pauses left out, each run counted at its expected speed.
        has_succeeded: Whether it ran to its end.
        was_given_up: Whether its owner stopped it.
    """

    job_id: JobId
    entrypoint: str
    team: str | None
    gpus: int
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime
    run_time: timedelta
    has_succeeded: bool
    was_given_up: bool

    @property
    def wait(self) -> timedelta:
        """How long it waited for its first run, or until it was given up."""
        return max(timedelta(0), (self.started_at or self.ended_at) - self.submitted_at)


def run_times(
    past: Iterable[PastRun], *, kept: int = KEPT_RUNS, prior_runs: float = PRIOR_RUNS
) -> RunTimes:
    """Return what runs that succeeded teach, the oldest end first; settings are `RunTimes`'."""
    learned = RunTimes(kept=kept, prior_runs=prior_runs)
    for run in sorted(past, key=lambda run: run.ended_at):
        if run.has_succeeded and run.run_time > timedelta(0):
            kinds = kinds_of(entrypoint=run.entrypoint, team=run.team, gpus=run.gpus)
            learned.note(kinds, run.run_time.total_seconds())
    return learned
