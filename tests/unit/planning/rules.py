"""What every plan must keep, checked without the planner's own code."""

import math
from itertools import pairwise

from gridflex.jobs import JobId, Shape
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook


def broken_rules(problem: PlanningProblem, plan: Plan) -> list[str]:
    """Return in words every rule that the plan breaks."""
    broken = []
    if set(plan.runs) != {demand.id for demand in problem.jobs}:
        broken.append("the plan's jobs are not the problem's")
    for demand in problem.jobs:
        broken += [f"{demand.id}: {rule}" for rule in _of_job(problem, plan, demand)]
    return broken + _of_capacity(problem, plan)


def is_held(demand: JobDemand) -> bool:
    return demand.running_at is not None and not demand.interruptible


def running_shape(demand: JobDemand) -> Shape:
    return demand.running_shape or Shape(demand.gpus)


def mode_of(demand: JobDemand, run: PlannedRun) -> tuple[int, float, float]:
    """Return GPUs, throughput and kW of the mode a run is in; modes differ in their power cap."""
    for mode in demand.modes:
        if mode.power_cap_fraction == run.power_cap_fraction:
            return mode.gpus, mode.throughput, mode.power_kw[run.site]
    return demand.gpus, 1.0, demand.power_kw[run.site]


def half_hours_needed(problem: PlanningProblem, demand: JobDemand, plan: Plan) -> float:
    runs = plan.runs[demand.id]
    if not runs:
        return float(demand.work)
    _, throughput, _ = mode_of(demand, runs[0])
    same = demand.running_at == runs[0].site and runs[0].shape == running_shape(demand)
    goes_on = same and runs[0].start == problem.start
    starts = len(runs) - (1 if demand.running_at is None or goes_on else 0)
    return demand.work / throughput + demand.restart_half_hours * starts


def _of_job(problem: PlanningProblem, plan: Plan, demand: JobDemand) -> list[str]:
    runs, broken = plan.runs[demand.id], []
    spans = [(problem.start.until(run.start), problem.start.until(run.end)) for run in runs]
    planned = sum(run.half_hours for run in runs)
    needed = math.ceil(half_hours_needed(problem, demand, plan) - 1e-9)
    is_late = demand.id in plan.late
    if any(before[1] >= after[0] for before, after in pairwise(spans)):
        broken.append("its runs touch or overlap")
    if spans and (spans[0][0] < demand.release or spans[-1][1] > problem.half_hours):
        broken.append("it runs before its release or past the horizon")
    if not demand.interruptible and len(runs) > 1:
        broken.append("it is paused")
    if is_held(demand) and spans and spans[0][0] != 0:
        broken.append("it runs, cannot be paused, and does not go on")
    if planned > needed:
        broken.append(f"it runs {planned} half-hours and needs {needed}")
    if not is_late and planned < needed:
        broken.append(f"it runs {planned} half-hours, needs {needed} and is not called late")
    ends = spans[-1][1] if spans else math.inf
    if is_late != (ends > demand.deadline or planned < needed):
        broken.append("it is called late and is not, or the other way round")
    return broken + _of_runs(demand, runs)


def _of_runs(demand: JobDemand, runs: tuple[PlannedRun, ...]) -> list[str]:
    broken = []
    if is_held(demand) and any(run.shape != running_shape(demand) for run in runs):
        broken.append("it runs, cannot be paused, and changes its GPUs or power limit")
    if any(run.gpus != mode_of(demand, run)[0] for run in runs):
        broken.append("it gets other GPUs than it asked for")
    if any(run.site not in demand.power_kw for run in runs) or len({run.site for run in runs}) > 1:
        broken.append("it runs where it may not")
    if len({run.power_cap_fraction for run in runs}) > 1:
        broken.append("its mode changes")
    return broken


def mean_intensity(problem: PlanningProblem, plan: Plan, site: str) -> float:
    """Return the energy-weighted mean intensity of what runs at a site."""
    outlook = next(outlook for outlook in problem.sites if outlook.site.name == site)
    kwh = grams = 0.0
    for demand in problem.jobs:
        left = half_hours_needed(problem, demand, plan)
        for run in plan.runs[demand.id] if plan.runs[demand.id] else ():
            for t in range(problem.start.until(run.start), problem.start.until(run.end)):
                energy = mode_of(demand, run)[2] * 0.5 * min(1.0, max(0.0, left))
                left -= 1.0
                if run.site == site:
                    kwh += energy
                    grams += energy * outlook.intensity_gco2_per_kwh[t]
    return grams / kwh if kwh else 0.0


def _of_capacity(problem: PlanningProblem, plan: Plan) -> list[str]:
    held = {demand.id for demand in problem.jobs if is_held(demand)}
    broken = []
    for outlook in problem.sites:
        for t in range(problem.half_hours):
            used = _used(problem, plan, outlook.site.name, t, skip=frozenset())
            movable = _used(problem, plan, outlook.site.name, t, skip=frozenset(held))
            if movable and used > outlook.free_gpus[t]:
                broken.append(f"{outlook.site.name}, half-hour {t}: {used} GPUs")
            broken += _of_power(problem, plan, outlook, t)
        cap, name = outlook.cap_gco2_per_kwh, outlook.site.name
        mean = mean_intensity(problem, plan, name)
        if cap is not None and mean > cap + 1e-3 and name not in plan.sites_over_cap:
            broken.append(f"{name} is above its cap and not named")
        if name in plan.sites_over_cap and (cap is None or mean <= cap):
            broken.append(f"{name} is named and not above its cap")
    return broken


def _of_power(problem: PlanningProblem, plan: Plan, outlook: SiteOutlook, t: int) -> list[str]:
    if outlook.limit_kw is None:
        return []
    moment, name = problem.start + t, outlook.site.name
    kw = movable = 0.0
    for demand in problem.jobs:
        for run in plan.runs[demand.id]:
            if run.site == name and run.covers(moment):
                kw += mode_of(demand, run)[2]
                movable += 0.0 if is_held(demand) else mode_of(demand, run)[2]
    if movable and kw > outlook.limit_kw[t] + 1e-6:
        return [f"{name}, half-hour {t}: {kw} kW"]
    return []


def _used(
    problem: PlanningProblem, plan: Plan, site: str, t: int, *, skip: frozenset[JobId]
) -> int:
    moment = problem.start + t
    return sum(
        run.gpus
        for job_id, runs in plan.runs.items()
        if job_id not in skip
        for run in runs
        if run.site == site and run.covers(moment)
    )
