"""Who holds which energy, as the ledger says: the order of its entries decides.

A reservation is recorded first and judged by everything before it. One that would sell energy
twice holds nothing, however many processes record at the same time. A release frees energy for
what is recorded after it; what was decided before stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gridflex.errors import ConflictError, ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Entry, Event, EventType
from gridflex.market.trading.exclusivity import Direction, ExclusivityLedger, Product, Reservation
from gridflex.market.volumes import ZERO

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

    def refuse_other(self, mwh: Decimal) -> None:
        """Refuse to hold another amount under the same contract.

        Raises:
            ConflictError: It differs; names both.
        """
        one = self.reservation
        if mwh != one.mwh:
            raise ConflictError(
                f"{one.contract} ({one.product}) of {one.half_hour}: mwh {mwh} is not valid; "
                f"valid is {one.mwh}, which it holds by entry {self.index}"
            )


@dataclass(frozen=True, slots=True)
class Holdings:
    """All reservations that hold.

    Args:
        held: In the order in which they were made.
        refused: Why a reservation holds nothing, by the id of its event.
        released: Index of the last release; None before the first one.
    """

    held: tuple[Held, ...]
    refused: dict[str, str]
    released: int | None = None

    def of(self, wanted: Reservation) -> Held | None:
        """Return what the same contract holds of the same energy, however much it is."""
        return next((one for one in self.held if _key(one.reservation) == _key(wanted)), None)

    def others_mwh(self, wanted: Reservation) -> Decimal:
        """Return what other contracts hold in the direction of ``wanted``, MWh."""
        others = (one.reservation for one in self.held)
        return sum(
            (
                one.mwh
                for one in others
                if one.direction is wanted.direction and one.contract != wanted.contract
            ),
            ZERO,
        )


def reservation_event(
    one: Reservation, *, flexible_mwh: Decimal | None, released: int | None = None
) -> Event:
    """Return a reservation as it is recorded; the same one again is the same event.

    After a release it is a new one: what held nothing before may hold now.

    Args:
        one: What is promised.
        flexible_mwh: What the meter pair can deliver in the half-hour; None where it is not known
            and what is promised comes on top of what others hold.
        released: Index of the last release of the pair in the half-hour, if any.
    """
    body = {
        "meter": one.meter,
        "direction": one.direction.value,
        "product": one.product.value,
        "mwh": str(one.mwh),
        "contract": one.contract,
        "flexible_mwh": None if flexible_mwh is None else str(flexible_mwh),
    }
    after = [] if released is None else [released]
    if one.job is not None:
        body["job"] = one.job
    name = digest(canonical_json([body, str(one.half_hour), *after]))[:32]
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


def holdings(entries: Iterable[tuple[int, Entry]]) -> Holdings:
    """Return what holds after these reservations and releases.

    Args:
        entries: Those of a pair's half-hour with their index, oldest first.
    """
    held: tuple[Held, ...] = ()
    refused: dict[str, str] = {}
    released: int | None = None
    for index, entry in entries:
        if entry["event_type"] == EventType.ENERGY_RELEASED:
            held = tuple(one for one in held if one.index != entry["prev_ref"])
            released = index
        elif entry["event_type"] == EventType.ENERGY_RESERVED:
            try:
                held = _with(held, index, entry)
            except ContractError as error:
                refused[entry["id"]] = str(error)
    return Holdings(held, refused, released)


def served(entries: Iterable[tuple[int, Entry]]) -> dict[tuple[HalfHour, str], str]:
    """Return under which contract each job lowers import in a half-hour.

    Args:
        entries: Reservations and releases of one pair with their index, oldest first.
    """
    by_half_hour: dict[str, list[tuple[int, Entry]]] = {}
    for index, entry in entries:
        by_half_hour.setdefault(entry["valid_time"], []).append((index, entry))
    return {
        (one.reservation.half_hour, one.reservation.job): one.reservation.contract
        for some in by_half_hour.values()
        for one in holdings(some).held
        if one.reservation.job is not None and one.reservation.direction is Direction.DOWN
    }


def _with(held: tuple[Held, ...], index: int, entry: Entry) -> tuple[Held, ...]:
    """Return what holds with one more reservation; one that is held already changes nothing."""
    one, book = _read(entry), ExclusivityLedger(tuple(other.reservation for other in held))
    flexible = entry["body"]["flexible_mwh"]
    most = None if flexible is None else Decimal(flexible)
    if book.reserve([one], flexible_mwh=most) == book:
        return held
    return (*held, Held(index, one))


def _read(entry: Entry) -> Reservation:
    body = entry["body"]
    return Reservation(
        meter=body["meter"],
        half_hour=HalfHour.parse(entry["valid_time"]),
        direction=Direction(body["direction"]),
        product=Product(body["product"]),
        mwh=Decimal(body["mwh"]),
        contract=body["contract"],
        job=body.get("job"),
    )


def _key(one: Reservation) -> tuple[str, HalfHour, Direction, Product, str]:
    return one.meter, one.half_hour, one.direction, one.product, one.contract
