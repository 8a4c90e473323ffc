"""What a receiver asks of the database for each message: what it knows, and to keep it.

Messages that arrive together share one statement for either, and so one write to disk. Each
caller still hears about its own message only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.batching import Batched, arrays, unnest
from gridflex.adapters.database import read_rows, single_statements

Row = dict[str, Any]

_ASKED: Final = {
    "sender": "text",
    "message_id": "uuid",
    "transaction_id": "uuid",
    "is_callback": "boolean",
    "wants_body": "boolean",
    "side": "text",
    "may_open": "boolean",
}
_KEPT: Final = {
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


IS_DRAFT: Final = "side = 'bpp' AND NOT is_final AND stage <> 'active'"
"""A contract that a peer has opened here and not confirmed."""

_BACKGROUND: Final = text(f"""
    SELECT
        (SELECT array_agg(signature) FROM beckn_message
         WHERE way = 'in' AND peer = q.sender AND message_id = q.message_id
           AND is_callback = q.is_callback) AS earlier,
        asked.signature AS asked_signature,
        CASE WHEN q.wants_body THEN asked.body END AS asked_body,
        (SELECT state FROM beckn_contract
         WHERE transaction_id = q.transaction_id AND side = q.side) AS state,
        CASE WHEN q.may_open THEN
            (SELECT count(*) FROM beckn_contract
             WHERE {IS_DRAFT} AND peer = q.sender)
        ELSE 0 END AS drafts
    FROM {unnest(_ASKED)} WITH ORDINALITY AS q({", ".join(_ASKED)}, place)
    LEFT JOIN beckn_message AS asked ON q.is_callback AND asked.way = 'out'
        AND NOT asked.is_callback AND asked.message_id = q.message_id
    ORDER BY place
""")  # noqa: S608 - names and types of our own
_KEEP: Final = text(f"""
    WITH kept AS (
        INSERT INTO beckn_message (way, {", ".join(_KEPT)})
        SELECT 'in', new.* FROM {unnest(_KEPT)} AS new({", ".join(_KEPT)})
        ON CONFLICT DO NOTHING RETURNING id, peer, is_callback, message_id, signature, at),
    tasks AS (INSERT INTO beckn_task (message, kind, due_at) SELECT id, 'handle', at FROM kept)
    SELECT peer, is_callback, message_id, signature FROM kept
""")  # noqa: S608 - names and types of our own


class Intake:
    """Answers for each message that is received.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = single_statements(engine)
        self._background = Batched(self._backgrounds)
        self._keep = Batched(self._kept)

    async def background(self, row: Row) -> RowMapping:
        """Return what is known that bears on a message.

        Args:
            row: Sender, ids, way and side; whether the body of our request is wanted, and whether
                the message may open a contract.

        Raises:
            SourceError: The database cannot be reached.
        """
        return await self._background.ask(row)

    async def keep(self, row: Row) -> bool:
        """Return whether a message was kept; False if one that excludes it is there already.

        Args:
            row: By the names of the columns of ``beckn_message``.

        Raises:
            SourceError: The database cannot be reached; it may have been kept all the same.
            ContractError: A value does not fit into the database.
        """
        return await self._keep.ask(row)

    async def _backgrounds(self, rows: Sequence[Row]) -> Sequence[RowMapping]:
        asked = arrays(_ASKED, rows)
        what = "reading a message's background"
        return await read_rows(self._engine, _BACKGROUND, asked, doing=what)

    async def _kept(self, rows: Sequence[Row]) -> list[bool]:
        given = arrays(_KEPT, rows)
        found = await read_rows(self._engine, _KEEP, given, doing="keeping a message")
        left = Counter(_key(dict(one)) for one in found)
        answers = []
        for row in rows:
            answers.append(left[_key(row)] > 0)
            left[_key(row)] -= 1
        return answers


def _key(row: Mapping[str, Any]) -> tuple[str, bool, str, str]:
    return row["peer"], row["is_callback"], str(row["message_id"]).lower(), row["signature"]
