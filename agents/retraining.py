"""Trains forecasters again now and then, as a Ray job on the cluster that the agents run on.

The job is the command that a person would type. Its name follows from the time at which it was
due, so that an agent that starts anew asks for the same job, and the cluster refuses it twice.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from gridflex.errors import GridFlexError
from gridflex.forecasting.lineage import TrainedModel
from gridflex.lifecycle import JobRequest
from gridflex.settings import CONFIG_VARIABLE, ForecastSettings
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
        """Submit what is due, and return what could not be submitted, with the reason.

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
            if self._asked.get(target) == ray_id or not await self._is_due(target, now, every):
                continue
            try:
                await self._cluster.submit(ray_id, self._request(target))
            except GridFlexError as error:
                log.warning("training of %s was not submitted: %s", target, error)
                failed[f"training of {target}"] = str(error)
            else:
                log.info("training of %s is submitted as %s", target, ray_id)
                self._asked[target] = ray_id
        return failed

    async def _is_due(self, target: str, now: datetime, every: timedelta) -> bool:
        known = await self._models.all(TARGETS[target])
        return not known or now - known[0].training.trained_at >= every

    def _request(self, target: str) -> JobRequest:
        command = [GRIDFLEX, "train", "forecaster", "--target", target]
        samples = ["--samples", str(self._settings.retrain_samples), "--json"]
        return JobRequest(
            shlex.join([*command, *samples]),
            runtime_env={"env_vars": {CONFIG_VARIABLE: self._config()}},
        )


def _due_at(now: datetime, every: timedelta) -> datetime:
    """Return the last of the instants, ``every`` apart since 2000, that is over."""
    return _EPOCH + (now - _EPOCH) // every * every
