"""A whole GridFlex in one process but for Ray: real database, plans, meters and Beckn end.

``python -m tests.e2e.beckn.plant SETTINGS`` says ``ready`` when it can plan, then takes orders as
lines of JSON and says ``done`` after each: its clock, with which its agents begin, or begin anew
over what is stored, and how it misbehaves towards its peers. Its cluster is a list of jobs that run
as long as they say, by the clock.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel

from gridflex.adapters.clock import Clock
from gridflex.adapters.clusters.ray_gpus import Gpus
from gridflex.adapters.clusters.ray_jobs import RayJob, RayJobs
from gridflex.adapters.grid.store import GridStore
from gridflex.agents.beckn.ports import SizedPlanner, build_receiver, build_trading
from gridflex.agents.ports import Ports, build_ports
from gridflex.agents.workload import Workload
from gridflex.beckn.trust.signing import KeyId, SigningKey
from gridflex.beckn.trust.verification import Background
from gridflex.beckn.wire.messages import Message
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, Tier
from gridflex.lifecycle import JobRequest
from gridflex.planning.warm_up import warm_up
from gridflex.sandbox.beckn.behaviour import (
    Behaviour,
    Mood,
    MoodyServer,
    MoodyTrader,
    MoodyTransport,
)
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


class Order(BaseModel, extra="forbid"):
    """What a process is told; what is not named stays as it is."""

    clock: ClockSettings | None = None
    behaviour: Behaviour | None = None
    at: str | None = None


class SimulatedCluster:
    """Runs every job for its time by GridFlex's clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._started: dict[str, datetime] = {}
        self._requests: dict[str, JobRequest] = {}

    async def gpus(self) -> Gpus:
        return Gpus(total=8, used=0.0)

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        self._requests.setdefault(ray_id, request)
        self._started.setdefault(ray_id, self.clock.wall_now())

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
        ended = started + RUN / self.clock.speed
        is_over = self.clock.wall_now() >= ended
        request = self._requests[ray_id]
        details: dict[str, Any] = {
            "entrypoint": request.entrypoint,
            "metadata": dict(request.metadata),
            "start_time": int(started.timestamp() * 1000),
        }
        if is_over:
            details["end_time"] = int(ended.timestamp() * 1000)
        return RayJob(ray_id, "SUCCEEDED" if is_over else "RUNNING", details)


async def forecast(plant: PlantSettings, ports: Ports) -> None:
    """Store the forecasts that the plan is made from."""
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


async def submit(plant: PlantSettings, ports: Ports) -> None:
    """Submit the jobs."""
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
            JobId(name),
            JobRequest("python train.py"),
            flexibility,
            submitted_at=ports.clock.now(),
        )


async def work(ports: Ports, mood: Mood) -> None:
    """Do what the three agents do, turn by turn, in a mood."""
    planner, _ = await SizedPlanner(ports).now()
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
    participant, courier = trading._participant, trading._courier
    participant._trader = MoodyTrader(participant._trader, mood)
    wrong = SigningKey(KeyId("nobody.example", "k1"), Ed25519PrivateKey.generate())
    courier._transport = MoodyTransport(courier._transport, mood, wrong_key=wrong)
    while True:
        await workload.tick(ports.clock.now())
        await planner.tick(ports.clock.now(), reason="turn")
        await trading.tick(ports.clock.now(), wall=ports.clock.wall_now())
        await asyncio.sleep(TURN_S)


async def orders() -> AsyncIterator[Order]:
    """Yield what this process is told."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        yield Order.model_validate_json(line)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def serve(ports: Ports, mood: Mood, descriptor: int) -> None:
    """Receive messages until told to stop."""
    receiver = build_receiver(ports)
    screen = receiver._screen

    def screened(message: Message, background: Background, now: datetime) -> None:
        mood.screen(message, background, now)
        screen(message, background, now)

    receiver._screen = screened
    app = MoodyServer(create_beckn_api(receiver, clock=ports.clock.wall_now), mood)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off")
    await uvicorn.Server(config).serve(sockets=[socket.socket(fileno=descriptor)])


async def obey(plant: PlantSettings, ports: Ports, mood: Mood) -> None:
    """Do as told; the agents begin with the first clock, and anew with each other one."""
    working: asyncio.Task[None] | None = None
    cluster = SimulatedCluster(ports.clock)
    async for order in orders():
        if order.behaviour is not None:
            mood.behaviour, mood.at = order.behaviour, order.at
        if order.clock is not None:
            ports = replace(
                ports,
                settings=timed(ports.settings, order.clock),
                clock=Clock(order.clock),
                clusters={"london": cast(RayJobs, cluster)},
            )
            cluster.clock = ports.clock
            await forecast(plant, ports)
            if working is None:
                await submit(plant, ports)
            else:
                working.cancel()
                with suppress(asyncio.CancelledError):
                    await working
            working = asyncio.create_task(work(ports, mood))
            working.add_done_callback(_end)
        say("done")


def timed(settings: Settings, clock: ClockSettings) -> Settings:
    """Return settings by which a catalogue and a discovery go out in each second of wall time."""
    each = {"publish_s": clock.speed, "discover_s": clock.speed}
    market = settings.market.model_copy(update=each)
    return settings.model_copy(update={"clock": clock, "market": market})


def _end(working: asyncio.Task[None]) -> None:
    """End this process if its agents fail."""
    if not working.cancelled() and working.exception() is not None:
        logging.getLogger("plant").error("agents failed", exc_info=working.exception())
        os._exit(1)


async def main(plant: PlantSettings) -> None:
    """Serve and obey until told to stop."""
    settings = parse_settings(plant.settings_yaml)
    await asyncio.to_thread(warm_up)
    ports = await asyncio.to_thread(build_ports, settings)
    mood = Mood()
    say("ready")
    serving = asyncio.create_task(serve(ports, mood, plant.descriptor))
    obeying = asyncio.create_task(obey(plant, ports, mood))
    done, _ = await asyncio.wait({serving, obeying}, return_when=asyncio.FIRST_COMPLETED)
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
