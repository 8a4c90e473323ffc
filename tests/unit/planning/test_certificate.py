"""The bounds agree with one another and with exact optima."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflex.planning.budget import Budget
from gridflex.planning.certificate import alike, bound_gbp, columns_of, lp_prices, raised_gbp
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import Mode, PlanningProblem
from gridflex.planning.search import Search
from tests.unit.planning.problems import job, outlook, problem


def milp_gbp(given: PlanningProblem) -> float:
    """Return the exact optimum of jobs that may be paused at no cost, by a MILP of SciPy."""
    (outlook_,) = given.sites
    cells = list(itertools.product(range(len(given.jobs)), range(given.half_hours)))
    cost = [
        given.jobs[j].power_kw["london"] * outlook_.price_gbp_per_mwh[t] / 2000 for j, t in cells
    ]
    upper = [float(given.jobs[j].release <= t < given.jobs[j].deadline) for j, t in cells]
    work = [[float(j == row) for j, _ in cells] for row in range(len(given.jobs))]
    load = [
        [given.jobs[j].gpus * float(t == row) for j, t in cells] for row in range(given.half_hours)
    ]
    need = [float(demand.work) for demand in given.jobs]
    solved = scipy.optimize.milp(
        cost,
        integrality=np.ones(len(cells)),
        bounds=scipy.optimize.Bounds(0, upper),
        constraints=[
            scipy.optimize.LinearConstraint(work, need, need),
            scipy.optimize.LinearConstraint(load, -np.inf, outlook_.free_gpus),
        ],
    )
    return float(solved.fun) if solved.success else np.inf


@st.composite
def pausable(draw: st.DrawFn) -> PlanningProblem:
    """Jobs that may be paused at no cost, in little room."""
    prices = draw(st.lists(st.integers(10, 200), min_size=8, max_size=8))
    jobs = [
        job(
            f"job-{i}",
            release=(release := draw(st.integers(0, 3))),
            deadline=8,
            work=draw(st.integers(1, 8 - release)),
            gpus=draw(st.integers(1, 3)),
            power_kw={"london": float(draw(st.integers(1, 5)))},
            interruptible=True,
        )
        for i in range(draw(st.integers(1, 5)))
    ]
    return problem(jobs, outlook(prices, gpus=draw(st.integers(3, 6))))


@given(pausable())
@settings(max_examples=60, deadline=None)
def test_the_bound_is_below_the_exact_optimum_and_the_plan_is_not(given: PlanningProblem) -> None:
    exact, made = milp_gbp(given), make_plan(given, budget_s=5.0)

    if made.late:
        return
    assert made.lower_bound_gbp <= exact + 1e-9
    assert made.objective_gbp >= exact - 1e-9


@given(pausable())
@settings(max_examples=60, deadline=None)
def test_the_best_prices_prove_the_value_of_the_linear_programme(given: PlanningProblem) -> None:
    search = Search(given, Budget(5.0))
    if search.figures.is_late.any():
        return

    found = lp_prices(search.tables, search.market, budget_s=5.0)

    assert found is not None
    market, value = found
    bound = bound_gbp(search.tables, market, search.best, search.figures)
    assert bound == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_prices_of_the_search_come_close_to_the_linear_programme() -> None:
    rng = np.random.default_rng(1)
    jobs = [
        job(
            f"job-{i}",
            deadline=48,
            work=int(rng.integers(2, 16)),
            power_kw={"london": float(rng.uniform(0.5, 2.0))},
            interruptible=True,
        )
        for i in range(120)
    ]
    given = problem(jobs, outlook(rng.uniform(20, 200, 48).tolist(), gpus=40))
    search = Search(given, Budget(30.0))
    search.run()

    found = lp_prices(search.tables, search.market, budget_s=30.0)

    assert found is not None
    bound = bound_gbp(search.tables, search.prices, search.best, search.figures)
    assert 0.995 * found[1] <= bound <= found[1] + 1e-9


def test_the_bound_counts_a_restart_that_earns_at_a_price_below_zero() -> None:
    earns = job("a", deadline=4, work=1, interruptible=True, restart_half_hours=0.1)

    made = make_plan(problem([earns], outlook([0, -10, 0, -10])), budget_s=5.0)

    assert made.lower_bound_gbp <= -0.01 * 1.1 + 1e-9


def test_a_dear_gpu_is_worth_what_it_saves() -> None:
    jobs = [job("a", work=1), job("b", work=1)]
    search = Search(
        problem(jobs, outlook([100, 10, 80, 100, 100, 100, 100, 100], gpus=1)), Budget(5.0)
    )

    found = lp_prices(search.tables, search.market, budget_s=5.0)

    assert found is not None
    best, next_best = found[0].gpu[0, 1], found[0].gpu[0, 2]
    assert best - next_best == pytest.approx(0.08 - 0.01)
    assert 0.0 <= next_best <= 0.10 - 0.08 + 1e-9  # any of these prices supports the plan


def test_a_limit_on_power_has_a_price_and_is_kept() -> None:
    jobs = [job("a", work=1), job("b", work=1)]
    limits = [9.0, 2.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    given = problem(jobs, outlook([100, 10, 80, 100, 100, 100, 100, 100], limit_kw=limits))
    search = Search(given, Budget(5.0))

    found = lp_prices(search.tables, search.market, budget_s=5.0)

    assert found is not None
    assert found[0].kw[0, 1] == pytest.approx((0.08 - 0.01) / 2)
    assert make_plan(given, budget_s=5.0).cost_gbp == pytest.approx(0.08 + 0.01)


def test_a_slower_mode_is_taken_where_it_saves_energy() -> None:
    frugal = Mode(gpus=1, throughput=0.8, power_kw={"london": 1.0}, power_cap_fraction=0.6)
    given = problem([job("a", work=4, modes=(frugal,))], outlook([50] * 8))

    made = make_plan(given, budget_s=5.0)

    (planned,) = made.runs[given.jobs[0].id]
    assert (planned.half_hours, planned.power_cap_fraction) == (5, 0.6)
    assert made.energy_kwh == pytest.approx(2.5)
    assert made.gap_fraction == pytest.approx(0.0)


def test_more_gpus_are_taken_where_the_deadline_asks_for_them() -> None:
    wide = Mode(gpus=4, throughput=2.0, power_kw={"london": 8.0})
    given = problem([job("a", work=4, deadline=2, modes=(wide,))], outlook([50] * 8))

    made = make_plan(given, budget_s=5.0)

    assert made.late == ()
    assert made.runs[given.jobs[0].id][0].gpus == 4


def test_a_site_stays_under_its_cap_on_mean_intensity() -> None:
    dirty_but_cheap = outlook([10] * 4 + [20] * 4, intensity=[300] * 4 + [90] * 4, cap=200.0)
    given = problem([job("a"), job("b")], dirty_but_cheap)

    made = make_plan(given, budget_s=5.0)

    assert made.sites_over_cap == ()
    assert made.carbon_kg / made.energy_kwh <= 0.2
    assert made.cost_gbp == pytest.approx(0.02 + 0.04)


def test_a_site_that_cannot_keep_its_cap_is_named() -> None:
    dirty = outlook([10] * 4 + [20] * 4, intensity=[300] * 4 + [250] * 4, cap=200.0)

    made = make_plan(problem([job("a")], dirty), budget_s=5.0)

    assert made.sites_over_cap == ("london",)


def test_jobs_that_are_alike_share_their_columns_and_nothing_changes() -> None:
    prices = [60, 40, 20, 10, 30, 50, 70, 90]
    twins = [job(f"twin-{i}", interruptible=True) for i in range(4)]
    other = job("other", interruptible=True, work=3)
    nearly = [replace(twin, power_kw={"london": 2.0 + 1e-9 * i}) for i, twin in enumerate(twins)]
    room = outlook(prices, gpus=2)

    same = Search(problem([*twins, other], room), Budget(0.0))
    apart = Search(problem([*nearly, other], room), Budget(0.0))

    assert [count for _, count in zip(*alike(same.tables), strict=True)] == [4.0, 1.0]
    assert (columns_of(same.tables), columns_of(apart.tables)) == (16, 40)
    found, expected = (
        lp_prices(search.tables, search.market, budget_s=5.0) for search in (same, apart)
    )
    assert found is not None
    assert expected is not None
    assert found[1] == pytest.approx(expected[1], rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"release": 1}, {"deadline": 7}, {"gpus": 2}, {"work": 3}, {"waiting_gbp_per_hour": 1.0}],
)
def test_jobs_that_differ_in_anything_that_counts_are_not_alike(changes: dict[str, float]) -> None:
    search = Search(problem([job("a"), job("b", **changes)], outlook([10.0] * 8)), Budget(0.0))

    assert alike(search.tables)[1].tolist() == [1.0, 1.0]


@given(pausable())
@settings(max_examples=40, deadline=None)
def test_a_raised_bound_is_a_bound_and_never_lower(given: PlanningProblem) -> None:
    search = Search(given, Budget(0.0))
    if search.figures.is_late.any():
        return
    before = bound_gbp(search.tables, search.market, search.best, search.figures)

    raised = raised_gbp(
        search.tables, search.market, search.best, search.figures, bound=before, budget=Budget(5.0)
    )

    assert before - 1e-9 <= raised <= milp_gbp(given) + 1e-9


def test_prices_are_raised_where_capacity_is_short() -> None:
    cheap = [10.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0]
    jobs = [job(f"job-{i}", work=1, interruptible=True) for i in range(3)]
    search = Search(problem(jobs, outlook(cheap, gpus=1)), Budget(0.0))
    before = bound_gbp(search.tables, search.market, search.best, search.figures)

    raised = raised_gbp(
        search.tables, search.market, search.best, search.figures, bound=before, budget=Budget(5.0)
    )

    assert before == pytest.approx(3 * 0.01)
    assert raised == pytest.approx(0.01 + 2 * 0.09, rel=0.01)
