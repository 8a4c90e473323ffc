"""What happens when there are more callers than connections."""

import asyncio
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text

from gridflex.adapters import database
from gridflex.errors import SourceError

BACKEND = text("SELECT pg_backend_pid()")


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


async def test_a_connection_that_the_server_ended_while_it_idled_is_replaced_unseen(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TRUSTED_S", 0.0)
    engine = database.connect(database_url, pool_size=1)
    async with database.single_statements(engine).connect() as connection:
        ended = await connection.scalar(BACKEND)
    with psycopg.connect(database.psycopg_url(database_url), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (ended,))

    async with database.source_errors("asking"), engine.connect() as connection:
        assert await connection.scalar(BACKEND) != ended
    await engine.dispose()


async def test_a_connection_that_ends_while_it_is_trusted_costs_one_error(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TRUSTED_S", 3600.0)
    engine = database.connect(database_url, pool_size=1)
    async with engine.connect() as connection:
        ended = await connection.scalar(BACKEND)
    with psycopg.connect(database.psycopg_url(database_url), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (ended,))

    with pytest.raises(SourceError, match="asking"):
        async with database.source_errors("asking"), engine.connect() as connection:
            await connection.scalar(BACKEND)
    async with database.source_errors("asking"), engine.connect() as connection:
        assert await connection.scalar(BACKEND) != ended
    await engine.dispose()
