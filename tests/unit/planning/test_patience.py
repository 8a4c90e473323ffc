"""Doubt makes later half-hours worth waiting for; worked by hand and by simulation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridflex.jobs import JobId, Tier
from gridflex.planning.patience import patient, worth_of_now
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import Array, JobDemand, PlanningProblem
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem

FLAT = [100.0] * 8


def worth(
    mean: Sequence[float] | Array,
    sd: Sequence[float] | Array,
    *,
    size: int = 1,
    start: float = 0.0,
    is_running: bool = True,
) -> float:
    return worth_of_now(
        np.array(mean, dtype=float), np.array(sd, dtype=float), size, start, is_running
    )


def test_without_doubt_a_half_hour_is_worth_the_dearest_that_it_replaces() -> None:
    assert worth([5, 3, 9], [0, 0, 0], size=2) == pytest.approx(5.0)


def test_what_cannot_wait_is_worth_anything() -> None:
    assert worth([5, 3], [0, 0], size=3) == np.inf


def test_one_half_hour_left_is_worth_what_it_is_expected_to_cost() -> None:
    assert worth([5.0], [4.0]) == pytest.approx(5.0)


def test_two_that_may_turn_out_well_are_worth_less_than_either() -> None:
    # The last one must be used if the first was not: E[min(c, 10)] with c normal around 10.
    assert worth([10.0, 10.0], [2.0, 5.0]) == pytest.approx(10.0 - 2.0 / np.sqrt(2 * np.pi))


def test_more_doubt_is_never_worth_more() -> None:
    found = [worth([10.0, 12.0, 11.0, 9.0], [sd] * 4, size=2) for sd in (0.0, 1.0, 3.0, 9.0)]

    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_a_start_is_paid_by_who_stops_and_not_by_who_goes_on() -> None:
    goes_on = worth([10.0, 10.0], [0.0, 0.0], start=3.0)
    begins = worth([10.0, 10.0], [0.0, 0.0], start=3.0, is_running=False)

    assert [goes_on, begins] == pytest.approx([13.0, 10.0])


def test_whoever_keeps_to_it_spends_what_the_programme_expects() -> None:
    rng = np.random.default_rng(0)
    mean, sd = np.array([10.0, 9.0, 12.0, 8.0, 11.0]), np.array([1.0, 4.0, 2.0, 3.0, 5.0])
    drawn = mean + sd * rng.standard_normal((20_000, 5))

    def spent(size: int) -> float:
        left, total = np.full(len(drawn), size), np.zeros(len(drawn))
        for t in range(5):
            for units in range(1, size + 1):
                limit = worth(mean[t + 1 :], sd[t + 1 :], size=units) if t < 4 else np.inf
                runs = (left == units) & (drawn[:, t] <= limit)
                total[runs] += drawn[runs, t]
                left[runs] -= 1
        assert not left.any()
        return float(total.mean())

    expected = worth(mean, sd, size=2)

    assert spent(2) - spent(1) == pytest.approx(expected, abs=0.08)


def unsure(*jobs: JobDemand, price: Sequence[float], sd: float = 30.0) -> PlanningProblem:
    given = problem(jobs, outlook(list(price)))
    spread = np.full(len(price), sd)
    return replace(given, sites=(replace(given.sites[0], price_sd_gbp_per_mwh=spread),))


def releases(given: PlanningProblem) -> list[int]:
    return [demand.release for demand in patient(given).jobs]


ALMOST_FLAT = [99.0, *FLAT[1:]]


def test_a_half_hour_that_is_hardly_better_is_left_for_one_that_may_be() -> None:
    given = unsure(job("a", interruptible=True), price=ALMOST_FLAT)

    assert releases(given) == [1]
    assert make_plan(patient(given), budget_s=5.0).runs[JobId("a")][0].start > MIDNIGHT


def test_one_that_is_clearly_better_is_used() -> None:
    assert releases(unsure(job("a", interruptible=True), price=[20.0, *FLAT[1:]])) == [0]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"interruptible": False}, id="not pausable"),
        pytest.param({"tier": Tier.T0}, id="rigid"),
        pytest.param({"deadline": 2}, id="no time to wait"),
        pytest.param(
            {"deadline": 3, "running_at": "london", "restart_half_hours": 0.5}, id="no restart"
        ),
        pytest.param({"waiting_gbp_per_hour": 1.0}, id="waiting is dear"),
    ],
)
def test_who_cannot_wait_runs(changes: dict[str, Any]) -> None:
    demand = job("a", **{"interruptible": True, **changes})

    assert releases(unsure(demand, price=ALMOST_FLAT)) == [0]


def test_a_sure_forecast_is_taken_as_it_is() -> None:
    given = problem([job("a", interruptible=True)], outlook(ALMOST_FLAT))

    assert patient(given) is given


def test_a_dear_restart_keeps_a_running_job_going() -> None:
    running = {"interruptible": True, "running_at": "london", "work": 3}
    free = job("a", **running)
    bound = job("b", **running, restart_half_hours=1.0)

    assert releases(unsure(free, bound, price=ALMOST_FLAT)) == [1, 0]


def test_gpus_that_others_want_later_make_now_worth_more() -> None:
    given = unsure(job("a", interruptible=True), price=ALMOST_FLAT)
    wanted = np.zeros((1, 8))
    wanted[0, 1:] = 5.0

    assert [demand.release for demand in patient(given, prices=wanted).jobs] == [0]


def test_a_long_window_is_looked_at_in_blocks() -> None:
    long = job("a", interruptible=True, work=100, deadline=1000)
    price = np.full(1000, 100.0)
    price[0] = 99.0

    assert releases(unsure(long, price=price.tolist())) == [1]
    price[0] = 20.0
    assert releases(unsure(long, price=price.tolist())) == [0]
