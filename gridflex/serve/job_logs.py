"""The logs of a flexible job: those of all its attempts, one after the other.

While the job waits, a line of GridFlex's own says why and until when. It is not kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final, Protocol

from fastapi import WebSocket, WebSocketDisconnect

from gridflex.agents.clusters import cluster_at
from gridflex.errors import GridFlexError, SourceError
from gridflex.jobs import JobId
from gridflex.lifecycle import Attempt, AttemptState, Job

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
"""Wall time between two looks at a job that waits; Ray's own tail looks as often."""


WAITING_POLLS: Final = 3
"""How much rarer one looks at a job that runs nowhere."""


Notice = Callable[[Job], Awaitable[str]]
"""Says in a line why a job waits; says nothing of one that does not."""


class LogSource(Protocol):
    """One cluster's logs; see `gridflex.adapters.clusters.ray_jobs.RayJobs`."""

    async def logs(self, ray_id: str) -> str | None:
        """Return all that a job printed, or None if the cluster does not know it."""
        ...

    def tail(self, ray_id: str) -> AsyncGenerator[str]:
        """Yield what a job prints, from its first line, until it ends."""
        ...


class JobSource(Protocol):
    """Where jobs are kept; see `gridflex.adapters.jobs.store.JobStore`."""

    async def get(self, job_id: JobId) -> Job | None:
        """Return one job, or None if it is unknown."""
        ...


async def all_logs(job: Job, clusters: Mapping[str, LogSource], *, notice: Notice) -> str:
    """Return what all attempts of ``job`` have printed so far, and why it waits if it does.

    Raises:
        SourceError: A site does not answer.
    """
    parts = [
        await cluster_at(attempt.site, clusters).logs(attempt.ray_id)
        for attempt in job.attempts
        if attempt.has_its_id
    ]
    return "".join(part for part in (*parts, await notice(job)) if part)


async def follow(
    job_id: JobId,
    *,
    jobs: JobSource,
    clusters: Mapping[str, LogSource],
    notice: Notice,
    poll_s: float = POLL_S,
) -> AsyncGenerator[str]:
    """Yield what a job prints, through holds and pauses, until it has ended or is deleted.

    A site or database that fails for a while is asked again; nothing is yielded twice. While
    the job waits, what ``notice`` says is yielded, and again whenever it has changed.
    """
    follower = _Follower(clusters, notice)
    while True:
        try:
            job = await jobs.get(job_id)
            if job is None:
                return
            async with aclosing(follower.news_of(job)) as news:
                async for piece in news:
                    yield piece
            if follower.is_over(job):
                return
        except SourceError as error:
            log.warning("looking after job %s failed, will be tried again: %s", job_id, error)
            await asyncio.sleep(poll_s)
            continue
        await asyncio.sleep(poll_s if job.live_attempt else poll_s * WAITING_POLLS)


async def send_all(websocket: WebSocket, lines: AsyncGenerator[str]) -> None:
    """Send every line, until there are no more or the client has gone."""
    sending = asyncio.create_task(_send(websocket, lines))
    leaving = asyncio.create_task(_left(websocket))
    done, pending = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if sending in done:
        failure = sending.exception()
        if isinstance(failure, WebSocketDisconnect):
            return
        if isinstance(failure, GridFlexError):
            await websocket.close(code=1011, reason=str(failure)[:120])
        elif failure is not None:
            raise failure
        else:
            await websocket.close(code=1000)


async def _send(websocket: WebSocket, lines: AsyncGenerator[str]) -> None:
    async with aclosing(lines):
        async for piece in lines:
            await websocket.send_text(piece)


async def _left(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


class _Follower:
    """How far one reader has followed one job."""

    def __init__(self, clusters: Mapping[str, LogSource], notice: Notice) -> None:
        self._clusters = clusters
        self._notice = notice
        self._attempts = 0
        self._position = _Position()
        self._told = ""

    async def news_of(self, job: Job) -> AsyncGenerator[str]:
        for attempt in job.attempts[self._attempts :]:
            async with aclosing(self._position.rest_of(attempt, self._clusters)) as lines:
                async for piece in lines:
                    yield piece
            if not self._position.is_at_end:
                return
            self._attempts, self._position = self._attempts + 1, _Position()
        why = await self._notice(job)
        is_new, self._told = why != self._told, why
        if why and is_new:
            yield why

    def is_over(self, job: Job) -> bool:
        return job.state.is_final and self._attempts == len(job.attempts)


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
        if not attempt.has_its_id:
            self.is_at_end = True
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
