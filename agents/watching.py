"""What the clusters report, against what was intended: the first half of the workload agent's tick.

Each difference is recorded by itself, so that one job that cannot be noted holds up no other,
and each site is asked by itself, so that one that does not answer holds up no other either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from gridflex.adapters.clusters.ray_jobs import INFRASTRUCTURE, RayJob
from gridflex.adapters.jobs.store import JobStore
from gridflex.agents.clusters import Cluster, cluster_at
from gridflex.dispatch import ATTEMPT_OF, attempt_metadata
from gridflex.errors import SourceError
from gridflex.lifecycle import Attempt, AttemptState, Job, Outcome
from gridflex.together import together

log = logging.getLogger(__name__)

OUTCOMES: Final = {
    "SUCCEEDED": Outcome.SUCCEEDED,
    "FAILED": Outcome.FAILED,
    "STOPPED": Outcome.STOPPED,
}

MOST_RETRIES: Final = 5
"""How often in a row a run that fails because of its cluster is tried again."""

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
        self._looked_at: dict[str, datetime] = {}

    async def reconcile(self, jobs: Sequence[Job]) -> Seen:
        """Record what became of the live attempts of ``jobs``.

        Sites without any are looked at from time to time, for runs that nobody waits for.
        """
        live = [(job, job.live_attempt) for job in jobs if job.live_attempt]
        sites = {attempt.site for _, attempt in live} | self._due()
        seen = Seen()
        await together(
            self._look(site, [pair for pair in live if pair[1].site == site], seen)
            for site in sites
        )
        return seen

    def _due(self) -> set[str]:
        now = self._clock()
        return {
            site
            for site in self._clusters
            if site not in self._looked_at or now - self._looked_at[site] >= self._settle
        }

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
        self._looked_at[site] = self._clock()
        known = {attempt.ray_id for _, attempt in live}
        await self._stop_strays(cluster, site, [j for i, j in reported.items() if i not in known])
        for job, attempt in live:
            try:
                seen.changes += await self._note(job, attempt, _its_own(job, attempt, reported))
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
        if reported.status in OUTCOMES:
            await self._note_end(job, attempt, reported, now)
            changes += 1
        return changes

    async def _note_end(self, job: Job, attempt: Attempt, reported: RayJob, now: datetime) -> None:
        outcome, driver = OUTCOMES[reported.status], dict(reported.driver)
        if outcome is Outcome.FAILED and driver["error_type"] in INFRASTRUCTURE:
            tries = _failed_in_a_row(job) + 1
            if tries <= MOST_RETRIES:
                outcome = Outcome.LOST
                said = f"site {attempt.site} could not run it, it will run again"
            else:
                said = f"site {attempt.site} could not run it, {tries} times in a row"
            driver["message"] = f"{said}: {driver['message']}"
        await self._jobs.attempt_ended(
            job.id,
            attempt.number,
            outcome=outcome,
            at=self._wall(reported.ended_wall) or now,
            driver=driver,
            started_at=self._start_of(attempt, reported),
        )

    def _start_of(self, attempt: Attempt, reported: RayJob) -> datetime | None:
        """Return when a run that was never seen running started; at most seconds if in a queue."""
        was_queued = attempt.state is AttemptState.STOPPING
        return self._wall(reported.started_wall) if reported.has_run and not was_queued else None

    async def _stop_strays(self, cluster: Cluster, site: str, reported: Iterable[RayJob]) -> None:
        """Stop what runs although its attempt has ended: a request that arrived after all."""
        named = {
            job.ray_id: job
            for job in reported
            if job.status not in OUTCOMES and ATTEMPT_OF in (job.details.get("metadata") or {})
        }
        for job in await self._jobs.with_attempts(list(named)):
            for attempt in job.attempts:
                found = named.get(attempt.ray_id)
                if found and not attempt.is_live and is_run_of(job, found):
                    log.warning("%s still runs at %s: it is stopped", attempt.ray_id, site)
                    try:
                        await cluster.stop(attempt.ray_id)
                    except SourceError as error:
                        log.warning("stopping %s failed: %s", attempt.ray_id, error)

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
        """Return whether a cluster that does not know the attempt has lost it.

        One that was asked to stop before it was ever seen may be a request still on its way.
        """
        if attempt.state is AttemptState.STOPPING and attempt.started_at is None:
            asked_at = attempt.stop_asked_at or attempt.decided_at
            return self._clock() - asked_at >= self._settle
        return attempt.state is not AttemptState.DECIDED

    def _wall(self, moment: datetime | None) -> datetime | None:
        return self._gridflex_time(moment) if moment else None


def _its_own(job: Job, attempt: Attempt, reported: Mapping[str, RayJob]) -> RayJob | None:
    """Return what is reported of an attempt, and not of another job that took its id before."""
    found = reported.get(attempt.ray_id)
    if found is None or attempt.started_at is not None:
        return found
    return found if is_run_of(job, found) else None


def is_run_of(job: Job, found: RayJob) -> bool:
    """Return whether what a cluster has under the id of an attempt was submitted for the job."""
    return found.runs_for(job.request.entrypoint, attempt_metadata(job))


def _failed_in_a_row(job: Job) -> int:
    """Return how many attempts before the live one failed because of their cluster."""
    past = [attempt.driver or {} for attempt in job.attempts if not attempt.is_live]
    return sum(
        1 for _ in takewhile(lambda said: said.get("error_type") in INFRASTRUCTURE, reversed(past))
    )
