"""Logs followed over a real WebSocket, as Ray's dashboard serves them."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.errors import SourceError
from tests.fake_ray import FakeJob, FakeRay


@pytest.fixture
async def dashboard() -> AsyncIterator[tuple[FakeRay, str]]:
    """A cluster whose dashboard listens on a free port of this machine."""
    ray = FakeRay()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(ray.app(), log_level="error", lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield ray, f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving


async def test_a_log_is_followed_line_by_line_to_its_end(dashboard: tuple[FakeRay, str]) -> None:
    ray, url = dashboard
    ray.jobs["a"] = FakeJob({"entrypoint": "x"}, 0, logs="epoch 1\nepoch 2\n\u00e9nd")
    async with RayJobs(url) as jobs:
        lines = [line async for line in jobs.tail("a")]

    assert lines == ["epoch 1\n", "epoch 2\n", "\u00e9nd"]


async def test_a_log_of_an_unknown_job_is_a_source_error(dashboard: tuple[FakeRay, str]) -> None:
    _, url = dashboard
    async with RayJobs(url) as jobs:
        with pytest.raises(SourceError, match=r"logs of ghost.*404"):
            _ = [line async for line in jobs.tail("ghost")]
