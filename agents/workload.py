"""Workload agent: makes the clusters do what the plan in force says, and meters it.

Each tick compares what was intended (PostgreSQL) with what the clusters report, records the
difference, and then acts: start, pause, stop. An intent is stored before a cluster is asked,
under a submission id that is derived and so can be sent again; the agent may die between any
two lines.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from gridflex.adapters.job_store import JobStore
from gridflex.adapters.packages import PackageSink, PackageStore
from gridflex.adapters.plan_store import PlanStore
from gridflex.adapters.ray_jobs import RayJob
from gridflex.dispatch import Action, attempt_request, next_action
from gridflex.errors import ContractError, GridFlexError, SourceError
from gridflex.fleet import Site, dynamic_power_kw, power_source
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest, Outcome, StopReason
from gridflex.metering import metered
from gridflex.planning.plan import PlannedRun

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Requests to clusters in flight together; each new job costs its cluster about 1 s of CPU."""

LOOK_BACK: Final = timedelta(days=31)
"""How far back a new agent looks for runs that its predecessor did not meter."""

OUTCOMES: Final = {
    "SUCCEEDED": Outcome.SUCCEEDED,
    "FAILED": Outcome.FAILED,
    "STOPPED": Outcome.STOPPED,
}


class Cluster(PackageSink, Protocol):
    """One Ray cluster's Job API; see `gridflex.adapters.ray_jobs.RayJobs`."""

    async def list(self) -> Sequence[RayJob]:
        """Return every job the cluster knows."""
        ...

    async def get(self, ray_id: str) -> RayJob | None:
        """Return one job, or None if the cluster does not know it."""
        ...

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        """Submit once, however often it is called with the same id."""
        ...

    async def stop(self, ray_id: str) -> bool:
        """Ask a job to stop."""
        ...


@dataclass(frozen=True, slots=True)
class WorkloadReport:
    """What one tick saw and did.

    Args:
        open_jobs: Jobs that have not ended.
        running: Of those, how many run.
        actions: What was done, by job.
        unreachable: Why each unreachable site could not be asked.
        failures: Actions that failed and will be tried again, by job.
    """

    open_jobs: int
    running: int
    actions: Mapping[str, str]
    unreachable: Mapping[str, str]
    failures: Mapping[str, str]


class Workload:
    """Reconciles, acts and meters.

    Args:
        jobs: Where jobs are kept.
        plans: What should run when.
        clusters: Job API of each site, by site name.
        sites: The domain's view of each site; the first is the default.
        packages: Uploaded packages.
        restart: What a start takes before work goes on.
        ask_again_after: When to repeat a request to stop that had no effect.
        checkpoint_root: Folder or URL under which each job gets a folder of its own.
        gridflex_time: Turns a cluster's wall time into GridFlex time.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        plans: PlanStore,
        clusters: Mapping[str, Cluster],
        sites: Sequence[Site],
        packages: PackageStore,
        restart: timedelta,
        ask_again_after: timedelta,
        checkpoint_root: str,
        gridflex_time: Callable[[datetime], datetime],
    ) -> None:
        self._jobs = jobs
        self._plans = plans
        self._clusters = clusters
        self._sites = {site.name: site for site in sites}
        self._packages = packages
        self._restart = restart
        self._ask_again_after = ask_again_after
        self._checkpoint_root = checkpoint_root
        self._gridflex_time = gridflex_time
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._metered_until: dict[str, datetime] = {}

    async def tick(self, now: datetime) -> WorkloadReport:
        """Bring intent and clusters together once.

        Raises:
            SourceError: The database cannot be reached; a cluster that cannot is reported.
        """
        jobs = await self._jobs.open_jobs()
        unreachable = await self._reconcile(jobs, now)
        jobs = await self._jobs.open_jobs()
        actions, failures = await self._act(jobs, now, unreachable=unreachable)
        await self._meter(jobs, now, unreachable=unreachable)
        return WorkloadReport(
            open_jobs=len(jobs),
            running=sum(1 for job in jobs if job.live_attempt),
            actions=actions,
            unreachable=unreachable,
            failures=failures,
        )

    async def _reconcile(self, jobs: Sequence[Job], now: datetime) -> dict[str, str]:
        live = [(job, job.live_attempt) for job in jobs if job.live_attempt]
        wanted = {attempt.site for _, attempt in live if attempt}
        unreachable: dict[str, str] = {}
        for site in sorted(wanted):
            try:
                reported = {job.ray_id: job for job in await self._cluster(site).list()}
            except SourceError as error:
                unreachable[site] = str(error)
                continue
            for job, attempt in live:
                if attempt and attempt.site == site:
                    await self._note(job, attempt, reported.get(attempt.ray_id), now)
        return unreachable

    async def _note(
        self, job: Job, attempt: Attempt, reported: RayJob | None, now: datetime
    ) -> None:
        if reported is None:
            await self._note_missing(job, attempt, now)
            return
        if attempt.state is AttemptState.DECIDED:
            await self._jobs.attempt_submitted(job.id, attempt.number, at=now)
        if reported.status == "RUNNING" and attempt.started_at is None:
            await self._jobs.attempt_started(job.id, attempt.number, at=now, driver=reported.driver)
        outcome = OUTCOMES.get(reported.status)
        if outcome:
            await self._jobs.attempt_ended(
                job.id,
                attempt.number,
                outcome=outcome,
                at=self._wall(reported.ended_wall) or now,
                driver=reported.driver,
                started_at=self._wall(reported.started_wall),
            )

    async def _note_missing(self, job: Job, attempt: Attempt, now: datetime) -> None:
        if attempt.state is AttemptState.DECIDED:
            return
        if await self._cluster(attempt.site).get(attempt.ray_id) is None:
            log.warning("site %s no longer knows attempt %s", attempt.site, attempt.ray_id)
            message = f"site {attempt.site} lost it; it will run again"
            await self._jobs.attempt_ended(
                job.id,
                attempt.number,
                outcome=Outcome.LOST,
                at=now,
                driver={"message": message},
            )

    def _cluster(self, site: str) -> Cluster:
        if site not in self._clusters:
            raise SourceError(f"site {site} is not in the settings")
        return self._clusters[site]

    def _wall(self, moment: datetime | None) -> datetime | None:
        return self._gridflex_time(moment) if moment else None

    async def _act(
        self, jobs: Sequence[Job], now: datetime, *, unreachable: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        orders = await self._plans.orders(HalfHour.containing(now))
        todo: list[tuple[Job, Action, str]] = []
        for job in jobs:
            action = next_action(
                job,
                orders,
                now=now,
                restart=self._restart,
                ask_again_after=self._ask_again_after,
            )
            site = self._site_for(job, orders.runs.get(job.id))
            if action and site not in unreachable:
                todo.append((job, action, site))
        results = await asyncio.gather(
            *(self._perform(job, action, site=site, now=now) for job, action, site in todo)
        )
        actions = {str(job.id): action.value for job, action, _ in todo}
        failures = {
            str(job.id): failure
            for (job, _, _), failure in zip(todo, results, strict=True)
            if failure
        }
        return actions, failures

    def _site_for(self, job: Job, run: PlannedRun | None) -> str:
        if job.live_attempt:
            return job.live_attempt.site
        wanted = (*([run.site] if run else []), *job.flexibility.sites, *self._sites)
        return next(site for site in wanted if site in self._sites)

    async def _perform(self, job: Job, action: Action, *, site: str, now: datetime) -> str | None:
        async with self._gate:
            try:
                if action is Action.START:
                    attempt = await self._jobs.decide_attempt(job.id, site=site, at=now)
                    if attempt:
                        await self._submit(job, attempt, now)
                elif action is Action.RESEND and job.live_attempt:
                    await self._submit(job, job.live_attempt, now)
                elif job.live_attempt:
                    await self._stop(job, job.live_attempt, StopReason(action.value), now)
            except GridFlexError as error:
                log.warning("%s of job %s failed, will be tried again: %s", action, job.id, error)
                return str(error)
        return None

    async def _submit(self, job: Job, attempt: Attempt, now: datetime) -> None:
        cluster = self._cluster(attempt.site)
        request = attempt_request(job, attempt, checkpoint_root=self._checkpoint_root)
        try:
            for uri in job.request.package_uris:
                await self._packages.supply(cluster, uri)
            await cluster.submit(attempt.ray_id, request)
        except ContractError as error:
            await self._jobs.attempt_ended(
                job.id,
                attempt.number,
                outcome=Outcome.FAILED,
                at=now,
                driver={"message": str(error)},
            )
            return
        await self._jobs.attempt_submitted(job.id, attempt.number, at=now)

    async def _stop(self, job: Job, attempt: Attempt, reason: StopReason, now: datetime) -> None:
        await self._jobs.attempt_stopping(job.id, attempt.number, reason=reason, at=now)
        await self._cluster(attempt.site).stop(attempt.ray_id)

    async def _meter(
        self, jobs: Sequence[Job], now: datetime, *, unreachable: Mapping[str, str]
    ) -> None:
        """Meter what is seen; the runs of an unreachable site wait until it answers again."""
        since = {
            site: self._metered_until.get(site, now - LOOK_BACK)
            for site in self._sites
            if site not in unreachable
        }
        ended = await self._jobs.ended_since(min(since.values(), default=now))
        await self._jobs.add_energy(
            [
                row
                for job in (*jobs, *ended)
                for attempt in job.attempts
                if (first := since.get(attempt.site))
                if attempt.ended_at is None or attempt.ended_at >= first
                for row in self._energy_rows(job, attempt, since=first, now=now)
            ]
        )
        self._metered_until |= dict.fromkeys(since, now - HALF_HOUR)

    def _energy_rows(
        self, job: Job, attempt: Attempt, *, since: datetime, now: datetime
    ) -> list[dict[str, Any]]:
        site, cpus = self._sites[attempt.site], job.request.entrypoint_cpus
        power_kw = dynamic_power_kw(job.flexibility, site, cpus=cpus)
        return [
            {
                "job_id": str(job.id),
                "attempt": attempt.number,
                "start": part.half_hour.start,
                "running_s": part.running.total_seconds(),
                "energy_kwh": part.energy_kwh,
                "method": power_source(job.flexibility),
            }
            for part in metered(attempt, power_kw=power_kw, since=since, until=now)
        ]
