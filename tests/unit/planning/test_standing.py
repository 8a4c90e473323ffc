"""One arriving job finds its place in the standing plan, and nobody else moves."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from gridflex.jobs import JobId
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import JobDemand, PlanningProblem
from gridflex.planning.standing import LATER, StandingBoard, left_by, with_arrivals
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem, problems
from tests.unit.planning.rules import broken_rules, is_held

VALLEY = [90, 80, 20, 10, 30, 70, 80, 90]


def board(given: PlanningProblem) -> StandingBoard:
    return StandingBoard(given, make_plan(given, budget_s=5.0))


def test_a_job_takes_the_cheapest_half_hours_that_are_left() -> None:
    standing = board(problem([job("a")], outlook(VALLEY, gpus=1)))

    placed = standing.place(job("new", work=1))

    assert placed.runs[0].start == MIDNIGHT + 4
    assert placed.cost_gbp == pytest.approx(0.03)
    assert not placed.is_late


def test_the_next_job_sees_what_the_last_one_took() -> None:
    standing = board(problem([job("a")], outlook(VALLEY, gpus=1)))

    places = [standing.place(job(name, work=1)).runs[0].start for name in ("b", "c")]

    assert places == [MIDNIGHT + 4, MIDNIGHT + 5]


def test_a_job_without_room_before_its_deadline_finishes_as_soon_as_it_can() -> None:
    standing = board(problem([job("a", deadline=2)], outlook(VALLEY, gpus=1)))

    placed = standing.place(job("new", deadline=2))

    assert placed.is_late
    assert placed.runs[0].start == MIDNIGHT + 2


def test_a_job_too_large_for_the_site_is_late_and_does_not_run() -> None:
    placed = board(problem([], outlook(VALLEY))).place(job("big", gpus=9))

    assert (placed.runs, placed.is_late) == ((), True)


@given(problems())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_plan_with_the_arrived_job_breaks_no_rule(given: PlanningProblem) -> None:
    uncapped = replace(
        given, sites=tuple(replace(site, cap_gco2_per_kwh=None) for site in given.sites)
    )
    movable = [demand for demand in uncapped.jobs if not is_held(demand)]
    if not movable:
        return
    arriving = movable[-1]
    before = replace(
        uncapped, jobs=tuple(demand for demand in uncapped.jobs if demand.id != arriving.id)
    )
    made = make_plan(before, budget_s=5.0)

    placed = StandingBoard(before, made).place(arriving)

    runs = {**made.runs, arriving.id: placed.runs}
    late = (*made.late, arriving.id) if placed.is_late else made.late
    ordered = {demand.id: runs[demand.id] for demand in uncapped.jobs}
    after = replace(made, runs=ordered, late=late)
    assert broken_rules(uncapped, after) == []


def test_arrived_jobs_join_the_plan_and_nobody_else_moves() -> None:
    known, new = job("a"), job("new", work=1)
    made = make_plan(problem([known], outlook(VALLEY, gpus=1)), budget_s=5.0)

    found = with_arrivals(problem([known, new], outlook(VALLEY, gpus=1)), made)

    assert found is not None
    assert found.runs[known.id] == made.runs[known.id]
    assert found.runs[new.id][0].start == MIDNIGHT + 4
    assert found.method == LATER
    assert found.gap_fraction <= 0.005


@pytest.mark.parametrize(
    ("new", "gpus"),
    [
        pytest.param(job("new", deadline=3), 1, id="it would be late"),
        pytest.param(job("new", deadline=5, power_kw={"london": 99.0}), 1, id="it deserves better"),
    ],
)
def test_a_plan_is_made_anew_where_a_place_on_it_is_not_good_enough(
    new: JobDemand, gpus: int
) -> None:
    known = job("a", deadline=8)
    prices = [90, 10, 10, 80, 80, 20, 20, 90]
    made = make_plan(problem([known], outlook(prices, gpus=gpus)), budget_s=5.0)

    assert with_arrivals(problem([known, new], outlook(prices, gpus=gpus)), made) is None


def test_a_plan_is_made_anew_where_a_known_job_can_no_longer_stay() -> None:
    made = make_plan(problem([job("a")], outlook(VALLEY)), budget_s=5.0)
    longer = problem([job("a", work=3), job("new")], outlook(VALLEY))

    assert with_arrivals(longer, made) is None


def test_without_an_arrival_there_is_nothing_to_place() -> None:
    given = problem([job("a")], outlook(VALLEY))

    assert with_arrivals(given, make_plan(given, budget_s=5.0)) is None


def test_a_later_start_uses_what_is_left_of_prices_and_runs() -> None:
    whole = problem([job("a", work=1), job("b", work=1)], outlook(VALLEY, gpus=1))
    made = make_plan(whole, budget_s=5.0)
    later = replace(
        problem(
            [job("a", work=1, deadline=6), job("new", work=1, deadline=6)],
            outlook(VALLEY[2:], gpus=1),
        ),
        start=MIDNIGHT + 2,
    )

    found = with_arrivals(later, made)

    assert found is not None
    assert found.runs[JobId("a")] == made.runs[JobId("a")]
    assert found.runs[JobId("new")][0].start != found.runs[JobId("a")][0].start


def test_what_a_plan_leaves_is_counted_in_gpus_and_power() -> None:
    given = problem([job("a", work=1)], outlook(VALLEY, gpus=2, limit_kw=[5.0] * 8))
    made = make_plan(given, budget_s=5.0)

    (left,) = left_by(given, made)
    (whole,) = left_by(given, made, without=JobId("a"))

    assert left.free_gpus[3] == 1
    assert left.limit_kw is not None
    assert left.limit_kw[3] == 3.0
    assert whole.free_gpus.tolist() == [2.0] * 8
