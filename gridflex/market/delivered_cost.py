"""What energy costs at the meter over several half-hours of a site's tariff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridflex.halfhour import HalfHour
from gridflex.market.tariff import TariffFile, UnitCost, fixed_cost_gbp, unit_cost
from gridflex.market.volumes import ZERO

ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True, eq=False)
class DeliveredSeries:
    """Prices at the meter.

    Args:
        gbp_per_mwh: Shape ``(T,)``.
        per_wholesale: Shape ``(T,)``, by how much each rises with the wholesale price.
    """

    gbp_per_mwh: NDArray[np.float64]
    per_wholesale: NDArray[np.float64]


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


class DeliveredPrices:
    """Delivered prices of a site over many half-hours, for planning; remembers what it computed.

    Args:
        tariff: The site's rates over time.
    """

    def __init__(self, tariff: TariffFile) -> None:
        self._tariff = tariff.dated()
        self._known: dict[HalfHour, tuple[float, float]] = {}

    def of(self, start: HalfHour, wholesale_gbp_per_mwh: NDArray[np.float64]) -> DeliveredSeries:
        """Return what energy costs at the meter.

        Args:
            start: First half-hour.
            wholesale_gbp_per_mwh: Shape ``(T,)``.

        Raises:
            ContractError: No version of the tariff is in force, or no band holds a half-hour.
        """
        lines = [self._line(at) for at in start.span(wholesale_gbp_per_mwh.size)]
        scale, added = np.array(lines, dtype=np.float64).reshape(-1, 2).T
        return DeliveredSeries(wholesale_gbp_per_mwh * scale + added, scale)

    def _line(self, half_hour: HalfHour) -> tuple[float, float]:
        """Return by what a wholesale price is multiplied, and what is added to it."""
        if half_hour not in self._known:
            free, dear = (
                unit_cost(self._tariff, half_hour=half_hour, wholesale_gbp_per_mwh=one)
                for one in (ZERO, ONE)
            )
            added = free.delivered_gbp_per_mwh
            self._known[half_hour] = float(dear.delivered_gbp_per_mwh - added), float(added)
        return self._known[half_hour]


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
