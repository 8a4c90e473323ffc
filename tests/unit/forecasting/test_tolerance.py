"""What owners have shown that they accept, worked by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from gridflex.forecasting.past_runs import PastRun
from gridflex.forecasting.tolerance import Tolerance, span_text, tolerance
from gridflex.jobs import JobId

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
NIGHTLY = "python nightly.py"


def run(
    day: int = 0,
    *,
    wait: timedelta = timedelta(0),
    took: timedelta = 2 * HOUR,
    entrypoint: str = NIGHTLY,
    team: str | None = None,
    late: timedelta = timedelta(0),
) -> PastRun:
    submitted = NOON + day * DAY + late
    return PastRun(
        JobId(f"job-{day}"), entrypoint, team, 4, submitted, submitted + wait,
        submitted + wait + took, took, has_succeeded=True, was_given_up=False,
    )  # fmt: skip


def given_up(wait: timedelta) -> PastRun:
    return PastRun(
        JobId("given-up"), NIGHTLY, None, 4, NOON, None, NOON + wait, timedelta(0),
        has_succeeded=False, was_given_up=True,
    )  # fmt: skip


def of(*past: PastRun) -> Tolerance:
    return tolerance(past, entrypoint=NIGHTLY, team=None)


def test_the_wait_that_five_runs_had_is_accepted() -> None:
    hours = (0, 1, 2, 3, 4, 6, 9)

    found = of(*(run(wait=wait * HOUR) for wait in hours))

    assert found.waits is not None
    assert (found.waits.accepted, found.waits.runs, found.waits.given_up) == (2 * HOUR, 5, 0)
    assert found.slack == 2 * HOUR


def test_a_wait_at_which_owners_gave_up_is_not_accepted() -> None:
    waits = [run(wait=wait * HOUR) for wait in (1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 5, 5, 5)]

    found = of(*waits, given_up(3 * HOUR))

    assert found.waits is not None
    assert (found.waits.accepted, found.waits.given_up) == (HOUR, 1)


@pytest.mark.parametrize(
    "past",
    [
        pytest.param([run(wait=3 * HOUR)] * 4, id="too few"),
        pytest.param([run(wait=20 * MINUTE)] * 9, id="too short to count"),
        pytest.param([run(wait=3 * HOUR, entrypoint="python other.py")] * 9, id="another command"),
        pytest.param([run(wait=3 * HOUR, team="vision")] * 9, id="another team"),
        pytest.param([], id="nothing"),
    ],
)
def test_without_enough_evidence_nothing_is_suggested(past: list[PastRun]) -> None:
    found = of(*past)

    assert found.slack is None
    (said,) = found.sentences(granted=HOUR)
    assert said.startswith("Too few similar runs")


def test_what_a_team_has_borne_with_other_commands_counts_where_a_command_is_new() -> None:
    past = [run(wait=3 * HOUR, entrypoint="python other.py", team="vision")] * 6

    found = tolerance(past, entrypoint=NIGHTLY, team="vision")

    assert found.waits is not None
    assert (found.waits.accepted, found.waits.basis) == (3 * HOUR, "the same team")
    assert found.rhythm is None


def test_a_nightly_job_may_take_until_the_next_one() -> None:
    found = of(*(run(day) for day in range(8)))

    assert found.rhythm is not None
    assert (found.rhythm.period, found.rhythm.free) == (DAY, 22 * HOUR)
    assert (found.rhythm.is_regular, found.rhythm.repeats) == (True, 7)


def test_one_quick_repeat_in_ten_does_not_spoil_a_rhythm_but_two_do() -> None:
    usual = [run(day) for day in range(1, 21)]
    quick = [run(day, late=3 * HOUR) for day in (3, 9, 11, 15)]

    assert of(*usual, *quick[:1]).slack == 19 * HOUR
    assert of(*usual, *quick).slack == HOUR


def test_a_command_that_comes_again_at_once_has_no_free_time() -> None:
    assert of(*(run(late=number * 2 * HOUR) for number in range(9))).rhythm is None


def test_what_is_suggested_is_said_with_its_evidence() -> None:
    waited = Tolerance(of(*[run(wait=3 * HOUR)] * 6).waits, None)
    nightly = of(*(run(day) for day in range(8)))

    assert waited.sentences(granted=HOUR) == (
        "6 runs of the same command waited 3.0 h or longer and were still wanted.",
        "Suggestion, for its owner to decide: PT3H of slack instead of 1.0 h.",
    )
    rhythm, suggestion = nightly.sentences(granted=23 * HOUR)
    assert rhythm.startswith(
        "The same command came again every 24.0 h, nine times in ten more than"
    )
    assert rhythm.endswith("22.0 h after the last run's end (7 repeats).")
    assert suggestion == "That suggests no more slack than the 23.0 h granted."


@pytest.mark.parametrize(
    ("span", "text"),
    [(20 * MINUTE, "20 min"), (90 * MINUTE, "1.5 h"), (71 * HOUR, "71.0 h"), (4 * DAY, "4.0 days")],
)
def test_spans_are_told_in_the_unit_people_use(span: timedelta, text: str) -> None:
    assert span_text(span) == text
