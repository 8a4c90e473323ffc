"""``gridflex up`` and ``gridflex down``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from gridflex import launch
from gridflex.adapters import database
from gridflex.adapters.ray_auth import MODE_VARIABLE, is_token_wanted
from gridflex.launch import RunState
from gridflex.settings import Settings

GCS_PORT: Final = 6379
Say = Callable[[object], None]


def bring_up(settings: Settings, *, say: Say) -> RunState:
    """Start what does not run yet and return what runs.

    Ray is used where ``RAY_ADDRESS`` names a cluster or the first site answers; else a head
    is started on this machine.

    Raises:
        SourceError: Something did not start; what had been started is ended again.
    """
    os.environ.setdefault(MODE_VARIABLE, "token")
    running = launch.load_run(settings)
    if running and launch.answers(f"{running.url}/healthz"):
        say(f"GridFlex already runs at {running.url}")
        return running
    say("database ...")
    database.ensure_database(settings)
    gcs_address, ray_pid = _ray(settings, say)
    say("Serve and agents ...")
    try:
        url = launch.start_serve(settings, gcs_address=gcs_address)
    except BaseException:
        if ray_pid:
            launch.end_session(ray_pid)
        raise
    run = RunState(ray_pid=ray_pid, gcs_address=gcs_address, url=url)
    launch.save_run(settings, run)
    say(f"GridFlex answers at {url}; API documentation at {url}/docs")
    say(_how_to_submit(url))
    return run


def bring_down(settings: Settings, *, say: Say) -> None:
    """End what `bring_up` started."""
    run = launch.load_run(settings)
    if run is None:
        say("nothing to end: GridFlex was not started from this state folder")
    elif run.ray_pid:
        launch.end_session(run.ray_pid)
        say("ended Serve, the agents and Ray")
    else:
        launch.stop_serve(run.gcs_address)
        say("ended Serve and the agents; Ray goes on")
    database.stop_embedded(settings)
    launch.forget_run(settings)


def _ray(settings: Settings, say: Say) -> tuple[str, int | None]:
    named = os.environ.get("RAY_ADDRESS")
    if named:
        return named, None
    if launch.answers(f"{settings.sites[0].ray_url}/api/version"):
        host = urlsplit(settings.sites[0].ray_url).hostname or "127.0.0.1"
        return f"{host}:{GCS_PORT}", None
    say("Ray ...")
    return f"127.0.0.1:{GCS_PORT}", launch.start_ray(settings, gcs_port=GCS_PORT)


def _how_to_submit(url: str) -> str:
    export = f"export {MODE_VARIABLE}=token  # so that Ray's clients send their token\n"
    return (
        "Submit a job with Ray's own client:\n"
        f"{export if is_token_wanted() else ''}"
        f"ray job submit --address {url} "
        """--metadata-json '{"gridflex.io/tier": "T2", "gridflex.io/duration": "PT1H"}' """
        "--working-dir examples/plain -- python train.py"
    )
