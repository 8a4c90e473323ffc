"""From a planning problem to a plan that says how good it is.

Capacity is priced by a linear programme; jobs are placed one after the other at those prices,
then taken out and put back where they are cheapest until nothing improves or time is up. There
is always a plan: without prices jobs are placed at the bare scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.arrays import Arrays, Figures, Placement
from gridflex.planning.bound import capacity_prices, lower_bound_gbp
from gridflex.planning.budget import Budget
from gridflex.planning.placing import Board, by_urgency, improve, place_all
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import Array, PlanningProblem

Standing = Plan | Mapping[JobId, tuple[PlannedRun, ...]]

MOST_ROUNDS = 8
SHARE_FOR_PRICES = 0.5


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
    budget = Budget(budget_s)
    arrays = Arrays(problem)
    order = by_urgency(arrays)
    none = np.zeros_like(arrays.free)
    boards = [place_all(arrays, none, order)]
    prices = capacity_prices(arrays, budget_s=SHARE_FOR_PRICES * budget.left_s)
    if prices is not None and prices.any() and not budget.is_spent:
        boards.append(place_all(arrays, prices, order))
    if standing is not None:
        boards.extend(_as_board(arrays, standing))
    board = min(boards, key=_rank)
    rounds = 0
    while rounds < MOST_ROUNDS and not budget.is_spent and improve(board, order) > 0:
        rounds += 1
    method = "greedy at bare scores" if prices is None else "dual-price greedy"
    return finish(board, prices if prices is not None else none, method=method)


def run_now(problem: PlanningProblem) -> Plan:
    """Return what would happen without GridFlex: first come, first served, no pause.

    Every job starts as soon as its GPUs are free at the first of its sites, in order of
    release, the order of the problem among equals.
    """
    arrays = Arrays(problem)
    board = Board(arrays, np.zeros_like(arrays.free))
    jobs = sorted(range(len(problem.jobs)), key=lambda job: int(arrays.release[job]))
    for job in jobs:
        if arrays.is_held(job):
            board.put(job, board.hold(job))
    for job in jobs:
        if not arrays.is_held(job):
            board.put(job, board.least_late(job, through=True))
    return finish(board, board.prices, method="run-now")


def finish(board: Board, prices: Array, *, method: str) -> Plan:
    """Return the plan that a complete board stands for, with its figures and its bound."""
    arrays = board.arrays
    problem = arrays.problem
    figures = Figures()
    late = {}
    for job, placement in sorted(board.placements.items()):
        figures = figures + arrays.figures(job, placement)
        if not arrays.is_on_time(job, placement):
            late[job] = placement
    objective = arrays.objective_gbp(figures)
    bound = max(
        lower_bound_gbp(arrays, used, late=late) for used in (prices, np.zeros_like(prices))
    )
    bound = min(bound, objective)
    scale = figures.absolute_gbp + figures.waiting_gbp
    return Plan(
        start=problem.start,
        runs={problem.jobs[job].id: runs for job, runs in _planned(board)},
        energy_kwh=figures.energy_kwh,
        cost_gbp=figures.cost_gbp,
        carbon_kg=figures.carbon_kg,
        waiting_gpu_hours=figures.waiting_gpu_hours,
        objective_gbp=objective,
        lower_bound_gbp=bound,
        gap_fraction=(objective - bound) / scale if scale > 0 else 0.0,
        late=tuple(problem.jobs[job].id for job in late),
        method=method,
        shadow_prices_gbp_per_gpu={
            site.site.name: prices[index].copy() for index, site in enumerate(problem.sites)
        },
        over_cap=tuple(
            problem.jobs[job].id
            for job, placement in sorted(board.placements.items())
            if not arrays.is_under_cap(job, placement)
        ),
    )


def _planned(board: Board) -> list[tuple[int, tuple[PlannedRun, ...]]]:
    problem = board.arrays.problem
    return [
        (
            job,
            tuple(
                PlannedRun(
                    job_id=problem.jobs[job].id,
                    site=problem.sites[placement.site].site.name,
                    start=problem.start + first,
                    half_hours=length,
                    gpus=problem.jobs[job].gpus,
                )
                for first, length in placement.runs
            ),
        )
        for job, placement in sorted(board.placements.items())
    ]


def _rank(board: Board) -> tuple[int, int, float]:
    arrays = board.arrays
    late = sum(not arrays.is_on_time(job, where) for job, where in board.placements.items())
    over = sum(not arrays.is_under_cap(job, where) for job, where in board.placements.items())
    figures = sum(
        (arrays.figures(job, where) for job, where in board.placements.items()), Figures()
    )
    return late, over, arrays.objective_gbp(figures)


def _as_board(arrays: Arrays, standing: Standing) -> list[Board]:
    """Return the standing plan as a board, the jobs it lacks or can no longer serve added."""
    runs = standing.runs if isinstance(standing, Plan) else standing
    board = Board(arrays, np.zeros_like(arrays.free))
    missing = []
    for job, demand in enumerate(arrays.problem.jobs):
        if arrays.is_held(job):
            board.put(job, board.hold(job))
            continue
        kept = _kept(board, job, runs.get(demand.id, ()))
        if kept is None:
            missing.append(job)
        else:
            board.put(job, kept)
    for job in missing:
        board.put(job, board.best(job) or board.least_late(job))
    return [board]


def _kept(board: Board, job: int, runs: Sequence[PlannedRun]) -> Placement | None:
    """Return the standing runs of a job if they still are a schedule for it, on time."""
    arrays = board.arrays
    names = [site.site.name for site in arrays.problem.sites]
    sites = {run.site for run in runs}
    if len(sites) != 1 or not sites <= {names[site] for site in arrays.sites_of(job)}:
        return None
    start: HalfHour = arrays.problem.start
    site = names.index(sites.pop())
    placement = Placement(site, tuple((start.until(run.start), run.half_hours) for run in runs))
    return placement if _is_valid(board, job, placement) else None


def _is_valid(board: Board, job: int, placement: Placement) -> bool:
    arrays = board.arrays
    if placement.runs[0][0] < arrays.release[job] or not arrays.is_on_time(job, placement):
        return False
    if len(placement.runs) > 1 and not arrays.problem.jobs[job].interruptible:
        return False
    length = sum(length for _, length in placement.runs)
    if length > np.ceil(arrays.work_of(job, site=placement.site).needed(placement.runs)):
        return False
    if placement.runs[-1][0] + placement.runs[-1][1] > arrays.half_hours:
        return False
    return all(
        (board.free[placement.site, first : first + size] >= arrays.gpus[job]).all()
        or arrays.gpus[job] == 0
        for first, size in placement.runs
    )
