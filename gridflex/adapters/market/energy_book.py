"""Which energy is promised to which product, kept in the ledger."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.halfhour import HalfHour
from gridflex.market.trading.exclusivity import Reservation
from gridflex.market.trading.reservations import (
    RESERVATIONS,
    Held,
    Holdings,
    holdings,
    release_event,
    reservation_event,
    served,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """A reservation that holds nothing.

    Args:
        index: Of its entry.
        reason: Why.
    """

    index: int
    reason: str


class EnergyBook:
    """Reserves energy and releases it.

    Args:
        ledger: Where reservations are recorded; the order of its entries decides.
    """

    def __init__(self, ledger: LedgerStore) -> None:
        self._ledger = ledger

    async def reserve(
        self, wanted: Reservation, *, flexible_mwh: Decimal | None, now: datetime
    ) -> Held | Refused:
        """Reserve energy, or return what the same contract holds already.

        Args:
            wanted: What to promise.
            flexible_mwh: What the meter pair can deliver in the half-hour; None where it is not
                known and what is promised comes on top of what others hold.
            now: GridFlex time.

        Raises:
            SourceError: The database cannot be reached.
        """
        before = await self.held(wanted.meter, wanted.half_hour)
        if (held := before.of(wanted)) is not None:
            return held
        event = reservation_event(wanted, flexible_mwh=flexible_mwh, released=before.released)
        (index,) = await self._ledger.append([event], now=now)
        after = await self.held(wanted.meter, wanted.half_hour)
        if (held := after.of(wanted)) is not None:
            return held
        reason = after.refused.get(event.id, "released again meanwhile")
        log.warning("%s of %s is not reserved: %s", wanted.product, wanted.half_hour, reason)
        return Refused(index, reason)

    async def release(self, held: Held, *, reason: str, now: datetime) -> None:
        """Give energy back."""
        await self._ledger.append([release_event(held, reason=reason)], now=now)

    async def served(
        self, meter: str, *, first: HalfHour, last: HalfHour
    ) -> dict[tuple[HalfHour, str], str]:
        """Return under which contract each job lowers the import of a meter pair."""
        found = await self._ledger.find(
            *RESERVATIONS, subject=f"meter:{meter}", first=first, last=last
        )
        return served((one.index, one.event) for one in found)

    async def held(self, meter: str, half_hour: HalfHour) -> Holdings:
        """Return what is promised of a meter pair in a half-hour."""
        found = await self._ledger.find(
            *RESERVATIONS, subject=f"meter:{meter}", first=half_hour, last=half_hour
        )
        return holdings((one.index, one.event) for one in found)
