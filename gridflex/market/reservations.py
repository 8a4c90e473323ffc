"""Who holds which energy, as the ledger says: the order of its entries decides.

A reservation is recorded first and judged by everything before it. One that would sell energy
twice holds nothing, however many processes record at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Event, EventType
from gridflex.market.exclusivity import Direction, ExclusivityLedger, Product, Reservation
from gridflex.market.records import Json

RESERVATIONS: Final = (EventType.ENERGY_RESERVED, EventType.ENERGY_RELEASED)


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation that holds.

    Args:
        index: Of its entry.
        reservation: What it holds.
    """

    index: int
    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Holdings:
    """All reservations that hold.

    Args:
        held: In the order in which they were made.
        refused: Why a reservation holds nothing, by the id of its event.
    """

    held: tuple[Held, ...]
    refused: dict[str, str]

    def of(self, wanted: Reservation) -> Held | None:
        """Return what the same contract holds of the same energy, however much it is."""
        return next((one for one in self.held if _key(one.reservation) == _key(wanted)), None)


def reservation_event(one: Reservation, *, flexible_mwh: Decimal) -> Event:
    """Return a reservation as it is recorded; the same one again is the same event.

    Args:
        one: What is promised.
        flexible_mwh: What the meter pair can deliver in the half-hour.
    """
    body = {
        "meter": one.meter,
        "direction": one.direction.value,
        "product": one.product.value,
        "mwh": str(one.mwh),
        "contract": one.contract,
        "flexible_mwh": str(flexible_mwh),
    }
    name = digest(canonical_json([body, str(one.half_hour)]))[:32]
    return Event(
        id=f"reservation:{name}",
        event_type=EventType.ENERGY_RESERVED,
        body=body,
        subject=f"meter:{one.meter}",
        half_hour=one.half_hour,
    )


def release_event(held: Held, *, reason: str) -> Event:
    """Return the release of a reservation."""
    return Event(
        id=f"release:{held.index}",
        event_type=EventType.ENERGY_RELEASED,
        body={"contract": held.reservation.contract, "reason": reason},
        subject=f"meter:{held.reservation.meter}",
        half_hour=held.reservation.half_hour,
        prev_ref=held.index,
    )


def holdings(entries: Iterable[tuple[int, Json]]) -> Holdings:
    """Return what holds after these reservations and releases.

    Args:
        entries: With their index, oldest first.
    """
    known = list(entries)
    released = {
        entry["prev_ref"] for _, entry in known if entry["event_type"] == EventType.ENERGY_RELEASED
    }
    book = ExclusivityLedger()
    held: list[Held] = []
    refused: dict[str, str] = {}
    for index, entry in known:
        if entry["event_type"] != EventType.ENERGY_RESERVED or index in released:
            continue
        one = _read(entry)
        try:
            book = book.reserve([one], flexible_mwh=Decimal(entry["body"]["flexible_mwh"]))
        except ContractError as error:
            refused[entry["id"]] = str(error)
        else:
            held.append(Held(index, one))
    return Holdings(tuple(held), refused)


def _read(entry: Json) -> Reservation:
    body = entry["body"]
    return Reservation(
        meter=body["meter"],
        half_hour=HalfHour.parse(entry["valid_time"]),
        direction=Direction(body["direction"]),
        product=Product(body["product"]),
        mwh=Decimal(body["mwh"]),
        contract=body["contract"],
    )


def _key(one: Reservation) -> tuple[str, HalfHour, Direction, Product, str]:
    return one.meter, one.half_hour, one.direction, one.product, one.contract
