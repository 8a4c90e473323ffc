"""Jobs and attempts for tests: one flexible job of 4 h, submitted at noon."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gridflex.jobs import Flexibility, JobId, JobState, Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest
from gridflex.run_time import RUN_TIME_LEVELS, RunTime

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

FLEXIBLE = Flexibility(
    tier=Tier.T3,
    deadline=NOON + 12 * HOUR,
    duration=4 * HOUR,
    duration_is_declared=True,
    interruptible=True,
    gpus=2,
    min_gpus=2,
    max_gpus=2,
    sites=("london",),
)

UP_TO_FOUR_HOURS = RunTime(
    tuple(14_400 * level for level in RUN_TIME_LEVELS), runs=20, basis="the same command"
)
"""Any run time up to 4 h is as likely as any other."""


def attempt(number: int = 1, **changes: Any) -> Attempt:  # noqa: ANN401 - any field
    """Return a run at london that was decided at noon and started two minutes later."""
    values: dict[str, Any] = {
        "number": number,
        "ray_id": "job-1" if number == 1 else f"job-1-a{number}",
        "site": "london",
        "state": AttemptState.RUNNING,
        "decided_at": NOON,
        "started_at": NOON + 2 * MINUTE,
    }
    return Attempt(**{**values, **changes})


def job(*attempts: Attempt, **changes: Any) -> Job:  # noqa: ANN401 - any field of either
    """Return a job with these attempts; changes may be about the job or its flexibility."""
    granted = {k: changes.pop(k) for k in list(changes) if k in Flexibility.__dataclass_fields__}
    values: dict[str, Any] = {
        "id": JobId("job-1"),
        "seq": 1,
        "state": JobState.RUNNING if attempts else JobState.HELD,
        "submitted_at": NOON,
        "request": JobRequest("python train.py"),
        "flexibility": replace(FLEXIBLE, **granted),
        "attempts": attempts,
    }
    return Job(**{**values, **changes})
