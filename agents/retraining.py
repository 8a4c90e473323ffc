"""Trains forecasters again now and then, as a Ray job on the cluster on which the agents run.

The job is the command that a person would type, with this machine's paths. Agents live on the head
node, where Ray starts a job's command as well, so both have the same. It names no flexibility, asks
for no GPU, and ends up in no plan: to GridFlex it is one of the jobs that pass it by. One that ends
without a model is named. Its name follows from the time at which it was due, so that an agent that
starts anew asks for the same job, and the cluster refuses it twice.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from gridflex.adapters.clusters.ray_jobs import RayJob
from gridflex.errors import GridFlexError, SourceError
from gridflex.forecasting.lineage import TrainedModel
from gridflex.lifecycle import JobRequest
from gridflex.settings import ForecastSettings
from gridflex.settings_files import CONFIG_VARIABLE
from gridflex.signals import Signal

log = logging.getLogger(__name__)

TARGETS: Final = {"carbon": Signal.INTENSITY, "price": Signal.PRICE}
"""What the command line calls a signal."""

GRIDFLEX: Final = str(Path(sys.executable).with_name("gridflex"))
"""The command beside the interpreter of this process: a job may have another search path."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Models(Protocol):
    """Where trained forecasters are kept."""

    async def all(self, target: str | None = None) -> Sequence[TrainedModel]:
        """Return those of one target, the newest first."""
        ...


class Cluster(Protocol):
    """Where a training runs."""

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        """Submit a job; one that is there already stays as it is."""
        ...

    async def get(self, ray_id: str) -> RayJob | None:
        """Return one job, or None if the cluster does not know it."""
        ...


class Retraining:
    """Submits a training for every target that was not trained for too long.

    Args:
        models: Says when a target was trained last.
        cluster: Where trainings run.
        settings: How often, and what.
        config: Writes the settings where the job can read them, and returns the path.
    """

    def __init__(
        self,
        *,
        models: Models,
        cluster: Cluster,
        settings: ForecastSettings,
        config: Callable[[], str],
    ) -> None:
        self._models = models
        self._cluster = cluster
        self._settings = settings
        self._config = config
        self._asked: dict[str, str] = {}

    async def tick(self, now: datetime) -> Mapping[str, str]:
        """Submit what is due, and return what cannot be had, with the reason.

        That is a training that could not be submitted, or one that ended and left no newer model.

        Args:
            now: GridFlex time.

        Raises:
            SourceError: The database cannot be reached; a cluster never raises.
        """
        failed: dict[str, str] = {}
        every = self._settings.retrain_every
        if every is None:
            return failed
        for target in self._settings.retrain:
            ray_id = f"gridflex-train-{target}-{_due_at(now, every):%Y%m%dT%H%M}"
            if not await self._is_due(target, now, every):
                continue
            try:
                await self._require(target, ray_id)
            except GridFlexError as error:
                log.warning("training of %s: %s", target, error)
                failed[f"training of {target}"] = str(error)
        return failed

    async def _require(self, target: str, ray_id: str) -> None:
        """Submit a training once; later raise if it cannot bring a model any more."""
        if self._asked.get(target) != ray_id:
            await self._cluster.submit(ray_id, self._request(target))
            log.info("training of %s is submitted as %s", target, ray_id)
            self._asked[target] = ray_id
            return
        job = await self._cluster.get(ray_id)
        if job is None:
            raise SourceError(f"{ray_id} is not known to its cluster any more")
        if job.ended_wall is not None:
            why = job.driver["message"] or "no reason given"
            raise SourceError(f"{ray_id} has ended without a model ({job.status}: {why})")

    async def _is_due(self, target: str, now: datetime, every: timedelta) -> bool:
        known = await self._models.all(TARGETS[target])
        return not known or now - known[0].training.trained_at >= every

    def _request(self, target: str) -> JobRequest:
        wanted = self._settings
        options = {
            "--target": target,
            "--samples": str(wanted.retrain_samples),
            "--days": str(wanted.retrain_days),
            "--stretches": str(wanted.retrain_stretches),
            **({"--models": ",".join(wanted.retrain_models)} if wanted.retrain_models else {}),
        }
        told = [word for option in options.items() for word in option]
        without = [] if wanted.retrain_gpu else ["--no-gpu"]
        hidden = {} if wanted.retrain_gpu else {"CUDA_VISIBLE_DEVICES": ""}
        return JobRequest(
            shlex.join([GRIDFLEX, "train", "forecaster", *told, *without, "--json"]),
            runtime_env={"env_vars": {CONFIG_VARIABLE: self._config(), **hidden}},
        )


def _due_at(now: datetime, every: timedelta) -> datetime:
    """Return the last of the instants, ``every`` apart since 2000, that is over."""
    return _EPOCH + (now - _EPOCH) // every * every
