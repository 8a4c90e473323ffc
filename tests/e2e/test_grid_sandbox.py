"""The grid agent over real HTTP: a sandbox in its own process, the real adapters, PostgreSQL."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from gridflex.adapters.clock import Clock
from gridflex.adapters.forecasting.history import ForecastHistory
from gridflex.adapters.grid.feeds import GridFeeds, grid_feeds
from gridflex.adapters.grid.store import GridStore
from gridflex.agents.grid import Grid
from gridflex.cli import app as command_line
from gridflex.cli.past import archived_past
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.serve.grid_api import create_grid_router
from gridflex.settings import ClockSettings, GridSettings, Settings
from gridflex.settings_files import write_settings
from gridflex.signals import Origin, Rung, Signal
from tests.e2e.world import ONE_SERVER

ORIGIN = datetime(2026, 1, 15, 17, 10, tzinfo=UTC)
INTERRUPTED = 130
"""What a shell calls a program that was ended by Ctrl-C."""

RUN = "from gridflex.cli import main; main()"
SOURCES = {
    ("carbon-intensity/fw48h", "GB"),
    ("carbon-intensity/fw48h", "RG10"),
    ("octopus/agile-derived", "GB"),
    ("elexon/ndf", "GB"),
    ("elexon/windfor", "GB"),
}
OUTTURNS = {"carbon-intensity/actual", "elexon/mid", "elexon/system-price", "elexon/indo"}
OUTTURNS |= {"elexon/fuelhh-wind"}
OUTTURNS |= {
    f"carbon-intensity/generation/{fuel}"
    for fuel in ["biomass", "coal", "imports", "gas", "nuclear", "other", "hydro", "solar", "wind"]
}


@dataclass
class Sandbox:
    """A running ``gridflex sandbox grid``, and what it said of itself."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    @property
    def url(self) -> str:
        url: str = self.said["carbon_intensity_url"]
        return url

    @property
    def settings(self) -> GridSettings:
        return GridSettings(
            carbon_intensity_url=self.url,
            elexon_url=self.said["elexon_url"],
            octopus_url=self.said["octopus_url"],
            timeout_s=5.0,
        )

    def now(self) -> datetime:
        state = httpx.get(f"{self.url}/_sandbox").raise_for_status().json()
        return datetime.fromisoformat(state["now"])

    def order(self, fault: str) -> None:
        httpx.put(f"{self.url}/_sandbox/fault", json={"fault": fault}).raise_for_status()

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


@contextmanager
def running(*options: str) -> Iterator[Sandbox]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRIDFLEX_")}
    command = [sys.executable, "-c", RUN, "sandbox", "grid", "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield Sandbox(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running("--simulated", "--seed", "3", "--origin", ORIGIN.isoformat()) as started:
        yield started


@pytest.fixture
async def feeds(sandbox: Sandbox, engine: AsyncEngine) -> AsyncIterator[GridFeeds]:
    made = grid_feeds(sandbox.settings, regions=["RG10"], archive=GridStore(engine))
    yield made
    await made.close()


async def rows(engine: AsyncEngine, query: str) -> set[Any]:
    async with engine.connect() as connection:
        found = (await connection.execute(text(query))).all()
    return {row[0] if len(row) == 1 else tuple(row) for row in found}


async def test_every_signal_is_fetched_archived_and_stored_and_survives_the_providers(
    sandbox: Sandbox, feeds: GridFeeds, engine: AsyncEngine
) -> None:
    grid = Grid(feeds.feeds, store=GridStore(engine))
    now = sandbox.now()

    report = await grid.tick(now)

    assert report.degraded == ()
    assert await rows(engine, "SELECT DISTINCT source, region FROM forecast") == SOURCES
    assert await rows(engine, "SELECT DISTINCT source FROM observation") == OUTTURNS
    assert await rows(engine, "SELECT DISTINCT origin FROM observation") == {"simulated"}
    assert await rows(engine, "SELECT DISTINCT provider, status FROM raw_response") == {
        ("carbon-intensity", 200), ("elexon", 200), ("octopus", 200)
    }  # fmt: skip
    (published,) = await rows(engine, "SELECT issued_at FROM forecast WHERE source = 'elexon/ndf'")
    assert published == ORIGIN.replace(hour=16, minute=45)

    sandbox.order("garbage")
    later = now.replace(hour=20)
    spoiled = await grid.tick(later)
    assert {feed.is_ok for feed in spoiled.feeds} == {False}
    assert all(feed.reason for feed in spoiled.feeds)
    intensity, price = await grid.outlook(later, start=HalfHour.containing(later), half_hours=48)
    assert (intensity.rungs[0], price.rungs[0]) == (Rung.STALE, Rung.FRESH)  # auctioned is final
    assert np.isfinite(intensity.values).all()
    assert intensity.origin is price.origin is Origin.SIMULATED

    assert sandbox.end() == INTERRUPTED
    unreachable = await grid.tick(later.replace(hour=21))
    assert {feed.is_ok for feed in unreachable.feeds} == {False}
    for feed in unreachable.feeds:
        assert feed.reason.startswith(f"{feed.provider}: {sandbox.url}")


async def test_a_second_agent_goes_on_from_what_the_first_one_stored(
    feeds: GridFeeds, engine: AsyncEngine
) -> None:
    first = Grid(feeds.feeds, store=GridStore(engine))
    await first.tick(ORIGIN)
    before = await rows(engine, "SELECT count(*) FROM observation")

    second = Grid(feeds.feeds, store=GridStore(engine))
    standing = await second.standing(ORIGIN)
    report = await second.tick(ORIGIN)

    assert {feed.age_s for feed in standing} == {0.0}
    assert report.degraded == ()
    assert await rows(engine, "SELECT count(*) FROM observation") == before


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


async def test_the_command_line_shows_what_the_agent_knows(
    feeds: GridFeeds, engine: AsyncEngine
) -> None:
    clock = Clock(ClockSettings(origin=ORIGIN, origin_wall=datetime.now(UTC)))
    await Grid(feeds.feeds, store=GridStore(engine)).tick(clock.now())
    app = FastAPI()
    replica = Grid(feeds.feeds, store=GridStore(engine))
    app.include_router(create_grid_router(replica, clock), prefix="/v1")

    async with serving(app) as url:
        ask = partial(CliRunner().invoke, command_line)
        now = await asyncio.to_thread(ask, ["grid", "now", "--url", url, "--json"])
        plain = await asyncio.to_thread(ask, ["grid", "forecast", "--url", url])

    shown = json.loads(now.output)
    assert shown["origin"] == "simulated"
    assert shown["half_hour"]["price"]["source"] == "octopus/agile-derived"
    assert sum(shown["generation_mix"]["share_fraction"].values()) == pytest.approx(1, abs=0.01)
    assert len(shown["feeds"]) == len(feeds.feeds)
    assert "GB at 2026-01-15 17:1" in plain.output
    assert "simulated" in plain.output


async def test_the_past_is_filled_in_from_the_command_line(
    sandbox: Sandbox, database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    clock = ClockSettings(origin=ORIGIN, origin_wall=datetime.now(UTC))
    settings = Settings(
        state_dir=tmp_path, database_url=database_url, grid=sandbox.settings, clock=clock
    )
    config = ["--config", str(write_settings(settings))]
    command = ["grid", "backfill", "--days", "20", "--no-forecasts", *config]

    told = await asyncio.to_thread(CliRunner().invoke, command_line, [*command, "--json"])

    answer = json.loads(told.output)
    assert (answer["missing"], answer["forecasts"]) == ([], {})
    assert set(answer["half_hours"]) == {
        "carbon-intensity/actual", "elexon/mid", "elexon/indo", "elexon/fuelhh-wind",
    }  # fmt: skip
    (known,) = await rows(
        engine, "SELECT count(DISTINCT start) FROM observation WHERE source = 'elexon/mid'"
    )
    assert 20 * 48 - 4 <= known <= 20 * 48 + 1

    sandbox.order("garbage")
    garbage = await asyncio.to_thread(CliRunner().invoke, command_line, [*command, "--json"])
    missing = json.loads(garbage.output)["missing"]
    assert {reason.split(" from ")[0] for reason in missing} == set(answer["half_hours"])
    assert garbage.exit_code == 0


async def test_a_backfill_that_has_nothing_at_all_says_so(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    clock = ClockSettings(origin=ORIGIN, origin_wall=datetime.now(UTC))
    settings = Settings(
        state_dir=tmp_path, database_url=database_url, grid=sandbox.settings, clock=clock
    )
    config = ["--config", str(write_settings(settings)), "--json"]
    sandbox.order("garbage")

    told = await asyncio.to_thread(
        CliRunner().invoke, command_line, ["grid", "backfill", "--days", "1", *config]
    )

    answer = json.loads(told.output)
    assert {*answer["half_hours"].values(), *answer["forecasts"].values()} == {0}
    assert isinstance(told.exception, SourceError)
    assert "nothing could be had" in str(told.exception)


@ONE_SERVER
async def test_past_forecasts_are_filled_in_as_they_were_known_and_only_once(
    sandbox: Sandbox, database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    grid = sandbox.settings.model_copy(update={"nord_pool_url": sandbox.said["nord_pool_url"]})
    clock = ClockSettings(origin=ORIGIN, origin_wall=datetime.now(UTC))
    settings = Settings(state_dir=tmp_path, database_url=database_url, grid=grid, clock=clock)
    config = ["--config", str(write_settings(settings)), "--json"]
    command = ["grid", "backfill", "--days", "2", *config]

    first = json.loads((await asyncio.to_thread(CliRunner().invoke, command_line, command)).output)
    again = json.loads((await asyncio.to_thread(CliRunner().invoke, command_line, command)).output)
    past = await archived_past(
        ForecastHistory(engine), Signal.INTENSITY, now=ORIGIN + timedelta(minutes=5)
    )

    assert (first["missing"], again["missing"]) == ([], [])
    assert first["forecasts"] == {
        "nord-pool/n2ex": 2, "octopus/agile-derived": 2, "elexon/ndf": 8, "elexon/windfor": 8,
    }  # fmt: skip
    assert set(again["forecasts"].values()) == {0}
    history = past.history

    def reach(name: str, at: str) -> str:
        """The first half-hour of which an input said nothing."""
        issued = HalfHour.parse(at)
        told = history.known_at(issued).window(name, 0, 200)
        return str(issued + int(np.isfinite(told).argmin()))

    price = "day_ahead_gbp_per_mwh"
    assert reach(price, "2026-01-15T10:00Z") == "2026-01-15T23:00Z"
    assert reach(price, "2026-01-15T10:30Z") == "2026-01-16T23:00Z"
    assert reach("wind_forecast_mw", "2026-01-15T05:30Z") == "2026-01-18T00:00Z"
    assert reach("wind_forecast_mw", "2026-01-15T06:00Z") == "2026-01-18T06:00Z"
    assert reach("demand_forecast_mw", "2026-01-14T23:30Z") == "2026-01-16T00:00Z"
    assert reach("demand_forecast_mw", "2026-01-15T00:00Z") == "2026-01-17T00:00Z"
    assert past.origin is Origin.SIMULATED


def test_the_server_follows_an_accelerated_clock() -> None:
    with running("--simulated", "--origin", ORIGIN.isoformat(), "--speed", "3600") as box:
        assert box.said["origin"] == "simulated"
        assert box.said["speed"] == 3600
        began = datetime.fromisoformat(box.said["now"])

        assert began >= ORIGIN
        assert box.now() > began
        assert box.end() == INTERRUPTED


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with running("--simulated") as box:
        port = box.url.rpartition(":")[2]
        second = subprocess.run(
            [sys.executable, "-c", RUN, "sandbox", "grid", "--simulated", "--port", port],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert second.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
