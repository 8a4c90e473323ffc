"""What a sale of a half-hour takes: an exchange, prices and terms; and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from gridflex.halfhour import HalfHour
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.volumes import ImportMWh


class Exchange(Protocol):
    """Where energy is sold."""

    def sell(
        self,
        *,
        first: HalfHour,
        half_hours: int,
        mw: Decimal,
        limit_gbp_per_mwh: Decimal,
        reference: str,
    ) -> Trade | None:
        """Sell a block; None if it is not taken at the limit.

        An order with a ``reference`` that was taken before is answered with that trade.

        Raises:
            OrderPendingError: It is placed and not answered yet.
        """
        ...


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of prices when a sale is decided.

    Args:
        sale_gbp_per_mwh: At which energy of the half-hour can be sold now.
        system_gbp_per_mwh: Equally likely system prices.
    """

    sale_gbp_per_mwh: Decimal
    system_gbp_per_mwh: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """On what terms a half-hour is committed and sold.

    Args:
        line_loss_factor: Scales the meter to the grid supply point, where volumes are submitted.
        held_back: Why nothing of it is to be sold; None where it may be.
    """

    line_loss_factor: Decimal = Decimal(1)
    held_back: str | None = None


@dataclass(frozen=True, slots=True)
class Sold:
    """One half-hour that was traded.

    Args:
        half_hour: When.
        expected: Import without flexibility, as committed.
        planned: Import by the plan of that time.
        trade: The sale; None if none was worth it or taken.
    """

    half_hour: HalfHour
    expected: ImportMWh
    planned: ImportMWh
    trade: Trade | None
