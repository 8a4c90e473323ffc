"""Metering: the last part of the workload agent's tick."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from gridflex.adapters.jobs.store import JobStore
from gridflex.capping import PowerLimit, limited_share
from gridflex.fleet import Site, power_source, shaped_power_kw
from gridflex.halfhour import HALF_HOUR
from gridflex.jobs import JobId, Shape
from gridflex.lifecycle import Attempt, Job
from gridflex.metering import metered

LOOK_BACK: Final = timedelta(days=31)
"""How far back a new agent looks for runs that its predecessor did not meter."""


class Limits(Protocol):
    """Power limits that were set; see `gridflex.agents.power.capping.Capping`."""

    @property
    def sites(self) -> Collection[str]:
        """The sites where GridFlex is to set them."""
        ...

    async def limits_of(self, runs: Collection[tuple[JobId, int]]) -> list[PowerLimit]:
        """Return all limits of some runs, each named by its job and number."""
        ...


class Meter:
    """Appends the energy of every attempt, half-hour by half-hour.

    Where GridFlex sets power limits, a run draws less only while one was in force; elsewhere a run
    is taken to keep the limit that it was told of.

    Args:
        jobs: Where jobs and their energy are kept.
        sites: The sites, by name.
        limits: Power limits that were set; None where nobody sets any.
    """

    def __init__(
        self, *, jobs: JobStore, sites: Mapping[str, Site], limits: Limits | None = None
    ) -> None:
        self._jobs = jobs
        self._sites = sites
        self._limits = limits
        self._metered_until: dict[str, datetime] | None = None

    async def read(
        self,
        jobs: Sequence[Job],
        now: datetime,
        *,
        unreachable: Collection[str],
        unclear: Collection[str] = (),
    ) -> None:
        """Meter what is seen; the runs of an unreachable site wait until it answers again.

        Args:
            jobs: The open ones.
            now: GridFlex time.
            unreachable: Sites whose attempts are not known as they are now.
            unclear: Jobs of which the same is true; what their sites did is read once more.
        """
        if self._metered_until is None:
            self._metered_until = await self._metered_before(now)
        since = {
            site: self._metered_until.get(site, now - LOOK_BACK)
            for site in self._sites
            if site not in unreachable
        }
        ended = [
            job
            for site, first in since.items()
            for job in await self._jobs.ended_since(first, site=site)
        ]
        runs = [
            (job, attempt)
            for job in (*jobs, *ended)
            if job.id not in unclear
            for attempt in job.attempts
            if (first := since.get(attempt.site))
            if attempt.ended_at is None or attempt.ended_at >= first
        ]
        limits = await self._limits_of(runs)
        await self._jobs.add_energy(
            [
                row
                for job, attempt in runs
                for row in self._rows(
                    job,
                    attempt,
                    since=since[attempt.site],
                    now=now,
                    limits=limits.get((job.id, attempt.number)),
                )
            ]
        )
        waiting = {job.live_attempt.site for job in jobs if job.live_attempt and job.id in unclear}
        self._metered_until |= dict.fromkeys(since.keys() - waiting, now - HALF_HOUR)

    async def _metered_before(self, now: datetime) -> dict[str, datetime]:
        """Return until when an earlier agent has metered each site, all its runs together."""
        newest = await self._jobs.newest_metered(since=now - LOOK_BACK)
        return {site: start - HALF_HOUR for site, start in newest.items()}

    async def _limits_of(
        self, runs: Sequence[tuple[Job, Attempt]]
    ) -> dict[tuple[JobId, int], list[PowerLimit]]:
        """Return the limits of each run whose limits GridFlex sets."""
        if self._limits is None:
            return {}
        found: dict[tuple[JobId, int], list[PowerLimit]] = {
            (job.id, attempt.number): []
            for job, attempt in runs
            if attempt.power_cap_fraction < 1 and attempt.site in self._limits.sites
        }
        for limit in await self._limits.limits_of(found.keys()):
            found[limit.job_id, limit.attempt].append(limit)
        return found

    def _rows(
        self,
        job: Job,
        attempt: Attempt,
        *,
        since: datetime,
        now: datetime,
        limits: Sequence[PowerLimit] | None,
    ) -> Iterator[dict[str, Any]]:
        site, cpus = self._sites[attempt.site], job.request.entrypoint_cpus
        shape = job.shape_of(attempt)
        limited_kw = shaped_power_kw(job.flexibility, site, shape, cpus=cpus)
        free_kw = shaped_power_kw(job.flexibility, site, Shape(shape.gpus), cpus=cpus)

        def mean_kw(begin: datetime, end: datetime) -> float:
            if limits is None:
                return limited_kw
            share = limited_share(limits, gpus=shape.gpus, begin=begin, end=end)
            return share * limited_kw + (1 - share) * free_kw

        for part in metered(attempt, mean_kw=mean_kw, since=since, until=now):
            yield {
                "job_id": str(job.id),
                "attempt": attempt.number,
                "start": part.half_hour.start,
                "running_s": part.running.total_seconds(),
                "energy_kwh": part.energy_kwh,
                "method": power_source(job.flexibility),
            }
