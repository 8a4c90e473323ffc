"""What the ledger holds about the trading of some half-hours, and nothing of those before."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from gridflex.adapters.ledger.store import LedgerStore, Logged
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.trading.alarms import WATCHED
from gridflex.market.trading.restoring import MESSAGES, TRADED
from gridflex.market.working_days import DAY, half_hours_of

KEPT: Final = WATCHED + DAY
"""How far back messages may still be sent, answered or missed, and a day for good measure."""


def open_since(now: datetime) -> HalfHour:
    """Return the first half-hour about which something may still happen."""
    return start_of_day(HalfHour.containing(now - KEPT))


def start_of_day(half_hour: HalfHour) -> HalfHour:
    """Return the first half-hour of its settlement day, which a message of many is filed under."""
    return half_hours_of(half_hour.settlement[0])[0]


async def traded_entries(
    ledger: LedgerStore, *, first: HalfHour, last: HalfHour | None = None
) -> list[Logged]:
    """Return what was committed, sent, sold and answered, oldest first.

    Args:
        ledger: Where.
        first: First half-hour; the answers since its first entry are with it.
        last: Last half-hour, included; None for all since.

    Raises:
        SourceError: The database cannot be reached.
    """
    traded = await ledger.find(*TRADED, first=first, last=last)
    if not traded:
        return []
    answers = await ledger.find(EventType.ACK_RECEIVED, since=traded[0].index)
    return sorted([*traded, *answers], key=lambda one: one.index)


async def newest_messages(ledger: LedgerStore) -> list[Logged]:
    """Return the last message of each kind, whatever it is about.

    Raises:
        SourceError: The database cannot be reached.
    """
    found = [await ledger.newest(kind) for kind in MESSAGES]
    return [one for one in found if one is not None]
