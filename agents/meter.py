"""Metering: the last part of the workload agent's tick."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gridflex.adapters.job_store import JobStore
from gridflex.fleet import Site, power_source, shaped_power_kw
from gridflex.halfhour import HALF_HOUR
from gridflex.lifecycle import Attempt, Job
from gridflex.metering import metered

LOOK_BACK: Final = timedelta(days=31)
"""How far back a new agent looks for runs that its predecessor did not meter."""


class Meter:
    """Appends the energy of every attempt, half-hour by half-hour.

    Args:
        jobs: Where jobs and their energy are kept.
        sites: The sites, by name.
    """

    def __init__(self, *, jobs: JobStore, sites: Mapping[str, Site]) -> None:
        self._jobs = jobs
        self._sites = sites
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
        await self._jobs.add_energy(
            [
                row
                for job in (*jobs, *ended)
                if job.id not in unclear
                for attempt in job.attempts
                if (first := since.get(attempt.site))
                if attempt.ended_at is None or attempt.ended_at >= first
                for row in self._rows(job, attempt, since=first, now=now)
            ]
        )
        waiting = {job.live_attempt.site for job in jobs if job.live_attempt and job.id in unclear}
        self._metered_until |= dict.fromkeys(since.keys() - waiting, now - HALF_HOUR)

    async def _metered_before(self, now: datetime) -> dict[str, datetime]:
        """Return until when an earlier agent has metered each site, all its runs together."""
        newest = await self._jobs.newest_metered(since=now - LOOK_BACK)
        return {site: start - HALF_HOUR for site, start in newest.items()}

    def _rows(
        self, job: Job, attempt: Attempt, *, since: datetime, now: datetime
    ) -> Iterator[dict[str, Any]]:
        site, cpus = self._sites[attempt.site], job.request.entrypoint_cpus
        power_kw = shaped_power_kw(job.flexibility, site, job.shape_of(attempt), cpus=cpus)
        for part in metered(attempt, power_kw=power_kw, since=since, until=now):
            yield {
                "job_id": str(job.id),
                "attempt": attempt.number,
                "start": part.half_hour.start,
                "running_s": part.running.total_seconds(),
                "energy_kwh": part.energy_kwh,
                "method": power_source(job.flexibility),
            }
