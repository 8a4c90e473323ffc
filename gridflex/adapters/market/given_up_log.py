"""Which settlement runs were given up and which are ordered late, as the ledger has it."""

from __future__ import annotations

from datetime import date, datetime

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.errors import ContractError
from gridflex.halfhour import LONDON, HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.settlement.given_up import (
    GivenUp,
    LateOrder,
    given_up_event,
    given_up_of,
    late_order_event,
    late_orders_of,
)
from gridflex.market.settlement.records import book_of


class GivenUpLog:
    """Reads and records them.

    Args:
        ledger: Where everything is recorded.
    """

    def __init__(self, ledger: LedgerStore) -> None:
        self._ledger = ledger

    async def given_up(self, unit: str | None = None) -> list[GivenUp]:
        """Return the runs that were given up, settled since or not.

        Args:
            unit: Only of this one; None for all.
        """
        subject = None if unit is None else f"unit:{unit}"
        found = await self._ledger.find(EventType.CONFIG_CHANGED, subject=subject)
        return given_up_of(one.event for one in found)

    async def orders(self, unit: str) -> list[LateOrder]:
        """Return what was ordered to be settled late."""
        found = await self._ledger.find(EventType.OVERRIDE_MADE, subject=f"unit:{unit}")
        return late_orders_of(one.event for one in found)

    async def seen_on(self, unit: str, *, before: datetime) -> date | None:
        """Return the day, by the clock in London, on which a unit's seller last did something.

        It records a baseline for each half-hour that it may sell, and what it gives up.

        Args:
            unit: Which unit.
            before: Nothing that was recorded later counts.
        """
        found = await self._ledger.newest(
            EventType.BASELINE_COMPUTED,
            EventType.CONFIG_CHANGED,
            subject=f"unit:{unit}",
            recorded_before=before,
        )
        if found is None:
            return None
        return datetime.fromisoformat(found.event["recorded_time"]).astimezone(LONDON).date()

    async def open_half_hours(self, one: GivenUp) -> tuple[HalfHour, ...]:
        """Return the half-hours that a run that was given up and all later ones have left."""
        first, last = min(one.half_hours), max(one.half_hours)
        found = await self._ledger.find(EventType.SETTLEMENT_RUN, first=first, last=last)
        return one.open_in(book_of(entry.event for entry in found))

    async def give_up(self, one: GivenUp, *, now: datetime) -> None:
        """Record that a run is not tried any more."""
        await self._ledger.append([given_up_event(one)], now=now)

    async def order(self, one: LateOrder, *, now: datetime) -> int:
        """Record an order and return its place; the same one again keeps it.

        Raises:
            ContractError: The run was not given up, or nothing of it is left.
        """
        known = await self.given_up(one.unit)
        left = [(it.day, it.run) for it in known if await self.open_half_hours(it)]
        if (one.day, one.run) not in left:
            valid = ", ".join(f"{day} {run}" for day, run in left) or "nothing now"
            raise ContractError(
                f"day and run: {one.day} {one.run} of {one.unit} is not given up with half-hours "
                f"left; valid is {valid}"
            )
        (index,) = await self._ledger.append([late_order_event(one)], now=now)
        return index
