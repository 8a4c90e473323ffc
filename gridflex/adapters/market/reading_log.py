"""Records meter readings in the ledger, each version once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.meters import Reading
from gridflex.market.registry import Msid
from gridflex.market.registry_records import reading_event, readings_of

Versions = dict[tuple[Msid, HalfHour], tuple[Reading, int]]


async def record_readings(
    ledger: LedgerStore, readings: Collection[Reading], *, now: datetime
) -> tuple[list[int], int]:
    """Record readings and return their places in the ledger, and how many of them are new.

    A reading that says what the newest version of its half-hour says keeps that one's place,
    whenever it arrives.

    Args:
        ledger: Where everything is recorded.
        readings: What came in, each half-hour of a meter once.
        now: GridFlex time.

    Raises:
        SourceError: The database cannot be reached.
    """
    known = await _newest(ledger, readings)
    places: dict[Reading, int] = {}
    for one in readings:
        held = known.get((one.meter, one.half_hour))
        if held is not None and replace(one, received_at=held[0].received_at) == held[0]:
            places[one] = held[1]
    new = [one for one in readings if one not in places]
    indexes = await ledger.append([reading_event(one) for one in new], now=now) if new else []
    places |= dict(zip(new, indexes, strict=True))
    return [places[one] for one in readings], len(set(new))


async def _newest(ledger: LedgerStore, readings: Collection[Reading]) -> Versions:
    """Return the version of each half-hour that was recorded last, with its place."""
    newest: Versions = {}
    for meter in sorted({one.meter for one in readings}):
        about = [one.half_hour for one in readings if one.meter == meter]
        found = await ledger.find(
            EventType.METER_RECEIVED, subject=f"meter:{meter}", first=min(about), last=max(about)
        )
        for entry in found:
            for one in readings_of([entry.event]):
                newest[meter, one.half_hour] = one, entry.index
    return newest
