"""Workload agent: makes the clusters do what the plan in force says, and meters it.

Each tick compares what was intended (PostgreSQL) with what the clusters report, records the
difference, and then acts: start, pause, stop. An intent is stored before a cluster is asked,
under a submission id that is derived and so can be sent again; the agent may die between any
two lines.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from gridflex.adapters.jobs.curtailment_store import CurtailmentStore
from gridflex.adapters.jobs.packages import PackageStore
from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.agents.clusters import Cluster, cluster_at
from gridflex.agents.meter import Meter
from gridflex.agents.power.capping import Capping
from gridflex.agents.watching import Watch, is_run_of
from gridflex.dispatch import Action, attempt_request, next_action
from gridflex.errors import ConflictError, ContractError, GridFlexError, SourceError
from gridflex.fleet import Site, allowed_sites, first_site, shaped_power_kw, speed_fraction
from gridflex.halfhour import HalfHour
from gridflex.jobs import Shape
from gridflex.lifecycle import ID_TAKEN, Attempt, Job, Outcome, PowerChange, StopReason
from gridflex.planning.plan import PlannedRun
from gridflex.starting import start_allowance
from gridflex.together import together

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Requests to clusters in flight together; each new job costs its cluster about 1 s of CPU."""


@dataclass(frozen=True, slots=True)
class WorkloadReport:
    """What one tick saw and did.

    Args:
        open_jobs: Jobs that have not ended.
        running: Of those, how many run.
        actions: What was done or tried, by job.
        unreachable: Why each unreachable site could not be asked.
        failures: What could not be noted or done and will be tried again, by job.
        degraded: Why power limits cannot be set, by site.
    """

    open_jobs: int
    running: int
    actions: Mapping[str, str]
    unreachable: Mapping[str, str]
    failures: Mapping[str, str]
    degraded: Mapping[str, str]


@dataclass(slots=True)
class _Turn:
    """One tick's actions so far; a site that failed once is closed until the next tick."""

    now: datetime
    closed: set[str]
    actions: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Where:
    """At which site, and in which shape if not the job's own."""

    site: str
    shape: Shape | None = None


class Workload:
    """Reconciles, acts and meters.

    Args:
        jobs: Where jobs are kept.
        plans: What should run when.
        curtailments: Orders to free power.
        clusters: Job API of each site, by site name.
        sites: The domain's view of each site; the first is the default.
        packages: Uploaded packages.
        restart: What a start takes before work goes on, at least.
        ask_again_after: When to repeat a request to stop that had no effect.
        checkpoint_root: Folder or URL under which each job gets a folder of its own.
        clock: GridFlex time, to stamp what has just been seen or done.
        gridflex_time: Turns a cluster's wall time into GridFlex time.
        capping: Sets power limits; None where nobody does, and jobs keep them by themselves.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        plans: PlanStore,
        curtailments: CurtailmentStore,
        clusters: Mapping[str, Cluster],
        sites: Sequence[Site],
        packages: PackageStore,
        restart: timedelta,
        ask_again_after: timedelta,
        checkpoint_root: str,
        clock: Callable[[], datetime],
        gridflex_time: Callable[[datetime], datetime],
        capping: Capping | None = None,
    ) -> None:
        self._jobs = jobs
        self._plans = plans
        self._curtailments = curtailments
        self._clusters = clusters
        self._sites = {site.name: site for site in sites}
        self._packages = packages
        self._restart = restart
        self._ask_again_after = ask_again_after
        self._checkpoint_root = checkpoint_root
        self._clock = clock
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._failed: frozenset[str] = frozenset()
        self._watch = Watch(
            jobs=jobs,
            clusters=clusters,
            clock=clock,
            gridflex_time=gridflex_time,
            settle=ask_again_after,
        )
        self._capping = capping
        self._meter = Meter(jobs=jobs, sites=self._sites, limits=capping)

    async def tick(self, now: datetime) -> WorkloadReport:
        """Bring intent and clusters together once.

        Raises:
            SourceError: The database cannot be reached; a cluster that cannot is reported.
        """
        jobs = await self._jobs.open_jobs()
        seen = await self._watch.reconcile(jobs)
        if seen.changes:
            jobs = await self._jobs.open_jobs()
        now = max(now, self._clock())  # asking the clusters took a while
        turn = _Turn(now, closed=set(seen.unreachable))
        if self._capping:
            await self._capping.tick(jobs, now)
        await self._act([job for job in jobs if job.id not in seen.failures], turn)
        unlimited = dict(self._capping.refusals) if self._capping else {}
        await self._meter.read(jobs, now, unreachable=seen.unreachable, unclear=seen.failures)
        return WorkloadReport(
            open_jobs=len(jobs),
            running=sum(1 for job in jobs if job.live_attempt),
            actions=turn.actions,
            unreachable=seen.unreachable,
            failures={**seen.failures, **turn.failures},
            degraded={f"power limits of {site}": why for site, why in unlimited.items()},
        )

    async def _act(self, jobs: Sequence[Job], turn: _Turn) -> None:
        planned = await self._plans.orders(HalfHour.containing(turn.now))
        orders = planned.under(await self._curtailments.active(turn.now))
        restart = start_allowance(jobs, usual=self._restart)
        if self._capping:
            orders = replace(orders, unlimited=frozenset(self._capping.refusals))
        todo: list[tuple[Job, Action, _Where]] = []
        for job in jobs:
            action = next_action(
                job,
                orders,
                now=turn.now,
                restart=restart,
                ask_again_after=self._ask_again_after,
            )
            if action:
                is_due = job.must_start(turn.now, restart=restart)
                away = turn.closed if is_due else frozenset[str]()  # else the next plan moves it
                todo.append((job, action, self._where(job, orders.run_of(job.id), away=away)))
        todo.sort(key=lambda one: one[0].id in self._failed)  # they had their turn
        await together(self._try(job, act, where=where, turn=turn) for job, act, where in todo)
        self._failed = frozenset(turn.failures)

    def _where(self, job: Job, run: PlannedRun | None, *, away: Collection[str]) -> _Where:
        """Return where to act: as planned, unless that site is away and another one may run it."""
        if job.live_attempt:
            return _Where(job.live_attempt.site)
        allowed = allowed_sites(job.flexibility, self._sites, away=away)
        if run and run.site in self._sites and (run.site in allowed or run.site not in away):
            return _Where(run.site, _other_shape(job, run))
        return _Where(first_site(job.flexibility, self._sites, away=away))

    async def _try(self, job: Job, action: Action, *, where: _Where, turn: _Turn) -> None:
        """Act for one job; whatever fails is its failure, and is tried again in a later tick."""
        site = where.site
        async with self._gate:
            if site in turn.closed:
                return
            turn.actions[str(job.id)] = action.value
            try:
                await self._perform(job, action, where=where, now=turn.now)
            except GridFlexError as error:
                log.warning("%s of job %s failed, will be tried again: %s", action, job.id, error)
                turn.failures[str(job.id)] = str(error)
                if isinstance(error, SourceError):
                    turn.closed.add(site)
            except Exception as error:
                log.exception("%s of job %s failed, will be tried again", action, job.id)
                turn.failures[str(job.id)] = f"{type(error).__name__}: {error}"

    async def _perform(self, job: Job, action: Action, *, where: _Where, now: datetime) -> None:
        if action is Action.START:
            attempt = await self._jobs.decide_attempt(
                job.id,
                site=where.site,
                at=_not_before(job, now),
                shape=where.shape,
                speed_fraction=self._speed_fraction(job, where),
                power_change=self._power_change(job, where),
            )
            if attempt:
                await self._submit(job, attempt)
        elif action is Action.RESEND and job.live_attempt:
            await self._submit(job, job.live_attempt)
        elif job.live_attempt:
            await self._stop(job, job.live_attempt, StopReason(action.value), now)

    def _speed_fraction(self, job: Job, where: _Where) -> float:
        if where.shape is None:
            return 1.0
        return speed_fraction(job.flexibility, self._sites[where.site], where.shape)

    def _power_change(self, job: Job, where: _Where) -> PowerChange | None:
        """Return how much more or less a run may draw than the one before; None if as much."""
        before = job.attempts[-1] if job.attempts else None
        if before is None or before.site not in self._sites:
            return None
        shape = where.shape or Shape(job.flexibility.gpus)
        from_kw = self._allowed_kw(job, before.site, job.shape_of(before))
        to_kw = self._allowed_kw(job, where.site, shape)
        return PowerChange(from_kw, to_kw) if from_kw != to_kw else None

    def _allowed_kw(self, job: Job, site: str, shape: Shape) -> float:
        cpus = job.request.entrypoint_cpus
        return round(shaped_power_kw(job.flexibility, self._sites[site], shape, cpus=cpus), 3)

    async def _submit(self, job: Job, attempt: Attempt) -> None:
        cluster = cluster_at(attempt.site, self._clusters)
        request = attempt_request(job, attempt, checkpoint_root=self._checkpoint_root)
        try:
            for uri in job.request.package_uris:
                await self._packages.supply(cluster, uri)
            await cluster.submit(attempt.ray_id, request)
        except ContractError as error:
            is_taken = isinstance(error, ConflictError)
            is_later = is_taken and attempt.number > 1  # nobody chose its id, so another will do
            await self._jobs.attempt_ended(
                job.id,
                attempt.number,
                outcome=Outcome.LOST if is_later else Outcome.FAILED,
                at=self._clock(),
                driver={
                    "message": f"{error}; it runs under the next" if is_later else str(error),
                    ID_TAKEN: is_taken,
                },
            )
            return
        await self._jobs.attempt_submitted(job.id, attempt.number, at=self._clock())

    async def _stop(self, job: Job, attempt: Attempt, reason: StopReason, now: datetime) -> None:
        await self._jobs.attempt_stopping(job.id, attempt.number, reason=reason, at=now)
        cluster = cluster_at(attempt.site, self._clusters)
        found = await cluster.get(attempt.ray_id) if attempt.started_at is None else None
        if found is None or is_run_of(job, found):
            await cluster.stop(attempt.ray_id)


def _other_shape(job: Job, run: PlannedRun) -> Shape | None:
    """Return the shape of a planned run, None where it is the job's own."""
    return None if run.shape == Shape(job.flexibility.gpus) else run.shape


def _not_before(job: Job, now: datetime) -> datetime:
    """Return ``now``, or the end of the last attempt where its cluster's clock runs fast."""
    return max([now, *(attempt.ended_at for attempt in job.attempts if attempt.ended_at)])
