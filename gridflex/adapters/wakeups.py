"""PostgreSQL's notifications as wake-up calls, and its advisory locks as leadership.

The triggers of the schema announce what changed on one channel. Whoever holds the advisory
lock of a role is its only active holder; the lock goes with the connection, so a process that
dies gives it back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg

from gridflex.adapters.database import psycopg_url
from gridflex.errors import SourceError

CHANNEL: Final = "gridflex"


class Wakeups:
    """Wake-up calls received on one connection; made by `leading`."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        self._connection = connection

    async def wait(self, timeout_s: float) -> frozenset[str]:
        """Return what was announced since the last call; empty when ``timeout_s`` passed.

        Raises:
            SourceError: The connection is gone, and the leadership with it.
        """
        try:
            return frozenset(
                [
                    notice.payload
                    async for notice in self._connection.notifies(
                        timeout=max(timeout_s, 0.0), stop_after=1
                    )
                ]
            )
        except psycopg.Error as error:
            raise SourceError(f"database: waiting for changes: {error}") from error


@asynccontextmanager
async def leading(url: str, role: str) -> AsyncIterator[Wakeups]:
    """Wait until this process alone holds ``role``, then listen while the block runs.

    Args:
        url: PostgreSQL URL.
        role: Any name; one holder at a time per database.

    Raises:
        SourceError: The database cannot be reached, or takes no changes.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            psycopg_url(url),
            autocommit=True,
            connect_timeout=10,
            target_session_attrs="read-write",  # who leads must be able to note what it does
        )
    except psycopg.Error as error:
        raise SourceError(f"database: connecting as {role}: {error}") from error
    async with connection:
        await _lock(connection, role)
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
        except psycopg.Error as error:
            raise SourceError(f"database: listening as {role}: {error}") from error
        yield Wakeups(connection)


async def _lock(connection: psycopg.AsyncConnection[tuple[object, ...]], role: str) -> None:
    key = int.from_bytes(hashlib.sha256(role.encode()).digest()[:8], signed=True)
    while True:
        try:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (key,))
            row = await cursor.fetchone()
        except psycopg.Error as error:
            raise SourceError(f"database: taking the role {role}: {error}") from error
        if row and row[0]:
            return
        await asyncio.sleep(0.5)
