"""What energy costs at the meter over several half-hours of a site's tariff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridflex.halfhour import HalfHour
from gridflex.market.tariff import TariffFile, UnitCost, fixed_cost_gbp, unit_cost


@dataclass(frozen=True, slots=True)
class DeliveredCost:
    """One half-hour.

    Args:
        half_hour: When.
        cost: Per MWh at the meter.
        fixed_gbp_per_day: Charges of its settlement day that do not depend on use.
    """

    half_hour: HalfHour
    cost: UnitCost
    fixed_gbp_per_day: Decimal

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, amounts as text."""
        return {
            "start": str(self.half_hour),
            "commodity_gbp_per_mwh": str(self.cost.commodity_gbp_per_mwh),
            "delivered_gbp_per_mwh": str(self.cost.delivered_gbp_per_mwh),
            "duos_band": self.cost.duos_band,
            "components_gbp_per_mwh": {
                name: str(gbp) for name, gbp in self.cost.components_gbp_per_mwh.items()
            },
            "fixed_gbp_per_day": str(self.fixed_gbp_per_day),
        }


def delivered_costs(
    tariff: TariffFile, wholesale_gbp_per_mwh: Mapping[HalfHour, Decimal]
) -> list[DeliveredCost]:
    """Return the cost of each half-hour, in order.

    Raises:
        ContractError: No version of the tariff is in force, or no band holds a half-hour.
    """
    dated = tariff.dated()
    return [
        DeliveredCost(
            at,
            unit_cost(dated, half_hour=at, wholesale_gbp_per_mwh=wholesale_gbp_per_mwh[at]),
            fixed_cost_gbp(dated, day=at.settlement[0]),
        )
        for at in sorted(wholesale_gbp_per_mwh)
    ]
