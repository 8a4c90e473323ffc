"""A *simulated* exchange that buys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.volumes import ZERO

EXCHANGE: Final = "SIMEXCH"
"""Party id of the simulated exchange."""


class SimulatedExchange:
    """Buys blocks at given prices up to a given depth.

    Args:
        price_gbp_per_mwh: Per half-hour; a half-hour without a price is not traded.
        depth_mw: Most it buys in each half-hour.
        lot_mw: Smallest step.
        trades: Sales that were concluded before, in order.
    """

    def __init__(
        self,
        price_gbp_per_mwh: Mapping[HalfHour, Decimal],
        *,
        depth_mw: Decimal,
        lot_mw: Decimal = Decimal("0.1"),
        trades: Iterable[Trade] = (),
    ) -> None:
        self._prices = price_gbp_per_mwh
        self._left: defaultdict[HalfHour, Decimal] = defaultdict(lambda: depth_mw)
        self._lot_mw = lot_mw
        self._trades = list(trades)
        for trade in self._trades:
            for one in trade.first.span(trade.half_hours):
                self._left[one] -= trade.mw

    def sell(
        self,
        *,
        first: HalfHour,
        half_hours: int,
        mw: Decimal,
        limit_gbp_per_mwh: Decimal,
        reference: str | None = None,
    ) -> Trade | None:
        """Sell a block at the mean of its prices; None if it is not taken whole at the limit.

        An order that was placed before under the same reference is answered as it was then.

        Raises:
            ContractError: The power is not a whole number of lots.
        """
        for trade in self._trades:
            if reference is not None and trade.reference == reference:
                return trade
        if mw <= 0 or mw % self._lot_mw:
            raise ContractError(f"{mw} MW is not a whole number of lots of {self._lot_mw} MW")
        block = list(first.span(half_hours))
        if any(one not in self._prices or self._left[one] < mw for one in block):
            return None
        price = sum((self._prices[one] for one in block), ZERO) / half_hours
        if price < limit_gbp_per_mwh:
            return None
        for one in block:
            self._left[one] -= mw
        number = len(self._trades) + 1
        made = Trade(
            f"SIM{number:06d}", EXCHANGE, first, half_hours, mw, price, reference=reference
        )
        self._trades.append(made)
        return made
