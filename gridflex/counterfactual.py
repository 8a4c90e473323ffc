"""What jobs would have done, had each run at once; modelled from the sites and their GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from gridflex.fleet import Site, dynamic_power_kw, shaped_power_kw
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import Job
from gridflex.planning.plan import PlannedRun
from gridflex.report import QueuedJob, run_now_starts, spread


class RunNow:
    """First come, first served on the same GPUs, nothing paused.

    Args:
        sites: The sites, the default one first.
        restart: What a start takes before work goes on.
    """

    def __init__(self, sites: Sequence[Site], *, restart: timedelta) -> None:
        self._sites = {site.name: site for site in sites}
        self._default = sites[0]
        self._restart = restart

    def energy(self, jobs: Iterable[Job]) -> dict[JobId, dict[HalfHour, float]]:
        """Return kWh at the meter in each half-hour, per job."""
        known = list(jobs)
        starts = self._starts(known)
        return {
            job.id: spread(starts[job.id], run_time=self.unbroken(job), power_kw=self.power_kw(job))
            for job in known
        }

    def site(self, job: Job) -> Site:
        """Return where a job runs: where it ran first, else where it first may."""
        named = job.attempts[0].site if job.attempts else next(iter(job.flexibility.sites), "")
        return self._sites.get(named, self._default)

    def power_kw(self, job: Job) -> float:
        """Return the dynamic power of a job while it runs."""
        cpus = job.request.entrypoint_cpus
        return dynamic_power_kw(job.flexibility, self.site(job), cpus=cpus)

    def planned_kw(self, job: Job, run: PlannedRun) -> float:
        """Return the dynamic power of a job in a planned run: there, in the run's shape."""
        site, cpus = self._sites.get(run.site, self._default), job.request.entrypoint_cpus
        return shaped_power_kw(job.flexibility, site, run.shape, cpus=cpus)

    def unbroken(self, job: Job) -> timedelta:
        """Return how long one unbroken run takes: as it ran, without the starts in between.

        Runs on other GPUs or under a power limit count at their expected speed. For a job that
        has not ended it is what its owner, or its history, says.
        """
        if job.ended_at is None:
            return job.flexibility.duration
        starts = sum(1 for attempt in job.attempts if attempt.started_at)
        again = self._restart * max(starts - 1, 0)
        ran = (one.run_time(job.ended_at) * one.speed_fraction for one in job.attempts)
        return max(sum(ran, timedelta(0)) - again, timedelta(0))

    def _starts(self, jobs: Sequence[Job]) -> dict[JobId, datetime]:
        queue = [
            QueuedJob(
                job.id,
                job.submitted_at,
                self.unbroken(job),
                min(job.flexibility.gpus, self.site(job).gpus),
                self.site(job).name,
            )
            for job in jobs
        ]
        gpus = {name: site.gpus for name, site in self._sites.items()}
        return run_now_starts(queue, site_gpus=gpus)
