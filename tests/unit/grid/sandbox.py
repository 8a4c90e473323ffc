"""The grid sandbox without a socket: a small world, a clock to set, the real adapters."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from gridflex.adapters.grid.feeds import GridFeeds, grid_feeds
from gridflex.adapters.http import RawArchive
from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.app import create_grid_server
from gridflex.sandbox.grid.world import Values, World
from gridflex.settings import GridSettings
from gridflex.signals import Origin
from tests.unit.grid.replay import Payload, at, hh

BASE = "http://grid.test"
SETTINGS = GridSettings(
    carbon_intensity_url=BASE,
    elexon_url=f"{BASE}/bmrs/api/v1",
    octopus_url=f"{BASE}/v1",
    timeout_s=60.0,
)
WITH_NORD_POOL = SETTINGS.model_copy(update={"nord_pool_url": f"{BASE}/api"})


@dataclass
class SetClock:
    instant: datetime

    def now(self) -> datetime:
        return self.instant


def small_world(start: str = "2024-03-25T00:00Z", *, days: int = 14) -> World:
    """Every quantity rises by its own step, so that no two half-hours look alike."""
    t = np.arange(48.0 * days)
    return World(
        origin=Origin.RECORDED,
        start=hh(start),
        intensity_gco2_per_kwh=100 + t % 97,
        day_ahead_gbp_per_mwh=60 + t % 89,
        mid_gbp_per_mwh=np.round(40 + 0.25 * (t % 83), 2),
        mid_volume_mwh=1_000 + t,
        system_gbp_per_mwh=np.round(30 + 0.5 * (t % 79), 2),
        niv_mwh=-50.25 + t % 101,
        demand_mw=28_000 + 3 * t,
        transmission_demand_mw=29_000 + 3 * t,
        embedded_wind_mw=1_000 + t,
        embedded_solar_mw=500 + t,
        net_import_mw=3_000 + t,
        fuels_mw={
            "CCGT": 9_000 + 2 * t,
            "OCGT": 0 * t,
            "COAL": 0 * t,
            "NUCLEAR": 4_000 + 0 * t,
            "WIND": 6_000 + 4 * t,
            "BIOMASS": 2_000 + 0 * t,
            "NPSHYD": 400 + 0 * t,
            "PS": -100 + 0 * t,
            "OTHER": 250 + 0 * t,
        },
    )


class Sandbox:
    """The server at an instant that can be moved, and ways to ask it."""

    def __init__(self, world: World, now: str, *, seed: int = 0) -> None:
        self.world = world
        self.clock = SetClock(at(now))
        self.app: FastAPI = create_grid_server(world, self.clock, seed=seed)
        self.transport = httpx.ASGITransport(self.app)

    @property
    def now(self) -> datetime:
        return self.clock.instant

    def set(self, now: str) -> None:
        self.clock.instant = at(now)

    async def get(self, path: str, **params: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=self.transport, base_url=BASE) as client:
            return await client.get(path, params=params or None)

    async def body(self, path: str, **params: str) -> Payload:
        answer = await self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def order(self, fault: str, **order: Any) -> None:  # noqa: ANN401 - JSON
        async with httpx.AsyncClient(transport=self.transport, base_url=BASE) as client:
            answer = await client.put("/_sandbox/fault", json={"fault": fault, **order})
        assert answer.status_code == 200, answer.text

    def feeds(
        self,
        *regions: str,
        archive: RawArchive | None = None,
        settings: GridSettings = SETTINGS,
    ) -> GridFeeds:
        return grid_feeds(settings, regions=regions, archive=archive, transport=self.transport)


def value_at(world: World, values: Values, half_hour: HalfHour) -> float:
    return float(values[world.start.until(half_hour)])
