"""From a planning problem to a plan that says how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from gridflex.jobs import JobId
from gridflex.planning import kernels
from gridflex.planning.budget import Budget
from gridflex.planning.certificate import bound_gbp, columns_of, lp_prices, raised_gbp
from gridflex.planning.one_job import TOLERANCE, worth
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import Array, PlanningProblem
from gridflex.planning.search import Search
from gridflex.planning.tables import Market, State, Tables, copy_of
from gridflex.planning.tally import Tally, excess_kg, tally

Standing = Plan | Mapping[JobId, tuple[PlannedRun, ...]]

GOOD_GAP: Final = 0.002
"""Below this gap the linear programme is not asked for a better bound."""

LARGEST_LP: Final = 10_000
"""Columns up to which it is asked; beyond, the prices of the search come close enough."""

SHARE_FOR_LP: Final = 0.4

SHARE_FOR_BOUND: Final = 0.5
"""Share of the time that is left which may go into a better bound where the gap is not good."""


def make_plan(
    problem: PlanningProblem, *, budget_s: float, standing: Standing | None = None
) -> Plan:
    """Return the best plan found in ``budget_s``; there is always one.

    Capacity, contiguity and deadlines are kept. Where jobs cannot all be on time, the plan
    names the late ones and finishes them as soon as it can.

    Args:
        problem: What to plan.
        budget_s: Wall time to spend; a plan is returned even with none.
        standing: The plan in force, kept where nothing better is found.
    """
    search = Search(problem, Budget(budget_s))
    if standing is not None:
        runs = standing.runs if isinstance(standing, Plan) else standing
        search.offer(state_of(search, runs))
    search.run(prices=known_prices(problem, standing))
    return finish(search)


def run_now(problem: PlanningProblem) -> Plan:
    """Return what would happen without GridFlex: first come, first served, no pause.

    Every job starts as soon as its GPUs are free at the first of its sites, in order of
    release, the order of the problem among equals.
    """
    search = Search(problem, Budget(0.0))
    state = copy_of(search.base)
    order = np.argsort(search.tables.release, kind="stable")
    movable = order[~search.tables.held[order]]
    kernels.place_soonest(search.tables, state, search.market, movable, True)  # noqa: FBT003
    figures = tally(problem, search.tables, state)
    bound = _bound(search, state, figures)
    return plan_of(search, state, figures, bound=bound, method="run-now")


def finish(search: Search) -> Plan:
    """Return the plan of a search with the best certificate there is time for."""
    figures = search.figures
    bound = _bound(search, search.best, figures)
    method, scale = "dual-price sweeps", _scale(figures)
    objective = float(figures.objective_gbp.sum())
    if objective - bound > GOOD_GAP * scale and columns_of(search.tables) <= LARGEST_LP:
        bound = max(bound, _bound_by_lp(search))
    if objective - bound > GOOD_GAP * scale and not figures.is_late.any():
        market = _fair(search, search.prices, search.best, figures)
        bound = raised_gbp(
            search.tables,
            market,
            search.best,
            figures,
            bound=bound,
            budget=search.budget.part(SHARE_FOR_BOUND),
        )
    return plan_of(search, search.best, figures, bound=bound, method=method)


def plan_of(search: Search, state: State, figures: Tally, *, bound: float, method: str) -> Plan:
    """Return the plan that a complete state stands for."""
    problem = search.problem
    objective = float(figures.objective_gbp.sum())
    bound, scale = min(bound, objective), _scale(figures)
    ids = [job.id for job in problem.jobs]
    dirty = excess_kg(problem, search.tables, state, figures) > TOLERANCE
    names = [outlook.site.name for outlook in problem.sites]
    return Plan(
        start=problem.start,
        runs=runs_of(problem, search.tables, state),
        energy_kwh=float(figures.energy_kwh.sum()),
        cost_gbp=float(figures.cost_gbp.sum()),
        carbon_kg=float(figures.carbon_kg.sum()),
        waiting_gpu_hours=float(figures.waiting_gpu_hours.sum()),
        objective_gbp=objective,
        lower_bound_gbp=bound,
        gap_fraction=(objective - bound) / scale if scale > 0 else 0.0,
        late=tuple(ids[job] for job in np.flatnonzero(figures.is_late)),
        method=method,
        shadow_prices_gbp_per_gpu={
            name: search.prices.gpu[site].copy() for site, name in enumerate(names)
        },
        over_cap=tuple(ids[job] for job in np.flatnonzero(figures.is_over_cap)),
        sites_over_cap=tuple(names[site] for site in np.flatnonzero(dirty)),
    )


def runs_of(
    problem: PlanningProblem, tables: Tables, state: State
) -> Mapping[JobId, tuple[PlannedRun, ...]]:
    """Return the runs of every job, in order of time."""
    edges = np.diff(np.pad(state.on, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    of, first = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    times = [problem.start + t for t in range(problem.half_hours)]
    names = [outlook.site.name for outlook in problem.sites]
    found: dict[JobId, list[PlannedRun]] = {job.id: [] for job in problem.jobs}
    for job, begin, length in zip(of.tolist(), first.tolist(), (end - first).tolist(), strict=True):
        demand, option = problem.jobs[job], int(state.option[job])
        mode = int(tables.mode[option])
        found[demand.id].append(
            PlannedRun(
                job_id=demand.id,
                site=names[tables.site[option]],
                start=times[begin],
                half_hours=length,
                gpus=int(tables.gpus[option]),
                power_cap_fraction=demand.modes[mode].power_cap_fraction if mode >= 0 else 1.0,
            )
        )
    return {job_id: tuple(runs) for job_id, runs in found.items()}


def state_of(search: Search, runs: Mapping[JobId, Sequence[PlannedRun]]) -> State:
    """Return a standing plan as a state, the jobs it lacks or can no longer serve added."""
    tables, problem = search.tables, search.problem
    state = copy_of(search.base)
    missing = []
    for job, demand in enumerate(problem.jobs):
        if tables.held[job]:
            continue
        option = _put_back(search, state, job, runs.get(demand.id, ()))
        if option < 0:
            missing.append(job)
    jobs = np.array(missing, dtype=np.int64)
    stuck = search.place_all(state, jobs, search.market)
    kernels.place_soonest(tables, state, search.market, stuck, False)  # noqa: FBT003
    return state


def _put_back(search: Search, state: State, job: int, runs: Sequence[PlannedRun]) -> int:
    """Place a job where its standing runs say and return its option; -1 if that is no schedule."""
    tables, problem = search.tables, search.problem
    option = _option_of(problem, tables, job, runs)
    low, high = int(tables.release[job]), int(tables.deadline[job])
    if option < 0:
        return -1
    mask = np.zeros(problem.half_hours, dtype=np.uint8)
    for run in runs:
        begin = problem.start.until(run.start)
        if begin < low or begin + run.half_hours > high:
            return -1
        mask[begin : begin + run.half_hours] = 1
    if len(runs) > 1 and not tables.breakable[job]:
        return -1
    window = np.ascontiguousarray(mask[low:high])
    value, base = np.empty(window.size), np.empty(window.size)
    kernels.fill(tables, state, search.market, job, option, high, value, base)
    work, restart = float(tables.work[option]), float(tables.restart[job])
    continues = bool(tables.continues[option])
    if not np.isfinite(worth(value, base, window.size, window, work, restart, continues)):
        return -1
    kernels.place(tables, state, job, option, window.size, window)
    return option


def _option_of(
    problem: PlanningProblem, tables: Tables, job: int, runs: Sequence[PlannedRun]
) -> int:
    kinds = {(run.site, run.gpus, run.power_cap_fraction) for run in runs}
    if len(kinds) != 1:
        return -1
    demand = problem.jobs[job]
    for option in range(int(tables.first[job]), int(tables.first[job + 1])):
        mode = int(tables.mode[option])
        cap = demand.modes[mode].power_cap_fraction if mode >= 0 else 1.0
        site = problem.sites[int(tables.site[option])].site.name
        if kinds == {(site, int(tables.gpus[option]), cap)}:
            return option
    return -1


def known_prices(problem: PlanningProblem, standing: Standing | None) -> Array | None:
    """Return a standing plan's prices, moved to the half-hours of the problem."""
    if not isinstance(standing, Plan):
        return None
    shift = standing.start.until(problem.start)
    prices = np.zeros((len(problem.sites), problem.half_hours))
    for site, outlook in enumerate(problem.sites):
        known = standing.shadow_prices_gbp_per_gpu.get(outlook.site.name)
        if known is None or shift < 0:
            return None
        rest = known[shift : shift + problem.half_hours]
        prices[site, : rest.size] = rest
    return prices if prices.any() else None


def _bound(search: Search, state: State, figures: Tally) -> float:
    """Return the better bound of the search's prices and of none; without site caps if broken."""
    market = _fair(search, search.prices, state, figures)
    none = np.zeros_like(market.gpu)
    return max(
        bound_gbp(search.tables, used, state, figures)
        for used in (market, market.at(none, none)._replace(tax=none))
    )


def _fair(search: Search, market: Market, state: State, figures: Tally) -> Market:
    excess = excess_kg(search.problem, search.tables, state, figures)
    if (excess > TOLERANCE).any():
        return market._replace(tax=np.zeros_like(market.tax))
    return market


def _bound_by_lp(search: Search) -> float:
    budget = search.budget
    if not budget.has_left(SHARE_FOR_LP):
        return -np.inf
    market = _fair(search, search.prices, search.best, search.figures)
    found = lp_prices(search.tables, market, budget_s=0.8 * budget.left_s)
    if found is None:
        return -np.inf
    return bound_gbp(search.tables, found[0], search.best, search.figures)


def _scale(figures: Tally) -> float:
    return float(figures.absolute_gbp.sum())
