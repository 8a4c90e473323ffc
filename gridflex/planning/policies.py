"""Ways to decide what runs now, for comparison: from none at all to the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.backtest import HALF_HOURS_A_DAY, Arrival, GridSeries, OpenJob, View
from gridflex.planning.budget import Budget
from gridflex.planning.certificate import on_time_bound_gbp
from gridflex.planning.front import make_front
from gridflex.planning.plan import Plan
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import Array, JobDemand, PlanningProblem, SiteOutlook
from gridflex.planning.search import Search
from gridflex.planning.what_if import HasRuns

TREND_DAYS: Final = 28
EPOCH: Final = HalfHour(datetime(2000, 1, 1, tzinfo=UTC))
"""Half-hour 0 of a replay; only differences matter."""


class RunNow:
    """First come, first served."""

    def wants(self, view: View) -> Sequence[JobId]:
        """Return all, in order of arrival."""
        return [job.arrival.id for job in view.jobs]


class Threshold:
    """Run while the next half-hour is below the mean of the last 28 days."""

    def wants(self, view: View) -> Sequence[JobId]:
        """Return all, in order of arrival, or none."""
        mean = view.past_score[-TREND_DAYS * HALF_HOURS_A_DAY :].mean()
        return [job.arrival.id for job in view.jobs] if view.score[0] <= mean else []


class _Starts:
    """A start per job, chosen at its arrival from the forecast; then run through."""

    def __init__(self) -> None:
        self._start: dict[JobId, int] = {}

    def wants(self, view: View) -> Sequence[JobId]:
        """Return the jobs whose start has come, the earliest first."""
        for job in view.jobs:
            if job.arrival.id not in self._start:
                self._start[job.arrival.id] = view.now + self._delay(view, job)
        due = [job for job in view.jobs if self._start[job.arrival.id] <= view.now]
        return [job.arrival.id for job in sorted(due, key=lambda j: self._start[j.arrival.id])]

    def _delay(self, view: View, job: OpenJob) -> int:
        raise NotImplementedError

    @staticmethod
    def _sums(view: View, job: OpenJob) -> Array:
        """Return what running through comes to for each possible delay."""
        last = max(job.arrival.deadline - view.now - job.left, 0)
        length = min(last + job.left, view.score.size)
        size = min(job.left, length)
        totals = np.concatenate(([0.0], np.cumsum(view.score[:length])))
        out: Array = totals[size:] - totals[: totals.size - size]
        return out


class LowestWindow(_Starts):
    """Start where running through is cheapest (GAIA's Lowest-Window)."""

    def _delay(self, view: View, job: OpenJob) -> int:
        return int(self._sums(view, job).argmin())


class CarbonTime(_Starts):
    """Start where most is saved per hour until the end (GAIA's Carbon-Time)."""

    def _delay(self, view: View, job: OpenJob) -> int:
        sums = self._sums(view, job)
        until_end = np.arange(sums.size) + job.left
        return int(((sums[0] - sums) / until_end).argmax())


class Planner:
    """Plan all open jobs anew and run what the plan runs now.

    Args:
        budget_s: Wall time of one plan; 0 takes the urgent-first greedy plan.
        every: Half-hours between two plans; an arrival calls for one too.
        carbon_price_gbp_per_tco2: What a tonne counts for.
    """

    def __init__(
        self, *, budget_s: float, carbon_price_gbp_per_tco2: float, every: int = 1
    ) -> None:
        self._budget_s = budget_s
        self._every = every
        self._carbon_price = carbon_price_gbp_per_tco2
        self._plan: HasRuns | None = None

    def wants(self, view: View) -> Sequence[JobId]:
        """Return what the plan runs in this half-hour."""
        plan, moment = self._plan, EPOCH + view.now
        known = plan is not None and all(job.arrival.id in plan.runs for job in view.jobs)
        if plan is None or not known or view.now % self._every == 0:
            plan = self._planned(self._problem(view), plan)
            self._plan = plan
        return [
            job.arrival.id
            for job in view.jobs
            if any(run.covers(moment) for run in plan.runs[job.arrival.id])
        ]

    def _planned(self, problem: PlanningProblem, standing: HasRuns | None) -> HasRuns:
        known = standing if isinstance(standing, Plan) else None
        return make_plan(problem, budget_s=self._budget_s, standing=known)

    def _problem(self, view: View) -> PlanningProblem:
        size = view.score.size
        demands = tuple(
            demand(
                job.arrival,
                release=0,
                deadline=job.arrival.deadline - view.now,
                work=job.left,
                is_running=job.is_running,
            )
            for job in view.jobs
        )
        site = SiteOutlook(
            _site(view.gpus), view.price, view.intensity, np.full(size, view.gpus, float)
        )
        return PlanningProblem(EPOCH + view.now, demands, (site,), self._carbon_price)


class Nsga2(Planner):
    """The same with the point of the NSGA-II front that the carbon price prefers."""

    def _planned(self, problem: PlanningProblem, standing: HasRuns | None) -> HasRuns:
        runs = standing.runs if standing else None
        front = make_front(problem, budget_s=self._budget_s, standing=runs)
        return front.points[front.preferred(gbp_per_tco2=problem.carbon_price_gbp_per_tco2)]


def demand(
    arrival: Arrival, *, release: int, deadline: int, work: int, is_running: bool = False
) -> JobDemand:
    """Return a job of a trace as the planner takes it."""
    return JobDemand(
        id=arrival.id,
        tier=Tier.T3,
        release=release,
        deadline=deadline,
        work=work,
        gpus=arrival.gpus,
        power_kw={"trace": arrival.power_kw},
        interruptible=arrival.interruptible,
        running_at="trace" if is_running else None,
    )


def clairvoyant_gbp(
    arrivals: Sequence[Arrival],
    grid: GridSeries,
    *,
    gpus: int,
    carbon_price_gbp_per_tco2: float,
    budget_s: float,
) -> Mapping[str, float]:
    """Return what nobody could beat and what a plan with perfect knowledge comes to, GBP.

    The former holds for whoever is on time. Where that plan is late somewhere (``plan_late``), it
    holds for whoever does all the work by the end of the series, however late.

    Args:
        arrivals: The trace.
        grid: Outturns, to the last deadline at least.
        gpus: Capacity.
        carbon_price_gbp_per_tco2: What a tonne counts for.
        budget_s: Wall time to spend.
    """
    room = np.full(grid.half_hours, float(gpus))
    site = SiteOutlook(_site(gpus), grid.price_gbp_per_mwh, grid.intensity_gco2_per_kwh, room)
    demands = tuple(
        demand(job, release=job.at, deadline=job.deadline, work=job.work) for job in arrivals
    )
    problem = PlanningProblem(EPOCH, demands, (site,), carbon_price_gbp_per_tco2)
    search = Search(problem, Budget(budget_s))
    search.run()
    plan_gbp, late = float(search.figures.objective_gbp.sum()), int(search.figures.is_late.sum())
    if late:
        patient = tuple(replace(one, deadline=grid.half_hours) for one in demands)
        search = Search(replace(problem, jobs=patient), Budget(budget_s))
        search.run()
    bound = on_time_bound_gbp(search.tables, search.prices)
    return {"bound_gbp": bound, "plan_gbp": plan_gbp, "plan_late": late}


def _site(gpus: int) -> Site:
    return Site("trace", gpus=gpus, gpu_type="H100")
