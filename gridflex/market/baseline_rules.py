"""Baseline methods of several markets, as data for `gridflex.market.baseline`.

Figures marked *unconfirmed* in ``source`` are public descriptions that were not checked against
the market's own manual; take the manual before trading on them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from gridflex.market.baseline import (
    Adjustment,
    AdjustmentKind,
    Order,
    Partition,
    Rule,
    Selection,
    Treatment,
    Trigger,
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
