"""The ledger in PostgreSQL: one writer at a time, and nothing is ever changed.

An append continues the Merkle tree from its right edge; entries, tiles and all are durable when
it returns, or none of them is there. An event that is already in the ledger is not recorded
twice, so that whoever crashed may simply append again. Of something that has versions only the
newest counts as being there: an older one that comes back is a new entry.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import source_errors
from gridflex.adapters.ledger.growth import grown, no_earlier, tile_row
from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.rows import (
    TileReader,
    copy_entries,
    known_entries,
    last_recorded,
    ledger_size,
    newest_checkpoint,
    newest_versions,
    read_edge,
    take_turn,
    tiles_of,
)
from gridflex.adapters.ledger.signing import check_extends, signer_in_force
from gridflex.adapters.ledger.tables import (
    LedgerCheckpointRow,
    LedgerEntryRow,
    LedgerTileRow,
    LedgerTimestampRow,
)
from gridflex.errors import ConflictError, ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.note import Signer, rotation_body, sign_checkpoint
from gridflex.ledger.tiles import SignedCheckpoint
from gridflex.ledger.tree import (
    Node,
    TileId,
    consistency_nodes,
    inclusion_nodes,
)
from gridflex.ledger.verify.merkle import TILE, RightEdge
from gridflex.ledger.verify.notes import Checkpoint

READ_BATCH: Final = 16 * TILE
TILES_KEPT: Final = 1_024


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry as the ledger has it.

    Args:
        index: Its place.
        leaf: Its leaf hash.
        entry: Its bytes.
    """

    index: int
    leaf: bytes
    entry: bytes

    @property
    def event(self) -> dict[str, Any]:
        """What it says, as JSON."""
        event: dict[str, Any] = json.loads(self.entry)
        return event


@dataclass(frozen=True, slots=True)
class _Seen:
    since: int
    kinds: tuple[EventType, ...]


class LedgerStore:
    """Appends to, signs and reads the ledger.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
        key: Signs checkpoints; None for a reader.
    """

    def __init__(self, engine: AsyncEngine, *, key: LedgerKey | None = None) -> None:
        self._engine = engine
        self._key = key
        self._turn = asyncio.Lock()
        self._edge = RightEdge()
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._tiles = TileReader(keep=TILES_KEPT)

    async def append(self, events: Sequence[Event], *, now: datetime) -> list[int]:
        """Record events in their order and return their indexes; durable when this returns.

        Args:
            events: An event that is already there, with the same id and content, keeps its index.
            now: GridFlex time, for all of them.

        Raises:
            ContractError: An id is taken by another event, an event is no valid entry, or the
                clock is behind the last recording time.
        """
        return await self._append(events, now)

    async def append_unless_changed(
        self, events: Sequence[Event], *, now: datetime, since: int, kinds: Sequence[EventType]
    ) -> list[int]:
        """Record events that were decided on other entries, if no such entry came since.

        Args:
            events: See `append`.
            now: GridFlex time, for all of them.
            since: From which index on nothing was seen.
            kinds: What they were decided on.

        Raises:
            ConflictError: Such an entry was recorded meanwhile; nothing of ``events`` is.
            ContractError: See `append`.
        """
        return await self._append(events, now, _Seen(since, tuple(kinds)))

    async def _append(
        self, events: Sequence[Event], now: datetime, seen: _Seen | None = None
    ) -> list[int]:
        async with self._turn, source_errors("appending to the ledger"):
            async with self._engine.begin() as connection:
                await take_turn(connection)
                if seen is not None:
                    await _check_unchanged(connection, seen)
                edge = await self._edge_of(connection)
                known = await known_entries(connection, [event.id for event in events])
                recorded_at = no_earlier(now, await last_recorded(connection))
                repeated = [one for one in events if one.id in known]
                versions = await newest_versions(connection, repeated)
                rows, tiles, indexes = grown(edge, events, known, versions, recorded_at)
                if rows:
                    await copy_entries(connection, rows)
                if tiles:
                    await connection.execute(
                        insert(LedgerTileRow), [tile_row(one) for one in tiles]
                    )
            self._edge = edge
        return indexes

    async def sign(self, *, now: datetime) -> SignedCheckpoint:
        """Return a signed checkpoint over all entries, a new one if there are new entries.

        Raises:
            ContractError: There is no key here, it is not the key in force, or the tree does not
                extend what it signed last: signing would testify to two histories.
        """
        if self._key is None:
            raise ContractError("no key to sign the ledger with")
        async with self._turn, source_errors("signing the ledger"), self._engine.begin() as tx:
            await take_turn(tx)
            edge = await self._edge_of(tx)
            signer = await signer_in_force(tx, self._key)
            last = await newest_checkpoint(tx)
            await check_extends(tx, edge.size, last, self._key)
            if last is not None and last.size == edge.size:
                return last
            checkpoint = Checkpoint(signer.key.name, edge.size, edge.root())
            note = sign_checkpoint(checkpoint, signers=[signer])
            self._key.remember(note)
            row = {"size": edge.size, "signed_at": now, "note": note}
            await tx.execute(insert(LedgerCheckpointRow).values(**row))
        return SignedCheckpoint(note)

    async def rotate_key(self, new: Signer, *, now: datetime) -> int:
        """Let another key sign from here on; both sign the entry that says so.

        Raises:
            ContractError: There is no key here, or the new one bears another name.
        """
        if self._key is None or new.key.name != self._key.signer.key.name:
            raise ContractError(f"{new.key} cannot take over from {self._key and self._key.signer}")
        self._key.prepare(new)
        body = rotation_body(self._key.signer, new=new)
        event = Event(f"key:{new.key.key_id.hex()}", EventType.KEY_ROTATED, body)
        (index,) = await self.append([event], now=now)
        self._key.use_next()
        return index

    async def stamp(self, size: int, *, authority: str, token: bytes, at: datetime) -> None:
        """Keep an RFC 3161 token over the checkpoint of ``size``; the first one stays."""
        row = {"size": size, "authority": authority, "stamped_at": at, "token": token}
        async with source_errors("storing a timestamp"), self._engine.begin() as connection:
            statement = upsert(LedgerTimestampRow).values(**row).on_conflict_do_nothing()
            await connection.execute(statement)

    async def size(self) -> int:
        """Return how many entries there are."""
        async with source_errors("reading the ledger"), self._engine.connect() as connection:
            return await ledger_size(connection)

    async def get(self, index: int) -> Logged | None:
        """Return one entry, or None if there is none at this index."""
        found = await self._select(_entry().where(col(LedgerEntryRow.index) == index))
        return found[0] if found else None

    async def find(
        self,
        *event_types: EventType,
        subject: str | None = None,
        first: HalfHour | None = None,
        last: HalfHour | None = None,
        since: int = 0,
        recorded_since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Logged]:
        """Return the entries of some types, oldest first.

        Args:
            event_types: Which; all without any.
            subject: Only those about it.
            first: Only those about this half-hour or a later one.
            last: Only those about this half-hour or an earlier one.
            since: Only those from this index on.
            recorded_since: Only those recorded then or later.
            limit: At most so many.
        """
        statement = _entry().where(col(LedgerEntryRow.index) >= since).limit(limit)
        if event_types:
            statement = statement.where(col(LedgerEntryRow.event_type).in_(event_types))
        if subject is not None:
            statement = statement.where(col(LedgerEntryRow.subject) == subject)
        if first is not None:
            statement = statement.where(col(LedgerEntryRow.half_hour) >= first.start)
        if last is not None:
            statement = statement.where(col(LedgerEntryRow.half_hour) <= last.start)
        if recorded_since is not None:
            statement = statement.where(col(LedgerEntryRow.recorded_at) >= recorded_since)
        return await self._select(statement)

    async def newest(
        self,
        *event_types: EventType,
        subject: str | None = None,
        recorded_before: datetime | None = None,
    ) -> Logged | None:
        """Return the entry of some types that was recorded last.

        Args:
            event_types: Which.
            subject: Only one about it.
            recorded_before: Only one that was recorded before.
        """
        row = LedgerEntryRow
        statement = select(col(row.index), col(row.leaf), col(row.entry)).where(
            col(row.event_type).in_(event_types)
        )
        if subject is not None:
            statement = statement.where(col(row.subject) == subject)
        if recorded_before is not None:
            statement = statement.where(col(row.recorded_at) < recorded_before)
        found = await self._select(statement.order_by(col(row.index).desc()).limit(1))
        return found[0] if found else None

    async def entries(self, *, first: int = 0, size: int) -> AsyncIterator[bytes]:
        """Yield the entries from index ``first`` to before ``size``, in order."""
        for start in range(first, size, READ_BATCH):
            end = min(start + READ_BATCH, size)
            span = col(LedgerEntryRow.index).between(start, end - 1)
            for logged in await self._select(_entry().where(span)):
                yield logged.entry

    async def hashes(self, tile: TileId, *, width: int) -> list[bytes]:
        """Return the first ``width`` hashes of a tile, or fewer if there are not so many."""
        async with source_errors("reading the ledger"), self._engine.connect() as connection:
            return list((await tiles_of(connection, {tile}))[tile][:width])

    async def checkpoints(self) -> list[SignedCheckpoint]:
        """Return every checkpoint that was signed, with its timestamps, oldest first."""
        at, stamp = LedgerCheckpointRow, LedgerTimestampRow
        notes = select(col(at.size), col(at.note)).order_by(col(at.size))
        tokens = select(col(stamp.size), col(stamp.authority), col(stamp.token))
        async with source_errors("reading checkpoints"), self._engine.connect() as connection:
            signed = (await connection.execute(notes)).all()
            stamped = (await connection.execute(tokens)).all()
        by_size: dict[int, dict[str, bytes]] = {}
        for size, authority, token in stamped:
            by_size.setdefault(size, {})[authority] = token
        return [SignedCheckpoint(note, by_size.get(size, {})) for size, note in signed]

    async def newest_checkpoint(self) -> SignedCheckpoint | None:
        """Return the last checkpoint that was signed."""
        async with source_errors("reading checkpoints"), self._engine.connect() as connection:
            return await newest_checkpoint(connection)

    async def inclusion_proof(self, index: int, *, size: int) -> list[bytes]:
        """Return the proof that entry ``index`` is among the first ``size``.

        Raises:
            ContractError: It is not.
        """
        return await self._proof(lambda: inclusion_nodes(index, size=size), size)

    async def consistency_proof(self, old: int, *, new: int) -> list[bytes]:
        """Return the proof that the first ``new`` entries begin with the first ``old``.

        Raises:
            ContractError: They do not, or there are not so many.
        """
        return await self._proof(lambda: consistency_nodes(old, new=new), new)

    async def _proof(self, nodes: Callable[[], list[Node]], size: int) -> list[bytes]:
        async with source_errors("proving an entry"), self._reader.connect() as connection:
            try:
                return await self._tiles.hashes(connection, nodes(), size=size)
            except ValueError as error:
                raise ContractError(f"no proof: {error}") from error

    async def _select(self, statement: Select[int, bytes, bytes]) -> list[Logged]:
        async with source_errors("reading the ledger"), self._engine.connect() as connection:
            rows = (await connection.execute(statement)).all()
        return [Logged(*row) for row in rows]

    async def _edge_of(self, connection: AsyncConnection) -> RightEdge:
        """Return a copy of the tree's right edge, read anew if another process appended."""
        size = await ledger_size(connection)
        if self._edge.size != size:
            self._edge = await read_edge(connection, size)
        return RightEdge([list(level) for level in self._edge.levels], size)


def _entry() -> Select[int, bytes, bytes]:
    row = LedgerEntryRow
    return select(col(row.index), col(row.leaf), col(row.entry)).order_by(col(row.index))


async def _check_unchanged(connection: AsyncConnection, seen: _Seen) -> None:
    row = LedgerEntryRow
    newer = (col(row.index) >= seen.since) & col(row.event_type).in_(seen.kinds)
    index = await connection.scalar(select(col(row.index)).where(newer).limit(1))
    if index is not None:
        raise ConflictError(f"entry {index} was recorded meanwhile; nothing was, send it again")
