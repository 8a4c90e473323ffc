"""Payment of NESO's Demand Flexibility Service for one settlement period.

Source: NESO DFS Procurement Rules v5.0 and Service Terms v4.0 (2026): pay as bid, scaled by the
ratio of delivered to contracted volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gridflex.errors import ContractError
from gridflex.market.volumes import HOURS_PER_HALF_HOUR, ZERO

_HUNDRED: Final = Decimal(100)
_POOR: Final = Decimal("0.5")
CONSECUTIVE_POOR: Final = 5
POOR_IN_THREE_MONTHS: Final = 10


@dataclass(frozen=True, slots=True)
class DfsPayment:
    """What one settlement period pays.

    Args:
        delivered_percent: Delivered over contracted volume, in percent.
        factor: What the bid is multiplied by, from -1 to 1.2.
        gbp: Payment; negative is paid by the provider.
    """

    delivered_percent: Decimal
    factor: Decimal
    gbp: Decimal


def dfs_payment(
    *, contracted_mw: Decimal, price_gbp_per_mwh: Decimal, delivered_mwh: Decimal
) -> DfsPayment:
    """Return the payment for one settlement period.

    Args:
        contracted_mw: Accepted volume, above zero.
        price_gbp_per_mwh: The accepted bid.
        delivered_mwh: Delivered in the contracted direction; negative in the other.

    Raises:
        ContractError: Nothing was contracted.
    """
    if contracted_mw <= 0:
        raise ContractError(f"contracted_mw {contracted_mw} must be above 0")
    percent = _HUNDRED * delivered_mwh / (HOURS_PER_HALF_HOUR * contracted_mw)
    factor = payment_factor(percent)
    return DfsPayment(
        delivered_percent=percent,
        factor=factor,
        gbp=HOURS_PER_HALF_HOUR * price_gbp_per_mwh * contracted_mw * factor,
    )


def payment_factor(delivered_percent: Decimal) -> Decimal:
    """Return what the bid is multiplied by at a delivery ratio in percent."""
    ratio = delivered_percent / _HUNDRED
    if delivered_percent >= 120:  # noqa: PLR2004 - the bands are the rule itself
        return Decimal("1.20")
    if delivered_percent >= 50:  # noqa: PLR2004
        return ratio
    if delivered_percent >= 25:  # noqa: PLR2004
        return 2 * ratio - Decimal("0.5")
    if delivered_percent >= 0:
        return ZERO
    return max(ratio, Decimal(-1))


def risks_deregistration(factors: Sequence[Decimal]) -> bool:
    """Return whether the factors of the last three months, in order, are persistently poor.

    Poor is below a half: five in a row, or ten in all.
    """
    poor = [factor < _POOR for factor in factors]
    row = longest = 0
    for is_poor in poor:
        row = row + 1 if is_poor else 0
        longest = max(longest, row)
    return longest >= CONSECUTIVE_POOR or sum(poor) >= POOR_IN_THREE_MONTHS
