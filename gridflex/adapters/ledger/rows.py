"""What the ledger's tables hold, read through one connection; see `LedgerStore`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import RowMapping, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from gridflex.adapters.database import LOST
from gridflex.adapters.ledger.tables import LedgerCheckpointRow, LedgerEntryRow, LedgerTileRow
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event
from gridflex.ledger.tiles import SignedCheckpoint
from gridflex.ledger.tree import Node, TileId, node_hashes, tile_width, tiles_needed
from gridflex.ledger.verify.merkle import TILE, RightEdge

LEDGER_LOCK: Final = 0x6C65_6467
"""Advisory lock key ("ledg") under which one process at a time appends or signs."""

_HASH_BYTES: Final = 32
Lineage = tuple[str, str | None, HalfHour | None, str]
"""What several entries may be versions of: type, subject, half-hour and start of the id."""

_NEWEST_VERSIONS: Final = """
    SELECT DISTINCT ON (w.place) w.place, e.id, e.index, e.recorded_at, e.entry
    FROM unnest(
        CAST(:types AS text[]), CAST(:subjects AS text[]),
        CAST(:half_hours AS timestamptz[]), CAST(:stems AS text[])
    ) WITH ORDINALITY AS w (event_type, subject, half_hour, stem, place)
    JOIN ledger_entry e ON e.event_type = w.event_type
        AND coalesce(e.subject, '') = coalesce(w.subject, '')
        AND coalesce(e.half_hour, '-infinity') = coalesce(w.half_hour, '-infinity')
        AND starts_with(e.id, w.stem)
    ORDER BY w.place, e.index DESC
"""

_COLUMNS: Final = {
    "index": "int8",
    "id": "text",
    "event_type": "text",
    "subject": "text",
    "half_hour": "timestamptz",
    "recorded_at": "timestamptz",
    "entry": "bytea",
    "leaf": "bytea",
}


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


async def newest_versions(
    connection: AsyncConnection, events: Sequence[Event]
) -> dict[Lineage, RowMapping]:
    """Return the newest row of each thing that ``events`` are versions of, if there is one."""
    wanted = list({one: None for event in events if (one := lineage(event))})
    if not wanted:
        return {}
    types, subjects, half_hours, stems = zip(*wanted, strict=True)
    values = {
        "types": list(types),
        "subjects": list(subjects),
        "half_hours": [one.start if one else None for one in half_hours],
        "stems": list(stems),
    }
    found = await connection.execute(text(_NEWEST_VERSIONS), values)
    return {wanted[one["place"] - 1]: one for one in found.mappings()}


def lineage(event: Event) -> Lineage | None:
    """Return what ``event`` is a version of; None for what happens once."""
    if event.stem is None:
        return None
    return event.event_type.value, event.subject, event.half_hour, event.stem


async def copy_entries(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert entries (columns of `LedgerEntryRow`), in the transaction of ``connection``.

    Raises:
        SourceError: The database was lost.
    """
    raw = await connection.get_raw_connection()
    driver: psycopg.AsyncConnection[Any] = raw.driver_connection  # type: ignore[assignment]
    columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    statement = sql.SQL("COPY ledger_entry ({}) FROM STDIN (FORMAT BINARY)").format(columns)
    try:
        async with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(list(_COLUMNS.values()))
            for row in rows:
                await copy.write_row([row[name] for name in _COLUMNS])
    except LOST as error:  # past SQLAlchemy, which maps its own
        raise SourceError(f"database: appending to the ledger: {error}") from error


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


class TileReader:
    """Computes hashes of the tree from its tiles.

    What a tree of some size has of a tile never changes, so that tiles can be kept in memory; who
    wants to know whether the database was changed keeps none.

    Args:
        keep: How many tiles to keep, of 20 kB each.
    """

    def __init__(self, *, keep: int = 0) -> None:
        self._keep = keep
        self._kept: OrderedDict[tuple[TileId, int], Sequence[bytes]] = OrderedDict()

    async def hashes(
        self, connection: AsyncConnection, nodes: list[Node], *, size: int
    ) -> list[bytes]:
        """Return the hashes of nodes in the tree of ``size``.

        Raises:
            ValueError: The ledger has fewer entries.
        """
        wanted = {tile: tile_width(tile, size=size) for tile in tiles_needed(nodes, size=size)}
        tiles = {tile: self._kept.get((tile, width)) for tile, width in wanted.items()}
        missing = {tile for tile, hashes in tiles.items() if hashes is None}
        read = await tiles_of(connection, missing) if missing else {}
        for tile in missing:
            hashes = read[tile][: wanted[tile]]
            if len(hashes) < wanted[tile]:
                raise ValueError(f"there are fewer than {size} entries")
            self._remember((tile, wanted[tile]), hashes)
            tiles[tile] = hashes
        return node_hashes(nodes, size=size, tiles={t: h for t, h in tiles.items() if h})

    def _remember(self, key: tuple[TileId, int], hashes: Sequence[bytes]) -> None:
        self._kept[key] = hashes
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)


async def newest_checkpoint(connection: AsyncConnection) -> SignedCheckpoint | None:
    """Return the last checkpoint that was signed."""
    newest = select(col(LedgerCheckpointRow.note)).order_by(col(LedgerCheckpointRow.size).desc())
    note = await connection.scalar(newest.limit(1))
    return None if note is None else SignedCheckpoint(note)
