"""Whether the demo would notice a broken promise."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gridflex.demo.check import ClusterRun, Promise, check_promises, t0_start_s
from gridflex.jobs import Flexibility, JobId, JobState, Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest, Outcome, StopReason
from gridflex.report import Account, JobResult

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SPEED = 360.0


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def attempt(number: int, start: float, end: float, outcome: Outcome) -> Attempt:
    paused = outcome is Outcome.STOPPED
    return Attempt(
        number=number, ray_id="a" if number == 1 else f"a-a{number}", site="local",
        state=AttemptState.ENDED, decided_at=at(start), started_at=at(start + 5),
        ended_at=at(end), outcome=outcome, stop_reason=StopReason.PAUSE if paused else None,
    )  # fmt: skip


FLEXIBILITY = Flexibility(
    tier=Tier.T3, deadline=at(240), duration=timedelta(hours=1), duration_is_declared=True,
    interruptible=True, gpus=4, min_gpus=4, max_gpus=4,
)  # fmt: skip
JOB = Job(
    id=JobId("a"), seq=1, state=JobState.SUCCEEDED, submitted_at=NOON, request=JobRequest("true"),
    flexibility=FLEXIBILITY, ended_at=at(150),
    attempts=(attempt(1, 0, 40, Outcome.STOPPED), attempt(2, 90, 150, Outcome.SUCCEEDED)),
)  # fmt: skip
RUNS = (
    ClusterRun("a", "a", "STOPPED", at(1), at(40)),
    ClusterRun("a-a2", "a", "SUCCEEDED", at(91), at(150)),
)
RESULT = JobResult(
    job=JOB, ran=Account(), run_now=Account(), waited=timedelta(0), waited_now=timedelta(0),
    redone=timedelta(0), was_late=False, was_late_now=False,
)  # fmt: skip


def broken(
    *,
    job: Job = JOB,
    runs: tuple[ClusterRun, ...] = RUNS,
    result: JobResult = RESULT,
    submitted: tuple[str, ...] = ("a",),
    start_s: float = 2.5,
) -> dict[str, tuple[str, ...]]:
    ids = [JobId(name) for name in submitted]
    promises = check_promises(ids, [job], runs, [result], speed=SPEED, start_s=start_s)
    return {promise.text: promise.broken_by for promise in promises if not promise.is_kept}


def test_a_job_that_was_paused_and_finished_breaks_nothing() -> None:
    assert broken() == {}


@pytest.mark.parametrize(
    ("case", "promise", "said"),
    [
        ({"submitted": ("a", "b")}, "no job is lost", "b is not in the database"),
        (
            {"job": replace(JOB, state=JobState.PAUSED, message="waits")},
            "no job is lost",
            "a is paused: waits",
        ),
        ({"runs": RUNS[1:]}, "no job is lost", "a is not on the cluster"),
        (
            {"runs": (RUNS[0], replace(RUNS[1], status="FAILED"))},
            "no job is lost",
            "a-a2 is FAILED on the cluster and succeeded in the database",
        ),
        (
            {"runs": (*RUNS, ClusterRun("a-a3", "a", "SUCCEEDED", at(160), at(170)))},
            "no job runs that was not asked for",
            "a-a3 ran on the cluster and is in no attempt of the database",
        ),
        (
            {"runs": (*RUNS, ClusterRun("a-a3", "a", "SUCCEEDED", at(160), at(170)))},
            "every job is done once",
            "a was finished 2 times on the cluster: a-a2, a-a3",
        ),
        (
            {"runs": (replace(RUNS[0], ended_wall=at(92)), RUNS[1])},
            "no job runs twice at the same time",
            "a-a2 ran on the cluster before a had ended",
        ),
        (
            {"job": replace(JOB, attempts=(JOB.attempts[0], attempt(2, 39, 150, Outcome.FAILED)))},
            "no job runs twice at the same time",
            "a-a2 was decided before a had ended",
        ),
        (
            {"result": replace(RESULT, was_late=True)},
            "no job is late that could have been on time",
            (
                "a ended at 14:30, its deadline was 16:00; attempt 1 decided 12:00, ran 12:05, "
                "attempt 2 decided 13:30, ran 13:35"
            ),
        ),
    ],
)
def test_what_goes_wrong_is_named(case: dict[str, object], promise: str, said: str) -> None:
    assert said in broken(**case)[promise]  # type: ignore[arg-type]


def test_a_job_that_no_schedule_on_time_was_found_for_is_not_held_against_gridflex() -> None:
    assert broken(result=replace(RESULT, was_late=True, was_late_now=True)) == {}


def test_other_jobs_of_the_cluster_do_not_count() -> None:
    other = ClusterRun("someone-else", None, "RUNNING", at(0), None)

    assert broken(runs=(*RUNS, other)) == {}


def test_a_rigid_job_must_run_within_seconds_of_wall_time() -> None:
    rigid = replace(JOB, flexibility=replace(FLEXIBILITY, tier=Tier.T0))
    slow = replace(JOB.attempts[0], started_at=at(66))

    assert t0_start_s([rigid, JOB], speed=SPEED) == {"a": pytest.approx(5 * 60 / SPEED)}
    late = replace(rigid, attempts=(slow, JOB.attempts[1]))
    said = broken(job=late)
    assert said == {"rigid jobs (T0) run within 10 s": ("a ran after 11.0 s",)}
    assert broken(job=late, start_s=4.0) == {}


def test_a_rigid_job_that_never_ran_has_waited_forever() -> None:
    held = replace(JOB, flexibility=replace(FLEXIBILITY, tier=Tier.T0), attempts=())

    assert t0_start_s([held], speed=SPEED) == {"a": float("inf")}


def test_a_promise_with_a_case_against_it_is_not_kept() -> None:
    assert Promise("p", ()).is_kept
    assert not Promise("p", ("x",)).is_kept
