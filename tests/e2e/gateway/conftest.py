from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.serve.api import create_api
from tests.e2e.conftest import Databases
from tests.e2e.world import World


@pytest.fixture
def database_url(embedded_databases: Databases) -> Iterator[str]:
    """An empty database on one kind of server; `tests/e2e/database` has the stores on both."""
    with embedded_databases.one() as url:
        yield url


@pytest.fixture
def world(engine: AsyncEngine, database_url: str, tmp_path: Path) -> World:
    """GridFlex at noon with nothing to do."""
    return World(engine, database_url, tmp_path)


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The whole application, asked over HTTP."""
    transport = httpx.ASGITransport(create_api(world.ports()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        yield client
