"""What jobs did to the import of half-hours, beside having run at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

from gridflex.adapters.jobs.store import JobStore
from gridflex.counterfactual import RunNow
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import Job
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.volumes import Rounding

LOOK_BACK: Final = timedelta(days=2)
"""How long before a half-hour a job may have ended and still count in the queue before it."""

NO_TEAM: Final = "-"


class Reductions:
    """Compares what jobs used with what they would have used.

    Args:
        jobs: Jobs and their readings.
        run_now: What they would have done, had each run at once.
    """

    def __init__(self, jobs: JobStore, run_now: RunNow) -> None:
        self._jobs = jobs
        self._run_now = run_now

    async def of(
        self, half_hours: Collection[HalfHour], *, place: str | None
    ) -> list[Contribution]:
        """Return what each job used less in each half-hour; negative if it used more.

        Args:
            half_hours: In which.
            place: Only jobs of this site; None for all.

        Raises:
            SourceError: The database cannot be reached.
        """
        if not half_hours:
            return []
        ended = await self._jobs.ended_since(min(half_hours).start - LOOK_BACK)
        jobs = [*ended, *await self._jobs.open_jobs()]
        at_once = self._run_now.energy(jobs)
        here = [one for one in jobs if place in {None, self._run_now.site(one).name}]
        used = await self._used(here)
        volume = Rounding().volume_of_kwh
        return [
            Contribution(at, str(job.id), job.flexibility.team or NO_TEAM, None, mwh)
            for job in here
            for at in sorted(half_hours)
            if (mwh := volume(at_once[job.id].get(at, 0.0) - used[job.id].get(at, 0.0)))
        ]

    async def _used(self, jobs: Sequence[Job]) -> dict[JobId, dict[HalfHour, float]]:
        used: dict[JobId, dict[HalfHour, float]] = {job.id: {} for job in jobs}
        for row in await self._jobs.energy([str(job.id) for job in jobs]):
            of_job, half_hour = used[JobId(row.job_id)], HalfHour.containing(row.start)
            of_job[half_hour] = of_job.get(half_hour, 0.0) + row.energy_kwh
        return used
