"""What earlier jobs say about one, in figures and in sentences."""

from datetime import timedelta

import pytest

from gridflex.forecasting.past_runs import PastRun
from gridflex.jobs import JobId
from gridflex.lifecycle import Job, JobRequest
from gridflex.serve.job_history import JobHistory, told_by
from gridflex.serve.run_times import kinds_of_request
from tests.unit.lifecycles import HOUR, MINUTE, NOON, UP_TO_FOUR_HOURS, attempt, job

DAY = timedelta(days=1)
NIGHTLY = [
    PastRun(
        JobId(f"past-{day}"), "python train.py", None, 2, NOON - day * DAY,
        NOON - day * DAY + HOUR, NOON - day * DAY + 3 * HOUR, 2 * HOUR,
        has_succeeded=True, was_given_up=False,
    )
    for day in range(1, 9)
]  # fmt: skip
"""Eight nights of the same command: an hour of waiting, two of work."""


def told(found: Job, past: list[PastRun] | None = None) -> JobHistory:
    restart = timedelta(0)
    return told_by(NIGHTLY if past is None else past, found, now=NOON + HOUR, restart=restart)


def test_a_declared_run_time_is_shown_beside_what_earlier_runs_took() -> None:
    found = told(job())

    assert found.run_time is not None
    assert (found.run_time.runs, found.run_time.is_used) == (8, False)
    assert found.run_time.median_s == pytest.approx(7_200)
    assert found.run_time.remaining_median_s == 14_400
    assert found.lines[0].startswith("Run time 4.0 h, as its owner says; earlier runs took 2.0 h")
    assert "(8 runs of the same command, team and GPUs)" in found.lines[0]


def test_a_learned_run_time_says_what_is_left() -> None:
    running = job(
        attempt(decided_at=NOON, started_at=NOON),
        run_time=UP_TO_FOUR_HOURS,
        duration_is_declared=False,
    )

    found = told(running)

    assert found.run_time is not None
    assert (found.run_time.median_s, found.run_time.is_used) == (7_200, True)
    assert found.run_time.remaining_median_s / 60 == pytest.approx(90, abs=1)
    assert found.run_time.remaining_safe_s / 60 == pytest.approx(162, abs=1)
    assert found.lines[0].endswith("Left now: 1.5 h, to be safe 2.7 h.")


def test_the_slack_of_the_past_is_suggested_beside_what_is_granted() -> None:
    found = told(job(deadline=NOON + 6 * HOUR))

    assert found.suggestion.granted_slack_s == 7_200
    assert found.suggestion.suggested_slack_s == 21 * 3_600
    assert (found.suggestion.repeats, found.suggestion.waits) == (7, 8)
    assert found.lines[1].endswith("for its owner to decide: PT21H of slack instead of 2.0 h.")


def test_where_nothing_ever_ran_nothing_is_claimed() -> None:
    found = told(job(duration_is_declared=False), past=[])

    assert found.run_time is None
    assert found.suggestion.suggested_slack_s is None
    assert found.lines[0] == "Run time 4.0 h, assumed: nothing like it has run yet."
    assert found.lines[1].startswith("Too few similar runs")


@pytest.mark.parametrize(
    ("said", "gpus"),
    [("8", 8), (" 8 ", 8), ("many", 3), ("9" * 5_000, 3), ("", 3)],
    ids=["a number", "with spaces", "a word", "an absurd number", "nothing"],
)
def test_metadata_that_will_be_refused_does_not_stop_the_look_up(said: str, gpus: int) -> None:
    request = JobRequest("train", metadata={"gridflex.io/gpus": said}, resources={"num_gpus": 2.5})

    assert kinds_of_request(request)[1].key == gpus


def test_minutes_are_told_as_minutes() -> None:
    assert told(job(duration=20 * MINUTE)).lines[0].startswith("Run time 20 min")
