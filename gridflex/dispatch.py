"""What one job needs now: the step from a plan to a cluster, without touching either.

The plan in force gives the orders of a half-hour; what a job has already done, what its owner
wants and how late it is decide the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from gridflex.curtailment import Curtailment, closed_since, held_until
from gridflex.halfhour import HalfHour
from gridflex.jobs import PREFIX, JobId, Shape
from gridflex.lifecycle import (
    CHECKPOINT_VARIABLE,
    GPUS_VARIABLE,
    JOB_ID_VARIABLE,
    POWER_CAP_VARIABLE,
    RESUME_VARIABLE,
    STOP_GRACE_VARIABLE,
    Attempt,
    AttemptState,
    Job,
    JobRequest,
    StopReason,
)
from gridflex.planning.plan import PlannedRun

ATTEMPT_OF: Final = f"{PREFIX}attempt-of"
"""Metadata key under which a cluster sees which job an attempt belongs to."""

QUEUE_PATIENCE: Final = 6
"""How many times the usual start a run may wait in its cluster's queue before it is pulled back."""


class Action(StrEnum):
    """What one job needs now."""

    START = "start"
    RESEND = "resend"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Orders:
    """What the plan in force says about one half-hour.

    Args:
        made_at: When the plan was made; None if there is none.
        runs: For every job the plan knows, its run in the half-hour, if any.
        plan: All its runs, past ones included.
        curtailed: Jobs that stand still, whatever the plan says.
        closed: Sites where nothing begins, as the plan was made before an order to free power.
        unlimited: Sites where planned power limits cannot be set: runs there have none.
    """

    made_at: datetime | None
    runs: Mapping[JobId, PlannedRun | None]
    plan: Mapping[JobId, tuple[PlannedRun, ...]] = field(default_factory=dict)
    curtailed: frozenset[JobId] = frozenset()
    closed: frozenset[str] = frozenset()
    unlimited: frozenset[str] = frozenset()

    def know_of(self, job_id: JobId, attempt: Attempt) -> bool:
        """Return whether the plan knew that the attempt would run: ordered it, or came later."""
        began = HalfHour.containing(attempt.decided_at)
        is_ordered = any(run.covers(began) for run in self.plan.get(job_id, ()))
        return is_ordered or (self.made_at is not None and self.made_at > attempt.decided_at)

    def run_of(self, job_id: JobId) -> PlannedRun | None:
        """Return the run of a job as it can be started: without a limit that cannot be set."""
        run = self.runs.get(job_id)
        if run is None or run.site not in self.unlimited:
            return run
        return replace(run, power_cap_fraction=1.0)

    def start(self, job_id: JobId) -> bool:
        """Return whether the job is to begin now."""
        run = self.runs.get(job_id)
        return run is not None and job_id not in self.curtailed and run.site not in self.closed

    def under(self, curtailments: Sequence[Curtailment]) -> Orders:
        """Return what is left of the orders of a plan while power is to be freed."""
        closed = {
            site
            for site, since in closed_since(curtailments).items()
            if self.made_at is None or self.made_at < since
        }
        return replace(
            self, curtailed=frozenset(held_until(curtailments)), closed=frozenset(closed)
        )


def next_action(
    job: Job, orders: Orders, *, now: datetime, restart: timedelta, ask_again_after: timedelta
) -> Action | None:
    """Return what the job needs now, or None.

    Only a plan that knew of a run can end it, or an order to free power; a job that would have to
    start again at once is not paused. A run at another site, on other GPUs or under another power
    limit than ordered is paused, to start again as ordered. A run that still waits in its cluster's
    queue can be pulled back, whether its job may be paused or not; an order to free power does so
    at once, and keeps back what was not sent yet.

    Args:
        job: The job with its attempts.
        orders: What the plan in force says about the current half-hour.
        now: GridFlex time.
        restart: What a start takes before work goes on.
        ask_again_after: When to repeat a request to stop that had no effect.
    """
    run = orders.runs.get(job.id)
    attempt = job.live_attempt
    if attempt is None:
        wanted = orders.start(job.id) or job.must_start(now, restart=restart)
        return Action.START if wanted and not job.stop_requested_at else None
    if job.stop_requested_at:
        ask = _may_ask(attempt, StopReason.STOP, now, again_after=ask_again_after)
        return Action.STOP if ask else None
    is_held = job.id in orders.curtailed and not job.must_start(now, restart=restart)
    if attempt.state is AttemptState.DECIDED:
        return None if is_held else Action.RESEND
    if attempt.state is AttemptState.STOPPING:
        reason = attempt.stop_reason or StopReason.PAUSE
        ask = _may_ask(attempt, reason, now, again_after=ask_again_after)
        return Action(reason.value) if ask else None
    is_wrong = job.id in orders.runs and not (run and _runs_as_ordered(job, attempt, run, orders))
    is_over = is_held or (is_wrong and orders.know_of(job.id, attempt))
    patience = timedelta(0) if is_held else QUEUE_PATIENCE * restart
    may_pause = is_over and _may_pause(job, now, restart=restart, patience=patience)
    return Action.PAUSE if may_pause else None


def attempt_request(job: Job, attempt: Attempt, *, checkpoint_root: str) -> JobRequest:
    """Return what the cluster is asked to run for one attempt.

    The owner's request plus environment: which job and attempt this is, where its checkpoints
    are (unless the owner chose a place), whether it resumes, the grace it needs to stop, and its
    GPUs and power limit. An entrypoint that reserves all of the job's GPUs reserves those.
    """
    given = dict(job.request.runtime_env.get("env_vars") or {})
    grace_s, shape = job.flexibility.stop_grace.total_seconds(), job.shape_of(attempt)
    ours = {
        JOB_ID_VARIABLE: str(job.id),
        CHECKPOINT_VARIABLE: f"{checkpoint_root.rstrip('/')}/{job.id}",
        STOP_GRACE_VARIABLE: f"{grace_s:g}",
        GPUS_VARIABLE: str(shape.gpus),
        POWER_CAP_VARIABLE: f"{shape.power_cap_fraction:g}",
        **given,
    }
    if attempt.number > 1:
        ours[RESUME_VARIABLE] = "1"
    return replace(
        job.request,
        resources=_resources(job, shape),
        runtime_env={**job.request.runtime_env, "env_vars": ours},
        metadata=attempt_metadata(job),
    )


def _resources(job: Job, shape: Shape) -> Mapping[str, Any]:
    asked = job.request.resources
    if job.request.entrypoint_gpus != job.flexibility.gpus or shape.gpus == job.flexibility.gpus:
        return asked
    return {**asked, "num_gpus": shape.gpus}


def attempt_metadata(job: Job) -> dict[str, str]:
    """Return the metadata by which a cluster knows the attempts of ``job``."""
    return {**job.request.metadata, ATTEMPT_OF: str(job.id)}


def _runs_as_ordered(job: Job, attempt: Attempt, run: PlannedRun, orders: Orders) -> bool:
    shape = job.shape_of(attempt)
    if attempt.site != run.site or shape.gpus != run.gpus:
        return False
    return run.site in orders.unlimited or shape == run.shape


def _may_pause(job: Job, now: datetime, *, restart: timedelta, patience: timedelta) -> bool:
    attempt = job.live_attempt
    if attempt is None or job.must_start(now, restart=restart):
        return False
    if attempt.state is AttemptState.SUBMITTED:  # nothing is lost by pulling it back
        return now - attempt.decided_at >= patience
    return attempt.state is AttemptState.RUNNING and job.flexibility.interruptible


def _may_ask(
    attempt: Attempt, reason: StopReason, now: datetime, *, again_after: timedelta
) -> bool:
    if attempt.stop_reason is not reason or attempt.stop_asked_at is None:
        return True
    return now - attempt.stop_asked_at >= again_after
