"""What jobs would have done at once, worked by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gridflex.counterfactual import RunNow
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, JobState, Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest, Outcome

SIX = datetime(2026, 7, 1, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SITE = Site("london", gpus=8, gpu_type="H100", marginal_pue=1.0)
FLEXIBLE = Flexibility(
    tier=Tier.T3,
    deadline=SIX + timedelta(hours=12),
    duration=timedelta(hours=1),
    duration_is_declared=True,
    interruptible=True,
    gpus=8,
    min_gpus=8,
    max_gpus=8,
    power_kw=4.0,
)
HELD = Job(
    id=JobId("a"),
    seq=1,
    state=JobState.HELD,
    submitted_at=SIX,
    request=JobRequest("x"),
    flexibility=FLEXIBLE,
)
RUN_NOW = RunNow([SITE], restart=MINUTE)


def attempt(number: int, start: datetime, minutes: int) -> Attempt:
    return Attempt(
        *(number, f"a-{number}", "london", AttemptState.ENDED, start),
        started_at=start,
        ended_at=start + minutes * MINUTE,
        outcome=Outcome.STOPPED,
    )


ENDED = replace(
    HELD,
    state=JobState.SUCCEEDED,
    attempts=(attempt(1, SIX + 60 * MINUTE, 20), attempt(2, SIX + 120 * MINUTE, 26)),
    ended_at=SIX + 146 * MINUTE,
)


def test_a_job_that_has_not_ended_takes_as_long_as_its_owner_says() -> None:
    assert RUN_NOW.unbroken(HELD) == timedelta(hours=1)


def test_a_job_that_ended_would_not_have_started_twice() -> None:
    assert RUN_NOW.unbroken(ENDED) == 45 * MINUTE


def test_time_on_half_the_gpus_counts_at_its_speed() -> None:
    slow = replace(attempt(2, SIX + 120 * MINUTE, 26), gpus=4, speed_fraction=0.5)

    found = RUN_NOW.unbroken(replace(ENDED, attempts=(ENDED.attempts[0], slow)))

    assert found == 32 * MINUTE  # 20 and 13, less one start


def test_it_would_have_run_from_its_submission_on() -> None:
    energy = RUN_NOW.energy([ENDED])

    assert energy == {JobId("a"): {HalfHour(SIX): 2.0, HalfHour(SIX) + 1: 1.0}}


def test_who_came_second_waits_for_the_gpus() -> None:
    second = replace(HELD, id=JobId("b"), seq=2, submitted_at=SIX + MINUTE)

    energy = RUN_NOW.energy([second, ENDED])

    assert energy[JobId("b")] == {
        HalfHour(SIX) + 1: 1.0,
        HalfHour(SIX) + 2: 2.0,
        HalfHour(SIX) + 3: 1.0,
    }


def test_a_job_larger_than_its_site_holds_all_of_it() -> None:
    large = replace(HELD, flexibility=replace(FLEXIBLE, gpus=16))

    assert RUN_NOW.energy([large])[JobId("a")] == {HalfHour(SIX): 2.0, HalfHour(SIX) + 1: 2.0}


def test_a_job_of_no_known_site_is_at_the_default_one() -> None:
    assert RUN_NOW.site(replace(HELD, flexibility=replace(FLEXIBLE, sites=("mars",)))) == SITE
