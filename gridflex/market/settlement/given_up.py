"""Settlement runs that were given up for want of data, and an operator's order to settle one late.

A run that came due is tried for two weeks; then the next one picks up what it lacked, and after
the last one nobody does. That it was given up is recorded with what was missing, so that it is
told until the half-hours are settled, in this run or a later one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Entry, Event, EventType
from gridflex.market.registry import UnitId
from gridflex.market.settlement.book import SettlementBook
from gridflex.market.settlement.runs import Run

GIVEN_UP: Final = "settlement-given-up"
ORDERED: Final = "settle-late"


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A run of a settlement day that is not tried any more.

    Args:
        unit: Whose.
        day: Settlement day.
        run: Which run.
        half_hours: Those that it did not settle.
        missing: What they lacked when it was given up.
    """

    unit: UnitId
    day: date
    run: Run
    half_hours: tuple[HalfHour, ...]
    missing: str

    def open_in(self, settled: SettlementBook) -> tuple[HalfHour, ...]:
        """Return the half-hours that this run and all later ones have left."""
        done = {
            period.half_hour
            for period in settled.periods
            if not self.run.is_after(period.run)
            and any(unit.unit == self.unit for unit in period.units)
        }
        return tuple(one for one in self.half_hours if one not in done)


@dataclass(frozen=True, slots=True)
class LateOrder:
    """An order to settle a run of a day whenever its data are there.

    Args:
        unit: Whose.
        day: Settlement day.
        run: Which run.
        reason: Why, and who decided it.

    Raises:
        ContractError: No reason is given.
    """

    unit: UnitId
    day: date
    run: Run
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ContractError("reason is empty; valid is why, and who decided it")


def given_up_event(one: GivenUp) -> Event:
    """Return that a run was given up, as it is recorded once."""
    return Event(
        id=f"{GIVEN_UP}:{one.unit}:{one.day}:{one.run}",
        event_type=EventType.CONFIG_CHANGED,
        body={
            "kind": GIVEN_UP,
            "day": one.day.isoformat(),
            "run": one.run.value,
            "half_hours": [str(at) for at in one.half_hours],
            "missing": one.missing,
        },
        subject=f"unit:{one.unit}",
    )


def late_order_event(one: LateOrder) -> Event:
    """Return an order as it is recorded: an override of the timetable."""
    return Event(
        id=f"{ORDERED}:{one.unit}:{one.day}:{one.run}",
        event_type=EventType.OVERRIDE_MADE,
        body={
            "kind": ORDERED,
            "day": one.day.isoformat(),
            "run": one.run.value,
            "reason": one.reason,
        },
        subject=f"unit:{one.unit}",
    )


def given_up_of(entries: Iterable[Entry]) -> list[GivenUp]:
    """Return the runs that were given up among entries, by day and run."""
    found = [
        GivenUp(
            unit=_unit(entry),
            day=date.fromisoformat(entry["body"]["day"]),
            run=Run(entry["body"]["run"]),
            half_hours=tuple(HalfHour.parse(at) for at in entry["body"]["half_hours"]),
            missing=entry["body"]["missing"],
        )
        for entry in entries
        if _is(entry, EventType.CONFIG_CHANGED, GIVEN_UP)
    ]
    return sorted(found, key=lambda one: (one.day, one.run.position, one.unit))


def late_orders_of(entries: Iterable[Entry]) -> list[LateOrder]:
    """Return the orders among entries, in the order in which they were given."""
    return [
        LateOrder(
            unit=_unit(entry),
            day=date.fromisoformat(entry["body"]["day"]),
            run=Run(entry["body"]["run"]),
            reason=entry["body"]["reason"],
        )
        for entry in entries
        if _is(entry, EventType.OVERRIDE_MADE, ORDERED)
    ]


def _is(entry: Entry, event_type: EventType, kind: str) -> bool:
    return bool(entry["event_type"] == event_type and entry["body"].get("kind") == kind)


def _unit(entry: Entry) -> UnitId:
    return UnitId(str(entry["subject"]).removeprefix("unit:"))
