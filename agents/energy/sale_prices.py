"""At which prices a half-hour can be sold and what imbalance may cost, as known now."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

import numpy as np

from gridflex.adapters.grid import elexon
from gridflex.agents.energy.sale import Prices
from gridflex.agents.energy.system_prices import SYSTEM_PRICE
from gridflex.agents.grid import Grid
from gridflex.agents.observations import Outturns
from gridflex.halfhour import HalfHour
from gridflex.signals import NATIONAL, Signal

HISTORY: Final = 48
"""Half-hours of past prices that count as equally likely system prices."""

SYSTEM_PRICES: Final = (SYSTEM_PRICE, (Signal.PRICE, elexon.MARKET_INDEX))
"""The system price itself, or the market index where no system price is known."""


class SalePrices:
    """Prices for a decision to sell.

    Args:
        grid: What is expected.
        outturns: What was.
    """

    def __init__(self, grid: Grid, outturns: Outturns) -> None:
        self._grid = grid
        self._outturns = outturns

    async def of(self, half_hour: HalfHour, *, now: datetime) -> Prices:
        """Return the prices for a half-hour.

        Raises:
            StaleDataError: Nothing is known about its price.
            SourceError: The database cannot be reached.
        """
        _, price = await self._grid.outlook(now, start=half_hour, half_hours=1)
        sale = in_pence(price.values[0])
        return Prices(sale, await self._system_prices(now) or (sale,))

    async def _system_prices(self, now: datetime) -> tuple[Decimal, ...]:
        for signal, source in SYSTEM_PRICES:
            history = await self._outturns.outturn(
                signal,
                region=NATIONAL,
                source=source,
                start=HalfHour.containing(now) + -HISTORY,
                half_hours=HISTORY,
                known_at=now,
            )
            if known := [one for one in history.values if np.isfinite(one)] if history else []:
                return tuple(in_pence(one) for one in known)
        return ()


def in_pence(gbp_per_mwh: float) -> Decimal:
    """Return a price in whole pence per MWh."""
    return Decimal(repr(round(float(gbp_per_mwh), 2)))
