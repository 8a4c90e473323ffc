"""What shifting saved, against figures worked out by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, JobState, Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest, Outcome, StopReason
from gridflex.report import (
    Account,
    Measured,
    Prices,
    QueuedJob,
    account,
    pauses,
    results,
    rows,
    run_now_starts,
    saved_fraction,
    spread,
)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HALF = timedelta(minutes=30)
AT_NOON = HalfHour(NOON)
PRICES = Prices(
    price_gbp_per_mwh=dict(
        zip(AT_NOON.span(6), (100.0, 80.0, 60.0, -20.0, 40.0, 0.0), strict=True)
    ),
    intensity_gco2_per_kwh=dict(
        zip(AT_NOON.span(6), (200.0, 150.0, 100.0, 50.0, 120.0, 300.0), strict=True)
    ),
)


def attempt(
    number: int,
    *,
    start: float,
    end: float,
    outcome: Outcome = Outcome.SUCCEEDED,
    reason: StopReason | None = None,
) -> Attempt:
    return Attempt(
        number=number, ray_id=f"r{number}", site="local", state=AttemptState.ENDED,
        decided_at=NOON + start * HALF, started_at=NOON + start * HALF,
        ended_at=NOON + end * HALF, outcome=outcome, stop_reason=reason,
    )  # fmt: skip


def job(
    name: str,
    *attempts: Attempt,
    tier: Tier = Tier.T2,
    submitted: float = 0.0,
    deadline: float = 48.0,
    state: JobState = JobState.SUCCEEDED,
    gpus: int = 4,
) -> Job:
    flexibility = Flexibility(
        tier=tier, deadline=NOON + deadline * HALF, duration=HALF, duration_is_declared=True,
        interruptible=True, gpus=gpus, min_gpus=gpus, max_gpus=gpus,
    )  # fmt: skip
    return Job(
        id=JobId(name), seq=1, state=state, submitted_at=NOON + submitted * HALF,
        request=JobRequest("true"), flexibility=flexibility, attempts=attempts,
        ended_at=attempts[-1].ended_at if attempts and state.is_final else None,
    )  # fmt: skip


def measured(energy: Mapping[int, float], *, unbroken: float, power_kw: float = 10.0) -> Measured:
    return Measured(
        energy={AT_NOON + index: kwh for index, kwh in energy.items()},
        power_kw=power_kw,
        unbroken=unbroken * HALF,
        site="local",
    )


def queued(name: str, *, at: float, length: float, gpus: int, site: str = "local") -> QueuedJob:
    return QueuedJob(JobId(name), NOON + at * HALF, length * HALF, gpus, site)


def starts_of(*jobs: QueuedJob, gpus: int = 8) -> dict[str, float]:
    starts = run_now_starts(jobs, site_gpus={"local": gpus})
    return {str(name): (start - NOON) / HALF for name, start in starts.items()}


def figures(account: Account) -> tuple[float, float, float]:
    return account.energy_kwh, account.cost_gbp, account.carbon_kg


def test_energy_is_priced_in_the_half_hour_in_which_it_was_used() -> None:
    energy = {AT_NOON: 2.0, AT_NOON + 3: 5.0}

    # 2 kWh at 10 p and 200 g; 5 kWh at -2 p and 50 g
    assert figures(account(energy, PRICES)) == pytest.approx((7.0, 0.10, 0.65))


def test_energy_in_a_half_hour_without_a_price_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="2026-07-01T15:00Z"):
        account({AT_NOON + 6: 1.0}, PRICES)


def test_accounts_add_up_and_carbon_counts_at_its_price() -> None:
    total = Account(1.0, 2.0, 3.0) + Account(10.0, 20.0, 47.0)

    assert total == Account(11.0, 22.0, 50.0)
    assert total.objective_gbp(80.0) == pytest.approx(22.0 + 0.05 * 80)


def test_an_unbroken_run_is_spread_over_the_half_hours_that_it_touches() -> None:
    energy = spread(NOON + timedelta(minutes=20), run_time=timedelta(minutes=55), power_kw=6.0)

    assert energy == {
        AT_NOON: pytest.approx(1.0),
        AT_NOON + 1: pytest.approx(3.0),
        AT_NOON + 2: pytest.approx(1.5),
    }


def test_a_run_that_ends_on_the_half_hour_does_not_touch_the_next() -> None:
    assert list(spread(NOON, run_time=HALF, power_kw=6.0)) == [AT_NOON]


def test_with_free_gpus_every_job_starts_when_it_arrives() -> None:
    starts = starts_of(
        queued("a", at=0, length=4, gpus=4),
        queued("b", at=1.5, length=4, gpus=4),
    )

    assert starts == {"a": 0.0, "b": 1.5}


def test_a_job_waits_until_enough_gpus_are_free() -> None:
    starts = starts_of(
        queued("a", at=0, length=4, gpus=4),
        queued("b", at=0, length=2, gpus=4),
        queued("c", at=1, length=1, gpus=8),
    )

    assert starts == {"a": 0.0, "b": 0.0, "c": 4.0}


def test_a_small_job_passes_a_large_one_that_does_not_fit() -> None:
    starts = starts_of(
        queued("a", at=0, length=4, gpus=6),
        queued("large", at=1, length=1, gpus=8),
        queued("small", at=2, length=1, gpus=2),
    )

    assert starts == {"a": 0.0, "large": 4.0, "small": 2.0}


def test_gpus_that_come_free_when_a_job_arrives_are_free_for_it() -> None:
    starts = starts_of(
        queued("a", at=0, length=2, gpus=8),
        queued("b", at=2, length=1, gpus=8),
    )

    assert starts == {"a": 0.0, "b": 2.0}


def test_sites_have_queues_of_their_own() -> None:
    starts = run_now_starts(
        [
            queued("a", at=0, length=2, gpus=4),
            queued("b", at=0, length=2, gpus=4, site="slough"),
        ],
        site_gpus={"local": 4, "slough": 4},
    )

    assert set(starts.values()) == {NOON}


@pytest.mark.parametrize(
    ("large", "message"),
    [
        (queued("a", at=0, length=1, gpus=9), "job a needs 9 GPUs, local has 8"),
        (queued("a", at=0, length=1, gpus=1, site="mars"), "site mars is not one of local"),
    ],
)
def test_a_job_that_no_site_could_run_is_refused(large: QueuedJob, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        starts_of(large)


def test_only_a_run_that_was_asked_to_pause_and_did_is_a_pause() -> None:
    broken = job(
        "a",
        attempt(1, start=0, end=1, outcome=Outcome.STOPPED, reason=StopReason.PAUSE),
        attempt(2, start=2, end=3, outcome=Outcome.LOST),
        attempt(3, start=4, end=5),
    )

    assert pauses(broken) == 1


def test_a_shifted_job_is_compared_with_running_it_at_once() -> None:
    shifted = job("a", attempt(1, start=2, end=4))

    (result,) = results(
        [shifted],
        {shifted.id: measured({2: 5.0, 3: 5.0}, unbroken=2)},
        prices=PRICES,
        site_gpus={"local": 8},
    )

    assert figures(result.ran) == pytest.approx((10.0, 0.20, 0.75))
    assert figures(result.run_now) == pytest.approx((10.0, 0.90, 1.75))
    assert (result.waited, result.waited_now) == (2 * HALF, timedelta(0))
    assert result.redone == timedelta(0)
    assert not result.was_late


def test_run_time_beyond_one_unbroken_run_was_spent_again() -> None:
    paused = job(
        "a",
        attempt(1, start=0, end=1, outcome=Outcome.STOPPED, reason=StopReason.PAUSE),
        attempt(2, start=3, end=4.5),
    )

    (result,) = results(
        [paused],
        {paused.id: measured({0: 5.0, 3: 5.0, 4: 2.5}, unbroken=2)},
        prices=PRICES,
        site_gpus={"local": 8},
    )

    assert result.redone == HALF / 2
    assert result.ran.energy_kwh - result.run_now.energy_kwh == pytest.approx(2.5)


def test_the_counterfactual_queues_for_the_same_gpus() -> None:
    first = job("a", attempt(1, start=0, end=2), gpus=8)
    second = job("b", attempt(1, start=3, end=4), submitted=1, deadline=3.5, gpus=8)

    _, result = results(
        [first, second],
        {
            first.id: measured({0: 5.0, 1: 5.0}, unbroken=2),
            second.id: measured({3: 5.0}, unbroken=1),
        },
        prices=PRICES,
        site_gpus={"local": 8},
    )

    assert result.waited_now == HALF
    assert result.run_now.cost_gbp == pytest.approx(0.30)
    assert result.was_late
    assert not result.was_late_now


def test_a_job_that_never_ran_has_no_result() -> None:
    held = job("a", state=JobState.HELD)

    assert results([held], {}, prices=PRICES, site_gpus={"local": 8}) == []


def test_rows_come_by_tier_with_all_jobs_last() -> None:
    jobs = [
        job("a", attempt(1, start=1, end=2), tier=Tier.T3),
        job("b", attempt(1, start=3, end=4), tier=Tier.T0, deadline=3.5),
        job("c", attempt(1, start=2, end=4), tier=Tier.T3, state=JobState.FAILED),
    ]
    known = {one.id: measured({3: 5.0}, unbroken=1) for one in jobs}
    done = results(jobs, known, prices=PRICES, site_gpus={"local": 12})

    by_name = {row.name: row for row in rows(done)}

    assert list(by_name) == ["T0", "T3", "all"]
    assert [(row.jobs, row.met) for row in by_name.values()] == [(1, 0), (2, 1), (3, 1)]
    assert by_name["T3"].mean_wait == 1.5 * HALF
    assert by_name["all"].mean_wait_now == timedelta(0)
    assert figures(by_name["all"].ran) == pytest.approx((15.0, -0.30, 0.75))
    assert by_name["all"].redone == HALF


def test_nothing_makes_one_empty_row() -> None:
    (row,) = rows([])

    assert (row.jobs, row.mean_wait, row.ran) == (0, timedelta(0), Account())


@pytest.mark.parametrize(
    ("ran", "run_now", "share"),
    [(75.0, 100.0, 0.25), (-30.0, -20.0, 0.5), (120.0, 100.0, -0.2), (1.0, 0.0, 0.0)],
)
def test_the_saved_share_keeps_its_sign_at_negative_prices(
    ran: float, run_now: float, share: float
) -> None:
    assert saved_fraction(ran, run_now) == pytest.approx(share)


def test_a_start_counts_as_work_only_from_when_it_is_over() -> None:
    ran = attempt(1, start=0, end=4)
    queued_long = replace(ran, decided_at=NOON - 2 * HALF)

    assert ran.work_time(NOON + 3 * HALF, restart=HALF) == 2 * HALF
    assert queued_long.work_time(NOON + 3 * HALF, restart=HALF) == 3 * HALF
    assert ran.work_time(NOON + 9 * HALF, restart=HALF) == 3 * HALF
    assert replace(ran, started_at=None).work_time(NOON + HALF, restart=HALF) == timedelta(0)
