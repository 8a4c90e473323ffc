"""The logs of a flexible job: those of all its attempts, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final, Protocol

from gridflex.agents.clusters import cluster_at
from gridflex.errors import SourceError
from gridflex.jobs import JobId
from gridflex.lifecycle import Attempt, AttemptState, Job

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
"""Wall time between two looks at a job that waits; Ray's own tail looks as often."""


WAITING_POLLS: Final = 3
"""How much rarer one looks at a job that runs nowhere."""


class LogSource(Protocol):
    """One cluster's logs; see `gridflex.adapters.ray_jobs.RayJobs`."""

    async def logs(self, ray_id: str) -> str | None:
        """Return all that a job printed, or None if the cluster does not know it."""
        ...

    def tail(self, ray_id: str) -> AsyncGenerator[str]:
        """Yield what a job prints, from its first line, until it ends."""
        ...


class JobSource(Protocol):
    """Where jobs are kept; see `gridflex.adapters.job_store.JobStore`."""

    async def get(self, job_id: JobId) -> Job | None:
        """Return one job, or None if it is unknown."""
        ...


async def all_logs(job: Job, clusters: Mapping[str, LogSource]) -> str:
    """Return what all attempts of ``job`` have printed so far.

    Raises:
        SourceError: A site does not answer.
    """
    parts = [
        await cluster_at(attempt.site, clusters).logs(attempt.ray_id) for attempt in job.attempts
    ]
    return "".join(part for part in parts if part)


async def follow(
    job_id: JobId,
    *,
    jobs: JobSource,
    clusters: Mapping[str, LogSource],
    poll_s: float = POLL_S,
) -> AsyncGenerator[str]:
    """Yield what a job prints, through holds and pauses, until it has ended or is deleted.

    A site or database that fails for a while is asked again; nothing is yielded twice.
    """
    followed = 0
    position = _Position()
    while True:
        try:
            job = await jobs.get(job_id)
        except SourceError as error:
            log.warning("looking after job %s failed, will be tried again: %s", job_id, error)
            await asyncio.sleep(poll_s)
            continue
        if job is None:
            return
        for attempt in job.attempts[followed:]:
            async with aclosing(position.rest_of(attempt, clusters)) as lines:
                async for piece in lines:
                    yield piece
            if not position.is_at_end:
                break
            followed, position = followed + 1, _Position()
        if job.state.is_final and followed == len(job.attempts):
            return
        await asyncio.sleep(poll_s if job.live_attempt else poll_s * WAITING_POLLS)


class _Position:
    """How far the log of one attempt has been yielded."""

    def __init__(self) -> None:
        self.is_at_end = False
        self._characters = 0

    async def rest_of(
        self, attempt: Attempt, clusters: Mapping[str, LogSource]
    ) -> AsyncGenerator[str]:
        """Yield what was not yielded yet; Ray's tail begins with the first line every time."""
        if attempt.state is AttemptState.DECIDED:
            return
        to_skip = self._characters
        try:
            async for piece in cluster_at(attempt.site, clusters).tail(attempt.ray_id):
                new = piece[to_skip:]
                to_skip = max(0, to_skip - len(piece))
                if new:
                    self._characters += len(new)
                    yield new
            self.is_at_end = True
        except SourceError as error:
            log.info("logs of %s stopped for now: %s", attempt.ray_id, error)
            self.is_at_end = not attempt.is_live
