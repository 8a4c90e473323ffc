"""What the clusters report, against what was intended: the first half of the workload agent's tick.

Each difference is recorded by itself, so that one job that cannot be noted holds up no other,
and each site is asked by itself, so that one that does not answer holds up no other either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gridflex.adapters.job_store import JobStore
from gridflex.adapters.ray_jobs import RayJob
from gridflex.agents.clusters import Cluster, cluster_at
from gridflex.errors import SourceError
from gridflex.lifecycle import Attempt, AttemptState, Job, Outcome

log = logging.getLogger(__name__)

OUTCOMES: Final = {
    "SUCCEEDED": Outcome.SUCCEEDED,
    "FAILED": Outcome.FAILED,
    "STOPPED": Outcome.STOPPED,
}

Live = tuple[Job, Attempt]


@dataclass(slots=True)
class Seen:
    """What one look at the clusters found.

    Args:
        changes: How many differences were recorded.
        unreachable: Why each unreachable site could not be asked.
        failures: Why each job that could not be noted could not, by job.
    """

    changes: int = 0
    unreachable: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Watch:
    """Reconciles intent and clusters.

    Args:
        jobs: Where jobs are kept.
        clusters: Job API of each site, by site name.
        clock: GridFlex time, to stamp what is seen.
        gridflex_time: Turns a cluster's wall time into GridFlex time.
        settle: How long a request to a cluster may still take effect.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        clusters: Mapping[str, Cluster],
        clock: Callable[[], datetime],
        gridflex_time: Callable[[datetime], datetime],
        settle: timedelta,
    ) -> None:
        self._jobs = jobs
        self._clusters = clusters
        self._clock = clock
        self._gridflex_time = gridflex_time
        self._settle = settle

    async def reconcile(self, jobs: Sequence[Job]) -> Seen:
        """Record what became of the live attempts of ``jobs``."""
        live = [(job, job.live_attempt) for job in jobs if job.live_attempt]
        sites = sorted({attempt.site for _, attempt in live})
        seen = Seen()
        await asyncio.gather(
            *(
                self._look(site, [pair for pair in live if pair[1].site == site], seen)
                for site in sites
            )
        )
        return seen

    async def _look(self, site: str, live: Sequence[Live], seen: Seen) -> None:
        try:
            cluster = cluster_at(site, self._clusters)
            reported = {job.ray_id: job for job in await cluster.list()}
            for _, attempt in live:
                if attempt.ray_id not in reported and self._should_be_there(attempt):
                    found = await cluster.get(attempt.ray_id)
                    if found is None:
                        log.warning("site %s no longer knows attempt %s", site, attempt.ray_id)
                    else:
                        reported[attempt.ray_id] = found
        except SourceError as error:
            seen.unreachable[site] = str(error)
            return
        for job, attempt in live:
            try:
                seen.changes += await self._note(job, attempt, reported.get(attempt.ray_id))
            except Exception as error:
                log.exception("attempt %s cannot be noted, will be tried again", attempt.ray_id)
                seen.failures[str(job.id)] = f"{type(error).__name__}: {error}"

    async def _note(self, job: Job, attempt: Attempt, reported: RayJob | None) -> int:
        """Record what is new and return how many changes that was."""
        now = self._clock()
        if reported is None:
            return await self._note_missing(job, attempt, now)
        changes = 0
        if attempt.state is AttemptState.DECIDED:
            await self._jobs.attempt_submitted(job.id, attempt.number, at=now)
            changes += 1
        if reported.status == "RUNNING" and attempt.started_at is None:
            await self._jobs.attempt_started(job.id, attempt.number, at=now, driver=reported.driver)
            changes += 1
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
            changes += 1
        return changes

    async def _note_missing(self, job: Job, attempt: Attempt, now: datetime) -> int:
        if not self._should_be_there(attempt):
            return 0
        await self._jobs.attempt_ended(
            job.id,
            attempt.number,
            outcome=Outcome.LOST,
            at=now,
            driver={"message": f"site {attempt.site} lost it; it will run again"},
        )
        return 1

    def _should_be_there(self, attempt: Attempt) -> bool:
        return attempt.state is not AttemptState.DECIDED

    def _wall(self, moment: datetime | None) -> datetime | None:
        return self._gridflex_time(moment) if moment else None
