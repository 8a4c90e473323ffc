"""What earlier jobs say about the run time of one that arrives."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from gridflex.adapters.jobs.store import JobStore
from gridflex.forecasting.lineage import TrainedModel
from gridflex.forecasting.past_runs import RUN_TIMES, PastRun, run_times
from gridflex.forecasting.run_times import KEPT_RUNS, Kind, RunTimes, kinds_of
from gridflex.jobs import PREFIX, JobId
from gridflex.lifecycle import JobRequest
from gridflex.run_time import RunTime

RUNS_REMEMBERED: Final = 1_000
"""Of all jobs; those of the same command are looked up beyond them."""

LONGEST_GPU_COUNT: Final = 9
"""Digits; what is longer will be refused."""

KEPT_S: Final = 30.0
"""Wall time for which what all jobs teach is kept."""


class Models(Protocol):
    """Where trained forecasters are kept."""

    async def champions(self, target: str) -> Sequence[TrainedModel]:
        """Return the champions of one target that still count, the present one first."""
        ...


class LearnedRunTimes:
    """Learns run times from the jobs that have ended, as the champion's settings say.

    Args:
        jobs: Where jobs are kept.
        models: Where the champion is.
    """

    def __init__(self, jobs: JobStore, models: Models) -> None:
        self._jobs = jobs
        self._models = models
        self._settings: Mapping[str, Any] = {}
        self._past: dict[JobId, PastRun] = {}
        self._learned = RunTimes()
        self._read_at: float | None = None

    async def of(self, request: JobRequest) -> RunTime | None:
        """Return the run time of a job; None where it is declared or next to nothing ever ran."""
        if f"{PREFIX}duration" in request.metadata:
            return None
        return (await self._of_command(request.entrypoint)).of(kinds_of_request(request))

    async def _of_command(self, entrypoint: str) -> RunTimes:
        await self._refresh()
        same = await self._jobs.past_runs(most=KEPT_RUNS, entrypoint=entrypoint)
        more = {run.job_id: run for run in same if run.job_id not in self._past}
        if not more:
            return self._learned
        return await asyncio.to_thread(self._teach, (self._past | more).values())

    async def _refresh(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._read_at is None or now - self._read_at > KEPT_S:
            found = await self._jobs.past_runs(most=RUNS_REMEMBERED)
            self._past = {run.job_id: run for run in found}
            champions = await self._models.champions(RUN_TIMES)
            self._settings = champions[0].training.settings if champions else {}
            self._learned = await asyncio.to_thread(self._teach, found)
            self._read_at = now

    def _teach(self, past: Iterable[PastRun]) -> RunTimes:
        return run_times(past, **self._settings)


def kinds_of_request(request: JobRequest) -> tuple[Kind, ...]:
    """Return the kinds of a job whose metadata has yet to be checked."""
    said = request.metadata.get(f"{PREFIX}gpus", "").strip()
    is_number = said.isascii() and said.isdigit() and len(said) <= LONGEST_GPU_COUNT
    return kinds_of(
        entrypoint=request.entrypoint,
        team=request.metadata.get(f"{PREFIX}team", "").strip() or None,
        gpus=int(said) if is_number else math.ceil(request.entrypoint_gpus),
    )
