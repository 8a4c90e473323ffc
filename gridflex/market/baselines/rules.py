"""What a baseline rule is, and the methods of several markets as rules: data for `engine`.

Figures marked *unconfirmed* in ``source`` are public descriptions that were not checked against
the market's own manual; take the manual before trading on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Final


class Partition(StrEnum):
    """Which days are alike."""

    ALL = "all"
    WORKING = "working"
    SATURDAY_SUNDAY = "saturday-sunday"


class Order(StrEnum):
    """How the most recent eligible days are ranked, lowest first."""

    RECENT = "recent"
    DAY_TOTAL = "day-total"
    EVENT_TOTAL = "event-total"
    SIMILARITY = "similarity"


class Trigger(StrEnum):
    """What the market knows about a unit in a half-hour."""

    ACCEPTANCE = "acceptance"
    WHOLESALE_ONLY = "wholesale-only"
    NEITHER = "neither"


class Treatment(StrEnum):
    """Which baseline counts."""

    ADJUSTED = "adjusted"
    UNADJUSTED = "unadjusted"
    METERED = "metered"


class AdjustmentKind(StrEnum):
    """How the hours before the event move the baseline."""

    NONE = "none"
    ADDITIVE = "additive"
    RATIO = "ratio"


class Overnight(StrEnum):
    """What holds where the hours before the event lie on the day before."""

    UNDEFINED = "undefined"
    PREVIOUS_DAY = "previous-day"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which earlier days count.

    Args:
        lookback_days: How far back, in calendar days.
        pool: The most recent eligible days that are ranked.
        minimum: Fewest eligible days; below, the baseline is not defined.
        take: How many ranked days count, after ``drop_lowest``.
        drop_lowest: Lowest-ranked days left out.
        order: How the pool is ranked; ties go to the more recent day.
    """

    lookback_days: int
    pool: int
    minimum: int
    take: int
    drop_lowest: int = 0
    order: Order = Order.RECENT


@dataclass(frozen=True, slots=True)
class Adjustment:
    """How the baseline is moved to what was metered shortly before the event.

    Args:
        kind: None, added amount, or factor.
        length: Half-hours of the window.
        gap: Half-hours between the window and the event.
        cap: Greatest relative move of a factor, either way; None for none.
        overnight: What holds where the window begins on the day before.
    """

    kind: AdjustmentKind = AdjustmentKind.NONE
    length: int = 6
    gap: int = 2
    cap: Fraction | None = None
    overnight: Overnight = Overnight.UNDEFINED


@dataclass(frozen=True, slots=True)
class Rule:
    """A baseline method as data.

    Args:
        name: As written in the registry.
        partition: Which days are alike.
        selections: By label of the partition.
        weights: Of the selected days, most recent first; empty for a plain mean.
        adjustment: Move to the hours before the event.
        treatments: Which baseline counts, by what the market knows.
        source: Where the rule is described, and how far it is confirmed.
    """

    name: str
    partition: Partition
    selections: Mapping[str, Selection]
    source: str
    weights: tuple[int, ...] = ()
    adjustment: Adjustment = Adjustment()
    treatments: Mapping[Trigger, Treatment] = field(
        default_factory=lambda: dict.fromkeys(Trigger, Treatment.ADJUSTED)
    )


TWENTY_PERCENT: Final = Fraction(1, 5)

BL01: Final = Rule(
    name="BL01",
    partition=Partition.WORKING,
    selections={
        "working": Selection(lookback_days=60, pool=10, minimum=5, take=10),
        "non-working": Selection(
            lookback_days=60, pool=4, minimum=4, take=2, drop_lowest=1, order=Order.DAY_TOTAL
        ),
    },
    adjustment=Adjustment(kind=AdjustmentKind.ADDITIVE, length=6, gap=2),
    treatments={
        Trigger.ACCEPTANCE: Treatment.ADJUSTED,
        Trigger.WHOLESALE_ONLY: Treatment.UNADJUSTED,
        Trigger.NEITHER: Treatment.METERED,
    },
    source=(
        "BSC Baselining Methodology Document (P376) as carried in NESO DFS Procurement Rules v5.0, "
        "Schedule 3 Part 3; treatment of wholesale-only half-hours unconfirmed"
    ),
)

CAISO_10_IN_10: Final = Rule(
    name="CAISO-10-in-10",
    partition=Partition.WORKING,
    selections={
        "working": Selection(lookback_days=45, pool=10, minimum=5, take=10),
        "non-working": Selection(lookback_days=45, pool=4, minimum=4, take=4),
    },
    adjustment=Adjustment(kind=AdjustmentKind.RATIO, length=6, gap=2, cap=TWENTY_PERCENT),
    source="CAISO Baseline Accuracy Work Group; cap confirmed, look-back unconfirmed",
)

NYISO_CBL: Final = Rule(
    name="NYISO-CBL",
    partition=Partition.WORKING,
    selections={
        "working": Selection(
            lookback_days=30, pool=10, minimum=10, take=5, drop_lowest=5, order=Order.EVENT_TOTAL
        ),
        "non-working": Selection(
            lookback_days=30, pool=3, minimum=3, take=2, drop_lowest=1, order=Order.EVENT_TOTAL
        ),
    },
    adjustment=Adjustment(kind=AdjustmentKind.RATIO, length=4, gap=4, cap=TWENTY_PERCENT),
    source="sumedhsankhe/nyiso_baseline; unconfirmed",
)

_PJM_WEEKEND: Final = Selection(
    lookback_days=45, pool=3, minimum=3, take=2, drop_lowest=1, order=Order.EVENT_TOTAL
)

PJM_HIGH_4_OF_5: Final = Rule(
    name="PJM-high-4-of-5",
    partition=Partition.SATURDAY_SUNDAY,
    selections={
        "working": Selection(
            lookback_days=45, pool=5, minimum=5, take=4, drop_lowest=1, order=Order.EVENT_TOTAL
        ),
        "saturday": _PJM_WEEKEND,
        "sunday": _PJM_WEEKEND,
    },
    adjustment=Adjustment(kind=AdjustmentKind.ADDITIVE, length=6, gap=2),
    source="PJM economic load response, default baseline; unconfirmed",
)

PJM_MATCH_DAY: Final = Rule(
    name="PJM-match-day",
    partition=Partition.ALL,
    selections={
        "all": Selection(lookback_days=45, pool=45, minimum=3, take=3, order=Order.SIMILARITY)
    },
    source="PJM improved demand response baselines, match day",
)

KEPCO_MID_6_OF_10: Final = Rule(
    name="KEPCO-mid-6-of-10",
    partition=Partition.WORKING,
    selections={
        "working": Selection(
            lookback_days=45, pool=10, minimum=10, take=6, drop_lowest=2, order=Order.DAY_TOTAL
        ),
    },
    weights=(6, 5, 4, 3, 2, 1),
    source="KEPCO customer baseline load, Mid 6/10; weights by recency are assumed",
)

RULES: Final = {
    rule.name: rule
    for rule in (
        *(BL01, CAISO_10_IN_10, NYISO_CBL),
        *(PJM_HIGH_4_OF_5, PJM_MATCH_DAY, KEPCO_MID_6_OF_10),
    )
}
"""By the name that a registry entry carries."""
