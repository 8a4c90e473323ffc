"""The grid agent has its forecaster trained on its own cluster, and serves what comes of it."""

import asyncio
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gridflex.adapters import database
from gridflex.adapters.clusters.ray_auth import (
    MODE_VARIABLE,
    TOKEN_VARIABLE,
    find_token,
    token_headers,
)
from gridflex.adapters.forecasting.model_store import ModelStore
from gridflex.adapters.grid.store import GridStore
from gridflex.forecasting.archive import INPUTS
from gridflex.forecasting.lineage import TrainedModel
from gridflex.halfhour import HalfHour
from gridflex.running import launch, processes
from gridflex.settings import Settings
from gridflex.settings_files import dump_settings, load_settings
from gridflex.signals import Kind, Origin, Series, Signal

START = HalfHour(datetime(2024, 6, 3, tzinfo=UTC))
"""No bank holiday follows: an ordinary day that is taken for one would be forecast as one."""

DAYS = 64
END = START + DAYS * 48
SPEED = 360.0
"""A half-hour takes 5 s: the agent forecasts soon after it has a champion."""

WITHIN_S = 120.0


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A site that does not answer, nobody to poll, and a training that is due."""
    with ExitStack() as stack:
        state = Path(tempfile.mkdtemp(prefix="gridflex-retrain-"))
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        variables = {
            MODE_VARIABLE: "token", TOKEN_VARIABLE: secrets.token_hex(16),
            "RAY_TMPDIR": str(state),
        }  # fmt: skip
        stack.enter_context(processes.environment(variables))
        nowhere = f"http://127.0.0.1:{processes.free_port()}"
        made = load_settings(
            flags={
                "state_dir": str(state),
                "models_url": f"file://{state}/elsewhere",
                "sites": [{"name": "far", "ray_url": nowhere, "gpus": 8}],
                "grid": {
                    f"{name}_url": nowhere for name in ("carbon_intensity", "elexon", "octopus")
                },
                "clock": {
                    "origin": END.start.isoformat(),
                    "origin_wall": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "speed": SPEED,
                },
                "forecast": {
                    "rank": "first",
                    "retrain_every": "P9D",
                    "retrain": ["carbon"],
                    "retrain_models": ["lightgbm"],
                    "retrain_samples": 2,
                    "retrain_days": 5,
                    "retrain_stretches": 1,
                },
            }
        )
        stack.callback(database.stop_embedded, made)
        yield made


def outturns() -> Series:
    """Cleaner at weekends, with noise: the mean of a month is wrong, last week only noisy."""
    half_hour = np.arange(DAYS * 48)
    weekend = half_hour // 48 % 7 >= 5
    noise = 20 * np.random.default_rng(0).standard_normal(half_hour.size)
    values = 250 + 40 * np.sin(half_hour * np.pi / 24) - 80 * weekend + noise
    return Series(
        signal=Signal.INTENSITY, kind=Kind.OUTTURN, source=INPUTS[Signal.INTENSITY].source,
        origin=Origin.SIMULATED, region="GB", start=START, values=values, issued_at=END.start,
        available_at=END.start,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cluster:
    """The one on which the grid agent runs, which is no site's.

    Args:
        url: Of its Job API.
        gcs_address: Of itself.
    """

    url: str
    gcs_address: str

    def start_grid(self, settings: Settings) -> None:
        """Start the agent, from a process that has this cluster's token."""
        start = (
            "import sys, ray; from gridflex.agents.actors import start_grid; "
            "from gridflex.agents.roles import NAMESPACE; "
            "from gridflex.settings_files import parse_settings; "
            "ray.init(sys.argv[1], namespace=NAMESPACE, log_to_driver=False); "
            "ray.get(start_grid(parse_settings(sys.stdin.read())).ping.remote())"
        )
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", start, self.gcs_address],
            input=dump_settings(settings), text=True, timeout=90, check=True,
        )  # fmt: skip

    def jobs(self) -> list[dict[str, Any]]:
        """Return what was submitted to it."""
        answer = httpx.get(f"{self.url}/api/jobs/", headers=token_headers(find_token()), timeout=30)
        return [job for job in answer.json() if job["type"] == "SUBMISSION"]


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Cluster]:
    """A Ray with one GPU."""
    found = f"http://127.0.0.1:{processes.free_port()}"
    local = settings.model_copy(
        update={"sites": (settings.sites[0].model_copy(update={"ray_url": found}),)}
    )
    with ExitStack() as stack:
        gcs_port = processes.free_port()
        pid = launch.start_ray(local, gcs_port=gcs_port, num_cpus=4, num_gpus=1)
        stack.callback(processes.end, pid)
        yield Cluster(found, f"127.0.0.1:{gcs_port}")


async def test_a_champion_that_tune_found_on_the_agents_own_cluster_forecasts(
    settings: Settings, cluster: Cluster
) -> None:
    url = await asyncio.to_thread(database.ensure_database, settings)
    engine = database.connect(url)
    store, models = GridStore(engine), ModelStore(engine, url=settings.model_url)
    await store.save_series([outturns()])
    await asyncio.to_thread(cluster.start_grid, settings)

    champion = await _champion(models, cluster)
    ours = await _forecast(store, end=time.monotonic() + WITHIN_S)
    await engine.dispose()

    training = champion.training
    assert training.model == "lightgbm"
    assert set(training.settings) == {"trees", "every"}
    assert champion.artefact.url.startswith(f"file://{settings.state_path}/elsewhere/")
    assert ours.source == "gridflex/lightgbm"
    assert ours.quantiles is not None
    (job,) = cluster.jobs()
    assert job["submission_id"].startswith("gridflex-train-carbon-")
    assert job["metadata"] == {}
    assert job["runtime_env"]["env_vars"]["CUDA_VISIBLE_DEVICES"] == ""


async def _champion(models: ModelStore, cluster: Cluster) -> TrainedModel:
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        found = await models.champions(Signal.INTENSITY)
        if found:
            return found[0]
        ended = [job for job in cluster.jobs() if job["status"] in {"FAILED", "SUCCEEDED"}]
        assert not ended or await models.champions(Signal.INTENSITY), ended
        await asyncio.sleep(1)
    raise AssertionError(f"no champion after {WITHIN_S:.0f} s: {cluster.jobs()}")


async def _forecast(store: GridStore, *, end: float) -> Series:
    while time.monotonic() < end:
        known = await store.series_known_at(
            Signal.INTENSITY, region="GB", now=(END + 1_000_000).start
        )
        if known:
            return known[0]
        await asyncio.sleep(1)
    raise AssertionError("the champion does not forecast")
