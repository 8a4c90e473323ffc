"""A job from submission to its end, through all its attempts.

What was asked for (`JobRequest`), what the owner allows (`Flexibility`) and each run on a
cluster (`Attempt`). How much work is left, whether it must start now and what a person should
be told follow from these values and the time alone. Instants are aware UTC, GridFlex time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.jobs import Flexibility, JobId, JobState, Shape, Tier
from gridflex.run_time import MEDIAN_LEVEL, SAFE_LEVEL

RESUME_VARIABLE: Final = "GRIDFLEX_RESUME"
JOB_ID_VARIABLE: Final = "GRIDFLEX_JOB_ID"
CHECKPOINT_VARIABLE: Final = "GRIDFLEX_CHECKPOINT_DIR"
GPUS_VARIABLE: Final = "GRIDFLEX_GPUS"
POWER_CAP_VARIABLE: Final = "GRIDFLEX_POWER_CAP_FRACTION"
STOP_GRACE_VARIABLE: Final = "RAY_JOB_STOP_WAIT_TIME_S"
"""Ray reads the grace between SIGTERM and SIGKILL from the job's own environment."""

LEAST_REMAINING: Final = timedelta(minutes=1)
"""What a job that has outrun its declared duration is still taken to need."""


RIGID_START: Final = timedelta(minutes=5)
"""How soon a rigid job (T0) is promised to start; its deadline counts from its submission."""


class JobEventKind(StrEnum):
    """What happened to a job; ``cap changed`` if a run may draw another power than the last."""

    SUBMITTED = "submitted"
    DECIDED = "decided"
    CAP_CHANGED = "cap changed"
    DISPATCHED = "dispatched"
    STARTED = "started"
    STOP_ASKED = "stop asked"
    ENDED = "ended"
    STATE = "state"
    STOP_REQUESTED = "stop requested"
    DELETED = "deleted"
    CURTAILED = "curtailed"
    CURTAILMENT_ENDED = "curtailment ended"
    POWER_LIMITED = "power limited"
    POWER_NOT_LIMITED = "power not limited"
    POWER_RESTORED = "power restored"


CAP_CHANGED: Final = JobEventKind.CAP_CHANGED


class AttemptState(StrEnum):
    """Where one run of a job is."""

    DECIDED = "decided"
    SUBMITTED = "submitted"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Outcome(StrEnum):
    """How one run of a job ended; ``lost`` when its cluster no longer knows it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


class StopReason(StrEnum):
    """Why GridFlex asked a run to stop."""

    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The body of Ray's ``POST /api/jobs/``, without the submission id.

    Args:
        entrypoint: Shell command.
        runtime_env: Ray runtime environment.
        metadata: Ray job metadata.
        resources: The ``entrypoint_*`` fields as sent, without their prefix; absent ones left out.
    """

    entrypoint: str
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entrypoint_gpus(self) -> float:
        """GPUs reserved for the entrypoint."""
        return float(self.resources.get("num_gpus") or 0)

    @property
    def entrypoint_cpus(self) -> float:
        """CPUs the entrypoint is taken to keep busy."""
        return float(self.resources.get("num_cpus") or 1)

    @property
    def package_uris(self) -> tuple[str, ...]:
        """Uploaded packages that the runtime environment refers to, ``gcs://…``."""
        working_dir = self.runtime_env.get("working_dir")
        modules = self.runtime_env.get("py_modules") or ()
        named = (working_dir, *modules)
        return tuple(uri for uri in named if isinstance(uri, str) and uri.startswith("gcs://"))

    def digest(self) -> str:
        """Return a digest that is equal for equal requests."""
        content = [
            self.entrypoint,
            dict(self.runtime_env),
            dict(self.metadata),
            dict(self.resources),
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PowerChange:
    """A run may draw another power than the run before it: other GPUs, or another limit.

    Args:
        from_kw: What the run before was allowed, at the meter.
        to_kw: What this one is.
    """

    from_kw: float
    to_kw: float


ID_TAKEN: Final = "is_another_job"
"""Key of `Attempt.driver` where the cluster has another job under the attempt's id."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job on a cluster.

    Args:
        number: From 1.
        ray_id: Submission id on the cluster; derived, so that sending it again is harmless.
        site: Where.
        state: Where it is.
        decided_at: When the intent was stored.
        started_at: When the cluster started it.
        stop_asked_at: When GridFlex asked it to stop.
        stop_reason: Why.
        ended_at: When the cluster says that it ended.
        outcome: How.
        driver: What the cluster says about it: message, error type, driver addresses.
        gpus: GPUs it holds; None are the job's own.
        power_cap_fraction: Power limit of each GPU as a share of its uncapped draw.
        speed_fraction: Its expected speed as a share of that on the job's own GPUs uncapped.
    """

    number: int
    ray_id: str
    site: str
    state: AttemptState
    decided_at: datetime
    started_at: datetime | None = None
    stop_asked_at: datetime | None = None
    stop_reason: StopReason | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    driver: Mapping[str, Any] | None = None
    gpus: int | None = None
    power_cap_fraction: float = 1.0
    speed_fraction: float = 1.0

    @property
    def is_live(self) -> bool:
        """Whether it may still be running somewhere."""
        return self.state is not AttemptState.ENDED

    @property
    def has_its_id(self) -> bool:
        """Whether it, and no other job, is what its cluster knows under its id."""
        return not (self.driver or {}).get(ID_TAKEN, False)

    def run_time(self, now: datetime) -> timedelta:
        """Return how long it has been running at ``now``."""
        if self.started_at is None:
            return timedelta(0)
        return max(timedelta(0), min(self.ended_at or now, now) - self.started_at)

    def work_time(self, now: datetime, *, restart: timedelta) -> timedelta:
        """Return how much of its run time at ``now`` was work, which begins after ``restart``.

        Args:
            now: GridFlex time.
            restart: What a start takes, from its decision on; queueing counts towards it.
        """
        if self.started_at is None:
            return timedelta(0)
        began = max(self.started_at, self.decided_at + restart)
        return max(timedelta(0), min(self.ended_at or now, now) - began)


@dataclass(frozen=True, slots=True)
class Job:
    """One flexible job with all its attempts.

    Args:
        id: Submission id that the owner knows.
        seq: Order of arrival.
        state: Where it is.
        submitted_at: When it arrived.
        request: What to run.
        flexibility: What the owner allows.
        attempts: In order; at most the last one is live.
        message: The last thing to tell the owner.
        stop_requested_at: When the owner asked to stop it.
        ended_at: When it reached a final state.
    """

    id: JobId
    seq: int
    state: JobState
    submitted_at: datetime
    request: JobRequest
    flexibility: Flexibility
    attempts: tuple[Attempt, ...] = ()
    message: str | None = None
    stop_requested_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def live_attempt(self) -> Attempt | None:
        """The attempt that may be running, if any."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].is_live else None

    @property
    def is_waiting(self) -> bool:
        """Whether it is held or paused: on no cluster, and not at its end."""
        return not self.state.is_final and self.live_attempt is None

    @property
    def next_ray_id(self) -> str:
        """Submission id that the next attempt will use."""
        return ray_id(self.id, len(self.attempts) + 1)

    def shape_of(self, attempt: Attempt) -> Shape:
        """Return on how many GPUs and under which power limit one of its attempts runs."""
        gpus = self.flexibility.gpus if attempt.gpus is None else attempt.gpus
        return Shape(gpus, attempt.power_cap_fraction)

    def run_time(self, now: datetime) -> timedelta:
        """Return how long all its attempts have run together at ``now``."""
        return sum((attempt.run_time(now) for attempt in self.attempts), timedelta(0))

    def remaining(self, now: datetime, *, restart: timedelta) -> timedelta:
        """Return the run time at full speed that is probably left at ``now``, without a start.

        Each attempt spends ``restart`` from its decision until its work goes on; a pause that
        the job survives with a checkpoint loses nothing else. Where the run time was learned,
        half of the runs that got as far as this one have less left.
        """
        return self._left(now, restart=restart, level=MEDIAN_LEVEL)

    def safe_remaining(self, now: datetime, *, restart: timedelta) -> timedelta:
        """Return the run time to allow for at ``now`` where the job must not be late.

        The owner's word where there is one, else what nine in ten such runs stay below.
        """
        return self._left(now, restart=restart, level=SAFE_LEVEL)

    def _left(self, now: datetime, *, restart: timedelta, level: float) -> timedelta:
        worked = sum(
            (
                attempt.work_time(now, restart=restart) * attempt.speed_fraction
                for attempt in self.attempts
            ),
            timedelta(0),
        )
        learned = self.flexibility.run_time
        left = (
            learned.remaining(worked, level=level)
            if learned
            else self.flexibility.duration - worked
        )
        return max(left, LEAST_REMAINING)

    def latest_start(self, now: datetime, *, restart: timedelta) -> datetime:
        """Return the last instant at which it can start and still safely finish by its deadline."""
        return self.flexibility.deadline - self.safe_remaining(now, restart=restart) - restart

    def must_start(self, now: datetime, *, restart: timedelta) -> bool:
        """Return whether waiting for the next half-hour would be too late.

        A rigid job (T0) always starts at once.
        """
        if self.flexibility.tier is Tier.T0:
            return True
        next_half_hour = HalfHour.containing(now).start + HALF_HOUR
        return self.latest_start(now, restart=restart) < next_half_hour

    def is_late(self, now: datetime) -> bool:
        """Return whether it probably ends after its deadline even if it runs from now on.

        It is taken to be as fast as its most GPUs could make it, and to start at once. A rigid
        job (T0) is not late where its start is within what it was promised.
        """
        promised = RIGID_START if self.flexibility.tier is Tier.T0 else timedelta(0)
        fastest = max(1.0, self.flexibility.max_gpus / max(self.flexibility.gpus, 1))
        left = self.remaining(now, restart=timedelta(0)) / fastest
        return now + left > self.flexibility.deadline + promised


def ray_id(job_id: JobId, number: int) -> str:
    """Return the submission id of one attempt: the job's own id first, then ``-a2``, ``-a3``."""
    return job_id if number == 1 else f"{job_id}-a{number}"


RAY_STATUS: Final[Mapping[JobState, str]] = {
    JobState.HELD: "PENDING",
    JobState.PAUSED: "PENDING",
    JobState.RUNNING: "RUNNING",
    JobState.SUCCEEDED: "SUCCEEDED",
    JobState.FAILED: "FAILED",
    JobState.STOPPED: "STOPPED",
}
"""What Ray's own clients are told."""


def state_after(attempt: Attempt, outcome: Outcome) -> JobState:
    """Return the state of a job whose live attempt ended with ``outcome``.

    A run that was asked to pause and did stop leaves the job paused, and so does one that its
    cluster lost: the job will run again. Whatever finishes by itself keeps its own outcome.
    """
    if outcome is Outcome.LOST:
        return JobState.PAUSED
    if outcome is Outcome.STOPPED and attempt.stop_reason is StopReason.PAUSE:
        return JobState.PAUSED
    return JobState(outcome.value)
