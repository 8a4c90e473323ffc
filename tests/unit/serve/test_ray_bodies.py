"""What a submission says, and what a flexible job looks like to Ray's clients."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from ray.dashboard.modules.job.pydantic_models import JobDetails

from gridflex.curtailment import Curtailment, CurtailmentRequest
from gridflex.errors import ContractError
from gridflex.jobs import JobState, Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, Outcome, StopReason
from gridflex.serve.ray_bodies import (
    NextRun,
    attempt_owner,
    checked_id,
    details,
    generated_id,
    is_flexible,
    message,
    notice,
    parse_submission,
    path,
    redacted,
)
from tests.unit.lifecycles import HOUR, NOON, attempt, job

FLEXIBLE = {"gridflex.io/tier": "T2"}
DRIVER = {
    "job_id": "02000000",
    "start_time": 1_000,
    "end_time": 2_000,
    "message": "Job finished successfully.",
    "driver_node_id": "ab",
    "driver_exit_code": 0,
}
TONIGHT = NextRun(NOON + 6 * HOUR, "london", 41.5, 88.4)
ORDER = Curtailment(
    "event-7",
    CurtailmentRequest(10, within=HOUR, hold=2 * HOUR, reason="low frequency"),
    placed_at=NOON,
    jobs=(),
    limits_kw={},
)


def over(outcome: Outcome = Outcome.SUCCEEDED, **driver: object) -> Attempt:
    return attempt(
        state=AttemptState.ENDED,
        outcome=outcome,
        ended_at=NOON + HOUR,
        driver={**DRIVER, **driver},
    )


def shown(found: Job, next_run: NextRun | None = None) -> dict[str, Any]:
    return details(found, next_run=next_run, now=NOON, wall_time=lambda moment: moment + HOUR)


def test_a_submission_is_read_as_ray_reads_it() -> None:
    found = parse_submission(
        {
            "entrypoint": "python a.py",
            "submission_id": None,
            "job_id": "old-name",
            "runtime_env": {"env_vars": {"A": "1"}, "working_dir": "gcs://x.zip", "pip": ["x"]},
            "metadata": FLEXIBLE,
            "entrypoint_num_cpus": 0.5,
            "entrypoint_num_gpus": 2,
            "entrypoint_memory": None,
            "entrypoint_resources": {"special": 1},
        }
    )
    request = found.request()

    assert found.chosen_id == "old-name"
    assert (request.entrypoint, request.metadata) == ("python a.py", FLEXIBLE)
    assert request.resources == {"num_cpus": 0.5, "num_gpus": 2, "resources": {"special": 1}}
    assert request.runtime_env["pip"] == ["x"]


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"entrypoint": ""}, "entrypoint: ''"),
        ({"entrypoint": 3}, "entrypoint: 3"),
        ({"bogus": 1}, "bogus is not known"),
        ({"metadata": {"a": 1}}, "metadata.a: 1"),
        ({"metadata": []}, r"metadata: an empty list is not valid; valid is an object"),
        ({"runtime_env": "x"}, "runtime_env: 'x'"),
        ({"runtime_env": {"env_vars": ["A=1"]}}, "runtime_env.env_vars"),
        ({"runtime_env": {"env_vars": {"A": 1}}}, "runtime_env.env_vars.A: 1"),
        ({"runtime_env": {"working_dir": 1}}, "runtime_env.working_dir: 1"),
        ({"runtime_env": {"py_modules": 3}}, "runtime_env.py_modules: 3"),
        ({"runtime_env": {"py_modules": "x"}}, "runtime_env.py_modules: 'x'"),
        ({"entrypoint_num_gpus": "2"}, "entrypoint_num_gpus.*'2'"),
        ({"entrypoint_num_gpus": -1}, "entrypoint_num_gpus.*-1"),
        ({"entrypoint_num_gpus": float("inf")}, "entrypoint_num_gpus.*inf"),
        ({"entrypoint_num_cpus": True}, "entrypoint_num_cpus.*True"),
        ({"entrypoint_memory": 1.5}, "entrypoint_memory: 1.5"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_field_is_named_with_its_value(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(ContractError, match=names):
        parse_submission({"entrypoint": "a", **wrong})


@pytest.mark.parametrize(
    ("body", "flexible"),
    [
        ({"metadata": FLEXIBLE}, True),
        ({"metadata": {"gridflex.io/": ""}}, True),
        ({"metadata": {"team": "x"}}, False),
        ({"metadata": None}, False),
        ({}, False),
        ([], False),
        ({"metadata": ["gridflex.io/tier"]}, False),
    ],
)
def test_a_job_is_flexible_by_its_metadata(body: object, *, flexible: bool) -> None:
    assert is_flexible(body) is flexible


@pytest.mark.parametrize("text", ["a", "raysubmit_AbC1", "job-1", "x" * 200, "a.b:c=d@e+f", "a-a1"])
def test_ids_that_ray_users_choose_are_taken(text: str) -> None:
    assert checked_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a b", "a/b", "x" * 201, "a\n", "\u00e9", "job-1-a2", "job-1-a10", "a?b"]
)
def test_ids_that_could_be_mistaken_are_refused(text: str) -> None:
    with pytest.raises(ContractError, match="submission_id"):
        checked_id(text)


def test_an_id_of_a_later_attempt_has_an_owner() -> None:
    assert attempt_owner("job-1-a2") == ("job-1", 2)
    assert attempt_owner("a-a2-a13") == ("a-a2", 13)
    assert attempt_owner("job-1") is None
    assert attempt_owner("job-1-a1") is None


def test_generated_ids_look_like_rays_and_differ() -> None:
    ids = {generated_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(checked_id(one) and one.startswith("raysubmit_") and len(one) == 26 for one in ids)


def test_an_id_is_one_part_of_a_path() -> None:
    assert path("../x?y") == "/api/jobs/..%2Fx%3Fy"


def test_a_held_job_says_why_and_until_when() -> None:
    assert message(job(), TONIGHT, now=NOON) == (
        "Held by GridFlex for a better half-hour: starts at 2026-07-01 18:00 UTC at site "
        "london (41.50 GBP/MWh, 88 gCO2/kWh forecast); will finish by 2026-07-02 00:00 UTC."
    )


@pytest.mark.parametrize(
    ("now", "next_run", "said"),
    [
        pytest.param(NOON + 8 * HOUR, None, "will finish by", id="just in time"),
        pytest.param(NOON + 9 * HOUR, None, "is due by", id="cannot be kept"),
        pytest.param(NOON, NextRun(NOON + 9 * HOUR, "london"), "is due by", id="planned late"),
        pytest.param(NOON + 14 * HOUR, None, "was due by", id="has passed"),
    ],
)
def test_a_job_that_is_late_is_not_said_to_finish_in_time(
    now: datetime, next_run: NextRun | None, said: str
) -> None:
    deadline = "2026-07-02 00:00 UTC"  # 4 h of work at noon, and 12 h for them
    late = "" if said == "will finish by" else "; late"

    assert message(job(), next_run, now=now).endswith(f"; {said} {deadline}{late}.")


def test_a_job_that_more_gpus_could_bring_in_time_is_not_late() -> None:
    assert not job(max_gpus=4).is_late(NOON + 10 * HOUR)
    assert job(max_gpus=4).is_late(NOON + 11 * HOUR)


def test_a_rigid_job_may_start_as_late_as_it_was_promised() -> None:
    rigid = job(tier=Tier.T0, deadline=NOON + 4 * HOUR)

    assert not rigid.is_late(NOON + timedelta(minutes=5))
    assert rigid.is_late(NOON + timedelta(minutes=6))


@pytest.mark.parametrize(
    ("found", "next_run", "said"),
    [
        pytest.param(
            job(over(Outcome.STOPPED), state=JobState.PAUSED),
            TONIGHT,
            "Paused by GridFlex to free power until 2026-07-01 14:00 UTC, by order event-7 "
            "(low frequency): resumes at 2026-07-01 18:00 UTC at site london (41.50 GBP/MWh, 88 "
            "gCO2/kWh forecast); will finish by 2026-07-02 00:00 UTC.",
            id="paused",
        ),
        pytest.param(
            job(),
            NextRun(NOON, "london"),
            "Held by GridFlex to free power until 2026-07-01 14:00 UTC, by order event-7 "
            "(low frequency): starts after that, as planned; will finish by 2026-07-02 00:00 UTC.",
            id="held, by a plan that does not know the order",
        ),
        pytest.param(
            job(attempt(state=AttemptState.STOPPING, stop_reason=StopReason.PAUSE)),
            None,
            "Being paused at site london to free power until 2026-07-01 14:00 UTC, by order "
            "event-7 (low frequency); it resumes by 2026-07-02 00:00 UTC.",
            id="being paused",
        ),
    ],
)
def test_a_job_that_stands_still_to_free_power_names_the_order(
    found: Job, next_run: NextRun | None, said: str
) -> None:
    shown = details(
        found, next_run=next_run, order=ORDER, now=NOON, wall_time=lambda moment: moment
    )

    assert message(found, next_run, ORDER, now=NOON) == shown["message"] == said


def test_the_log_of_a_job_that_stands_still_to_free_power_names_the_order() -> None:
    line = notice(job(), TONIGHT, ORDER, now=NOON)

    assert line.startswith("[gridflex] Held by GridFlex to free power until 2026-07-01 14:00 UTC")
    assert "by order event-7" in line


@pytest.mark.parametrize(
    ("found", "next_run", "begins"),
    [
        pytest.param(job(), None, "Held by GridFlex until the next plan", id="no plan"),
        pytest.param(
            job(),
            NextRun(NOON, "london"),
            "Held by GridFlex for a better half-hour: "
            "starts at 2026-07-01 12:00 UTC at site london; will",
            id="no forecast",
        ),
        pytest.param(
            job(over(Outcome.STOPPED), state=JobState.PAUSED),
            TONIGHT,
            "Paused by GridFlex for a better half-hour: resumes at",
            id="paused",
        ),
        pytest.param(
            job(over(Outcome.STOPPED), state=JobState.PAUSED),
            None,
            "Paused by GridFlex until the next plan decides when it resumes",
            id="paused, no plan",
        ),
        pytest.param(
            job(attempt(state=AttemptState.DECIDED, started_at=None), state=JobState.HELD),
            None,
            "Being started at site london.",
            id="starting",
        ),
        pytest.param(
            job(attempt(state=AttemptState.STOPPING, stop_reason=StopReason.PAUSE)),
            None,
            "Being paused at site london; it resumes",
            id="being paused",
        ),
        pytest.param(
            job(attempt(), stop_requested_at=NOON),
            None,
            "Stopping at site london, as asked",
            id="being stopped",
        ),
        pytest.param(job(attempt()), None, "Job is currently running.", id="running"),
        pytest.param(
            job(attempt(driver={"message": "3 of 4"})), None, "3 of 4", id="as its cluster says"
        ),
        pytest.param(
            job(over(), state=JobState.SUCCEEDED, message="done"), TONIGHT, "done", id="ended"
        ),
        pytest.param(
            job(state=JobState.STOPPED), None, "Job has ended: stopped.", id="ended silently"
        ),
    ],
)
def test_a_job_says_where_it_stands(found: Job, next_run: NextRun | None, begins: str) -> None:
    assert message(found, next_run, now=NOON).startswith(begins)


@pytest.mark.parametrize("state", JobState)
def test_rays_own_model_reads_every_state(state: JobState) -> None:
    found = replace(job(over(), state=state), ended_at=NOON if state.is_final else None)

    body = shown(found)

    assert set(body) == set(JobDetails.model_fields)
    assert JobDetails(**body).submission_id == "job-1"


def test_a_held_job_is_pending_since_it_was_submitted() -> None:
    body = shown(job(), TONIGHT)

    assert body["status"] == "PENDING"
    assert body["start_time"] == _ms(NOON + HOUR)
    assert (body["end_time"], body["job_id"], body["driver_exit_code"]) == (None, None, None)


def test_a_job_with_two_attempts_is_one_job_from_the_first_start_to_the_last_end() -> None:
    second = replace(over(start_time=5_000, end_time=9_000, job_id="03000000"), number=2)
    ended = job(over(Outcome.STOPPED), second, state=JobState.SUCCEEDED, ended_at=NOON + HOUR)

    body = shown(ended)

    assert (body["start_time"], body["end_time"]) == (1_000, 9_000)
    assert (body["job_id"], body["driver_exit_code"]) == ("03000000", 0)


def test_a_job_stopped_while_held_ended_when_gridflex_says() -> None:
    body = shown(job(state=JobState.STOPPED, ended_at=NOON + timedelta(minutes=5)))

    assert (body["status"], body["end_time"]) == ("STOPPED", _ms(NOON + timedelta(minutes=65)))


def test_the_error_of_a_pause_is_not_the_jobs() -> None:
    run = over(error_type="JOB_ENTRYPOINT_COMMAND_ERROR")

    assert shown(job(run, state=JobState.PAUSED))["error_type"] is None
    failed = job(run, state=JobState.FAILED, ended_at=NOON)
    assert shown(failed)["error_type"] == "JOB_ENTRYPOINT_COMMAND_ERROR"


def test_a_browser_sees_which_variables_are_set_and_not_to_what() -> None:
    body = {"runtime_env": {"env_vars": {"WANDB_KEY": "abc"}, "pip": ["x"]}, "status": "PENDING"}

    assert redacted(body) == {
        "runtime_env": {"env_vars": {"WANDB_KEY": "<redacted>"}, "pip": ["x"]},
        "status": "PENDING",
    }
    assert redacted({"runtime_env": None}) == {"runtime_env": None}
    assert body["runtime_env"]["env_vars"] == {"WANDB_KEY": "abc"}  # type: ignore[index]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
