"""``/v1/grid`` over ASGI, against a fake store."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from gridflex.adapters.tables import AgentRow
from gridflex.agents.grid import Grid
from gridflex.serve.grid_api import create_grid_router
from gridflex.serve.problems import install_problems
from gridflex.signals import Origin, Series, Signal
from tests.unit.grid.replay import Payload
from tests.unit.grid.test_grid_agent import NOON, FakeFeed, FakeStore, outturn, series


@dataclass
class Stopped:
    instant: datetime

    def now(self) -> datetime:
        return self.instant


class FakeAgents:
    async def all(self) -> list[AgentRow]:
        failed = {"degraded": {"first/x EH1": "a: no answer in time"}}
        return [
            AgentRow(name="workload", ticked_at=NOON, ticked_wall=NOON, detail={}),
            AgentRow(name="grid", ticked_at=NOON, ticked_wall=NOON, detail=failed),
        ]


def api(*kept: Series, now: datetime = NOON, agents: FakeAgents | None = None) -> httpx.AsyncClient:
    store = FakeStore()
    store.kept = list(kept)
    feeds = [FakeFeed(series([1.0], source="first/x"))]
    if agents:
        feeds.append(FakeFeed(series([1.0], source="first/x", region="EH1")))
    grid = Grid(feeds, store=store)
    app = FastAPI()
    install_problems(app)
    app.include_router(create_grid_router(grid, Stopped(now), agents), prefix="/v1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gridflex.test")


KNOWN = (
    series([100.0, 110.0], source="first/x", origin=Origin.SIMULATED),
    series([30.0], source="first/x", region="EH1"),
    outturn([70.0] * 96, Signal.INTENSITY),
    outturn([50.0] * 96, Signal.PRICE, Origin.RECORDED),
)


async def get(client: httpx.AsyncClient, path: str) -> Payload:
    async with client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_running_half_hour_says_how_well_it_is_known() -> None:
    body = await get(api(*KNOWN, now=NOON + timedelta(minutes=5)), "/v1/grid/now")

    assert body["half_hour"] == {
        "start": "2026-01-15T12:00:00Z",
        "intensity": {
            "gco2_per_kwh": 100.0,
            "source": "first/x",
            "region": "GB",
            "rung": "fresh",
            "age_s": 300.0,
            "origin": "simulated",
            "quantiles": None,
            "band": "none",
        },
        "price": {
            "gbp_per_mwh": 50.0,
            "source": "climatology",
            "region": "GB",
            "rung": "climatology",
            "age_s": 300.0,
            "origin": "computed",
            "quantiles": None,
            "band": "none",
        },
    }
    assert (body["now"], body["region"], body["origin"]) == (
        "2026-01-15T12:05:00Z",
        "GB",
        "simulated",
    )


async def test_a_source_that_says_how_sure_it_is_is_told_with_its_levels() -> None:
    row = np.array([[80.0, 85.0, 92.0, 100.0, 108.0, 115.0, 120.0]])
    sure = replace(series([100.0], source="first/x"), quantiles=row)

    body = await get(api(sure, *KNOWN[2:]), "/v1/grid/now")

    assert body["half_hour"]["intensity"]["quantiles"] == {
        "0.05": 80.0, "0.1": 85.0, "0.25": 92.0, "0.5": 100.0, "0.75": 108.0, "0.9": 115.0,
        "0.95": 120.0,
    }  # fmt: skip


async def test_now_tells_how_fresh_every_feed_is() -> None:
    body = await get(api(*KNOWN, now=NOON + timedelta(hours=1)), "/v1/grid/now")

    assert body["feeds"] == [
        {
            "provider": "a",
            "source": "first/x",
            "region": "GB",
            "last_good_at": "2026-01-15T12:00:00Z",
            "age_s": 3600.0,
            "reason": "",
        }
    ]


async def test_now_tells_why_the_agents_last_poll_of_a_feed_failed() -> None:
    body = await get(api(*KNOWN, agents=FakeAgents()), "/v1/grid/now")

    assert [(feed["region"], feed["reason"]) for feed in body["feeds"]] == [
        ("GB", ""),
        ("EH1", "a: no answer in time"),
    ]


async def test_a_forecast_covers_the_hours_asked_for_from_the_running_half_hour_on() -> None:
    body = await get(api(*KNOWN, now=NOON + timedelta(minutes=29)), "/v1/grid/forecast?hours=2")

    assert [row["start"][11:16] for row in body["half_hours"]] == [
        "12:00",
        "12:30",
        "13:00",
        "13:30",
    ]
    assert [row["intensity"]["gco2_per_kwh"] for row in body["half_hours"]] == [100, 110, 70, 70]
    assert [row["intensity"]["rung"] for row in body["half_hours"]] == [
        "fresh",
        "fresh",
        "climatology",
        "climatology",
    ]
    assert [row["intensity"]["origin"] for row in body["half_hours"]] == [
        "simulated",
        "simulated",
        "computed",
        "computed",
    ]
    assert (body["worst_rung"], body["origin"]) == ("climatology", "simulated")


async def test_a_forecast_is_of_two_days_unless_asked_otherwise() -> None:
    assert len((await get(api(*KNOWN), "/v1/grid/forecast"))["half_hours"]) == 96


@pytest.mark.parametrize("region", ["EH1", "eh1", "EH1 1AA"])
async def test_each_value_says_which_region_it_is_of(region: str) -> None:
    body = await get(api(*KNOWN), f"/v1/grid/forecast?hours=1&region={region}")

    first, second = body["half_hours"]
    assert (first["intensity"]["gco2_per_kwh"], first["intensity"]["region"]) == (30.0, "EH1")
    assert (second["intensity"]["gco2_per_kwh"], second["intensity"]["region"]) == (110.0, "GB")
    assert (body["region"], body["national_half_hours"]) == ("EH1", 1)


async def test_a_region_of_which_nothing_is_known_is_told_from_one_of_which_something_is() -> None:
    body = await get(api(*KNOWN, agents=FakeAgents()), "/v1/grid/forecast?hours=1&region=region-14")

    assert (body["region"], body["national_half_hours"]) == ("region-14", 2)
    assert body["regions"] == ["EH1"]
    assert (await get(api(*KNOWN), "/v1/grid/now"))["national_half_hours"] == 0


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("hours=0", "hours"),
        ("hours=337", "hours"),
        ("hours=much", "much"),
        ("region=everywhere", "everywhere"),
        ("region=", "RG10"),
        ("region=region-99", "'region-99'; valid is GB"),
        ("region=region-0", "region-1 to region-17"),
    ],
)
async def test_a_wrong_question_is_refused_by_name(query: str, named: str) -> None:
    async with api(*KNOWN) as client:
        answer = await client.get(f"/v1/grid/forecast?{query}")

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.json()["detail"]


async def test_a_grid_about_which_nothing_is_known_is_unavailable() -> None:
    async with api() as client:
        answer = await client.get("/v1/grid/now")

    assert answer.status_code == 503
    assert "intensity_gco2_per_kwh" in answer.json()["detail"]
