"""What every plan must keep, checked without the planner's own code."""

import math
from itertools import pairwise

from gridflex.jobs import JobId
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import JobDemand, PlanningProblem


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


def starts_beyond_the_first(problem: PlanningProblem, demand: JobDemand, plan: Plan) -> int:
    runs = plan.runs[demand.id]
    if not runs:
        return 0
    goes_on = demand.running_at == runs[0].site and runs[0].start == problem.start
    return len(runs) - (1 if demand.running_at is None or goes_on else 0)


def _of_job(problem: PlanningProblem, plan: Plan, demand: JobDemand) -> list[str]:
    runs, broken = plan.runs[demand.id], []
    spans = [(problem.start.until(run.start), problem.start.until(run.end)) for run in runs]
    planned = sum(run.half_hours for run in runs)
    starts = starts_beyond_the_first(problem, demand, plan)
    needed = math.ceil(demand.work + demand.restart_half_hours * starts - 1e-9)
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
    if any(run.gpus != demand.gpus for run in runs):
        broken.append("it gets other GPUs than it asked for")
    if any(run.site not in demand.power_kw for run in runs) or len({run.site for run in runs}) > 1:
        broken.append("it runs where it may not")
    return broken


def _of_capacity(problem: PlanningProblem, plan: Plan) -> list[str]:
    held = {demand.id for demand in problem.jobs if is_held(demand)}
    broken = []
    for outlook in problem.sites:
        for t in range(problem.half_hours):
            used = _used(problem, plan, outlook.site.name, t, skip=frozenset())
            movable = _used(problem, plan, outlook.site.name, t, skip=frozenset(held))
            if movable and used > outlook.free_gpus[t]:
                broken.append(f"{outlook.site.name}, half-hour {t}: {used} GPUs")
    return broken


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
