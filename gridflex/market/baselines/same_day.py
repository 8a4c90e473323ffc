"""Baselines from the event's own day: the hours before and after it, for loads without a pattern.

PJM's "Same Day (3+2)": the mean of three hours before the event and two hours after it, each an
hour away from it. No history, no calendar, and no protection against moving load into the
hours that count; so it suits steady loads and is checked like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.engine import Event


@dataclass(frozen=True, slots=True)
class SameDay:
    """Which half-hours around an event count.

    Args:
        name: As written in the registry.
        before: Half-hours before the event.
        after: Half-hours after it.
        gap: Half-hours left out on either side.
        source: Where the rule is described.
    """

    name: str
    before: int
    after: int
    gap: int
    source: str


PJM_SAME_DAY_3_2: Final = SameDay(
    name="PJM-same-day-3+2",
    before=6,
    after=4,
    gap=2,
    source="PJM improved demand response baselines, same day (3+2)",
)


def same_day_baseline(rule: SameDay, *, event: Event, load: Mapping[HalfHour, Decimal]) -> Fraction:
    """Return the baseline of every half-hour of an event, MWh import positive.

    Args:
        rule: Which half-hours count.
        event: The activation.
        load: Net import in MWh around it.

    Raises:
        ContractError: A half-hour that counts has no reading.
    """
    first = event.first - (rule.gap + rule.before)
    last = event.first + (event.half_hours + rule.gap)
    counted = [*first.span(rule.before), *last.span(rule.after)]
    missing = [half_hour for half_hour in counted if half_hour not in load]
    if missing:
        raise ContractError(f"{rule.name}: no reading for {missing[0]} and {len(missing) - 1} more")
    return Fraction(sum((Fraction(load[one]) for one in counted), Fraction(0)), len(counted))
