"""One whole system from ``serve_config.yaml``: real Ray, Serve with HAProxy, PostgreSQL, HTTP."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gridflex.adapters import database
from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE, TOKEN_VARIABLE
from gridflex.running import launch, processes
from gridflex.running.up import with_sandbox
from gridflex.settings import Settings
from gridflex.settings_files import load_settings, write_settings
from tests.nvml import BINDINGS, STATE_VARIABLE, FakeGpus

ROOT = Path(__file__).parents[2]
SPEED = 360.0
"""A half-hour takes 5 s."""
NOON = datetime(2026, 1, 6, 12, tzinfo=UTC)
"""When the clock begins: on the simulated grid the next 13 hours are the week's dearest."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A system that runs.

    Args:
        url: Where it answers.
        ray_pid: Leader of the session of its Ray head.
        gcs_address: Where its cluster is.
        settings: Its settings.
        gpus: What its GPUs' driver would say; there are none.
    """

    url: str
    ray_pid: int
    gcs_address: str
    settings: Settings
    gpus: FakeGpus


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """What ``serve run serve_config.yaml`` deploys, on free ports and an accelerated clock."""
    with ExitStack() as stack:
        state = Path(tempfile.mkdtemp(prefix="gridflex-ray-"))
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        variables = {
            MODE_VARIABLE: "token",
            TOKEN_VARIABLE: secrets.token_hex(16),
            "RAY_TMPDIR": str(state),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(BINDINGS), os.getenv("PYTHONPATH")))),
            STATE_VARIABLE: str(state / "gpus.json"),
            "NODE_STATS_UPDATE_INTERVAL_SECONDS": "1",  # who holds which GPU; by default 15
        }
        gpus = FakeGpus.make(state / "gpus.json", gpus=8)
        stack.enter_context(processes.environment(variables))
        settings = load_settings(flags=_flags(state))
        database.ensure_database(settings)
        stack.callback(database.stop_embedded, settings)
        settings, grid_pid = with_sandbox(settings)
        stack.callback(processes.end, grid_pid)
        gcs_port = processes.free_port()
        ray_pid = launch.start_ray(settings, gcs_port=gcs_port, num_cpus=8, num_gpus=8)
        stack.callback(processes.end, ray_pid)
        address = f"127.0.0.1:{gcs_port}"
        url = f"http://127.0.0.1:{settings.http.port}"
        command = [
            *(str(Path(sys.executable).with_name("serve")), "run", "--address", address),
            str(_config(settings)),
        ]
        log = state / "logs" / "serve.log"
        serve_pid = processes.start(
            command, log=log, ready_url=f"{url}/readyz", ready_s=launch.SERVE_READY_S
        )
        stack.callback(processes.end, serve_pid)
        yield Deployed(url, ray_pid, address, settings, gpus)


def _flags(state: Path) -> dict[str, Any]:
    return {
        "state_dir": str(state),
        "sites": [
            {
                "ray_url": f"http://127.0.0.1:{processes.free_port()}",
                "gpus": 8,
                "power_caps": [0.57],
                "intensity_cap_gco2_per_kwh": 1000,  # nothing is paused for it
            }
        ],
        "planner": {"waiting_gbp_per_gpu_hour": 5.0},
        "http": {"port": processes.free_port(), "auth": "token"},
        "clock": {"speed": SPEED, "origin": NOON, "origin_wall": datetime.now(UTC)},
    }


def _config(settings: Settings) -> Path:
    """Write the project's own file with other ports and the settings of the test."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"] = settings.http.port
    for application in config["applications"]:
        application["args"] = {"config": str(write_settings(settings))}
    path = settings.state_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
