from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.e2e.world import World


@pytest.fixture
def world(engine: AsyncEngine, database_url: str, tmp_path: Path) -> World:
    """GridFlex at noon with nothing to do."""
    return World(engine, database_url, tmp_path)
