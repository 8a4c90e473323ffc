"""From an archive to a champion that forecasts, is scored, is spoilt and is rolled back."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from gridflex.cli.root import app as command_line
from gridflex.forecasting.archive import INPUTS
from gridflex.forecasting.baselines import Climatology, Persistence
from gridflex.forecasting.lineage import Act, Decision, TrainedModel, Training
from gridflex.halfhour import HalfHour
from gridflex.serve.api import create_api
from gridflex.settings_files import write_settings
from gridflex.signals import Kind, Origin, Rung, Series, Signal
from tests.e2e.world import HOUR, NOON, ONE_SERVER, World

DAYS = 45
NOW = HalfHour(NOON)


@pytest.fixture
def world(engine: AsyncEngine, database_url: str, tmp_path: Path) -> World:
    return World(engine, database_url, tmp_path)


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_api(world.ports()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        yield client


def outturn(signal: Signal, start: HalfHour, count: int, at: HalfHour) -> Series:
    """A daily cycle with noise that depends on the half-hour alone."""
    places = np.array([(half_hour.start - NOON) // timedelta(minutes=30) for half_hour in
                       start.span(count)])  # fmt: skip
    noise = np.array([np.random.default_rng(abs(int(p))).normal(0, 15) for p in places])
    return Series(
        signal=signal, kind=Kind.OUTTURN, source=INPUTS[signal].source, origin=Origin.SIMULATED,
        region="GB", start=start, values=150 + 60 * np.sin(places * np.pi / 24) + noise,
        issued_at=at.start, available_at=at.start,
    )  # fmt: skip


async def learnt(world: World, kind: Callable[[], Any]) -> TrainedModel:
    """Fit a forecaster of intensity on the archive and keep it."""
    ports = world.ports()
    read = await ports.archive.read(
        Signal.INTENSITY, since=NOW - DAYS * 48, now=world.clock.moment, every=HOUR
    )
    forecaster = kind()
    forecaster.fit(read.history.known_at(HalfHour.containing(world.clock.moment)))
    training = Training(
        target=Signal.INTENSITY, model=forecaster.name, settings={}, window_start=NOW - DAYS * 48,
        window_end=NOW, origin=read.origin, code_version="test", metrics={"mae": 1.0},
        trained_at=world.clock.moment,
    )  # fmt: skip
    return await ports.models.add(training, forecaster.dump())


async def promoted(world: World, model: TrainedModel, over: int | None) -> None:
    decision = Decision(Signal.INTENSITY, Act.PROMOTE, model.id, "test", world.clock.moment)
    await world.ports().models.decide(decision, over=over)


async def get(http: httpx.AsyncClient, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def intensities(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    body = await get(http, "/v1/grid/forecast?hours=240")
    return [row["intensity"] for row in body["half_hours"]]


def spoil(model: TrainedModel) -> None:
    path = Path(model.artefact.url.removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")


@ONE_SERVER
async def test_a_champion_forecasts_is_scored_is_spoilt_and_is_rolled_back(
    world: World, http: httpx.AsyncClient
) -> None:
    store, ports = world.grid_store, world.ports()
    for signal in (Signal.INTENSITY, Signal.PRICE):
        await store.save_series([outturn(signal, NOW - DAYS * 48, DAYS * 48, NOW)])
    own = ports.own_forecasts()

    assert {row["source"] for row in await intensities(http)} == {"climatology"}
    assert (await own.tick(NOON))[Signal.INTENSITY].source == ""

    first = await learnt(world, Climatology)
    await promoted(world, first, None)
    for _ in range(12):
        world.pass_time(2 * HOUR)
        now = HalfHour.containing(world.clock.moment)
        await store.save_series([outturn(Signal.INTENSITY, now - 4, 4, now)])
        report = await own.tick(world.clock.moment)
    assert report[Signal.INTENSITY].source == "gridflex/climatology"

    rows = await intensities(http)
    assert [row["source"] for row in rows] == ["gridflex/climatology"] * 432 + ["climatology"] * 48
    assert rows[0]["rung"] == Rung.FRESH.name.lower()
    assert rows[0]["origin"] == "simulated"
    assert rows[0]["quantiles"]["0.05"] < rows[0]["gco2_per_kwh"] < rows[0]["quantiles"]["0.95"]
    assert rows[-1]["quantiles"] is None

    board = await get(http, "/v1/forecasts/skill?days=1")
    near = {row["source"]: row for row in board["rows"] if row["lead"] == "0-6h"}
    assert set(near) == {"gridflex/climatology", "persistence", "climatology"}
    assert near["gridflex/climatology"]["count"] > 40
    assert near["gridflex/climatology"]["mae"] < near["persistence"]["mae"]
    assert 0.6 < near["gridflex/climatology"]["coverage_fraction"]["90"] <= 1
    assert (board["own_source"], board["own_first"]) == ("gridflex/climatology", [])

    second = await learnt(world, Persistence)
    await promoted(world, second, first.id)
    spoil(second)
    world.pass_time(HOUR)
    report = await own.tick(world.clock.moment)
    assert report[Signal.INTENSITY].source == "gridflex/climatology"
    assert f"model {second.id} (persistence of" in report[Signal.INTENSITY].degraded
    assert "has the SHA-256" in report[Signal.INTENSITY].degraded

    config = str(write_settings(world.settings))
    ask = CliRunner().invoke
    rolled = await asyncio.to_thread(
        ask, command_line, ["train", "rollback", "--target", "carbon", "--config", config, "--json"]
    )
    assert json.loads(rolled.output)["champion"] == first.id, rolled.output
    listed = await asyncio.to_thread(
        ask, command_line, ["train", "ls", "--config", config, "--json"]
    )
    standings = {one["id"]: one["standing"] for one in json.loads(listed.output)["models"]}
    assert standings == {first.id: "champion", second.id: "retired"}
    world.pass_time(HOUR)
    assert (await own.tick(world.clock.moment))[Signal.INTENSITY].degraded == ""


@ONE_SERVER
async def test_a_spoilt_model_is_not_promoted_by_hand_either(world: World) -> None:
    await world.grid_store.save_series([outturn(Signal.INTENSITY, NOW - DAYS * 48, DAYS * 48, NOW)])
    model = await learnt(world, Climatology)
    spoil(model)

    config = str(write_settings(world.settings))
    told = await asyncio.to_thread(
        CliRunner().invoke, command_line, ["train", "promote", str(model.id), "--config", config]
    )

    assert "has the SHA-256" in str(told.exception)
    assert await world.ports().models.champions(Signal.INTENSITY) == []
