"""A whole GridFlex in one process but for Ray: real database, plans, meters and Beckn end.

``python -m tests.e2e.beckn.plant SETTINGS`` says ``ready`` when it can plan, then takes its clock
as a line of JSON, so that all processes begin together. Its cluster is a list of jobs that run as
long as they say, by the clock.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np
import uvicorn
from pydantic import BaseModel

from gridflex.adapters.clock import Clock
from gridflex.adapters.database import ensure_database
from gridflex.adapters.grid_store import GridStore
from gridflex.adapters.ray_gpus import Gpus
from gridflex.adapters.ray_jobs import RayJob, RayJobs
from gridflex.agents.orchestrator import Orchestrator
from gridflex.agents.ports import Ports, build_ports
from gridflex.agents.trading_ports import build_planner, build_receiver, build_trading
from gridflex.agents.workload import Workload
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, Tier
from gridflex.lifecycle import JobRequest
from gridflex.planning.warm_up import warm_up
from gridflex.serve.beckn_api import create_beckn_api
from gridflex.settings import ClockSettings, Settings
from gridflex.settings_files import dump_settings, parse_settings
from gridflex.signals import Kind, Origin, Series, Signal

TURN_S = 0.2
RUN = timedelta(hours=4)


class PlantSettings(BaseModel):
    """What one process must know: its settings, its socket, its jobs and its prices by hour."""

    settings_yaml: str
    descriptor: int
    jobs: list[str]
    price_gbp_per_mwh: dict[int, float]
    intensity_gco2_per_kwh: dict[int, float]


class SimulatedCluster:
    """Runs every job for its time by GridFlex's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started: dict[str, datetime] = {}

    async def gpus(self) -> Gpus:
        return Gpus(total=8, used=0.0)

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        assert request.entrypoint
        self._started.setdefault(ray_id, self._clock.wall_now())

    async def stop(self, ray_id: str) -> bool:
        return ray_id in self._started

    async def get(self, ray_id: str) -> RayJob | None:
        return self._job(ray_id) if ray_id in self._started else None

    async def list(self) -> Sequence[RayJob]:
        return [self._job(ray_id) for ray_id in self._started]

    async def has_package(self, uri: str) -> bool:
        raise AssertionError(uri)

    def _job(self, ray_id: str) -> RayJob:
        started = self._started[ray_id]
        ended = started + RUN / self._clock.speed
        is_over = self._clock.wall_now() >= ended
        details = {"start_time": int(started.timestamp() * 1000)}
        if is_over:
            details["end_time"] = int(ended.timestamp() * 1000)
        return RayJob(ray_id, "SUCCEEDED" if is_over else "RUNNING", details)


async def fill(plant: PlantSettings, ports: Ports) -> None:
    """Store the forecasts and submit the jobs."""
    now = ports.clock.now()
    start = HalfHour.containing(now) - 2
    span = list(start.span(150))
    store = GridStore(ports.engine)
    for signal, by_hour in (
        (Signal.PRICE, plant.price_gbp_per_mwh),
        (Signal.INTENSITY, plant.intensity_gco2_per_kwh),
    ):
        values = np.array([by_hour.get(one.start.hour, by_hour[-1]) for one in span])
        await store.save_series(
            [
                Series(
                    signal=signal,
                    kind=Kind.FORECAST,
                    source="test/forecast",
                    origin=Origin.SIMULATED,
                    region="GB",
                    start=start,
                    values=values,
                    issued_at=now - timedelta(minutes=1),
                    available_at=now - timedelta(minutes=1),
                )
            ]
        )
    for name in plant.jobs:
        flexibility = Flexibility(
            tier=Tier.T3,
            deadline=datetime(2026, 7, 2, 6, tzinfo=UTC),
            duration=RUN,
            duration_is_declared=True,
            interruptible=False,
            gpus=4,
            min_gpus=4,
            max_gpus=4,
            power_kw=37.5,
            sites=("london",),
        )
        await ports.jobs.add(
            JobId(name), JobRequest("python train.py"), flexibility, submitted_at=now
        )


async def work(ports: Ports) -> None:
    """Do what the three agents do, turn by turn."""
    planner: Orchestrator = await build_planner(ports)
    workload = Workload(
        jobs=ports.jobs,
        plans=ports.plans,
        curtailments=ports.curtailments,
        clusters=ports.clusters,
        sites=await ports.sites(),
        packages=ports.packages,
        restart=ports.restart,
        ask_again_after=timedelta(hours=1),
        checkpoint_root=ports.settings.checkpoint_root,
        clock=ports.clock.now,
        gridflex_time=ports.clock.at,
    )
    report = await planner.tick(ports.clock.now(), reason="start")
    logging.getLogger("plant").info("%s", report)
    trading = build_trading(ports, planner=planner)
    while True:
        await workload.tick(ports.clock.now())
        await planner.tick(ports.clock.now(), reason="turn")
        await trading.tick(ports.clock.now(), wall=ports.clock.wall_now())
        await asyncio.sleep(TURN_S)


async def main(plant: PlantSettings) -> None:
    """Serve and work until told to stop."""
    settings = parse_settings(plant.settings_yaml)
    await asyncio.to_thread(warm_up)
    await asyncio.to_thread(ensure_database, settings)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    clock = ClockSettings.model_validate_json(await asyncio.to_thread(sys.stdin.readline))
    settings = settings.model_copy(update={"clock": clock})
    ports = await asyncio.to_thread(build_ports, settings)
    cluster = SimulatedCluster(ports.clock)
    ports = replace(ports, clusters={"london": cast(RayJobs, cluster)})
    await fill(plant, ports)
    app = create_beckn_api(build_receiver(ports), clock=ports.clock.wall_now)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = socket.socket(fileno=plant.descriptor)
    working = asyncio.create_task(work(ports))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    done, _ = await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def arguments(settings: Settings, **others: object) -> str:
    """Return what the process takes as its argument."""
    yaml = dump_settings(settings)
    return PlantSettings.model_validate({"settings_yaml": yaml, **others}).model_dump_json()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(main(PlantSettings.model_validate_json(sys.argv[1])))
