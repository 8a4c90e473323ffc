"""How many held jobs a second GridFlex takes, and how fast it answers meanwhile.

A whole system on this machine: HAProxy, Serve, PostgreSQL, the agents planning as jobs come in,
and the load generator, all on the same cores. Each submission is what Ray's own client sends;
it is stored with its event in one transaction before it is answered. While they arrive, a
second client asks for the status of jobs at random. Beside it, in the same run, the same
submissions to the Job API of the Ray cluster itself, for jobs that it cannot start.

Three loads, one after the other: so many submissions a second as the target asks for, whether or
not earlier ones are answered, for the latencies; as fast as so many clients can, for the rate;
then the first again, on the backlog that the others left.

    python bench/gateway.py [--seconds 20] [--clients 16] [--rate 150]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from results_file import Figure, publish

from gridflex.adapters import database
from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE, TOKEN_VARIABLE, token_headers
from gridflex.running import launch, processes
from gridflex.running.up import with_sandbox
from gridflex.settings import Settings
from gridflex.settings_files import load_settings

WARM_UP_S = 3.0
STATUS_EVERY_S = 0.05
PEER_SUBMISSIONS = 60
REFUSED_CPUS = 100_000


Client = Callable[[aiohttp.ClientSession, float, float], Awaitable[None]]


@dataclass
class Latencies:
    """Wall times of answered requests, seconds."""

    took_s: list[float] = field(default_factory=list)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile in milliseconds."""
        ordered = sorted(self.took_s)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass
class Load:
    """What the load generator measured."""

    seconds: float
    submit: Latencies = field(default_factory=Latencies)
    status: Latencies = field(default_factory=Latencies)
    ids: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Submissions answered in a second."""
        return len(self.submit.took_s) / self.seconds


def submission() -> dict[str, object]:
    """Return the body of a flexible job as Ray's client sends it."""
    return {
        "entrypoint": "python train.py",
        "runtime_env": {"env_vars": {"SEED": secrets.token_hex(4)}},
        "metadata": {"gridflex.io/tier": "T2", "gridflex.io/duration": "PT1H"},
    }


async def flat_out(url: str, token: str, *, seconds: float, clients: int) -> Load:
    """Submit from ``clients`` connections, each as soon as it is answered."""
    measured = Load(seconds)

    async def client(session: aiohttp.ClientSession, start: float, end: float) -> None:
        while time.perf_counter() < end:
            await _submit(session, measured, start=start, end=end)

    await _load(url, token, measured, [client] * clients)
    return measured


async def at_rate(url: str, token: str, *, seconds: float, per_second: float) -> Load:
    """Submit ``per_second`` times a second, answered or not."""
    measured = Load(seconds)

    async def arrivals(session: aiohttp.ClientSession, start: float, end: float) -> None:
        async with asyncio.TaskGroup() as group:
            due = time.perf_counter()
            while due < end:
                group.create_task(_submit(session, measured, start=start, end=end))
                due += 1 / per_second
                await asyncio.sleep(due - time.perf_counter())

    await _load(url, token, measured, [arrivals])
    return measured


async def _load(url: str, token: str, measured: Load, clients: Sequence[Client]) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    headers = token_headers(token)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        start = time.perf_counter() + WARM_UP_S
        end = start + measured.seconds
        await asyncio.gather(
            _ask_status(session, measured, start=start, end=end),
            *(client(session, start, end) for client in clients),
        )


async def _submit(
    session: aiohttp.ClientSession, measured: Load, *, start: float, end: float
) -> None:
    began = time.perf_counter()
    async with session.post("/api/jobs/", json=submission()) as answer:
        body = await answer.json()
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}: {body}")
    measured.ids.append(body["submission_id"])
    if start <= began < end:
        measured.submit.took_s.append(time.perf_counter() - began)


async def _ask_status(
    session: aiohttp.ClientSession, measured: Load, *, start: float, end: float
) -> None:
    choose = random.Random(0)  # noqa: S311 - which job to ask for
    while (began := time.perf_counter()) < end:
        if measured.ids:
            async with session.get(f"/api/jobs/{choose.choice(measured.ids)}") as answer:
                if (await answer.json())["status"] != "PENDING":
                    raise RuntimeError("a held job must be pending")
            if began >= start:
                measured.status.took_s.append(time.perf_counter() - began)
        await asyncio.sleep(STATUS_EVERY_S)


async def ray_alone(url: str, token: str) -> Latencies:
    """Submit one after the other to the cluster's own Job API, jobs that it cannot start."""
    latencies = Latencies()
    body = {**submission(), "entrypoint_num_cpus": REFUSED_CPUS}
    async with aiohttp.ClientSession(url, headers=token_headers(token)) as session:
        for _ in range(PEER_SUBMISSIONS):
            began = time.perf_counter()
            async with session.post("/api/jobs/", json=body) as answer:
                await answer.read()
                answer.raise_for_status()
            latencies.took_s.append(time.perf_counter() - began)
    return latencies


def settings_in(state: Path) -> Settings:
    """Return the settings of a system of its own."""
    site = {"name": "local", "ray_url": f"http://127.0.0.1:{processes.free_port()}", "gpus": 512}
    flags = {
        "state_dir": str(state),
        "sites": [site],
        "http": {"port": processes.free_port(), "auth": "token"},
    }
    return load_settings(flags=flags)


def main() -> None:
    """Bring a system up, measure, end it, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="How long to measure.")
    parser.add_argument("--clients", type=int, default=16, help="Connections at once.")
    parser.add_argument("--rate", type=float, default=150.0, help="Submissions a second.")
    args = parser.parse_args()
    state = Path(tempfile.mkdtemp(prefix="gridflex-bench-"))
    token = secrets.token_hex(32)
    os.environ |= {MODE_VARIABLE: "token", TOKEN_VARIABLE: token, "RAY_TMPDIR": str(state)}
    settings = settings_in(state)
    sessions: list[int] = []
    try:
        database.ensure_database(settings)
        settings, grid_pid = with_sandbox(settings)
        sessions.append(grid_pid)
        gcs_port = processes.free_port()
        sessions.append(launch.start_ray(settings, gcs_port=gcs_port, num_cpus=8, num_gpus=512))
        url = launch.start_serve(settings, gcs_address=f"127.0.0.1:{gcs_port}")
        steady = asyncio.run(at_rate(url, token, seconds=args.seconds, per_second=args.rate))
        fastest = asyncio.run(flat_out(url, token, seconds=args.seconds, clients=args.clients))
        backlog = len(steady.ids) + len(fastest.ids)
        after = asyncio.run(at_rate(url, token, seconds=args.seconds, per_second=args.rate))
        alone = asyncio.run(ray_alone(settings.sites[0].ray_url, token))
    finally:
        launch.disconnect()
        for session in reversed(sessions):
            processes.end(session)
        database.stop_embedded(settings)
        shutil.rmtree(state, ignore_errors=True)
    _publish(fastest, steady, after, alone, backlog=backlog)


def _publish(fastest: Load, steady: Load, after: Load, alone: Latencies, *, backlog: int) -> None:
    peer = "Ray Job API, one client, jobs that cannot start"
    rate = f"{len(fastest.submit.took_s)} submissions, {len(fastest.status.took_s)} status calls"
    own = {peer: 1 / statistics.median(alone.took_s)}
    publish(
        "gateway",
        [
            Figure("submissions_per_s", fastest.per_second, "1/s", ">= 150", own, rate),
            *_latencies(steady, {peer: alone.percentile_ms(99)}, "a system without jobs at first"),
            *_latencies(after, {}, f"{backlog} held jobs at first", suffix="_backlog"),
        ],
    )


def _latencies(
    load: Load, own_ms: dict[str, float], found: str, *, suffix: str = ""
) -> list[Figure]:
    calls = len(load.status.took_s)
    data = f"{load.per_second:.0f} submissions/s, {calls} status calls meanwhile, {found}"
    of_submit, of_status = (None, None) if suffix else ("< 250", "< 50")
    return [
        Figure(f"{name}_p{percent}_ms{suffix}", took.percentile_ms(percent), "ms", *rest, data=data)
        for name, took, percent, rest in (
            ("submit", load.submit, 50, ()),
            ("submit", load.submit, 99, (of_submit, own_ms)),
            ("status", load.status, 50, ()),
            ("status", load.status, 99, (of_status,)),
        )
    ]


if __name__ == "__main__":
    main()
