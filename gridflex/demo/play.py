"""Playing the demo's day: submitting its jobs in time and waiting until all have ended."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import requests
import stamina

from gridflex.agents.ports import Ports
from gridflex.demo.jobs import DemoJob
from gridflex.demo.system import DemoSystem
from gridflex.errors import ContractError, SourceError, StaleDataError
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import Job
from gridflex.signals import Blend

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

log = logging.getLogger(__name__)

TRAINING: Final = Path(__file__).parents[2] / "examples" / "plain"
TALKATIVE: Final = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")
"""Loggers of Ray's client that tell of every upload."""

LOOK_EVERY_S: Final = 0.5
RETRY_FOR_S: Final = 60.0
GRACE: Final = 8 * HALF_HOUR
"""How long after the day jobs may still run before the demo gives up on them."""


class View(Protocol):
    """Shows how the day goes."""

    def show(self, now: datetime, jobs: Sequence[Job], grid: tuple[Blend, Blend] | None) -> None:
        """Show the jobs, and price and intensity of the running half-hour if known."""
        ...


async def play(
    ports: Ports,
    system: DemoSystem,
    plan: Sequence[DemoJob],
    *,
    start: HalfHour,
    half_hours: int,
    view: View,
) -> list[JobId]:
    """Submit every job in its time, wait until all have ended, and return their ids.

    Args:
        ports: Database and clock.
        system: Where to submit.
        plan: The jobs.
        start: First half-hour of the day.
        half_hours: Length of the day.
        view: Shows how it goes.
    """
    from ray.job_submission import (  # noqa: PLC0415 - reads the environment when imported
        JobSubmissionClient,
    )

    half_hour_s = HALF_HOUR.total_seconds() / ports.clock.speed
    client = await asyncio.to_thread(JobSubmissionClient, system.url)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)

    async def submit(job: DemoJob) -> JobId:
        due = start.start + job.arrives * HALF_HOUR
        await ports.clock.sleep((due - ports.clock.now()).total_seconds())
        return await asyncio.to_thread(submit_job, client, job, half_hour_s=half_hour_s)

    async with asyncio.TaskGroup() as group:
        submissions = [group.create_task(submit(job)) for job in plan]
        group.create_task(_follow(ports, plan, until=(start + half_hours).start, view=view))
    return [submission.result() for submission in submissions]


def submit_job(client: JobSubmissionClient, job: DemoJob, *, half_hour_s: float) -> JobId:
    """Submit one job with Ray's own client and return the id it got.

    A lost connection and a 503 are tried again: the id is the demo's own, so a second submission
    of the same job is not a second job.

    Args:
        client: Of the gateway.
        job: What to submit.
        half_hour_s: Wall seconds of one half-hour.

    Raises:
        ContractError: The training example is not where a checkout has it.
    """
    if job.is_training and not TRAINING.is_dir():
        raise ContractError(f"{TRAINING}: not found; the demo runs from a checkout")
    for attempt in stamina.retry_context(on=_is_away, timeout=RETRY_FOR_S):
        with attempt:
            submitted = client.submit_job(
                entrypoint=job.entrypoint(sys.executable, half_hour_s=half_hour_s),
                submission_id=job.id,
                runtime_env={"working_dir": str(TRAINING)} if job.is_training else {},
                metadata=dict(job.metadata()),
                entrypoint_num_gpus=job.gpus,
            )
    return JobId(submitted)


def _is_away(error: Exception) -> bool:
    """Whether the gateway or its database is away: Ray's client tells a status only in words."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("Request failed with status code 503:")
    return isinstance(error, requests.ConnectionError)


async def _follow(ports: Ports, plan: Sequence[DemoJob], *, until: datetime, view: View) -> None:
    grid, shown = None, None
    while True:
        now, is_done = ports.clock.now(), False
        half_hour = HalfHour.containing(now)
        try:
            jobs = await ports.jobs.newest()
            if half_hour != shown:
                grid, shown = await _grid(ports, now), half_hour
            view.show(now, jobs, grid)
            is_done = len(jobs) == len(plan) and all(job.state.is_final for job in jobs)
        except SourceError as error:
            log.warning("the demo cannot see how things stand: %s", error)
        if now >= until and (is_done or now >= until + GRACE):
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def _grid(ports: Ports, now: datetime) -> tuple[Blend, Blend] | None:
    try:
        return await ports.grid.outlook(now, start=HalfHour.containing(now), half_hours=1)
    except StaleDataError:
        return None
