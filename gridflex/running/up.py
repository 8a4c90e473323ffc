"""``gridflex up`` and ``gridflex down``."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from gridflex.adapters import database
from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE, is_token_wanted
from gridflex.client import DEFAULT_URL, URL_VARIABLE
from gridflex.errors import ContractError
from gridflex.running import launch, processes
from gridflex.running.apart import kept_apart
from gridflex.running.launch import RunState
from gridflex.running.processes import Leader
from gridflex.sandbox.grid.paths import ELEXON_PATH, NORD_POOL_PATH, OCTOPUS_PATH
from gridflex.settings import Settings

GCS_PORT: Final = 6379
ADDRESS_VARIABLE: Final = "RAY_API_SERVER_ADDRESS"
"""Where Ray's own commands find the Job API."""
Say = Callable[[object], None]


def bring_up(settings: Settings, *, sandbox: bool, say: Say) -> RunState:
    """Start what does not run yet and return what runs.

    Ray is used where ``RAY_ADDRESS`` names a cluster or the first site answers; else a head
    is started on this machine.

    Args:
        settings: What is configured.
        sandbox: Whether to serve grid data on this machine, recorded where some is found for the
            present time, else simulated; it says which. Without, the providers are asked.
        say: Told what is being done.

    Raises:
        SourceError: Something did not start; what had been started is ended again.
    """
    os.environ.setdefault(MODE_VARIABLE, "token")
    with one_at_a_time(settings, say):
        return _bring_up(settings, sandbox=sandbox, say=say)


def _bring_up(home: Settings, *, sandbox: bool, say: Say) -> RunState:
    from gridflex.planning.warm_up import warm_up  # noqa: PLC0415 - loads the compiled planner

    settings = _apart(home, say) if sandbox else home
    running = launch.load_run(home)
    if running and processes.answers(f"{running.url}/healthz"):
        say(f"GridFlex already runs at {running.url}")
        return running
    if running:
        _end(home, running)
    ray_address = _running_ray(settings)
    if not ray_address:
        launch.refuse_taken_port(settings)
    with ExitStack() as undo:
        say("planner ...")
        warm_up()
        say(f"database{' of its own' if home.database_url and sandbox else ''} ...")
        if not database.runs_embedded(settings):
            undo.callback(database.stop_embedded, settings)
        database.ensure_database(settings)
        grid_pid = None
        if sandbox:
            say("grid data server ...")
            settings, grid_pid = with_sandbox(settings)
            undo.callback(processes.end, grid_pid)
            say(f"grid data: {launch.grid_origin(settings)}")
        gcs_address, ray_pid = (ray_address, None) if ray_address else _own_ray(settings, say)
        if ray_pid:
            undo.callback(processes.end, ray_pid)
        undo.callback(launch.disconnect)  # first: who is connected to a Ray that ends, ends with it
        say("Serve and agents ...")
        url = launch.start_serve(settings, gcs_address=gcs_address)
        undo.pop_all()
    run = RunState(
        gcs_address,
        url,
        state_dir=str(settings.state_path),
        ray=_leader(ray_pid),
        grid=_leader(grid_pid),
    )
    launch.save_run(home, run)
    say(f"GridFlex answers at {url}; its API is described at {url}/docs")
    for name, why in launch.degraded(url, settings).items():
        say(f"degraded: {name}: {why}")
    say(_how_to_submit(url))
    return run


def bring_down(settings: Settings, *, say: Say) -> RunState | None:
    """End what `bring_up` started and return what that was, or None.

    Agents that ``serve run`` left on a cluster of this machine are ended too, if they are ours.

    Raises:
        SourceError: Another GridFlex runs on that cluster.
    """
    if not settings.state_path.exists():
        return _bring_down(settings, say=say)
    with one_at_a_time(settings, say):
        return _bring_down(settings, say=say)


def _bring_down(settings: Settings, *, say: Say) -> RunState | None:
    run = launch.load_run(settings)
    if run is None:
        if processes.answers(f"{settings.sites[0].ray_url}/api/version"):
            say("ending the applications and agents (up to half a minute) ...")
            launch.stop_serve("auto", settings)
            say("ended the applications and agents on the Ray cluster of this machine")
        else:
            say("nothing to end: GridFlex was not started from this state folder")
        database.stop_embedded(settings)
        return None
    _end(settings, run)
    goes_on = "" if run.ray else "; Ray, which was there before, goes on"
    say(f"ended GridFlex{goes_on}")
    return run


def _apart(home: Settings, say: Say) -> Settings:
    settings = kept_apart(home)
    if home.market.subscriber_id and not settings.market.subscriber_id:
        say(f"Beckn: off in a sandbox, since {home.market.registry_url} is not of this machine")
    return settings


@contextmanager
def one_at_a_time(settings: Settings, say: Say) -> Iterator[None]:
    """Wait until nobody else starts or ends GridFlex in this state folder, and keep others out.

    Two at once would end what the other had started.

    Raises:
        ContractError: Nothing can be written to the state folder.
    """
    try:
        settings.state_path.mkdir(parents=True, exist_ok=True)
        lock = (settings.state_path / "up.lock").open("w")
    except OSError as error:
        raise ContractError(
            f"state_dir: {settings.state_path} cannot be used ({error.strerror}); valid is a "
            "folder that can be written to"
        ) from error
    with lock as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another command starts or ends GridFlex in this state folder: waiting for it ...")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _end(settings: Settings, run: RunState) -> None:
    used = _used(settings, run)
    if run.ray:
        run.ray.end()
    else:
        launch.stop_serve(run.gcs_address, used)
    if run.grid:
        run.grid.end()
    database.stop_embedded(used)
    launch.forget_run(settings)


def _used(settings: Settings, run: RunState) -> Settings:
    try:
        return launch.in_force(settings)
    except (OSError, ValueError):  # gone, or of another version
        return settings.model_copy(update={"state_dir": Path(run.state_dir)})


def _leader(pid: int | None) -> Leader | None:
    return Leader.of(pid) if pid else None


def _running_ray(settings: Settings) -> str | None:
    answers = processes.answers(f"{settings.sites[0].ray_url}/api/version")
    return os.environ.get("RAY_ADDRESS") or ("auto" if answers else None)


def _own_ray(settings: Settings, say: Say) -> tuple[str, int]:
    say("Ray ...")
    port = GCS_PORT if processes.is_free(GCS_PORT) else processes.free_port()
    return f"127.0.0.1:{port}", launch.start_ray(settings, gcs_port=port)


def with_sandbox(settings: Settings) -> tuple[Settings, int]:
    """Start the grid sandbox and return settings that name it, and its process."""
    pid, base = launch.start_grid_sandbox(settings)
    urls = {
        "carbon_intensity_url": base,
        "elexon_url": base + ELEXON_PATH,
        "octopus_url": base + OCTOPUS_PATH,
        "nord_pool_url": settings.grid.nord_pool_url and base + NORD_POOL_PATH,
    }
    return settings.model_copy(update={"grid": settings.grid.model_copy(update=urls)}), pid


def _how_to_submit(url: str) -> str:
    export = f"export {MODE_VARIABLE}=token  # so that Ray's clients send their token\n"
    ours = "" if url == DEFAULT_URL else f"export {URL_VARIABLE}={url}  # for gridflex' commands\n"
    return (
        "Submit a job with Ray's own client:\n"
        f"{export if is_token_wanted() else ''}"
        f"export {ADDRESS_VARIABLE}={url}\n"
        f"{ours}"
        "ray job submit "
        """--metadata-json '{"gridflex.io/tier": "T2", "gridflex.io/duration": "PT1H"}' """
        "--working-dir examples/plain -- python train.py"
    )
