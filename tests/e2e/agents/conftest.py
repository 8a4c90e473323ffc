from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

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
