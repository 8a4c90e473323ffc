"""A computed baseline as it is shown and recorded: MWh import positive, as text."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Event, EventType
from gridflex.market.baselines.engine import BaselineDay, History
from gridflex.market.registry import Msid
from gridflex.market.volumes import Rounding
from gridflex.market.working_days import half_hours_of


def baseline_json(
    made: BaselineDay, *, meter: Msid, history: History, rounding: Rounding
) -> dict[str, Any]:
    """Return a baseline with how it came about.

    Args:
        made: The baseline.
        meter: Of which meter.
        history: From which it was computed.
        rounding: How volumes are rounded.
    """
    half_hours = half_hours_of(made.day)
    metered = history.load.get(made.day, (None,) * len(half_hours))
    rows = zip(half_hours, made.values, made.unadjusted, metered, strict=True)
    return {
        "method": made.rule,
        "meter": meter,
        "day": made.day.isoformat(),
        "is_defined": made.is_defined,
        "eligible": [one.isoformat() for one in made.eligible],
        "selected": [one.isoformat() for one in made.selected],
        "excluded": {day.isoformat(): why for day, why in made.excluded.items()},
        "move": None if made.move is None else str(made.move),
        "note": made.note,
        "half_hours": [
            {
                "start": str(at),
                "baseline_mwh": _volume(value, rounding),
                "unadjusted_mwh": _volume(plain, rounding),
                "metered_mwh": None if real is None else str(real),
            }
            for at, value, plain, real in rows
        ],
    }


def baseline_event(shown: Mapping[str, Any]) -> Event:
    """Return a baseline as it is recorded; another outcome for the day is another event."""
    return Event(
        id=f"baseline:{shown['meter']}:{shown['day']}:{digest(canonical_json(dict(shown)))[:16]}",
        event_type=EventType.BASELINE_COMPUTED,
        body=dict(shown),
        subject=f"meter:{shown['meter']}",
        half_hour=HalfHour.parse(shown["half_hours"][0]["start"]),
    )


def _volume(mwh: Fraction | None, rounding: Rounding) -> str | None:
    return None if mwh is None else str(rounding.volume(mwh))
