"""Plans keep every rule, and their certificate holds."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from gridflex.jobs import JobId
from gridflex.planning.budget import Budget
from gridflex.planning.certificate import bound_gbp
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.planner import make_plan, run_now
from gridflex.planning.problem import JobDemand, Mode, PlanningProblem
from gridflex.planning.search import Search
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem, problems
from tests.unit.planning.rules import broken_rules, is_held, running_shape

VALLEY = [90, 80, 20, 10, 30, 70, 80, 90]


def run(name: str, first: int, length: int, gpus: int = 1, site: str = "london") -> PlannedRun:
    return PlannedRun(JobId(name), site, MIDNIGHT + first, length, gpus)


def plan(given: PlanningProblem) -> Plan:
    return make_plan(given, budget_s=5.0)


def test_an_unbroken_job_runs_in_the_cheapest_stretch() -> None:
    made = plan(problem([job("a")], outlook(VALLEY)))

    assert made.runs[JobId("a")] == (run("a", 2, 2),)
    assert made.energy_kwh == pytest.approx(2.0)
    assert made.cost_gbp == pytest.approx(0.03)
    assert made.gap_fraction == pytest.approx(0.0)


def test_a_job_that_may_be_paused_runs_in_the_cheapest_half_hours() -> None:
    twin_valleys = [10, 90, 90, 90, 90, 20, 90, 90]

    made = plan(problem([job("a", interruptible=True)], outlook(twin_valleys)))

    assert made.runs[JobId("a")] == (run("a", 0, 1), run("a", 5, 1))


def test_a_pause_that_costs_more_than_it_saves_is_not_made() -> None:
    twin_valleys = [10, 12, 14, 11, 90, 90, 90, 90]

    made = plan(
        problem([job("a", interruptible=True, restart_half_hours=1.0)], outlook(twin_valleys))
    )

    assert made.runs[JobId("a")] == (run("a", 0, 2),)


def test_a_restart_adds_running_time_that_is_paid_as_far_as_it_is_used() -> None:
    split = outlook([10, 300, 10, 100, 300, 300, 300, 300])

    made = plan(problem([job("a", interruptible=True, restart_half_hours=0.5)], split))

    assert made.runs[JobId("a")] == (run("a", 0, 1), run("a", 2, 2))
    assert made.energy_kwh == pytest.approx(2.5)
    assert made.cost_gbp == pytest.approx(0.01 + 0.01 + 0.05)


def test_carbon_counts_at_its_price() -> None:
    clean_but_dear = outlook([50] * 4 + [40] * 4, intensity=[100] * 4 + [300] * 4)

    by_cost = plan(problem([job("a")], clean_but_dear))
    by_both = plan(problem([job("a")], clean_but_dear, carbon_price=80.0))

    assert by_cost.runs[JobId("a")] == (run("a", 4, 2),)
    assert by_both.runs[JobId("a")] == (run("a", 0, 2),)
    assert by_both.carbon_kg == pytest.approx(0.2)
    assert by_both.objective_gbp == pytest.approx(0.1 + 0.2 * 0.08)


def test_two_jobs_share_the_valley_as_capacity_allows() -> None:
    made = plan(problem([job("a"), job("b")], outlook(VALLEY, gpus=1)))

    used = sorted(made.runs[JobId(name)][0].start for name in "ab")
    assert used == [MIDNIGHT + 2, MIDNIGHT + 4]
    assert made.cost_gbp == pytest.approx(0.03 + 0.1)
    assert made.late == ()


def test_a_job_moves_to_the_cheaper_site_it_allows() -> None:
    sites = outlook([50] * 8), outlook([40] * 8, name="slough")
    both = {"london": 2.0, "slough": 2.0}

    made = plan(problem([job("stays"), job("moves", power_kw=both)], *sites))

    assert made.runs[JobId("stays")][0].site == "london"
    assert made.runs[JobId("moves")][0].site == "slough"


def test_a_running_job_that_cannot_be_paused_goes_on_even_without_room() -> None:
    going = job("going", running_at="london")

    made = plan(problem([going], outlook(VALLEY, gpus=0)))

    assert made.runs[JobId("going")] == (run("going", 0, 2),)


def test_a_running_job_that_may_be_paused_is_paused_where_that_pays() -> None:
    going = job("going", running_at="london", interruptible=True, restart_half_hours=0.1)
    dear_then_cheap = [300, 300, 10, 10, 10, 300, 300, 300]

    made = plan(problem([going], outlook(dear_then_cheap)))

    assert made.runs[JobId("going")] == (run("going", 2, 3),)
    assert made.energy_kwh == pytest.approx(2.1)


def test_waiting_is_weighed_against_the_price() -> None:
    falling = outlook([40, 40, 40, 40, 38, 38, 38, 38])

    patient = plan(problem([job("a")], falling))
    hasty = plan(problem([job("a", waiting_gbp_per_hour=0.01)], falling))

    assert patient.runs[JobId("a")] == (run("a", 4, 2),)
    assert patient.waiting_gpu_hours == pytest.approx(2.0)
    assert hasty.runs[JobId("a")] == (run("a", 0, 2),)
    assert hasty.waiting_gpu_hours == 0.0


def test_a_carbon_cap_moves_a_job_to_cleaner_half_hours() -> None:
    dirty_but_cheap = outlook([10] * 4 + [20] * 4, intensity=[300] * 4 + [90] * 4)

    made = plan(problem([job("a", carbon_cap_gco2_per_kwh=100.0)], dirty_but_cheap))

    assert made.runs[JobId("a")] == (run("a", 4, 2),)


def test_a_carbon_cap_that_nothing_meets_is_named_and_the_cleanest_half_hours_are_used() -> None:
    dirty = outlook([10] * 4 + [20] * 4, intensity=[300] * 4 + [200] * 4)

    made = plan(problem([job("a", carbon_cap_gco2_per_kwh=100.0)], dirty))

    assert made.over_cap == (JobId("a"),)
    assert made.runs[JobId("a")] == (run("a", 4, 2),)


def test_a_job_that_cannot_be_on_time_is_named_and_finishes_as_soon_as_it_can() -> None:
    hopeless = job("hopeless", work=3, deadline=2)

    made = plan(problem([hopeless, job("fine")], outlook(VALLEY, gpus=1)))

    assert made.late == (JobId("hopeless"),)
    assert made.runs[JobId("hopeless")] == (run("hopeless", 0, 3),)


def test_a_job_too_large_for_the_site_is_late_and_does_not_run() -> None:
    made = plan(problem([job("big", gpus=9)], outlook(VALLEY)))

    assert made.late == (JobId("big"),)
    assert made.runs[JobId("big")] == ()
    assert made.gap_fraction == 0.0


def test_no_jobs_make_an_empty_plan() -> None:
    made = plan(problem([], outlook(VALLEY)))

    assert (dict(made.runs), made.cost_gbp, made.gap_fraction) == ({}, 0.0, 0.0)


def test_jobs_without_gpus_need_no_capacity() -> None:
    jobs = [job(name, gpus=0) for name in "abc"]

    made = plan(problem(jobs, outlook(VALLEY, gpus=0)))

    assert {made.runs[demand.id][0].start for demand in jobs} == {MIDNIGHT + 2}


def test_negative_prices_attract_work_and_leave_a_sane_gap() -> None:
    made = plan(problem([job("a")], outlook([10, -50, -50, 10, 10, 10, 10, 10])))

    assert made.cost_gbp == pytest.approx(-0.1)
    assert made.gap_fraction == pytest.approx(0.0)


def test_a_budget_of_nothing_still_gives_a_plan() -> None:
    tight = problem([job("a"), job("b")], outlook(VALLEY, gpus=1))

    made = make_plan(tight, budget_s=0.0)

    assert not broken_rules(tight, made)
    assert made.late == ()


def test_a_standing_plan_that_is_better_is_kept() -> None:
    jobs = [job("a", work=1), job("b", work=1)]
    two = problem(jobs, outlook([10, 10, 10, 10]))
    standing = {JobId("a"): (run("a", 3, 1),), JobId("b"): (run("b", 2, 1),)}

    made = make_plan(two, budget_s=1.0, standing=standing)

    assert made.objective_gbp == pytest.approx(2 * 0.01)


def test_run_now_serves_in_order_of_release_without_pause() -> None:
    jobs = [
        job("late", release=1, work=2),
        job("first", release=0, work=3, interruptible=True),
    ]

    made = run_now(problem(jobs, outlook(VALLEY, gpus=1)))

    assert made.runs[JobId("first")] == (run("first", 0, 3),)
    assert made.runs[JobId("late")] == (run("late", 3, 2),)


def test_the_bound_counts_the_last_half_hour_of_a_moved_job_as_far_as_it_is_used() -> None:
    sites = outlook([300] * 8), outlook([50] * 8, name="slough")
    both = {"london": 2.0, "slough": 2.0}
    moves = job(
        "a", work=2, power_kw=both, interruptible=True, running_at="london", restart_half_hours=0.1
    )

    search = Search(problem([moves], *sites), Budget(0.0))
    bound = bound_gbp(search.tables, search.market, search.best, search.figures)

    assert bound == pytest.approx(2.1 * 0.05)


@given(problems())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_rule_is_ever_broken(given: PlanningProblem) -> None:
    made = make_plan(given, budget_s=5.0)

    assert broken_rules(given, made) == []
    assert made.gap_fraction >= 0.0
    assert made.lower_bound_gbp <= made.objective_gbp


@given(problems())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_run_now_keeps_capacity_too(given: PlanningProblem) -> None:
    assert broken_rules(given, run_now(given)) == []


@given(problems())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_schedule_of_few_jobs_beats_the_bound(given: PlanningProblem) -> None:
    few = replace(given, jobs=given.jobs[:2])
    made = make_plan(few, budget_s=5.0)
    if made.late or made.over_cap or made.sites_over_cap:
        return

    best = min(_objectives(few), default=math.inf)

    assert made.lower_bound_gbp <= best + 1e-9
    assert made.objective_gbp >= best - 1e-9


def _objectives(given: PlanningProblem) -> Iterator[float]:
    """Yield the objective of every on-time combination, by trying them all."""
    choices = [list(_choices(given, demand)) for demand in given.jobs]
    for combination in itertools.product(*choices):
        used = np.zeros((len(given.sites), given.half_hours))
        used_kw, dirt = np.zeros_like(used), np.zeros(len(given.sites))
        may_be_full = np.ones_like(used, dtype=np.bool_)  # a job that cannot leave keeps its place
        may_be_strong = np.ones_like(may_be_full)
        for demand, choice in zip(given.jobs, combination, strict=True):
            here, slots = choice.site, list(choice.slots)
            used[here][slots] += choice.gpus
            used_kw[here][slots] += choice.kw
            dirt[here] += choice.excess
            if choice.gpus and not is_held(demand):
                may_be_full[here][slots] = False
            if choice.kw and not is_held(demand):
                may_be_strong[here][slots] = False
        room = np.array([outlook.free_gpus for outlook in given.sites])
        limit = np.array(
            [
                np.full(given.half_hours, np.inf) if outlook.limit_kw is None else outlook.limit_kw
                for outlook in given.sites
            ]
        )
        fits = ((used <= room) | may_be_full) & ((used_kw <= limit + 1e-9) | may_be_strong)
        if fits.all() and (dirt <= 1e-9).all():
            yield sum(choice.gbp for choice in combination)


@dataclass(frozen=True)
class Tried:
    """One way to run one job: what it holds, what it costs, gCO2 above its site's cap."""

    site: int
    slots: tuple[int, ...]
    gpus: int
    kw: float
    gbp: float
    excess: float


def _choices(given: PlanningProblem, demand: JobDemand) -> Iterator[Tried]:
    names = [outlook.site.name for outlook in given.sites]
    window = range(demand.release, min(demand.deadline, given.half_hours))
    own = Mode(demand.gpus, 1.0, demand.power_kw)
    for mode in (own, *demand.modes):
        if is_held(demand) and mode.shape != running_shape(demand):
            continue
        for name, kw in mode.power_kw.items():
            site = names.index(name)
            for size in range(math.ceil(demand.work / mode.throughput - 1e-9), len(window) + 1):
                for slots in itertools.combinations(window, size):
                    found = _gbp(given, demand, mode, site, slots)
                    if found is not None:
                        yield Tried(site, slots, mode.gpus, kw, *found)


def _gbp(
    given: PlanningProblem, demand: JobDemand, mode: Mode, site: int, slots: tuple[int, ...]
) -> tuple[float, float] | None:
    kw = mode.power_kw[given.sites[site].site.name]
    runs = 1 + sum(b - a > 1 for a, b in itertools.pairwise(slots))
    stays = demand.running_at == given.sites[site].site.name and slots[0] == 0
    stays = stays and mode.shape == running_shape(demand)
    starts = runs - (1 if demand.running_at is None or stays else 0)
    needed = demand.work / mode.throughput + demand.restart_half_hours * starts
    if len(slots) != math.ceil(needed - 1e-9):
        return None
    if not demand.interruptible and (runs > 1 or (is_held(demand) and not stays)):
        return None
    shares = [min(1.0, needed - i) for i in range(len(slots))]
    outlook = given.sites[site]
    energy = [kw * 0.5 * share for share in shares]
    per_kwh = [
        outlook.price_gbp_per_mwh[t] / 1000
        + outlook.intensity_gco2_per_kwh[t] * given.carbon_price_gbp_per_tco2 / 1e6
        for t in slots
    ]
    kwh = sum(energy)
    cap = demand.carbon_cap_gco2_per_kwh
    clean = sum(e * outlook.intensity_gco2_per_kwh[t] for e, t in zip(energy, slots, strict=True))
    if cap is not None and kwh and clean > cap * kwh + 1e-9:
        return None
    delay = sum(share * (t - demand.release) for share, t in zip(shares, slots, strict=True))
    delay -= demand.work * (demand.work - 1) / 2
    waiting = demand.waiting_gbp_per_hour * 0.5 * delay / demand.work
    limit = outlook.cap_gco2_per_kwh
    excess = clean - limit * kwh if limit is not None else 0.0
    return float(sum(e * p for e, p in zip(energy, per_kwh, strict=True)) + waiting), float(excess)
