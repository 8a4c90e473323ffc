"""How much work is left, when a job must start, and what an ended run makes of its job."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.jobs import JobState, Tier
from gridflex.lifecycle import (
    LEAST_REMAINING,
    RAY_STATUS,
    Attempt,
    AttemptState,
    JobRequest,
    Outcome,
    StopReason,
    ray_id,
    state_after,
)
from tests.unit.lifecycles import HOUR, MINUTE, NOON, UP_TO_FOUR_HOURS, attempt, job

NOTHING = timedelta(0)
RESTART = 5 * MINUTE


def ended(number: int, *, started: int, end: int) -> Attempt:
    """Return a run that was decided two minutes before it started; minutes after noon."""
    return attempt(
        number,
        state=AttemptState.ENDED,
        outcome=Outcome.STOPPED,
        decided_at=NOON + (started - 2) * MINUTE,
        started_at=NOON + started * MINUTE,
        ended_at=NOON + end * MINUTE,
    )


@pytest.mark.parametrize(
    ("run", "at", "minutes"),
    [
        pytest.param(attempt(started_at=None), 60, 0, id="not started"),
        pytest.param(attempt(), 62, 60, id="running for an hour"),
        pytest.param(attempt(), 1, 0, id="asked about a time before it started"),
        pytest.param(ended(1, started=2, end=32), 600, 30, id="ended long ago"),
        pytest.param(ended(1, started=2, end=32), 12, 10, id="asked about a time before its end"),
    ],
)
def test_run_time_is_from_start_to_end_or_now(run: Attempt, at: int, minutes: int) -> None:
    assert run.run_time(NOON + at * MINUTE) == minutes * MINUTE


@pytest.mark.parametrize(
    ("run", "at", "minutes"),
    [
        pytest.param(attempt(started_at=None), 60, 0, id="not started"),
        pytest.param(attempt(), 4, 0, id="still starting"),
        pytest.param(attempt(), 65, 60, id="from five minutes after the decision"),
        pytest.param(attempt(started_at=NOON + 30 * MINUTE), 60, 30, id="queued longer than that"),
    ],
)
def test_work_begins_after_the_restart_and_queueing_counts_towards_it(
    run: Attempt, at: int, minutes: int
) -> None:
    assert run.work_time(NOON + at * MINUTE, restart=RESTART) == minutes * MINUTE


def test_what_is_left_is_the_duration_less_the_work_of_every_attempt() -> None:
    found = job(
        ended(1, started=2, end=65),
        attempt(2, decided_at=NOON + 2 * HOUR, started_at=NOON + 2 * HOUR + MINUTE),
    )

    left = found.remaining(NOON + 3 * HOUR, restart=RESTART)

    assert left == 4 * HOUR - 60 * MINUTE - 55 * MINUTE
    assert found.run_time(NOON + 3 * HOUR) == 63 * MINUTE + 59 * MINUTE


def test_a_job_that_has_outrun_its_duration_still_needs_a_minute() -> None:
    found = job(attempt(), duration=HOUR)

    assert found.remaining(NOON + 9 * HOUR, restart=NOTHING) == LEAST_REMAINING


def test_what_is_left_of_a_learned_run_time_is_what_runs_that_got_as_far_had_left() -> None:
    found = job(attempt(started_at=NOON), run_time=UP_TO_FOUR_HOURS)

    at = NOON + 2 * HOUR

    assert found.remaining(at, restart=NOTHING) / MINUTE == pytest.approx(60, abs=1)
    assert found.safe_remaining(at, restart=NOTHING) / MINUTE == pytest.approx(108, abs=1)


def test_a_job_of_learned_run_time_starts_early_enough_for_a_long_run() -> None:
    held = job(run_time=UP_TO_FOUR_HOURS)

    assert held.remaining(NOON, restart=NOTHING) == 2 * HOUR
    assert held.latest_start(NOON, restart=NOTHING) == NOON + 12 * HOUR - 216 * MINUTE


def test_a_declared_run_time_is_believed() -> None:
    held = job()

    assert held.safe_remaining(NOON, restart=NOTHING) == held.remaining(NOON, restart=NOTHING)


@pytest.mark.parametrize(
    ("at", "must"),
    [
        pytest.param(NOON + 7 * HOUR + 24 * MINUTE, False, id="19:30 is early enough"),
        pytest.param(NOON + 7 * HOUR + 30 * MINUTE, True, id="20:00 is five minutes too late"),
        pytest.param(NOON + 13 * HOUR, True, id="the deadline has passed"),
    ],
)
def test_a_job_must_start_when_the_next_half_hour_is_too_late(at: datetime, *, must: bool) -> None:
    held = job()

    assert held.latest_start(at, restart=RESTART) == NOON + 7 * HOUR + 55 * MINUTE
    assert held.must_start(at, restart=RESTART) is must


def test_a_start_exactly_at_the_next_half_hour_is_in_time() -> None:
    held = job(deadline=NOON + 4 * HOUR + 30 * MINUTE)

    assert not held.must_start(NOON + 29 * MINUTE, restart=NOTHING)
    assert held.must_start(NOON + 30 * MINUTE, restart=NOTHING)


def test_a_rigid_job_always_starts_at_once() -> None:
    assert job(tier=Tier.T0).must_start(NOON, restart=NOTHING)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 90)), max_size=4),
    st.integers(0, 600),
    st.integers(0, 30),
)
def test_work_is_never_more_than_run_time_nor_what_is_left_more_than_the_duration(
    runs: list[tuple[int, int, int]], at: int, restart: int
) -> None:
    attempts: list[Attempt] = []
    minute = 0
    for pause, queued, ran in runs:
        decided, started = minute + pause, minute + pause + queued
        minute = started + ran
        attempts.append(
            attempt(
                len(attempts) + 1,
                state=AttemptState.ENDED,
                outcome=Outcome.STOPPED,
                decided_at=NOON + decided * MINUTE,
                started_at=NOON + started * MINUTE,
                ended_at=NOON + minute * MINUTE,
            )
        )
    found, now = job(*attempts), NOON + at * MINUTE
    worked = sum((a.work_time(now, restart=restart * MINUTE) for a in attempts), NOTHING)

    left = found.remaining(now, restart=restart * MINUTE)

    assert worked <= found.run_time(now)
    assert left == max(4 * HOUR - worked, LEAST_REMAINING)


@pytest.mark.parametrize(
    ("outcome", "reason", "state"),
    [
        (Outcome.SUCCEEDED, None, JobState.SUCCEEDED),
        (Outcome.FAILED, None, JobState.FAILED),
        (Outcome.STOPPED, None, JobState.STOPPED),
        (Outcome.STOPPED, StopReason.STOP, JobState.STOPPED),
        (Outcome.STOPPED, StopReason.PAUSE, JobState.PAUSED),
        (Outcome.SUCCEEDED, StopReason.PAUSE, JobState.SUCCEEDED),
        (Outcome.FAILED, StopReason.PAUSE, JobState.FAILED),
        (Outcome.LOST, None, JobState.PAUSED),
        (Outcome.LOST, StopReason.STOP, JobState.PAUSED),
    ],
)
def test_what_an_ended_run_makes_of_its_job(
    outcome: Outcome, reason: StopReason | None, state: JobState
) -> None:
    assert state_after(attempt(stop_reason=reason), outcome) is state


def test_later_attempts_have_ids_derived_from_the_jobs_own() -> None:
    assert [ray_id(job().id, number) for number in (1, 2, 3)] == ["job-1", "job-1-a2", "job-1-a3"]
    assert job(ended(1, started=2, end=3)).next_ray_id == "job-1-a2"


def test_only_the_last_attempt_can_be_live() -> None:
    over = ended(1, started=2, end=3)

    assert job().live_attempt is None
    assert job(over).live_attempt is None
    assert job(over, attempt(2)).live_attempt == attempt(2)


def test_ray_knows_every_state() -> None:
    assert set(RAY_STATUS) == set(JobState)


def test_a_request_names_its_packages_and_leaves_other_places_alone() -> None:
    request = JobRequest(
        "python a.py",
        runtime_env={
            "working_dir": "gcs://_ray_pkg_01.zip",
            "py_modules": ["s3://bucket/m.zip", "gcs://_ray_pkg_02.zip"],
        },
    )

    assert request.package_uris == ("gcs://_ray_pkg_01.zip", "gcs://_ray_pkg_02.zip")
    assert JobRequest("a", runtime_env={"working_dir": "https://x/y.zip"}).package_uris == ()


def test_resources_that_are_not_given_are_one_cpu_and_no_gpu() -> None:
    assert (JobRequest("a").entrypoint_cpus, JobRequest("a").entrypoint_gpus) == (1.0, 0.0)
    given_both = JobRequest("a", resources={"num_cpus": 3, "num_gpus": 0.5})
    assert (given_both.entrypoint_cpus, given_both.entrypoint_gpus) == (3.0, 0.5)


def test_equal_requests_have_equal_digests_whatever_the_order_of_their_keys() -> None:
    one = JobRequest("a", metadata={"x": "1", "y": "2"})
    same = JobRequest("a", metadata={"y": "2", "x": "1"})

    assert one.digest() == same.digest()
    assert one.digest() != JobRequest("a", metadata={"x": "1"}).digest()
    assert one.digest() != JobRequest("a", runtime_env={"x": "1", "y": "2"}).digest()
