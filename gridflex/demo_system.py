"""A whole GridFlex of its own for the demo: database, Ray, grid server, Serve and agents.

It lives in a temporary folder, on free ports, on an accelerated clock, and is gone afterwards
however the demo ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

import httpx
import yaml

from gridflex import launch
from gridflex.adapters import database
from gridflex.adapters.http import ORIGIN_HEADER
from gridflex.adapters.ray_auth import MODE_VARIABLE, TOKEN_VARIABLE
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.sandbox.grid.app import CONTROL_PATH, ELEXON_PATH, OCTOPUS_PATH
from gridflex.settings import Settings, parse_settings

LEAD_S: Final = 25.0
"""Wall time in which grid server, Serve and agents start before the day begins."""

START_S: Final = 3.0
"""Wall time from deciding a start to the job's first work, on two busy cores."""

ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The modelled cluster.

    Args:
        gpus: Logical GPUs of the Ray head; none of them exists.
        fillable: Of these, how many GridFlex may fill; the rest stays free for rigid jobs.
        cpus: Logical CPUs of the Ray head.
    """

    gpus: int = 48
    fillable: int = 40
    cpus: int = 64


@dataclass(frozen=True, slots=True)
class DemoSystem:
    """What runs.

    Args:
        settings: Its settings.
        url: Where GridFlex answers.
        grid_origin: ``recorded`` or ``simulated``.
        cluster: The modelled cluster.
    """

    settings: Settings
    url: str
    grid_origin: str
    cluster: Cluster


@contextmanager
def demo_system(
    start: HalfHour, *, half_hour_s: float, cluster: Cluster, say: Say
) -> Iterator[DemoSystem]:
    """Run a system while the block runs; nothing of it is left afterwards.

    Args:
        start: Half-hour that begins `LEAD_S` after Ray has started.
        half_hour_s: Wall seconds of one half-hour.
        cluster: What to model.
        say: Told what is being started.

    Raises:
        SourceError: Something did not start.
    """
    with ExitStack() as stack:
        stack.enter_context(_signals_as_interrupts())
        state = Path(tempfile.mkdtemp(prefix="gridflex-demo-"))
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        stack.enter_context(_environment(_variables(state)))
        ports = _Ports.free()
        values = _values(state, ports, half_hour_s=half_hour_s, cluster=cluster)
        say("database")
        settings = parse_settings(yaml.safe_dump(values))
        stack.callback(database.stop_embedded, settings)
        database.ensure_database(settings)
        say("Ray")
        ray_pid = launch.start_ray(
            settings, gcs_port=ports.gcs, num_cpus=cluster.cpus, num_gpus=cluster.gpus
        )
        stack.callback(launch.end_session, ray_pid)
        values["clock"] = _clock(start, half_hour_s)
        settings = parse_settings(yaml.safe_dump(values))
        say("grid data server")
        grid_origin = stack.enter_context(_grid_server(settings, ports))
        say("Serve and agents")
        stack.callback(_leave_ray)
        url = launch.start_serve(settings, gcs_address=f"127.0.0.1:{ports.gcs}")
        yield DemoSystem(settings, url, grid_origin, cluster)


@dataclass(frozen=True, slots=True)
class _Ports:
    gcs: int
    dashboard: int
    grid: int
    http: int

    @classmethod
    def free(cls) -> _Ports:
        return cls(*(launch.free_port() for _ in range(4)))


def _values(state: Path, ports: _Ports, *, half_hour_s: float, cluster: Cluster) -> dict[str, Any]:
    speed = HALF_HOUR.total_seconds() / half_hour_s
    grid = f"http://127.0.0.1:{ports.grid}"
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
        "grid": {
            "carbon_intensity_url": grid,
            "elexon_url": grid + ELEXON_PATH,
            "octopus_url": grid + OCTOPUS_PATH,
            "poll_s": HALF_HOUR.total_seconds(),
        },
        "planner": {
            "budget_s": half_hour_s / 10,
            "horizon_half_hours": 48,
            "restart_s": START_S * speed,
        },
        "http": {"port": ports.http, "auth": "token"},
    }


def _clock(start: HalfHour, half_hour_s: float) -> dict[str, Any]:
    began = datetime.now(UTC) + timedelta(seconds=LEAD_S)
    return {
        "speed": HALF_HOUR.total_seconds() / half_hour_s,
        "origin": start.start.isoformat(),
        "origin_wall": began.isoformat(),
    }


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
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    before = dict(os.environ)
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let a request to end unwind the block, as Ctrl-C does."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _grid_server(settings: Settings, ports: _Ports) -> Iterator[str]:
    config = launch.write_settings(settings)
    base = f"http://127.0.0.1:{ports.grid}"
    program = str(Path(sys.executable).with_name("gridflex"))
    command = [program, "sandbox", "grid", "--config", str(config), "--port", str(ports.grid)]
    log = settings.state_path / "logs" / "grid.log"
    with launch.child(command, log=log, ready_url=base + CONTROL_PATH):
        yield httpx.get(base + CONTROL_PATH, timeout=10).headers[ORIGIN_HEADER]


def _leave_ray() -> None:
    import ray  # noqa: PLC0415 - slow to import

    ray.shutdown()
