"""Beckn contracts that hold their energy in the same book as all other products."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.beckn.store import BecknStore
from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.energy_book import EnergyBook, Refused
from gridflex.beckn.messaging.keeping import Decision, HeldError, Hold
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.ledger.event import EventType
from gridflex.market.trading.exclusivity import Reservation
from gridflex.market.trading.reservations import Held
from gridflex.market.trading.shifting import shift_reservations
from gridflex.market.volumes import KWH_PER_MWH, ZERO, Rounding

log = logging.getLogger(__name__)

MeterOf = Callable[[str, HalfHour], Awaitable[str | None]]
"""From a site and a half-hour to the meter that is traded there; None where none is."""


class ReservingStore(BecknStore):
    """Reserves the energy of what is promised before it is promised, and gives it back.

    Energy is reserved first: a process that dies in between leaves a reservation that the same
    decision finds again, and never a promise without one. What a shifted run frees or takes comes
    on top of what others hold of its meter; how much the meter can deliver in all is not known.

    Args:
        engine: See `BecknStore`.
        ledger: Where reservations are.
        plans: When jobs would run.
        meter_of: Which meter is traded.
        now: GridFlex time.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        ledger: LedgerStore,
        plans: PlanStore,
        meter_of: MeterOf,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(engine)
        self._ledger = ledger
        self._energy = EnergyBook(ledger)
        self._plans = plans
        self._meter_of = meter_of
        self._now = now

    async def decide(self, decision: Decision) -> bool:
        """See `gridflex.beckn.messaging.keeping.Store.decide`.

        Raises:
            HeldError: Also where the energy of a hold is promised to another product.
        """
        reserved: list[Held] = []
        try:
            for hold in decision.holds:
                reserved += await self._reserve(hold)
            is_kept = await super().decide(decision)
        except HeldError:
            await self._give_back(reserved, "not promised after all")
            raise
        for transaction in decision.freed:
            await self._give_back(await self._held_by(transaction), "the contract ended")
        return is_kept

    async def _reserve(self, hold: Hold) -> list[Held]:
        made: list[Held] = []
        for wanted in await self._wanted(hold):
            book = await self._energy.held(wanted.meter, wanted.half_hour)
            is_new = book.of(wanted) is None
            held = await self._energy.reserve(wanted, flexible_mwh=None, now=self._now())
            if isinstance(held, Refused):
                log.info("%s cannot run at %s: %s", hold.thing, hold.start, held.reason)
                await self._give_back(made, "not promised after all")
                raise HeldError(hold.thing)
            if is_new:
                made.append(held)
        return made

    async def _wanted(self, hold: Hold) -> list[Reservation]:
        found = await self._plans.next_run(
            JobId(hold.thing), after=HalfHour.containing(self._now())
        )
        mwh = Rounding().volume(Decimal(repr(hold.energy_kwh)) / hold.half_hours / KWH_PER_MWH)
        if found is None or mwh <= ZERO:
            return []
        _, run = found
        meter = await self._meter_of(run.site, hold.start)
        if meter is None:
            return []
        return shift_reservations(
            meter=meter,
            contract=_name(hold.transaction_id),
            job=hold.thing,
            planned=run.start.span(run.half_hours),
            promised=hold.start.span(hold.half_hours),
            mwh=mwh,
        )

    async def _held_by(self, transaction: str) -> list[Held]:
        """Return what a contract holds in half-hours that have not begun."""
        now = HalfHour.containing(self._now())
        found = await self._ledger.find(EventType.ENERGY_RESERVED, first=now + 1)
        own = [one.event for one in found if one.event["body"]["contract"] == _name(transaction)]
        places = {(one["body"]["meter"], HalfHour.parse(one["valid_time"])) for one in own}
        held = []
        for meter, half_hour in sorted(places):
            book = await self._energy.held(meter, half_hour)
            held += [one for one in book.held if one.reservation.contract == _name(transaction)]
        return held

    async def _give_back(self, held: list[Held], reason: str) -> None:
        for one in held:
            await self._energy.release(one, reason=reason, now=self._now())


def _name(transaction_id: str) -> str:
    return f"beckn:{transaction_id}"
