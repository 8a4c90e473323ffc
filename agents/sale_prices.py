"""At which prices a half-hour can be sold and what imbalance may cost, as known now."""

from __future__ import annotations

import logging
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import numpy as np

from gridflex.adapters import elexon
from gridflex.adapters.grid_feeds import AskOutturn
from gridflex.agents.grid import Grid, GridStore
from gridflex.agents.traded import Prices
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.working_days import half_hours_of
from gridflex.signals import NATIONAL, Signal

log = logging.getLogger(__name__)

HISTORY: Final = 48
"""Half-hours of past prices that count as equally likely system prices."""

SYSTEM_PRICES: Final = (
    (Signal.SYSTEM_PRICE, elexon.SYSTEM_PRICE),
    (Signal.PRICE, elexon.MARKET_INDEX),
)
"""The system price itself, or the market index where no system price is known."""


class SalePrices:
    """Prices for a decision to sell.

    Args:
        grid: What is expected.
        outturns: What was.
    """

    def __init__(self, grid: Grid, outturns: GridStore) -> None:
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


class SystemPrices:
    """Imbalance prices for settlement, exactly as published.

    Args:
        outturns: Where they are kept.
        ask: Asks the provider again, whose figures later runs correct; None for what is kept.
        price: Signal and source of the price that is taken.
    """

    def __init__(
        self,
        outturns: GridStore,
        *,
        ask: AskOutturn | None = None,
        price: tuple[Signal, str] = SYSTEM_PRICES[0],
    ) -> None:
        self._outturns = outturns
        self._ask = ask
        self._signal, self._source = price

    async def of(self, day: date, *, now: datetime) -> dict[HalfHour, Decimal]:
        """Return those of a settlement day that are known, GBP/MWh.

        A provider that does not answer leaves what is kept.

        Raises:
            SourceError: The database cannot be reached.
        """
        span = half_hours_of(day)
        if self._ask is not None:
            try:
                said = await self._ask(start=span[0], end=span[-1] + 1, now=now)
            except (SourceError, ContractError) as error:
                log.warning("system prices of %s stay as they are kept: %s", day, error)
            else:
                await self._outturns.save_series([said])
        found = await self._outturns.outturn(
            self._signal,
            region=NATIONAL,
            source=self._source,
            start=span[0],
            half_hours=len(span),
            known_at=now,
        )
        values = found.values if found else ()
        return {
            at: Decimal(repr(float(value)))
            for at, value in zip(span, values, strict=False)
            if np.isfinite(value)
        }


def in_pence(gbp_per_mwh: float) -> Decimal:
    """Return a price in whole pence per MWh."""
    return Decimal(repr(round(float(gbp_per_mwh), 2)))
