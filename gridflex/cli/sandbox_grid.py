"""``gridflex sandbox grid`` and ``errors``: a grid to try things on, and how true it is."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Final

import typer
import uvicorn
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from gridflex.adapters.clock import Clock
from gridflex.cli.options import AsJson
from gridflex.cli.output import out, print_json, say, styled
from gridflex.cli.shared_data import SHARED_VARIABLE, grid_folder
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.app import create_grid_server
from gridflex.sandbox.grid.calibration import PUBLISHED, calibrate
from gridflex.sandbox.grid.paths import ELEXON_PATH, NORD_POOL_PATH, OCTOPUS_PATH
from gridflex.sandbox.grid.recorded import TABLE, read_world
from gridflex.sandbox.grid.simulated import simulate_world
from gridflex.sandbox.grid.vintages import VERSION, carbon_errors
from gridflex.sandbox.grid.world import World
from gridflex.settings import ClockSettings
from gridflex.settings_files import load_settings
from gridflex.signals import Origin

DEFAULT_PORT: Final = 8090
KEEP_ALIVE_S: Final = 60
"""Longer than a client on an accelerated clock waits between polls, so that it finds its
connection open."""


def sandbox_grid(
    *,
    data: Annotated[
        Path | None,
        typer.Option(help=f"Folder with {TABLE}; else ${SHARED_VARIABLE}/data/grid if it has it."),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Simulate, even where recorded data is found.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the forecast errors and the simulated grid.")
    ] = 0,
    origin: Annotated[
        str | None, typer.Option(help="GridFlex time at --origin-wall, RFC 3339; else wall time.")
    ] = None,
    origin_wall: Annotated[
        str | None, typer.Option(help="Wall time at which the replay began, RFC 3339; else now.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Seconds of GridFlex time per second of wall time.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any.")] = DEFAULT_PORT,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file with the clock.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve what the grid data providers would say at the clock's time, over HTTP.

    The clock is that of the settings (``clock`` in gridflex.yaml, GRIDFLEX_CLOCK__*) unless the
    options say otherwise, so that it agrees with a GridFlex that has the same settings.
    """
    clock = _clock(config, origin=origin, origin_wall=origin_wall, speed=speed)
    world, found = _world(data, clock.now(), seed=seed, is_simulated=simulated)
    listener = _listener(host, port)
    base = f"http://{host}:{listener.getsockname()[1]}"
    served = {
        "origin": world.origin.value,
        "found": found,
        "from": str(world.start),
        "to": str(world.end),
        "now": clock.now().isoformat(),
        "speed": clock.speed,
        "seed": seed,
        "carbon_intensity_url": base,
        "elexon_url": base + ELEXON_PATH,
        "octopus_url": base + OCTOPUS_PATH,
        "nord_pool_url": base + NORD_POOL_PATH,
    }
    if as_json:
        typer.echo(json.dumps(served))
    else:
        say(_announcement(served))
    app = create_grid_server(world, clock, seed=seed)
    server = uvicorn.Config(
        app,
        log_level="warning",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    uvicorn.Server(server).run(sockets=[listener])


def sandbox_errors(
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many years of forecasts to draw.")] = 12,
    as_json: AsJson = False,
) -> None:
    """Measure the sandbox's synthetic carbon forecasts against what is published of real ones.

    One year of forecasts for each seed, a vintage every four and a half hours.
    """
    year = HalfHour(datetime(2024, 1, 1, tzinfo=UTC))
    steps = track(range(seeds), "years", console=Console(stderr=True), disable=as_json)
    years = [
        calibrate(carbon_errors(seed), start=year, days=366, every=9).figures() for seed in steps
    ]
    rows = {
        name: {
            "published": published,
            "mean": mean(year[name] for year in years),
            "lowest": min(year[name] for year in years),
            "highest": max(year[name] for year in years),
        }
        for name, published in PUBLISHED.items()
    }
    if as_json:
        print_json({"seeds": seeds, "version": VERSION, "figures": rows})
        return
    table = Table("figure", *rows["mean"], title=f"absolute errors over {seeds} simulated years")
    for name, row in rows.items():
        table.add_row(name, *(f"{value:.3f}" for value in row.values()))
    out.print(table)


def _clock(config: Path | None, **given: str | float | None) -> Clock:
    flags = {name: value for name, value in given.items() if value is not None}
    if "origin" in flags and "origin_wall" not in flags:
        flags["origin_wall"] = Clock(ClockSettings()).now().isoformat()
    return Clock(load_settings(config, flags={"clock": flags} if flags else None).clock)


def _world(data: Path | None, now: datetime, *, seed: int, is_simulated: bool) -> tuple[World, str]:
    """The world to serve, and why it is that one."""
    if is_simulated and data:
        raise ContractError("--data and --simulated exclude each other")
    if data:
        world = read_world(data)
        if not _holds(world, now):
            raise ContractError(
                f"{data} covers {world.start} to {world.end} and the clock says "
                f"{now:%Y-%m-%dT%H:%MZ}; set --origin to an instant in between, or --simulated"
            )
        return world, f"recorded series in {data}"
    folder = grid_folder()
    if not is_simulated and (folder / TABLE).exists():
        world = read_world(folder)
        if _holds(world, now):
            return world, f"recorded series in {folder}"
        why = f"recorded series in {folder} end before or begin after {now:%Y-%m-%dT%H:%MZ}"
    else:
        why = "asked for" if is_simulated else f"no --data, and no {folder / TABLE}"
    return simulate_world(now, seed=seed), why


def _holds(world: World, now: datetime) -> bool:
    return world.start.start <= now < world.end.start


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise SourceError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _announcement(served: dict[str, Any]) -> Text:
    is_recorded = served["origin"] == Origin.RECORDED.value
    rests_on = f"no value was ever measured: {served['found']}"
    if is_recorded:
        rests_on = (
            f"{served['from']} to {served['to']}: {served['found']}\n"
            "forecasts and regional values are simulated on top of it (docs/grid.md)"
        )
    return styled(
        ("recorded" if is_recorded else "simulated", "bold"),
        f" grid, {rests_on}\n"
        f"it is {served['now'][:16]}Z, {served['speed']:g} times as fast as the wall; "
        f"seed {served['seed']}\n"
        f"GRIDFLEX_GRID__CARBON_INTENSITY_URL={served['carbon_intensity_url']}\n"
        f"GRIDFLEX_GRID__ELEXON_URL={served['elexon_url']}\n"
        f"GRIDFLEX_GRID__OCTOPUS_URL={served['octopus_url']}\n"
        f"GRIDFLEX_GRID__NORD_POOL_URL={served['nord_pool_url']}",
    )
