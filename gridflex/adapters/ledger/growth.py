"""What an append adds to the ledger: rows and tiles, worked out before anything is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import RowMapping

from gridflex.adapters.ledger.rows import Lineage, lineage
from gridflex.errors import ContractError
from gridflex.ledger.event import Event
from gridflex.ledger.verify.merkle import FullTile, RightEdge, leaf_hash

CLOCK_TOLERANCE: Final = timedelta(hours=1)
"""How far behind the last recording time a writer's clock may be; it is then recorded at that,
later than it says and never earlier. On a fast replay clock a second's wait is minutes."""

Row = Mapping[str, Any] | RowMapping


def grown(
    edge: RightEdge,
    events: Iterable[Event],
    known: Mapping[str, Row],
    newest: Mapping[Lineage, Row],
    recorded_at: datetime,
) -> tuple[list[dict[str, Any]], list[FullTile], list[int]]:
    """Grow the edge by the events that are new; return their rows, full tiles and all indexes.

    Args:
        edge: Of the tree; grows.
        events: What is to be recorded.
        known: Rows that have an event's id, by id.
        newest: Newest row of each thing that events are versions of.
        recorded_at: For all that are new.

    Raises:
        ContractError: An id is taken by another event, or an event is no valid entry.
    """
    rows: dict[str, dict[str, Any]] = {}
    tiles: list[FullTile] = []
    indexes: list[int] = []
    versions = dict(newest)
    for sent in events:
        event, thing = sent, lineage(sent)
        held = known.get(event.id) or rows.get(event.id)
        if held is not None and thing is not None:
            event = _version(sent, versions[thing])
            held = versions[thing] if event.id == versions[thing]["id"] else None
        if held is not None:
            if event.entry(recorded_at=held["recorded_at"]) != held["entry"]:
                raise ContractError(
                    f"event {event.id} is entry {held['index']} with other content; "
                    "a correction is a new event"
                )
            indexes.append(held["index"])
            continue
        entry = event.entry(recorded_at=recorded_at)
        leaf = leaf_hash(entry)
        indexes.append(edge.size)
        row = rows[event.id] = _row(event, edge.size, recorded_at, entry, leaf)
        if thing is not None:
            versions[thing] = row
        tiles += edge.append(leaf)
    return list(rows.values()), tiles, indexes


def _version(event: Event, newest: Row) -> Event:
    """Return a version that came before: under the newest one's id if it is that, or anew."""
    before = json.loads(newest["entry"])["prev_ref"]
    same = replace(event, id=newest["id"], prev_ref=before)
    if same.entry(recorded_at=newest["recorded_at"]) == newest["entry"]:
        return same
    return replace(event, id=f"{event.id}:{newest['index']}", prev_ref=newest["index"])


def _row(
    event: Event, index: int, recorded_at: datetime, entry: bytes, leaf: bytes
) -> dict[str, Any]:
    return {
        "index": index,
        "id": event.id,
        "event_type": event.event_type.value,
        "subject": event.subject,
        "half_hour": event.half_hour.start if event.half_hour else None,
        "recorded_at": recorded_at,
        "entry": entry,
        "leaf": leaf,
    }


def tile_row(tile: FullTile) -> dict[str, Any]:
    """Return a full tile as a row of `LedgerTileRow`."""
    return {
        "level": tile.level,
        "index": tile.index,
        "hashes": b"".join(tile.hashes),
        "root": tile.root,
    }


def no_earlier(now: datetime, last: datetime | None) -> datetime:
    """Return when entries are recorded: never before the last one.

    Raises:
        ContractError: The clock is too far behind.
    """
    if last is not None and now < last - CLOCK_TOLERANCE:
        raise ContractError(f"the clock says {now}, but the last entry was recorded at {last}")
    return max(now, last) if last else now
