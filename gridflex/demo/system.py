"""A whole GridFlex of its own for the demo: database, Ray, grid server, Serve and agents.

It lives in a temporary folder, on free ports, on an accelerated clock, and is gone afterwards
however the demo ends.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

import yaml

from gridflex.adapters import database
from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE, TOKEN_VARIABLE
from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.errors import SourceError
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.lifecycle import JobRequest
from gridflex.planning.warm_up import warm_up
from gridflex.running import launch, processes
from gridflex.sandbox.grid.paths import ELEXON_PATH, OCTOPUS_PATH
from gridflex.settings import Settings
from gridflex.settings_files import parse_settings

LEAD_S: Final = 15.0
LEAD_PER_START: Final = 6.0
"""Wall time before the day begins, in which grid server, Serve and agents start: so many
seconds, and so many times what a job's start takes."""

TRIAL_JOBS: Final = 3
"""Jobs started together, after a first one, to see how long a start takes here."""

LEAST_HALF_HOUR_S: Final = 5.0
MOST_HALF_HOUR_S: Final = 15.0
START_SHARE: Final = 0.6
"""A job's start may take this share of a half-hour, so that it does not shift the result; the
planner reckons with all of it."""

TRIAL_POLL_S: Final = 0.1
LONGEST_PARENT: Final = 10
"""Characters; the name of a Unix socket has 107 at most, and Ray takes some 70 of them."""

ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The modelled cluster.

    Args:
        gpus: Logical GPUs of the Ray head; none of them exists.
        fillable: Of these, how many GridFlex may fill; the rest stays free for rigid jobs.
        cpus: Logical CPUs of the Ray head, which starts as many idle workers at once.
    """

    gpus: int = 96
    fillable: int = 80
    cpus: int = 2


@dataclass(frozen=True, slots=True)
class DemoSystem:
    """What runs.

    Args:
        settings: Its settings.
        url: Where GridFlex answers.
        gcs_address: Where its Ray cluster is.
        grid_origin: ``recorded`` or ``simulated``.
        cluster: The modelled cluster.
        start_s: Wall seconds that the start of a Ray job takes here.
    """

    settings: Settings
    url: str
    gcs_address: str
    grid_origin: str
    cluster: Cluster
    start_s: float

    @property
    def half_hour_s(self) -> float:
        """Wall seconds of one half-hour."""
        return HALF_HOUR.total_seconds() / self.settings.clock.speed


@contextmanager
def demo_system(
    start: HalfHour, *, half_hour_s: float | None, cluster: Cluster, say: Say
) -> Iterator[DemoSystem]:
    """Run a system while the block runs; nothing of it is left afterwards.

    Args:
        start: Half-hour that begins soon after all is ready.
        half_hour_s: Wall seconds of one half-hour; None takes as few as job starts allow here.
        cluster: What to model.
        say: Told what is being started.

    Raises:
        SourceError: Something did not start.
    """
    with ExitStack() as stack:
        stack.enter_context(_signals_as_interrupts())
        state = _state_folder()
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        stack.enter_context(processes.environment(_variables(state)))
        ports = _Ports.free()
        values = _values(state, ports, cluster)
        settings = _settings(values)
        say("planner")
        warm_up()
        say("database")
        stack.callback(database.stop_embedded, settings)
        database.ensure_database(settings)
        say("Ray")
        ray_pid = launch.start_ray(
            settings, gcs_port=ports.gcs, num_cpus=cluster.cpus, num_gpus=cluster.gpus
        )
        stack.callback(processes.end, ray_pid)
        say("a few trial jobs, to see how long Ray takes to start one here")
        start_s = asyncio.run(_start_s(settings))
        pace_s = half_hour_s or _pace_s(start_s)
        values |= _timing(start, half_hour_s=pace_s, lead_s=LEAD_S + LEAD_PER_START * start_s)
        say("grid data server")
        grid_pid, grid_url = launch.start_grid_sandbox(_settings(values))
        stack.callback(processes.end, grid_pid)
        settings = _settings(values | _grid(grid_url))
        say("Serve and agents")
        stack.callback(launch.disconnect)
        gcs_address = f"127.0.0.1:{ports.gcs}"
        url = launch.start_serve(settings, gcs_address=gcs_address)
        launch.disconnect()  # a connected driver prints what other processes say
        stack.enter_context(_signals_as_interrupts())  # connecting to Ray has replaced them
        yield DemoSystem(settings, url, gcs_address, launch.grid_origin(settings), cluster, start_s)


def _state_folder() -> Path:
    """Make a folder whose name is short enough for Ray's sockets in it."""
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= LONGEST_PARENT else "/tmp"  # noqa: S108 - made by mkdtemp
    return Path(tempfile.mkdtemp(prefix="gridflex-demo-", dir=parent))


@dataclass(frozen=True, slots=True)
class _Ports:
    gcs: int
    dashboard: int
    http: int

    @classmethod
    def free(cls) -> _Ports:
        return cls(*(processes.free_port() for _ in range(3)))


def _settings(values: Mapping[str, Any]) -> Settings:
    return parse_settings(yaml.safe_dump(dict(values)))


def _values(state: Path, ports: _Ports, cluster: Cluster) -> dict[str, Any]:
    return {
        "state_dir": str(state),
        "sites": [
            {
                "name": "local",
                "ray_url": f"http://127.0.0.1:{ports.dashboard}",
                "gpus": cluster.fillable,
                "gpu_type": "H100",
            }
        ],
        "http": {"port": ports.http, "auth": "token"},
    }


def _timing(start: HalfHour, *, half_hour_s: float, lead_s: float) -> dict[str, Any]:
    speed = HALF_HOUR.total_seconds() / half_hour_s
    begins = datetime.now(UTC) + timedelta(seconds=lead_s)
    return {
        "clock": {
            "speed": speed,
            "origin": start.start.isoformat(),
            "origin_wall": begins.isoformat(),
        },
        "planner": {
            "budget_s": half_hour_s / 10,
            "front_budget_s": 0.0,
            "horizon_half_hours": 48,
            "restart_s": START_SHARE * HALF_HOUR.total_seconds(),
        },
    }


def _pace_s(start_s: float) -> float:
    return min(max(start_s / START_SHARE, LEAST_HALF_HOUR_S), MOST_HALF_HOUR_S)


async def _start_s(settings: Settings) -> float:
    """Return the wall time from submission to the slowest of some first steps of jobs."""
    async with RayJobs.of_site(settings.sites[0]) as ray_jobs:
        await _trial(ray_jobs, TRIAL_JOBS)
        began = time.monotonic()
        await asyncio.gather(*(_trial(ray_jobs, number) for number in range(TRIAL_JOBS)))
        return time.monotonic() - began


async def _trial(ray_jobs: RayJobs, number: int) -> None:
    ray_id = f"trial-{number}"
    environment = {"env_vars": {"GRIDFLEX_TRIAL": str(number)}}
    await ray_jobs.submit(ray_id, JobRequest("sleep 1", runtime_env=environment))
    for _ in range(int(launch.RAY_READY_S / TRIAL_POLL_S)):
        job = await ray_jobs.get(ray_id)
        if job and job.status != "PENDING":
            return
        await asyncio.sleep(TRIAL_POLL_S)
    raise SourceError(f"Ray has not started a trial job in {launch.RAY_READY_S:g} s")


def _variables(state: Path) -> Mapping[str, str | None]:
    """Environment of everything that is started; None takes a variable away."""
    ours = {name: None for name in os.environ if _is_other_system(name)}
    return {
        **ours,
        "RAY_TMPDIR": str(state),
        MODE_VARIABLE: "token",
        TOKEN_VARIABLE: secrets.token_hex(32),
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }


def _is_other_system(name: str) -> bool:
    return name == "RAY_ADDRESS" or (name.startswith("GRIDFLEX_") and name != "GRIDFLEX_SHARED")


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let a request to end unwind the block, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, interrupt) for number in ENDING_SIGNALS}
    # A shell that starts a process in the background has Ctrl-C ignored.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _grid(base: str) -> dict[str, Any]:
    return {
        "grid": {
            "carbon_intensity_url": base,
            "elexon_url": base + ELEXON_PATH,
            "octopus_url": base + OCTOPUS_PATH,
            "poll_s": HALF_HOUR.total_seconds(),
        }
    }
