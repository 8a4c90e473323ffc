"""Starting and ending a whole GridFlex on one machine: database, Ray, Serve and agents.

What was started is written to ``run.json`` in the state folder, so that ``gridflex down`` ends
that and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from gridflex.adapters.clusters.ray_auth import (
    MODE_VARIABLE,
    WHERE,
    find_token,
    is_token_wanted,
    token_headers,
)
from gridflex.adapters.http import ORIGIN_HEADER
from gridflex.agents.roles import NAMESPACE
from gridflex.errors import ContractError, SourceError
from gridflex.faults import faults_text
from gridflex.running import processes
from gridflex.running.processes import Leader
from gridflex.sandbox.grid.paths import CONTROL_PATH
from gridflex.settings import Settings
from gridflex.settings_files import SETTINGS_FILE, parse_settings, write_settings

HA_PROXY_VARIABLE: Final = "RAY_SERVE_ENABLE_HA_PROXY"
GRIDFLEX: Final = str(Path(sys.executable).with_name("gridflex"))
RAY: Final = str(Path(sys.executable).with_name("ray"))
ORCHESTRATION: Final = "orchestration"
BECKN: Final = "beckn"
"""Names of the applications, here and in ``serve_config.yaml``."""

RAY_READY_S: Final = 90.0
SERVE_READY_S: Final = 120.0
SETTLE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class RunState:
    """What ``gridflex up`` started.

    Args:
        gcs_address: Where this Ray cluster is.
        url: Where GridFlex answers.
        state_dir: Folder of its data; a sandbox has one of its own.
        ray: Process that holds the local Ray head; None where Ray was already there.
        grid: Process of the grid sandbox; None where the providers are asked.
    """

    gcs_address: str
    url: str
    state_dir: str
    ray: Leader | None
    grid: Leader | None


def start_ray(
    settings: Settings, *, gcs_port: int, num_cpus: int | None = None, num_gpus: int | None = None
) -> int:
    """Start a Ray head of one's own and return the process that holds it.

    Its dashboard is where the first site's ``ray_url`` says.

    Args:
        settings: Where state and the first site are.
        gcs_port: Port of the cluster itself.
        num_cpus: CPUs it has; None counts them.
        num_gpus: GPUs it has; None counts them.

    Raises:
        SourceError: It did not answer in time, or a port is taken.
    """
    dashboard = urlsplit(settings.sites[0].ray_url)
    for port in (gcs_port, dashboard.port or 8265):
        if not processes.is_free(port):
            raise SourceError(f"port {port} is taken: another Ray cluster may run on this machine")
    _ensure_token()
    command = [
        *(RAY, "start", "--head", "--block"),
        *("--node-ip-address", "127.0.0.1", "--port", str(gcs_port)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard.port or 8265)),
        *("--ray-client-server-port", str(processes.free_port())),
        *("--dashboard-agent-listen-port", str(processes.free_port())),
        *("--min-worker-port", "0", "--max-worker-port", "0"),
        *("--disable-usage-stats", "--include-log-monitor", "false"),
        *(["--num-cpus", str(num_cpus)] if num_cpus is not None else []),
        *(["--num-gpus", str(num_gpus)] if num_gpus is not None else []),
    ]
    ours = {
        HA_PROXY_VARIABLE: "1",
        "RAY_JOB_START_TIMEOUT_SECONDS": "86400",  # a queue is no failure; by default 15 minutes is
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(processes.free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(processes.free_port()),
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_worker_niceness": "0",  # with Ray's own 15 the gateway waits behind the database
    }
    return processes.start(
        command,
        log=settings.state_path / "logs" / "ray.log",
        ready_url=f"{settings.sites[0].ray_url.rstrip('/')}/api/version",
        ready_s=RAY_READY_S,
        added={name: value for name, value in ours.items() if name not in os.environ},
    )


def refuse_taken_port(settings: Settings) -> None:
    """Refuse to start a Serve of one's own where somebody else answers.

    Raises:
        SourceError: ``http.port`` is taken.
    """
    if not processes.is_free(settings.http.port):
        raise SourceError(
            f"http.port {settings.http.port} is taken by another program; name a free one there "
            "or in GRIDFLEX_HTTP__PORT"
        )


def start_serve(settings: Settings, *, gcs_address: str) -> str:
    """Deploy both applications on a running cluster and return where they answer.

    Args:
        settings: All that is configured; a copy is kept in the state folder.
        gcs_address: The cluster.

    Raises:
        SourceError: They did not get ready in time, or another GridFlex is there.
    """
    from ray import serve  # noqa: PLC0415

    from gridflex.agents.actors import check_cluster_is_ours  # noqa: PLC0415
    from gridflex.serve.app import (  # noqa: PLC0415
        ApplicationArgs,
        build_beckn,
        build_orchestration,
    )

    config = write_settings(settings)
    os.environ.setdefault(HA_PROXY_VARIABLE, "1")
    _connect(gcs_address)
    check_cluster_is_ours(settings)
    serve.start(http_options={"host": settings.http.host, "port": settings.http.port})
    args = ApplicationArgs(config=config)
    try:
        serve.run(build_beckn(args), name=BECKN, route_prefix="/beckn")
        serve.run(build_orchestration(args), name=ORCHESTRATION, route_prefix="/")
    except RuntimeError as error:
        why = last_words(_messages()) or error
        _end_applications()
        raise SourceError(f"Ray Serve could not start GridFlex: {why}") from error
    url = f"http://{settings.http.host}:{settings.http.port}"
    ready = f"{url}/readyz"
    processes.wait_until_ready(ready, SERVE_READY_S, what=f"GridFlex at {ready}")
    return url


def save_run(settings: Settings, run: RunState) -> None:
    """Remember what was started."""
    (settings.state_path / "run.json").write_text(json.dumps(asdict(run)))


def load_run(settings: Settings) -> RunState | None:
    """Return what was started, or None if nothing was.

    Raises:
        ContractError: What was kept of it cannot be read.
    """
    path = settings.state_path / "run.json"
    if not path.exists():
        return None
    try:
        return TypeAdapter(RunState).validate_json(path.read_text())
    except ValidationError as error:
        raise ContractError(f"{path}: {faults_text(error, whole='this')}") from error


def in_force(settings: Settings) -> Settings:
    """Return the settings of the GridFlex that ``gridflex up`` started, else these."""
    run = load_run(settings)
    return parse_settings((Path(run.state_dir) / SETTINGS_FILE).read_text()) if run else settings


def forget_run(settings: Settings) -> None:
    """Forget what was started, after it has ended."""
    (settings.state_path / "run.json").unlink(missing_ok=True)


def stop_serve(gcs_address: str, settings: Settings) -> None:
    """End the applications and the agents of a cluster that goes on running.

    Raises:
        SourceError: They are those of another GridFlex.
    """
    from gridflex.agents.actors import check_cluster_is_ours, stop_agents  # noqa: PLC0415

    _connect(gcs_address)
    check_cluster_is_ours(settings)
    _end_applications()
    stop_agents()
    disconnect()


def _end_applications() -> None:
    """End both at once: Serve lets each finish what it answers, for half a minute."""
    from ray import serve  # noqa: PLC0415 - slow to import

    for application in (ORCHESTRATION, BECKN):
        serve.delete(application, _blocking=False)
    for application in (ORCHESTRATION, BECKN):
        serve.delete(application)


def last_words(messages: Iterable[str]) -> str:
    """Return the error that the replicas of an application ended in, "" if none is told.

    Args:
        messages: What Ray Serve says of its deployments, tracebacks included.
    """
    lines = [line.strip() for message in messages for line in message.splitlines()]
    return next((line for line in reversed(lines) if "Error: " in line), "")


def _messages() -> list[str]:
    from ray import serve  # noqa: PLC0415 - slow to import

    return [
        deployment.message
        for application in serve.status().applications.values()
        for deployment in application.deployments.values()
    ]


def disconnect() -> None:
    """Leave the cluster; a process that does not may be ended together with it."""
    import ray  # noqa: PLC0415 - slow to import

    ray.shutdown()


def start_grid_sandbox(settings: Settings) -> tuple[int, str]:
    """Start the grid data server on a free port and return its process and address.

    Args:
        settings: Its clock and the state folder.

    Raises:
        SourceError: It did not get ready.
    """
    base = f"http://127.0.0.1:{(port := processes.free_port())}"
    config = write_settings(settings)
    command = [GRIDFLEX, "sandbox", "grid", "--config", str(config), "--port", str(port)]
    log = settings.state_path / "logs" / "grid.log"
    return processes.start(command, log=log, ready_url=base + CONTROL_PATH), base


def grid_origin(settings: Settings) -> str:
    """Return what the numbers of the grid sandbox in these settings rest on."""
    url = settings.grid.carbon_intensity_url + CONTROL_PATH
    return httpx.get(url, timeout=10).headers[ORIGIN_HEADER]


def degraded(url: str, settings: Settings) -> dict[str, str]:
    """Return what a running GridFlex says of its impaired agents, by name.

    One that has just started may still be waiting for another, so it is asked for a while.
    """
    deadline = time.monotonic() + SETTLE_S
    while (found := _degraded(url, settings)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _degraded(url: str, settings: Settings) -> dict[str, str]:
    token = find_token(settings.http.token)
    answer = httpx.get(f"{url}/v1/agents", headers=token_headers(token), timeout=10)
    agents = answer.raise_for_status().json()["agents"]
    return {agent["name"]: agent["degraded"] for agent in agents if agent["degraded"]}


def _connect(gcs_address: str) -> None:
    import ray  # noqa: PLC0415 - slow to import
    from ray.exceptions import AuthenticationError  # noqa: PLC0415 - slow to import

    if ray.is_initialized():
        return
    if "://" in gcs_address:
        raise ContractError(
            f"RAY_ADDRESS: {gcs_address!r} is not valid; valid is auto or host:port of a head "
            "node, from a machine of its cluster"
        )
    try:
        ray.init(
            address=gcs_address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except ConnectionError as error:
        raise SourceError(f"Ray at {gcs_address}: {error}, or its token is not ours") from error
    except AuthenticationError as error:
        raise SourceError(
            f"Ray at {gcs_address} does not take our token, which is looked for in {WHERE}. Start "
            f"both with the same one ('ray get-auth-token --generate' makes it), or both with "
            f"{MODE_VARIABLE}=disabled"
        ) from error
    logging.getLogger("ray.serve").setLevel(logging.WARNING)


def _ensure_token() -> None:
    """Have Ray write its token where there is none yet; ``ray start`` wants to find one."""
    if is_token_wanted() and find_token() is None:
        subprocess.run(  # noqa: S603 - our own interpreter's ray
            [RAY, "get-auth-token", "--generate"], check=True, stdout=subprocess.DEVNULL
        )
