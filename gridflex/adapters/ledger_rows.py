"""What the ledger's tables hold, read through one connection; see `LedgerStore`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import RowMapping, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from gridflex.adapters.tables import LedgerCheckpointRow, LedgerEntryRow, LedgerTileRow
from gridflex.ledger.tiles import SignedCheckpoint
from gridflex.ledger.tree import Node, TileId, node_hashes, tiles_needed
from gridflex.ledger.verify.merkle import TILE, RightEdge

LEDGER_LOCK: Final = 0x6C65_6467
"""Advisory lock key ("ledg") under which one process at a time appends or signs."""

_HASH_BYTES: Final = 32


async def take_turn(connection: AsyncConnection) -> None:
    """Wait until no other process appends or signs; this one does until its transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LEDGER_LOCK})


async def ledger_size(connection: AsyncConnection) -> int:
    """Return how many entries there are."""
    newest = await connection.scalar(select(func.max(col(LedgerEntryRow.index))))
    return 0 if newest is None else int(newest) + 1


async def last_recorded(connection: AsyncConnection) -> datetime | None:
    """Return the recording time of the last entry."""
    newest = select(col(LedgerEntryRow.recorded_at)).order_by(col(LedgerEntryRow.index).desc())
    found: datetime | None = await connection.scalar(newest.limit(1))
    return found


async def known_entries(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, RowMapping]:
    """Return the rows of events that are already there, by id."""
    row = LedgerEntryRow
    columns = (col(row.id), col(row.index), col(row.recorded_at), col(row.entry))
    found = await connection.execute(select(*columns).where(col(row.id) == func.any(list(ids))))
    return {one["id"]: one for one in found.mappings()}


async def read_edge(connection: AsyncConnection, size: int) -> RightEdge:
    """Return the unfinished tiles of the tree of ``size``."""
    levels = [TileId(level, size // TILE ** (level + 1)) for level in range(_height(size))]
    tiles = await tiles_of(connection, set(levels))
    return RightEdge([list(tiles[one]) for one in levels], size)


def _height(size: int) -> int:
    """Return how many tile levels the right edge has, as `RightEdge` counts them."""
    height = 1
    while size >= TILE**height:
        height += 1
    return height


async def tiles_of(
    connection: AsyncConnection, wanted: set[TileId]
) -> dict[TileId, Sequence[bytes]]:
    """Return tiles as far as they are filled."""
    row = LedgerTileRow
    pairs = [(one.level, one.index) for one in wanted]
    full = select(col(row.level), col(row.index), col(row.hashes)).where(
        tuple_(col(row.level), col(row.index)).in_(pairs)
    )
    tiles: dict[TileId, Sequence[bytes]] = {
        TileId(level, index): [
            hashes[i : i + _HASH_BYTES] for i in range(0, len(hashes), _HASH_BYTES)
        ]
        for level, index, hashes in (await connection.execute(full)).all()
    }
    for tile in wanted - tiles.keys():
        tiles[tile] = await _partial(connection, tile)
    return tiles


async def _partial(connection: AsyncConnection, tile: TileId) -> list[bytes]:
    first, last = tile.index * TILE, (tile.index + 1) * TILE - 1
    if tile.level == 0:
        at = col(LedgerEntryRow.index)
        statement = select(col(LedgerEntryRow.leaf)).where(at.between(first, last)).order_by(at)
    else:
        at, level = col(LedgerTileRow.index), col(LedgerTileRow.level)
        below = (level == tile.level - 1) & at.between(first, last)
        statement = select(col(LedgerTileRow.root)).where(below).order_by(at)
    return list((await connection.scalars(statement)).all())


async def hashes_of(connection: AsyncConnection, nodes: list[Node], size: int) -> list[bytes]:
    """Return the hashes of nodes in the tree of ``size``."""
    tiles = await tiles_of(connection, tiles_needed(nodes, size=size))
    return node_hashes(nodes, size=size, tiles=tiles)


async def newest_checkpoint(connection: AsyncConnection) -> SignedCheckpoint | None:
    """Return the last checkpoint that was signed."""
    newest = select(col(LedgerCheckpointRow.note)).order_by(col(LedgerCheckpointRow.size).desc())
    note = await connection.scalar(newest.limit(1))
    return None if note is None else SignedCheckpoint(note)
