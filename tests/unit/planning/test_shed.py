"""Power is freed by the work that loses least, and what comes back is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.shed import Action, RunningWork, Shedding, ShedOrder

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
PRICES = {"london": 0.1, "slough": 0.1}


def work(name: str, **changes: Any) -> RunningWork:  # noqa: ANN401 - any field
    """Return a job of 10 kW with a checkpoint 6 minutes old and ten hours of slack."""
    values: dict[str, Any] = {
        "job_id": JobId(name),
        "site": "london",
        "power_kw": 10.0,
        "checkpoint_age": 6 * MINUTE,
        "restart": timedelta(0),
        "slack": 10 * HOUR,
    }
    return RunningWork(**{**values, **changes})


def shed(*jobs: RunningWork, kw: float, hold: timedelta = HOUR, **how: Any) -> Shedding:  # noqa: ANN401
    how = {"within": 30 * timedelta(seconds=1), "now": NOON, **how}
    return ShedOrder(jobs, price_gbp_per_kwh=PRICES).free(kw, hold=hold, **how)


def names(found: Shedding) -> list[str]:
    return [str(cut.job_id) for cut in found.cuts]


def test_the_newest_checkpoint_goes_first() -> None:
    found = shed(work("old", checkpoint_age=HOUR), work("new"), kw=10)

    assert names(found) == ["new"]
    assert found.cost_gbp == pytest.approx(10 * 0.1 * 0.1)
    assert found.is_enough


def test_work_goes_first_where_energy_is_cheap_to_use_again() -> None:
    jobs = (work("dear"), work("cheap", site="slough"))
    order = ShedOrder(jobs, price_gbp_per_kwh={"london": 0.3, "slough": 0.1})

    found = order.free(10, within=MINUTE, hold=HOUR, now=NOON)

    assert names(found) == ["cheap"]
    assert found.cost_gbp == pytest.approx(10 * 0.1 * 0.1)


def test_the_lower_premium_goes_first() -> None:
    found = shed(work("dear", premium_gbp_per_kwh=0.2), work("cheap"), kw=10)

    assert names(found) == ["cheap"]


def test_a_long_hold_makes_premiums_count_more_than_lost_work() -> None:
    paid = work("paid", checkpoint_age=timedelta(0), premium_gbp_per_kwh=0.02)
    unpaid = work("unpaid", checkpoint_age=HOUR)

    assert names(shed(paid, unpaid, kw=10, hold=HOUR)) == ["paid"]
    assert names(shed(paid, unpaid, kw=10, hold=8 * HOUR)) == ["unpaid"]


def test_a_job_that_would_be_late_is_left_alone() -> None:
    tight = work("tight", slack=64 * MINUTE)

    found = shed(tight, work("loose", checkpoint_age=2 * HOUR), kw=10)

    assert names(found) == ["loose"]


def test_what_is_too_slow_for_the_event_is_not_counted() -> None:
    slow = work("slow", acts_in=2 * MINUTE)

    found = shed(slow, kw=10)

    assert (found.cuts, found.is_enough) == ((), False)


def test_a_cap_is_taken_before_a_pause_and_gives_way_to_it_when_more_is_needed() -> None:
    job = work("a", capped_kw=6.0, capped_throughput=0.8)

    little, much = shed(job, kw=4), shed(job, kw=9)

    assert [(cut.action, cut.freed_kw) for cut in little.cuts] == [(Action.CAP, 4.0)]
    assert [(cut.action, cut.freed_kw) for cut in much.cuts] == [(Action.PAUSE, 10.0)]


def test_a_cut_that_others_made_needless_is_dropped() -> None:
    small = work("small", power_kw=1.0, checkpoint_age=timedelta(0))

    assert names(shed(small, work("large"), kw=10)) == ["large"]


@pytest.mark.parametrize(
    ("kw", "given"),
    [
        pytest.param(0.5, ["small"], id="one covers it, dearer per kW"),
        pytest.param(5.0, ["small", "large"], id="the rest after the cheapest per kW"),
        pytest.param(0.7, ["large"], id="none that is small covers it"),
    ],
)
def test_what_is_left_is_freed_by_the_cheapest_that_covers_it(kw: float, given: list[str]) -> None:
    large = work("large", power_kw=4.93, checkpoint_age=5.7 * MINUTE)
    middle = work("middle", power_kw=2.4, checkpoint_age=30 * MINUTE)
    small = work("small", power_kw=0.62)

    found = shed(large, middle, small, kw=kw)

    assert sorted(names(found)) == sorted(given)


def test_only_the_site_asked_for_is_touched() -> None:
    found = shed(work("here"), work("there", site="slough"), kw=20, site="slough")

    assert names(found) == ["there"]
    assert not found.is_enough


def test_the_rebound_says_what_returns_when_and_how_much() -> None:
    found = shed(work("a", restart=3 * MINUTE), kw=10, hold=2 * HOUR)

    (back,) = found.rebound
    assert back.resumes_at == NOON + 2 * HOUR
    assert back.until == NOON + 10 * HOUR - 9 * MINUTE
    assert back.power_kw == 10.0
    assert back.extra_kwh == pytest.approx(20 + 1.5)


def test_a_cap_above_the_power_is_refused() -> None:
    with pytest.raises(ContractError, match="capped_kw"):
        work("a", capped_kw=11.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 90), st.integers(0, 20), st.booleans()),
        max_size=12,
    ),
    st.integers(0, 120),
)
def test_enough_is_freed_whenever_it_can_be_and_nothing_is_cut_in_vain(
    drawn: list[tuple[int, int, int, bool]], kw: int
) -> None:
    jobs = [
        work(
            f"job-{i}",
            power_kw=float(power),
            checkpoint_age=age * MINUTE,
            slack=slack * HOUR,
            capped_kw=0.6 * power if capped else None,
            capped_throughput=0.8,
        )
        for i, (power, age, slack, capped) in enumerate(drawn)
    ]
    can = 0.0
    for job in jobs:
        pause = job.power_kw if HOUR + job.checkpoint_age <= job.slack else 0.0
        cap = 0.4 * job.power_kw if job.capped_kw is not None and job.slack >= 0.2 * HOUR else 0.0
        can += max(pause, cap)

    found = shed(*jobs, kw=float(kw))

    assert len(set(names(found))) == len(found.cuts)
    if can >= kw + 1e-6:
        assert found.is_enough
    if can < kw - 1e-6:
        assert not found.is_enough
        assert found.freed_kw == pytest.approx(can)
    for cut in found.cuts:
        if found.is_enough:
            assert found.freed_kw - cut.freed_kw < kw


def test_a_job_that_gave_already_gives_no_more() -> None:
    found = shed(work("a"), work("b"), kw=10, without=frozenset({JobId("a")}))

    assert names(found) == ["b"]
    assert shed(work("a"), kw=10, without=frozenset({JobId("a")})).cuts == ()
    assert shed(kw=10, without=frozenset({JobId("a")})).cuts == ()
