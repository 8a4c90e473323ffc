"""The demo's day of jobs."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from gridflex.demo.jobs import DAY, DemoJob
from gridflex.halfhour import HALF_HOUR
from gridflex.jobs import TIER_DEFAULTS, Submission, Tier, parse_flexibility

MORNING = datetime(2024, 10, 11, 6, tzinfo=UTC)


def submission(job: DemoJob) -> Submission:
    return Submission(
        submitted_at=MORNING + job.arrives * HALF_HOUR,
        entrypoint_gpus=job.gpus,
        likely_duration=timedelta(hours=1),
        site_gpus={"local": 40},
    )


def test_every_tier_that_one_site_can_serve_comes_up() -> None:
    tiers = Counter(job.tier for job in DAY)

    assert set(tiers) == set(Tier) - {Tier.T5}
    assert 25 <= len(DAY) <= 40
    assert min(tiers.values()) >= 4


def test_jobs_are_numbered_in_the_order_in_which_they_arrive() -> None:
    assert [job.number for job in DAY] == list(range(1, len(DAY) + 1))
    assert [job.arrives for job in DAY] == sorted(job.arrives for job in DAY)
    assert len({job.id for job in DAY}) == len(DAY)


@pytest.mark.parametrize("job", DAY, ids=lambda job: job.id)
def test_the_metadata_says_what_the_job_is(job: DemoJob) -> None:
    flexibility = parse_flexibility(job.metadata(), submission(job))

    assert flexibility is not None
    assert flexibility.tier is job.tier
    assert (flexibility.gpus, flexibility.min_gpus, flexibility.max_gpus) == (job.gpus,) * 3
    assert flexibility.interruptible is TIER_DEFAULTS[job.tier].interruptible
    assert flexibility.duration > job.work * HALF_HOUR


@pytest.mark.parametrize("job", DAY, ids=lambda job: job.id)
def test_every_job_can_be_done_within_the_day(job: DemoJob) -> None:
    flexibility = parse_flexibility(job.metadata(), submission(job))

    assert flexibility is not None
    assert flexibility.deadline <= MORNING + 48 * HALF_HOUR
    slack = flexibility.deadline - submission(job).submitted_at - flexibility.duration
    assert slack >= HALF_HOUR


def test_a_training_job_takes_as_long_as_its_work() -> None:
    job = DemoJob(7, Tier.T3, arrives=0, gpus=8, work=3)

    assert job.entrypoint("py", half_hour_s=5.0) == (
        "py train.py --epochs 6 --epoch-seconds 2.5 --examples 200"
    )
    assert job.id == "demo-07-t3"


def test_a_rigid_job_only_sleeps() -> None:
    job = DemoJob(1, Tier.T0, arrives=0, gpus=2, work=3)

    assert job.entrypoint("py", half_hour_s=5.0) == "sleep 15"
