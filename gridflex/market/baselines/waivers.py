"""An operator's word that a unit is traded although its baseline is not known to predict well.

A first start has no history to judge by. Who starts all the same says until when and why; it is
recorded as an override before anything is sold on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from gridflex.errors import ContractError
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Entry, Event, EventType
from gridflex.market.registry import UnitId

KIND: Final = "unjudged-baseline"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A unit that is traded however its baseline is judged.

    Args:
        unit: Which unit.
        until: First settlement day on which it no longer is; a past one ends an earlier waiver.
        reason: Why, and who decided it.

    Raises:
        ContractError: No reason is given.
    """

    unit: UnitId
    until: date
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ContractError("reason is empty; valid is why, and who decided it")


def waiver_event(one: Waiver) -> Event:
    """Return a waiver as it is recorded; of several of a unit the later one counts."""
    body = {
        "kind": KIND,
        "unit": one.unit,
        "until": one.until.isoformat(),
        "reason": one.reason,
    }
    stem = f"override:{KIND}:{one.unit}:"
    return Event(
        id=f"{stem}{digest(canonical_json(body))[:16]}",
        event_type=EventType.OVERRIDE_MADE,
        body=body,
        subject=f"unit:{one.unit}",
        stem=stem,
    )


def waiver_on(entries: Iterable[Entry], *, day: date) -> Waiver | None:
    """Return the waiver among the entries about a unit that holds on a settlement day."""
    newest: Waiver | None = None
    for entry in entries:
        body = entry["body"]
        if entry["event_type"] == EventType.OVERRIDE_MADE and body.get("kind") == KIND:
            until = date.fromisoformat(body["until"])
            newest = Waiver(UnitId(body["unit"]), until, body["reason"])
    return newest if newest is not None and day < newest.until else None
