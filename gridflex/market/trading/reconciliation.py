"""Whether what was traded, what was notified and what was accepted are the same volumes.

Per half-hour and buyer: the trading book must equal the accepted contract notices. Any
difference names both sides; nothing is corrected silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from gridflex.halfhour import HalfHour
from gridflex.market.trading.position import Status
from gridflex.market.volumes import HOURS_PER_HALF_HOUR, ZERO


@dataclass(frozen=True, slots=True)
class Trade:
    """One sale on an exchange or over the counter.

    Args:
        id: As the counterparty has it.
        buyer: Party id of the other Energy Account.
        first: First half-hour.
        half_hours: How many.
        mw: Power sold in each; negative for a purchase.
        price_gbp_per_mwh: Agreed price, which no settlement message carries.
        contract: Our flexibility contract it serves, if one.
        reference: Our own name of the order, under which it is placed once.
    """

    id: str
    buyer: str
    first: HalfHour
    half_hours: int
    mw: Decimal
    price_gbp_per_mwh: Decimal
    contract: str | None = None
    reference: str | None = None

    @property
    def mwh(self) -> Decimal:
        """Energy in each half-hour."""
        return self.mw * HOURS_PER_HALF_HOUR


@dataclass(frozen=True, slots=True)
class Notified:
    """One half-hour of one contract notice.

    Args:
        reference: Of the notice.
        buyer: Party id of the other Energy Account.
        half_hour: When.
        mwh: From us to the buyer.
        status: Where the notice is.
    """

    reference: str
    buyer: str
    half_hour: HalfHour
    mwh: Decimal
    status: Status


class Mismatch(StrEnum):
    """Why two books differ."""

    NOT_NOTIFIED = "not notified"
    REJECTED = "rejected"
    NOT_ACCEPTED = "not accepted yet"
    NOT_TRADED = "notified without a trade"
    DIFFERENT = "different volume"


@dataclass(frozen=True, slots=True)
class Difference:
    """One half-hour in which the books do not agree.

    Args:
        half_hour: When.
        buyer: Which counterparty.
        traded_mwh: Sum of the trades.
        accepted_mwh: Sum of the accepted notices.
        mismatch: Why.
    """

    half_hour: HalfHour
    buyer: str
    traded_mwh: Decimal
    accepted_mwh: Decimal
    mismatch: Mismatch


def reconcile(trades: Iterable[Trade], notices: Iterable[Notified]) -> list[Difference]:
    """Return every half-hour and buyer whose trades are not exactly what was accepted."""
    traded = _traded(trades)
    notified: dict[tuple[HalfHour, str], list[Notified]] = {}
    for notice in notices:
        notified.setdefault((notice.half_hour, notice.buyer), []).append(notice)
    found = [
        _difference(key, traded.get(key, ZERO), notified.get(key, []))
        for key in sorted(traded.keys() | notified.keys())
    ]
    return [difference for difference in found if difference is not None]


def _traded(trades: Iterable[Trade]) -> Mapping[tuple[HalfHour, str], Decimal]:
    total: dict[tuple[HalfHour, str], Decimal] = {}
    for trade in trades:
        for half_hour in trade.first.span(trade.half_hours):
            key = (half_hour, trade.buyer)
            total[key] = total.get(key, ZERO) + trade.mwh
    return total


def _difference(
    key: tuple[HalfHour, str], traded: Decimal, notices: list[Notified]
) -> Difference | None:
    accepted = sum((one.mwh for one in notices if one.status is Status.ACCEPTED), ZERO)
    if accepted == traded:
        return None
    return Difference(*key, traded, accepted, _mismatch(traded, notices))


def _mismatch(traded: Decimal, notices: list[Notified]) -> Mismatch:
    if not traded:
        return Mismatch.NOT_TRADED
    statuses = {one.status for one in notices}
    if not statuses:
        return Mismatch.NOT_NOTIFIED
    if Status.REJECTED in statuses:
        return Mismatch.REJECTED
    return Mismatch.DIFFERENT if statuses == {Status.ACCEPTED} else Mismatch.NOT_ACCEPTED
