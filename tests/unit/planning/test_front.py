"""A front holds feasible plans of which none beats another, and prices choose among them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from gridflex.jobs import JobId
from gridflex.planning.evaluating import evaluator
from gridflex.planning.front import (
    Front,
    knee_of,
    make_front,
)
from gridflex.planning.genetic import non_dominated
from gridflex.planning.plan import Plan
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import PlanningProblem
from tests.unit.planning.problems import job, outlook, problem, problems
from tests.unit.planning.rules import broken_rules

CHEAP_OR_CLEAN = outlook(
    [60, 60, 10, 10, 40, 40, 80, 80], intensity=[250, 250, 200, 200, 150, 150, 20, 20], gpus=2
)


def as_plan(given: PlanningProblem, front: Front, index: int) -> Plan:
    point = front.points[index]
    bare = make_plan(given, budget_s=0.0)
    ends = {name: runs[-1].end if runs else None for name, runs in point.runs.items()}
    late = [
        demand.id
        for demand in given.jobs
        if (end := ends[demand.id]) is None or given.start.until(end) > demand.deadline
    ]
    return Plan(
        start=given.start,
        runs=point.runs,
        energy_kwh=bare.energy_kwh,
        cost_gbp=point.cost_gbp,
        carbon_kg=point.carbon_kg,
        waiting_gpu_hours=point.waiting_gpu_hours,
        objective_gbp=0.0,
        lower_bound_gbp=0.0,
        gap_fraction=0.0,
        late=tuple(late),
        method=point.origin,
        shadow_prices_gbp_per_gpu={},
    )


def test_the_front_reaches_from_cheapest_to_cleanest_to_soonest() -> None:
    given = problem([job("a"), job("b")], CHEAP_OR_CLEAN)

    low = make_front(given, budget_s=2.0).objectives.min(axis=0)

    assert low[0] == pytest.approx(2 * 0.02)
    assert low[1] == pytest.approx(2 * 0.04)
    assert low[2] == pytest.approx(0.0)


def test_no_point_of_a_front_beats_another() -> None:
    jobs = [job(name, interruptible=True) for name in "abcd"]

    objectives = make_front(problem(jobs, CHEAP_OR_CLEAN), budget_s=2.0).objectives

    for i, point in enumerate(objectives):
        others = np.delete(objectives, i, axis=0)
        assert not ((others <= point).all(axis=1)).any()


def test_prices_choose_the_point_that_is_best_at_them() -> None:
    front = make_front(problem([job("a"), job("b")], CHEAP_OR_CLEAN), budget_s=2.0)

    cheapest = front.points[front.preferred(gbp_per_tco2=0.0)]
    cleanest = front.points[front.preferred(gbp_per_tco2=100_000.0)]
    soonest = front.points[front.preferred(gbp_per_tco2=0.0, gbp_per_gpu_hour=100.0)]

    assert cheapest.cost_gbp == pytest.approx(0.04)
    assert cleanest.carbon_kg == pytest.approx(0.08)
    assert soonest.waiting_gpu_hours == pytest.approx(0.0)


def test_the_knee_gives_up_little_of_each() -> None:
    assert knee_of(np.array([[0.0, 10.0], [1.0, 1.0], [10.0, 0.0]])) == 1


def test_equal_points_count_once() -> None:
    points = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])

    assert non_dominated(points).tolist() == [0, 2]


def test_a_budget_of_nothing_still_gives_a_front() -> None:
    front = make_front(problem([job("a")], CHEAP_OR_CLEAN), budget_s=0.0)

    assert len(front.points) >= 1


def test_the_standing_plan_takes_part() -> None:
    given = problem([job("a"), job("b")], CHEAP_OR_CLEAN)
    clean = make_plan(replace(given, carbon_price_gbp_per_tco2=20_000.0), budget_s=2.0)

    front = make_front(given, budget_s=0.0, standing=clean)

    assert front.objectives[:, 1].min() == pytest.approx(0.08)


def test_a_cap_that_nobody_can_keep_makes_no_job_late() -> None:
    capped = replace(CHEAP_OR_CLEAN, cap_gco2_per_kwh=10.0)
    jobs = [job("a"), job("b", carbon_cap_gco2_per_kwh=19.0), job("c", deadline=1)]

    front = make_front(problem(jobs, capped), budget_s=0.5)

    assert {(one.late, one.over_cap, one.sites_over_cap) for one in front.points} == {(1, 1, 1)}


def test_no_jobs_make_a_front_of_one() -> None:
    assert len(make_front(problem([], CHEAP_OR_CLEAN), budget_s=1.0).points) == 1


@given(problems())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_plan_of_a_front_keeps_the_rules(given: PlanningProblem) -> None:
    front = make_front(given, budget_s=0.06)

    for index, point in enumerate(front.points):
        broken = broken_rules(given, as_plan(given, front, index))
        if point.late + point.over_cap + point.sites_over_cap == 0:
            assert broken == []
        assert set(point.runs) == {demand.id for demand in given.jobs}
        assert not [rule for rule in broken if "GPUs" in rule or "kW" in rule]


def test_a_front_names_its_jobs() -> None:
    front = make_front(problem([job("a")], CHEAP_OR_CLEAN), budget_s=0.5)

    assert list(front.points[0].runs) == [JobId("a")]


def test_torch_counts_a_population_as_the_compiled_loops_do() -> None:
    rng = np.random.default_rng(0)
    per_job, genomes = rng.normal(size=(6, 40, 3)), rng.integers(0, 6, (25, 40))

    ours, torchs = evaluator(per_job), evaluator(per_job, device="cpu")

    np.testing.assert_allclose(torchs(genomes), ours(genomes), rtol=1e-12)
    assert ours(genomes)[0] == pytest.approx(per_job[genomes[0], np.arange(40)].sum(axis=0))
