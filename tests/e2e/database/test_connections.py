"""What happens when there are more callers than connections."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from gridflex.adapters import database
from gridflex.errors import SourceError


async def test_who_finds_no_free_connection_in_time_is_told_so(database_url: str) -> None:
    engine = database.connect(database_url, pool_size=1, wait=timedelta(milliseconds=50))

    async def use(seconds: float) -> None:
        async with database.source_errors("sleeping"), engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})

    busy = asyncio.create_task(use(1.0))
    await asyncio.sleep(0.2)

    with pytest.raises(SourceError, match="sleeping: QueuePool limit"):
        await use(0.0)
    await busy
    await engine.dispose()
