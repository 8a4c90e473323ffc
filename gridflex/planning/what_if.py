"""The same jobs under other conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Final, Protocol

import numpy as np

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook
from gridflex.planning.solo import Solo
from gridflex.planning.tally import Tally

MOST_NAMED: Final = 10
"""Names that an error lists of what would have been valid."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What to assume differently.

    Args:
        gpus: GPUs by site; busy ones stay busy.
        deadlines: Latest finish by job, aware instants.
        carbon_caps_gco2_per_kwh: Carbon cap by job.
        carbon_price_gbp_per_tco2: What a tonne counts for; None leaves it.
    """

    gpus: Mapping[str, int] = field(default_factory=dict)
    deadlines: Mapping[JobId, datetime] = field(default_factory=dict)
    carbon_caps_gco2_per_kwh: Mapping[JobId, float] = field(default_factory=dict)
    carbon_price_gbp_per_tco2: float | None = None


def changed(problem: PlanningProblem, changes: Changes) -> PlanningProblem:
    """Return ``problem`` with ``changes``.

    Raises:
        ContractError: A change names a job or a site that the problem does not have, or is no
            possible value; the message names it.
    """
    _check(problem, changes)
    price = changes.carbon_price_gbp_per_tco2
    return PlanningProblem(
        start=problem.start,
        jobs=tuple(_job(job, problem.start, changes) for job in problem.jobs),
        sites=tuple(_site(outlook, changes) for outlook in problem.sites),
        carbon_price_gbp_per_tco2=problem.carbon_price_gbp_per_tco2 if price is None else price,
    )


class HasRuns(Protocol):
    """A plan, or a point of a front."""

    @property
    def runs(self) -> Mapping[JobId, tuple[PlannedRun, ...]]:
        """By job, in order of time."""
        ...


def moved_jobs(before: HasRuns, after: HasRuns) -> tuple[JobId, ...]:
    """Return the jobs that run at other times or places."""
    return tuple(job_id for job_id, runs in after.runs.items() if before.runs.get(job_id) != runs)


@dataclass(frozen=True, slots=True)
class Spent:
    """What some jobs come to in a plan.

    Args:
        energy_kwh: Of their runs.
        cost_gbp: Of that energy.
        carbon_kg: Of that energy.
        waiting_gpu_hours: Their delay, weighted by GPUs.
        objective_gbp: Cost, carbon at its price and waiting.
    """

    energy_kwh: float = 0.0
    cost_gbp: float = 0.0
    carbon_kg: float = 0.0
    waiting_gpu_hours: float = 0.0
    objective_gbp: float = 0.0


def not_run(problem: PlanningProblem, plan: Plan) -> tuple[JobId, ...]:
    """Return the jobs for all of whose work the plan found no room."""
    alone = ((job, _alone(problem, plan, job)) for job in problem.jobs if job.id in plan.late)
    return tuple(job.id for job, figures in alone if figures is None or not figures.is_met[0])


def spent_by(problem: PlanningProblem, plan: Plan, jobs: Collection[JobId]) -> Spent:
    """Return what some of the jobs come to in a plan of ``problem``."""
    alone = [_alone(problem, plan, job) for job in problem.jobs if job.id in jobs]
    found = [figures for figures in alone if figures is not None]
    return Spent(
        **{
            field.name: sum(float(getattr(figures, field.name)[0]) for figures in found)
            for field in fields(Spent)
        }
    )


def _alone(problem: PlanningProblem, plan: Plan, job: JobDemand) -> Tally | None:
    """Return the figures of one job in a plan; None if it does not run."""
    solo = Solo(replace(problem, jobs=(job,)))
    place = solo.place_of(plan.runs.get(job.id, ()))
    return solo.figures(place) if place else None


def _check(problem: PlanningProblem, changes: Changes) -> None:
    jobs = {job.id for job in problem.jobs}
    sites = {outlook.site.name for outlook in problem.sites}
    for what, named, known in (
        ("gpus", set(changes.gpus), sites),
        ("deadlines", set(changes.deadlines), jobs),
        ("carbon_caps_gco2_per_kwh", set(changes.carbon_caps_gco2_per_kwh), jobs),
    ):
        for name in sorted(map(str, named - known)):
            shown = sorted(map(str, known))
            more = ", …" if len(shown) > MOST_NAMED else ""
            valid = f"{', '.join(shown[:MOST_NAMED])}{more}" if shown else "none"
            raise ContractError(f"{what}: {name!r} is not part of this plan; valid is {valid}")


def _job(job: JobDemand, start: HalfHour, changes: Changes) -> JobDemand:
    deadline = changes.deadlines.get(job.id)
    return replace(
        job,
        deadline=start.until(HalfHour.containing(deadline)) if deadline else job.deadline,
        carbon_cap_gco2_per_kwh=changes.carbon_caps_gco2_per_kwh.get(
            job.id, job.carbon_cap_gco2_per_kwh
        ),
    )


def _site(outlook: SiteOutlook, changes: Changes) -> SiteOutlook:
    gpus = changes.gpus.get(outlook.site.name)
    if gpus is None:
        return outlook
    busy = outlook.site.gpus - outlook.free_gpus
    return replace(
        outlook,
        site=replace(outlook.site, gpus=gpus),
        free_gpus=np.clip(gpus - busy, 0.0, None),
    )
