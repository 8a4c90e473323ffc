"""Ray's request and response bodies: what a submission says, what a job looks like to Ray.

Pure: what is known goes in, the body comes out. Ray's times are wall times in Unix milliseconds.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import BaseModel, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from gridflex.curtailment import Curtailment
from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.job_ids import refuse_no_job_id
from gridflex.jobs import PREFIX, JobId, JobState
from gridflex.lifecycle import RAY_STATUS, Attempt, AttemptState, Job, JobRequest, StopReason

GENERATED_PREFIX: Final = "raysubmit_"
_ALPHABET: Final = string.ascii_letters + string.digits
_ATTEMPT_ID: Final = re.compile(r"(?P<job>.+)-a(?P<number>[2-9]|[1-9][0-9]+)")
_RESOURCE_PREFIX: Final = "entrypoint_"

LONGEST_ENTRYPOINT: Final = 30_000
"""Characters; a shell takes no command of more than 128 KiB (Linux, ``MAX_ARG_STRLEN``)."""

MOST_METADATA: Final = 100
"""Keys of one job, which come back with it in every list."""

LONGEST_KEY: Final = 200
LONGEST_METADATA: Final = 4_000
"""Characters of one value."""

_AMOUNT: Final[Any] = Field(default=None, ge=0, allow_inf_nan=False)

_Key = Annotated[str, Field(max_length=LONGEST_KEY)]
_Value = Annotated[StrictStr, Field(max_length=LONGEST_METADATA)]


class RuntimeEnv(BaseModel, extra="allow"):
    """The parts of a Ray runtime environment that GridFlex reads; the rest is passed on.

    Attributes:
        env_vars: Environment variables of the job.
        working_dir: Where its working directory comes from.
        py_modules: Where its modules come from.
    """

    env_vars: dict[str, StrictStr] | None = None
    working_dir: StrictStr | None = None
    py_modules: list[StrictStr] | None = None


class Submission(BaseModel, extra="forbid"):
    """The body of ``POST /api/jobs/``, checked as Ray checks it.

    Attributes:
        entrypoint: Shell command, of at most so many characters that a shell takes it.
        submission_id: Id that the caller chose.
        job_id: Its name in old clients.
        runtime_env: Ray runtime environment.
        metadata: Strings by key.
        entrypoint_num_cpus: CPUs reserved for the entrypoint.
        entrypoint_num_gpus: GPUs reserved for the entrypoint.
        entrypoint_memory: Bytes reserved for the entrypoint.
        entrypoint_resources: Custom resources reserved for the entrypoint.
        entrypoint_label_selector: Which nodes the entrypoint may run on.
    """

    entrypoint: StrictStr = Field(min_length=1, max_length=LONGEST_ENTRYPOINT)
    submission_id: StrictStr | None = None
    job_id: StrictStr | None = None
    runtime_env: RuntimeEnv | None = None
    metadata: dict[_Key, _Value] | None = Field(default=None, max_length=MOST_METADATA)
    entrypoint_num_cpus: StrictInt | StrictFloat | None = _AMOUNT
    entrypoint_num_gpus: StrictInt | StrictFloat | None = _AMOUNT
    entrypoint_memory: StrictInt | None = Field(default=None, ge=0)
    entrypoint_resources: dict[str, StrictInt | StrictFloat] | None = None
    entrypoint_label_selector: dict[str, StrictStr] | None = None

    @property
    def chosen_id(self) -> str | None:
        """The id that the caller chose, if any."""
        return self.submission_id or self.job_id

    def request(self) -> JobRequest:
        """Return what to run."""
        sent = self.model_dump(exclude_none=True)
        return JobRequest(
            entrypoint=self.entrypoint,
            runtime_env=sent.get("runtime_env", {}),
            metadata=self.metadata or {},
            resources={
                name.removeprefix(_RESOURCE_PREFIX): value
                for name, value in sent.items()
                if name.startswith(_RESOURCE_PREFIX)
            },
        )


def is_flexible(body: object) -> bool:
    """Return whether the body of a submission has a ``gridflex.io/`` key."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return isinstance(metadata, dict) and any(str(key).startswith(PREFIX) for key in metadata)


def package_uris(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the uploaded packages that an unchecked submission refers to, as far as it says."""
    try:
        environment = RuntimeEnv.model_validate(body.get("runtime_env") or {})
    except ValidationError:
        return ()
    return JobRequest("", runtime_env=environment.model_dump(exclude_none=True)).package_uris


def parse_submission(body: Mapping[str, Any]) -> Submission:
    """Return a checked submission; keys whose value is null count as absent.

    Raises:
        ContractError: Names each wrong field, its value and what is valid.
    """
    try:
        return Submission.model_validate({k: v for k, v in body.items() if v is not None})
    except ValidationError as error:
        raise ContractError(f"not a valid job submission: {faults_text(error)}") from error


def checked_id(text: str) -> JobId:
    """Return ``text`` as a job id.

    Raises:
        ContractError: It cannot be one.
    """
    refuse_no_job_id(text, name="submission_id")
    if _ATTEMPT_ID.fullmatch(text):
        raise ContractError(
            f"submission_id: {text!r} is not valid; endings such as -a2 are GridFlex's own, "
            "for later runs of a paused job"
        )
    return JobId(text)


def path(job_id: str) -> str:
    """Return the path of one job in Ray's Job API."""
    return f"/api/jobs/{quote(job_id, safe='')}"


def attempt_owner(text: str) -> tuple[JobId, int] | None:
    """Return which job and attempt a later attempt's id would belong to, if it is one."""
    found = _ATTEMPT_ID.fullmatch(text)
    return (JobId(found["job"]), int(found["number"])) if found else None


def generated_id() -> JobId:
    """Return a new id of the form that Ray generates."""
    return JobId(GENERATED_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(16)))


@dataclass(frozen=True, slots=True)
class NextRun:
    """When the plan in force starts a job that waits.

    Args:
        start: GridFlex time.
        site: Where.
        price_gbp_per_mwh: Forecast mean over its run, if known.
        intensity_gco2_per_kwh: Forecast mean over its run, if known.
    """

    start: datetime
    site: str
    price_gbp_per_mwh: float | None = None
    intensity_gco2_per_kwh: float | None = None


def message(
    job: Job, next_run: NextRun | None, order: Curtailment | None = None, *, now: datetime
) -> str:
    """Return what a person should be told about a job now.

    Args:
        job: The job.
        next_run: Its next run by the plan in force, if it waits.
        now: GridFlex time.
        order: The order to free power under which it stands still, if any.
    """
    attempt = job.live_attempt
    if job.state.is_final:
        return job.message or f"Job has ended: {job.state}."
    if attempt is None:
        return _waiting(job, next_run, order, now)
    if job.stop_requested_at:
        return f"Stopping at site {attempt.site}, as asked by its owner."
    if attempt.state is AttemptState.STOPPING and attempt.stop_reason is StopReason.PAUSE:
        why = f" {_ordered(order)}" if order else ""
        return f"Being paused at site {attempt.site}{why}; {_resumes(job, now)}."
    if job.state is not JobState.RUNNING:
        return f"Being started at site {attempt.site}."
    return str((attempt.driver or {}).get("message") or "Job is currently running.")


def notice(
    job: Job, next_run: NextRun | None, order: Curtailment | None = None, *, now: datetime
) -> str:
    """Return the line a waiting job's log ends with; the same until its run moves or is late."""
    when_and_where = NextRun(next_run.start, next_run.site) if next_run else None
    return f"[gridflex] {_waiting(job, when_and_where, order, now)}\n"


def details(
    job: Job,
    *,
    next_run: NextRun | None,
    now: datetime,
    wall_time: Callable[[datetime], datetime],
    order: Curtailment | None = None,
) -> dict[str, Any]:
    """Return a flexible job as Ray's ``JobDetails``: one job, however many attempts.

    Args:
        job: The job.
        next_run: Its next run by the plan in force, if it waits.
        now: GridFlex time.
        wall_time: Turns GridFlex time into wall time.
        order: The order to free power under which it stands still, if any.
    """
    first = _driver(job.attempts[0]) if job.attempts else {}
    last = _driver(job.attempts[-1]) if job.attempts else {}
    ended = job.state.is_final and job.ended_at
    return {
        "type": "SUBMISSION",
        "job_id": last.get("job_id"),
        "submission_id": job.id,
        "driver_info": last.get("driver_info"),
        "status": RAY_STATUS[job.state],
        "entrypoint": job.request.entrypoint,
        "message": message(job, next_run, order, now=now),
        "error_type": last.get("error_type") if job.state is JobState.FAILED else None,
        "start_time": first.get("start_time") or _unix_ms(wall_time(job.submitted_at)),
        "end_time": (last.get("end_time") or _unix_ms(wall_time(ended))) if ended else None,
        "metadata": dict(job.request.metadata),
        "runtime_env": dict(job.request.runtime_env),
        "driver_agent_http_address": last.get("driver_agent_http_address"),
        "driver_node_id": last.get("driver_node_id"),
        "driver_exit_code": last.get("driver_exit_code"),
    }


def redacted(job_details: dict[str, Any]) -> dict[str, Any]:
    """Return details with the values of environment variables masked, as Ray shows browsers."""
    environment = job_details.get("runtime_env") or {}
    if not isinstance(environment.get("env_vars"), dict):
        return job_details
    masked = dict.fromkeys(environment["env_vars"], "<redacted>")
    return {**job_details, "runtime_env": {**environment, "env_vars": masked}}


def _waiting(job: Job, next_run: NextRun | None, order: Curtailment | None, now: datetime) -> str:
    verb = "Paused" if job.state is JobState.PAUSED else "Held"
    again = "resumes" if job.state is JobState.PAUSED else "starts"
    limit = _limit(job, now, start=next_run.start if next_run else None)
    if order:
        knows_order = next_run and next_run.start >= order.until
        when = _when_and_where(next_run) if next_run and knows_order else "after that, as planned"
        return f"{verb} by GridFlex {_ordered(order)}: {again} {when}; {limit}."
    if next_run is None:
        return f"{verb} by GridFlex until the next plan decides when it {again}; {limit}."
    when = _when_and_where(next_run)
    return f"{verb} by GridFlex for a better half-hour: {again} {when}; {limit}."


def _ordered(order: Curtailment) -> str:
    reason = f" ({order.request.reason})" if order.request.reason else ""
    return f"to free power until {_clock(order.until)}, by order {order.id}{reason}"


def _when_and_where(next_run: NextRun) -> str:
    figures = ", ".join(_figures(next_run))
    because = f" ({figures} forecast)" if figures else ""
    return f"at {_clock(next_run.start)} at site {next_run.site}{because}"


def _figures(next_run: NextRun) -> list[str]:
    price, intensity = next_run.price_gbp_per_mwh, next_run.intensity_gco2_per_kwh
    return [
        *([f"{price:.2f} GBP/MWh"] if price is not None else []),
        *([f"{intensity:.0f} gCO2/kWh"] if intensity is not None else []),
    ]


def _limit(job: Job, now: datetime, *, start: datetime | None = None) -> str:
    """Return by when it finishes, or that it is late if it does not run before ``start``."""
    if not job.is_late(max(now, start or now)):
        return f"will finish by {_by(job)}"
    return f"{'was' if now >= job.flexibility.deadline else 'is'} due by {_by(job)}; late"


def _resumes(job: Job, now: datetime) -> str:
    return f"it {_limit(job, now)}" if job.is_late(now) else f"it resumes by {_by(job)}"


def _by(job: Job) -> str:
    return _clock(job.flexibility.deadline)


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _driver(attempt: Attempt) -> Mapping[str, Any]:
    return attempt.driver or {}


def _unix_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
