"""What runs, as the shed order sees it: power, newest checkpoint and slack, worked by hand."""

from datetime import timedelta
from decimal import Decimal

import pytest

from gridflex.fleet import Site
from gridflex.jobs import JobId, Tier
from gridflex.lifecycle import AttemptState, Job, StopReason
from gridflex.planning.running import running_work
from gridflex.planning.shed import RunningWork
from tests.unit.lifecycles import HOUR, MINUTE, NOON, UP_TO_FOUR_HOURS, attempt, job

SITES = {"london": Site("london", gpus=8, gpu_type="H100")}


def seen(*jobs: Job, minutes: int) -> tuple[RunningWork, ...]:
    return running_work(jobs, sites=SITES, now=NOON + minutes * MINUTE, restart=5 * MINUTE)


def test_a_checkpoint_is_as_old_as_the_work_since_the_last_full_interval() -> None:
    (found,) = seen(job(attempt(), checkpoint_every=10 * MINUTE), minutes=38)

    assert found.checkpoint_age == 3 * MINUTE  # at work since 12:05, the last one at 12:35


def test_a_job_that_does_not_say_loses_all_that_this_run_has_done() -> None:
    (found,) = seen(job(attempt()), minutes=38)

    assert found.checkpoint_age == 33 * MINUTE


def test_slack_is_what_the_deadline_leaves_beside_the_work() -> None:
    (found,) = seen(job(attempt()), minutes=65)

    # 4 h of work, 1 h done at 13:05, due at midnight: 10 h 55 min less 3 h
    assert found.slack == 7 * HOUR + 55 * MINUTE
    assert found.restart == 5 * MINUTE


def test_slack_leaves_room_for_a_long_run() -> None:
    (found,) = seen(job(attempt(), run_time=UP_TO_FOUR_HOURS), minutes=65)

    # 1 h done; nine in ten that got as far take less than 3 h 42 min, so 2 h 42 min more
    assert found.slack.total_seconds() / 60 == pytest.approx(655 - 162, abs=1)


def test_slack_counts_what_is_left_at_the_speed_of_the_run() -> None:
    slow = attempt(power_cap_fraction=0.57, speed_fraction=0.5)

    (found,) = seen(job(slow), minutes=65)

    # half an hour of 4 h is done at 13:05, the rest takes 7 h: 10 h 55 min less that
    assert found.slack == 3 * HOUR + 55 * MINUTE


def test_power_premium_and_grace_are_the_owners() -> None:
    (found,) = seen(
        job(
            attempt(),
            power_kw=10.0,
            premium_gbp_per_kwh=Decimal("0.15"),
            stop_grace=timedelta(seconds=12),
        ),
        minutes=30,
    )

    assert found.power_kw == pytest.approx(11.0)  # at the meter, with a marginal PUE of 1.1
    assert found.premium_gbp_per_kwh == 0.15
    assert found.acts_in == timedelta(seconds=12)


@pytest.mark.parametrize(
    ("changes", "pausable"),
    [
        pytest.param({}, True, id="pausable"),
        pytest.param({"interruptible": False}, False, id="whole"),
        pytest.param({"tier": Tier.T0}, False, id="rigid"),
    ],
)
def test_only_what_may_be_paused_is(changes: dict[str, object], *, pausable: bool) -> None:
    (found,) = seen(job(attempt(), **changes), minutes=30)

    assert found.is_pausable is pausable


def test_a_late_job_has_no_slack() -> None:
    (found,) = seen(job(attempt(), deadline=NOON + HOUR), minutes=30)

    assert found.slack == timedelta(0)


def test_what_does_not_run_gives_nothing() -> None:
    waiting = job()
    starting = job(attempt(state=AttemptState.SUBMITTED, started_at=None))
    stopping = job(attempt(state=AttemptState.STOPPING, stop_reason=StopReason.PAUSE))
    elsewhere = job(attempt(site="gone"), id=JobId("far"))

    assert seen(waiting, starting, stopping, elsewhere, minutes=30) == ()
