"""Keeping messages that arrive together with one write to disk for all of them.

What arrives while one write is on its way waits and goes into the next; nothing waits for more to
arrive. Each caller still hears whether its own message was kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.database import single_statements, source_errors
from gridflex.errors import GridFlexError

MOST: Final = 64
"""Messages in one write."""

_Row = dict[str, Any]
_Key = tuple[str, bool, str, str]

_COLUMNS: Final = {
    "is_callback": "boolean",
    "action": "text",
    "transaction_id": "uuid",
    "message_id": "uuid",
    "peer": "text",
    "signature": "text",
    "authorization_header": "text",
    "answers": "text",
    "body": "bytea",
    "at": "timestamptz",
    "reply_status": "integer",
    "reply_body": "bytea",
    "reply_signature": "text",
}
_NAMES: Final = ", ".join(_COLUMNS)
_ARRAYS: Final = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())
_KEEP: Final = text(f"""
    WITH kept AS (
        INSERT INTO beckn_message (way, {_NAMES})
        SELECT 'in', new.* FROM unnest({_ARRAYS}) AS new({_NAMES})
        ON CONFLICT DO NOTHING RETURNING id, peer, is_callback, message_id, signature, at),
    tasks AS (INSERT INTO beckn_task (message, kind, due_at) SELECT id, 'handle', at FROM kept)
    SELECT peer, is_callback, message_id, signature FROM kept
""")  # noqa: S608 - names and types of our own


class Intake:
    """Writes received messages, one statement at a time.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = single_statements(engine)
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[_Row, asyncio.Future[bool]]] = []

    async def keep(self, row: _Row) -> bool:
        """Return whether a message was kept; False if one that excludes it is there already.

        Args:
            row: By the names of the columns of ``beckn_message``.

        Raises:
            SourceError: The database cannot be reached; it may have been kept all the same.
            ContractError: A value does not fit into the database.
        """
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, mine))
        async with self._turn:
            while not mine.done():
                await self._write()
        return mine.result()

    async def _write(self) -> None:
        """Write what waits; what was not written when it is interrupted goes on waiting."""
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            for (_, future), was_kept in zip(
                batch, await self._kept([row for row, _ in batch]), strict=True
            ):
                future.set_result(was_kept)
        except GridFlexError as error:
            for _, future in batch:
                future.set_exception(error)
        finally:
            self._waiting[:0] = [one for one in batch if not one[1].done()]

    async def _kept(self, rows: Sequence[_Row]) -> list[bool]:
        values = {name: [row[name] for row in rows] for name in _COLUMNS}
        async with source_errors("keeping messages"), self._engine.connect() as connection:
            found = (await connection.execute(_KEEP, values)).all()
        left = Counter(
            (one.peer, one.is_callback, str(one.message_id), one.signature) for one in found
        )
        answers = []
        for row in rows:
            key = _key(row)
            answers.append(left[key] > 0)
            left[key] -= 1
        return answers


def _key(row: _Row) -> _Key:
    return row["peer"], row["is_callback"], str(row["message_id"]).lower(), row["signature"]
