"""The standing plan, kept warm so that an arriving job finds its place at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gridflex.jobs import JobId
from gridflex.planning.budget import Budget
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.planner import finish, known_prices, runs_of, state_of
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook
from gridflex.planning.search import Search
from gridflex.planning.solo import Solo

GOOD_ENOUGH: Final = 0.005
"""Proven distance from the optimum up to which a plan with arrived jobs needs no re-plan."""

LATER: Final = "placed on the standing plan"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an arriving job goes.

    Args:
        runs: Its runs, in order of time; none where nothing is free.
        cost_gbp: Of the energy.
        carbon_kg: Of the energy.
        score_gbp: Cost, carbon at its price and waiting.
        is_late: Whether it cannot finish by its deadline in what is free.
    """

    runs: tuple[PlannedRun, ...]
    cost_gbp: float
    carbon_kg: float
    score_gbp: float
    is_late: bool


def left_by(
    problem: PlanningProblem, plan: Plan, *, without: JobId | None = None
) -> tuple[SiteOutlook, ...]:
    """Return the sites with what a plan leaves free.

    Args:
        problem: What was planned.
        plan: The plan.
        without: A job that is looked at as if it held nothing.
    """
    names = {outlook.site.name: site for site, outlook in enumerate(problem.sites)}
    free = [outlook.free_gpus.astype(float) for outlook in problem.sites]
    free_kw = [
        None if outlook.limit_kw is None else outlook.limit_kw.astype(float)
        for outlook in problem.sites
    ]
    for demand in problem.jobs:
        for run in plan.runs.get(demand.id, ()) if demand.id != without else ():
            site, first = names[run.site], problem.start.until(run.start)
            free[site][first : first + run.half_hours] -= run.gpus
            limit = free_kw[site]
            if limit is not None:
                limit[first : first + run.half_hours] -= power_kw(demand, run)
    return tuple(
        replace(outlook, free_gpus=gpus, limit_kw=limit, cap_gco2_per_kwh=None)
        for outlook, gpus, limit in zip(problem.sites, free, free_kw, strict=True)
    )


def power_kw(demand: JobDemand, run: PlannedRun) -> float:
    """Return what a job draws in a planned run."""
    for mode in demand.modes:
        if mode.shape == run.shape and run.site in mode.power_kw:
            return mode.power_kw[run.site]
    return demand.power_kw[run.site]


class StandingBoard:
    """What a plan leaves free, and what that is worth.

    Args:
        problem: What was planned.
        plan: The plan in force.
    """

    def __init__(self, problem: PlanningProblem, plan: Plan) -> None:
        self._start = problem.start
        self._carbon_price = problem.carbon_price_gbp_per_tco2
        self._sites = left_by(problem, plan)
        known = known_prices(problem, plan)
        size = (len(problem.sites), problem.half_hours)
        self._prices = np.zeros(size) if known is None else known

    def place(self, demand: JobDemand) -> Placed:
        """Return where one more job goes, and take its capacity.

        Nobody else moves; the next plan may move all. GPUs count for their shadow price, so
        that a job with a choice leaves dear half-hours to those without.
        """
        problem = PlanningProblem(self._start, (demand,), self._sites, self._carbon_price)
        solo = Solo(problem)
        place = solo.best(prices=self._prices) or solo.soonest()
        figures = solo.figures(place)
        runs = runs_of(problem, solo.tables, solo.state(place))[demand.id]
        self._take(demand, runs)
        return Placed(
            runs=runs,
            cost_gbp=float(figures.cost_gbp[0]),
            carbon_kg=float(figures.carbon_kg[0]),
            score_gbp=float(figures.objective_gbp[0]),
            is_late=bool(figures.is_late[0]),
        )

    def _take(self, demand: JobDemand, runs: Iterable[PlannedRun]) -> None:
        for run in runs:
            outlook = next(one for one in self._sites if one.site.name == run.site)
            first = self._start.until(run.start)
            outlook.free_gpus[first : first + run.half_hours] -= run.gpus
            if outlook.limit_kw is not None:
                outlook.limit_kw[first : first + run.half_hours] -= power_kw(demand, run)


def with_arrivals(problem: PlanningProblem, standing: Plan) -> Plan | None:
    """Return the standing plan with the jobs that it lacks, or None if it has to be made anew.

    Jobs that it knows stay where they are. It has to be made anew where one of them no longer
    can, where a job would be late, or where the certificate leaves more than `GOOD_ENOUGH` open.

    Args:
        problem: All open jobs, from the next half-hour on.
        standing: The last plan, without what its runs do before that.
    """
    known = tuple(job for job in problem.jobs if job.id in standing.runs)
    has_left = any(run.site not in job.power_kw for job in known for run in standing.runs[job.id])
    if len(known) == len(problem.jobs) or has_left:
        return None
    board = StandingBoard(replace(problem, jobs=known), standing)
    new = {job.id: board.place(job).runs for job in problem.jobs if job.id not in standing.runs}
    search = Search(problem, Budget(0.0))
    state = state_of(search, {**standing.runs, **new})
    search.adopt(state, prices=known_prices(problem, standing))
    made = replace(finish(search), method=LATER)
    stays = all(made.runs[job.id] == tuple(standing.runs[job.id]) for job in known)
    if not stays or made.late or made.gap_fraction > GOOD_ENOUGH:
        return None
    return made
