"""What of the central systems' figures counts instead of our own."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Figures(StrEnum):
    """What of a central report counts instead of our own."""

    PRICES = "prices"
    VOLUMES = "volumes"


@dataclass(frozen=True, slots=True)
class Authority:
    """Which figures of central reports count, and how far ours may be off.

    Args:
        counts: What counts instead of our own.
        tolerance_mwh: Difference of a volume that is not told.
        tolerance_gbp_per_mwh: Difference of a price that is not told.
    """

    counts: frozenset[Figures] = frozenset(Figures)
    tolerance_mwh: Decimal = Decimal("0.001")
    tolerance_gbp_per_mwh: Decimal = Decimal("0.01")


AUTHORITY: Final = Authority()
"""Where nothing else is said."""
