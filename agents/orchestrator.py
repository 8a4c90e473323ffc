"""Orchestration engine: re-plans, and commits a plan when it decides something new.

A plan made during one half-hour decides from the next one on; the one in force is carried out
meanwhile. Nothing is kept between ticks that PostgreSQL does not have.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np

from gridflex.adapters.clusters.ray_gpus import Gpus
from gridflex.adapters.jobs.curtailment_store import CurtailmentStore
from gridflex.adapters.jobs.plan_store import PlanStore, StoredPlan
from gridflex.adapters.jobs.store import JobStore
from gridflex.agents.grid import Grid
from gridflex.agents.other_load import OtherLoad
from gridflex.agents.site_prices import SitePrices, Tariffs
from gridflex.beckn.messaging.keeping import Hold
from gridflex.errors import SourceError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.lifecycle import Job
from gridflex.planning.assemble import SiteState, assemble, horizon, spread
from gridflex.planning.front import make_front
from gridflex.planning.front_record import front_record
from gridflex.planning.patience import patient
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.planner import known_prices, make_plan
from gridflex.planning.problem import PlanningProblem
from gridflex.planning.record import problem_record, result_record
from gridflex.planning.slack import narrowed
from gridflex.planning.standing import with_arrivals
from gridflex.settings import PlannerSettings
from gridflex.signals import NATIONAL
from gridflex.starting import start_allowance

ARRIVAL: Final = "job"
"""The reason of a tick that nothing but newly arrived jobs called for."""

REPORT_LAG: Final = timedelta(seconds=10)
"""Wall time in which a cluster's count of busy GPUs catches up; Ray renews it every 5 s."""


class Capacity(Protocol):
    """What one cluster has; see `gridflex.adapters.clusters.ray_jobs.RayJobs`."""

    async def gpus(self) -> Gpus:
        """Return its GPUs, in all and in use."""
        ...


@dataclass(frozen=True, slots=True)
class OrchestratorReport:
    """What one tick decided.

    Args:
        plan_id: The plan now standing; None before the first one.
        is_new: Whether this tick committed it.
        jobs: How many jobs it holds.
        late: Jobs that cannot meet their deadline.
        gap_fraction: Proven distance from the optimum.
        unreachable: Why each site's use could not be read.
    """

    plan_id: int | None
    is_new: bool
    jobs: int
    late: tuple[str, ...]
    gap_fraction: float
    unreachable: Mapping[str, str]


class Promises(Protocol):
    """What was promised to others; see `gridflex.adapters.beckn.store.BecknStore`."""

    async def holds(self) -> Sequence[Hold]:
        """Return which jobs are promised to run when."""
        ...


class Abilities(Protocol):
    """Where power limits can be set; see `gridflex.adapters.power.store.PowerAbilities`."""

    async def unlimited(self) -> frozenset[str]:
        """Return the sites where a planned limit could not be set."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """What there is to plan at one moment.

    Args:
        problem: From the next half-hour on, without what was promised.
        jobs: Open jobs.
        standing: The last plan that was committed.
        unreachable: Why each site's use, or its tariff, could not be read.
        price_basis: Per site, whether energy is counted at its ``delivered`` cost or as
            ``commodity``.
    """

    problem: PlanningProblem
    jobs: tuple[Job, ...]
    standing: StoredPlan | None
    unreachable: Mapping[str, str]
    price_basis: Mapping[str, str] = field(default_factory=dict)


class Orchestrator:
    """Plans what runs when.

    Args:
        jobs: Where jobs are kept.
        plans: Where plans are kept.
        curtailments: Orders to free power.
        grid: What price and intensity to expect.
        clusters: Each site's cluster, by site name.
        sites: The sites, the default one first.
        settings: Weights and limits.
        other_load: How many GPUs to leave to work that GridFlex does not steer.
        promises: Jobs that contracts have fixed; None if nothing is sold.
        tariffs: Delivered prices; None counts energy at its wholesale price everywhere.
        report_lag: How long a cluster may go on reporting the GPUs of a run that has ended.
        abilities: Where power limits can be set; None believes the sites.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        plans: PlanStore,
        curtailments: CurtailmentStore,
        grid: Grid,
        clusters: Mapping[str, Capacity],
        sites: Sequence[Site],
        settings: PlannerSettings,
        other_load: OtherLoad,
        promises: Promises | None = None,
        tariffs: Tariffs | None = None,
        report_lag: timedelta = REPORT_LAG,
        abilities: Abilities | None = None,
    ) -> None:
        self._jobs = jobs
        self._plans = plans
        self._curtailments = curtailments
        self._grid = grid
        self._clusters = clusters
        self._sites = tuple(sites)
        self._settings = settings
        self._other_load = other_load
        self._promises = promises
        self._prices = SitePrices(tariffs)
        self._report_lag = report_lag
        self._abilities = abilities

    async def tick(self, now: datetime, *, reason: str) -> OrchestratorReport:
        """Make a plan from the next half-hour on; commit it if it decides something new.

        Where nothing but new jobs called for it, they are placed on the plan in force, and all
        is planned anew only if that is proven to be worth it.

        Args:
            now: GridFlex time.
            reason: What called for it; kept with the plan.

        Raises:
            StaleDataError: Nothing at all is known about price or intensity.
            SourceError: The database cannot be reached.
        """
        position = await self.position(now)
        standing = position.standing
        left = _left_of(standing, position.problem.start)
        promised = await self._promised()
        problem = await asyncio.to_thread(self._weighed, position.problem, promised, left)
        is_arrival = reason == ARRIVAL
        plan = await asyncio.to_thread(self._planned, problem, left, is_arrival=is_arrival)
        result = result_record(plan) | {"price_basis": dict(position.price_basis)}
        plan_id = await self._commit(problem, plan, standing, result, now=now, reason=reason)
        if plan_id is not None and self._settings.front_budget_s and not is_arrival:
            front = await asyncio.to_thread(self._front, problem, plan)
            await self._plans.save_front(plan_id, front)
        return OrchestratorReport(
            plan_id=plan_id or (standing.id if standing else None),
            is_new=plan_id is not None,
            jobs=len(problem.jobs),
            late=tuple(str(job_id) for job_id in plan.late),
            gap_fraction=plan.gap_fraction,
            unreachable=position.unreachable,
        )

    async def position(self, now: datetime) -> Position:
        """Return what there is to plan from the next half-hour on.

        Args:
            now: GridFlex time.

        Raises:
            StaleDataError: Nothing at all is known about price or intensity.
            SourceError: The database cannot be reached.
        """
        start = HalfHour.containing(now) + 1
        jobs = await self._jobs.open_jobs()
        standing = await self._plans.newest()
        in_force = await self._plans.orders(start - 1)
        states, unreachable, basis = await self._states(jobs, now=now, start=start)
        usual = timedelta(seconds=self._settings.restart_s)
        restart_s = start_allowance(jobs, usual=usual).total_seconds()
        problem = assemble(
            jobs,
            now=now,
            start=start,
            sites=states,
            running_now=in_force.runs,
            curtailments=await self._curtailments.active(now),
            settings=self._settings.model_copy(update={"restart_s": restart_s}),
            away=[site.name for site in self._sites if site.name in unreachable],
        )
        return Position(problem, tuple(jobs), standing, unreachable, basis)

    def _weighed(
        self,
        problem: PlanningProblem,
        promised: Mapping[str, tuple[HalfHour, int]],
        standing: Plan | None,
    ) -> PlanningProblem:
        """Return the problem as promises and the doubt in forecasts leave it."""
        return patient(narrowed(problem, promised), prices=known_prices(problem, standing))

    def _planned(
        self, problem: PlanningProblem, standing: Plan | None, *, is_arrival: bool
    ) -> Plan:
        placed = with_arrivals(problem, standing) if standing and is_arrival else None
        return placed or make_plan(problem, budget_s=self._settings.budget_s, standing=standing)

    def _front(self, problem: PlanningProblem, plan: Plan) -> dict[str, Any]:
        front = make_front(problem, budget_s=self._settings.front_budget_s, standing=plan)
        return front_record(front, plan)

    async def _promised(self) -> dict[str, tuple[HalfHour, int]]:
        holds = await self._promises.holds() if self._promises else ()
        return {hold.thing: (hold.start, hold.half_hours) for hold in holds}

    async def _states(
        self, jobs: Sequence[Job], *, now: datetime, start: HalfHour
    ) -> tuple[list[SiteState], dict[str, str], dict[str, str]]:
        """Return the sites, why something of them could not be read, and their price bases."""
        half_hours = horizon(jobs, start=start, least=self._settings.horizon_half_hours)
        unreachable: dict[str, str] = {}
        basis: dict[str, str] = {}
        states = []
        outlooks = {
            site.name: await self._grid.outlook(
                now, start=start, half_hours=half_hours, region=site.postcode or NATIONAL
            )
            for site in self._sites
        }
        wholesale = {name: price.values for name, (_, price) in outlooks.items()}
        costs = await self._prices.at(wholesale, start=start)
        unlimited = await self._abilities.unlimited() if self._abilities else frozenset()
        for site in self._sites:
            intensity, price = outlooks[site.name]
            busy: int | None = None
            try:
                busy = await self._other_gpus(site, jobs, since=now - self._report_lag)
            except SourceError as error:
                unreachable[site.name] = str(error)
            other = await self._other_load.room(
                site.name, busy=busy, now=now, start=start, half_hours=half_hours
            )
            if site.name in unreachable:
                held = _live_gpus(jobs, site.name)
                site = replace(site, gpus=max(site.gpus, held))  # noqa: PLW2901 - as it is now
                other = np.minimum(other, site.gpus - held)
            cost = costs[site.name]
            basis[site.name] = cost.basis
            if cost.failure is not None:
                unreachable[f"tariff of {site.name}"] = cost.failure
            doubt = spread(price.quantiles)
            states.append(
                SiteState(
                    replace(site, power_caps=()) if site.name in unlimited else site,
                    cost.gbp_per_mwh,
                    intensity.values,
                    other,
                    price_sd_gbp_per_mwh=None if doubt is None else doubt * cost.per_wholesale,
                    intensity_sd_gco2_per_kwh=spread(intensity.quantiles),
                )
            )
        return states, unreachable, basis

    async def _other_gpus(self, site: Site, jobs: Sequence[Job], *, since: datetime) -> int:
        used = (await self._clusters[site.name].gpus()).used or 0
        ended = await self._jobs.ended_since(since)
        ours = sum(_held_since(job, site=site.name, since=since) for job in (*jobs, *ended))
        return max(0, math.ceil(used) - ours)

    async def _commit(
        self,
        problem: PlanningProblem,
        plan: Plan,
        standing: StoredPlan | None,
        result: dict[str, Any],
        *,
        now: datetime,
        reason: str,
    ) -> int | None:
        if standing and _decides_the_same(plan, standing, problem.start):
            return None
        runs = {job.id: plan.runs.get(job.id, ()) for job in problem.jobs}
        return await self._plans.commit(
            runs,
            made_at=now,
            start=problem.start,
            reason=reason,
            result=result,
            inputs=problem_record(problem),
        )


def _live_gpus(jobs: Sequence[Job], site: str) -> int:
    """Return the GPUs of what may run at ``site``."""
    live = ((job, job.live_attempt) for job in jobs)
    return sum(job.shape_of(one).gpus for job, one in live if one and one.site == site)


def _held_since(job: Job, *, site: str, since: datetime) -> int:
    """Return how many GPUs the job held at ``site``; a run in the queue holds none."""
    return max(
        (
            job.shape_of(attempt).gpus
            for attempt in job.attempts
            if attempt.site == site
            and attempt.started_at is not None
            and (attempt.ended_at is None or attempt.ended_at >= since)
        ),
        default=0,
    )


def _left_of(stored: StoredPlan | None, start: HalfHour) -> Plan | None:
    """Return a plan as the planner knows it, without what its runs do before ``start``."""
    if stored is None:
        return None
    runs = {job_id: _from(runs, start) for job_id, runs in stored.runs.items()}
    return replace(stored.as_plan(), runs=runs)


def _decides_the_same(plan: Plan, standing: StoredPlan, start: HalfHour) -> bool:
    if set(plan.runs) - set(standing.runs):
        return False
    return all(_from(standing.runs[job_id], start) == runs for job_id, runs in plan.runs.items())


def _from(runs: Sequence[PlannedRun], start: HalfHour) -> tuple[PlannedRun, ...]:
    return tuple(part for run in runs if (part := run.cut(start)))
