"""Imbalance prices of past half-hours, by which deliveries and trades are settled."""

from __future__ import annotations

import logging
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import numpy as np

from gridflex.adapters.grid import elexon
from gridflex.adapters.grid.feeds import AskOutturn
from gridflex.agents.observations import Observations
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.working_days import half_hours_of
from gridflex.signals import NATIONAL, Signal

log = logging.getLogger(__name__)

SYSTEM_PRICE: Final = (Signal.SYSTEM_PRICE, elexon.SYSTEM_PRICE)


class SystemPrices:
    """Imbalance prices, exactly as published.

    Args:
        outturns: Where they are kept.
        ask: Asks the provider again, whose figures later runs correct; None for what is kept.
        price: Signal and source of the price that is taken.
    """

    def __init__(
        self,
        outturns: Observations,
        *,
        ask: AskOutturn | None = None,
        price: tuple[Signal, str] = SYSTEM_PRICE,
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
