"""Orders to an exchange and its answers, as JSON that a person or a program can answer.

An order has one name, under which it is placed once, and a time until which it may be taken:
after the gate closure of its first half-hour a sale could no longer be notified.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime, BaseModel, Field, ValidationError, field_serializer

from gridflex.errors import ContractError, SourceError
from gridflex.faults import faults_text
from gridflex.halfhour import HalfHour
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.working_days import gate_closure

REFERENCE_LENGTH: Final = 10
"""Characters of a trade's id at most: the contract notice names it (E0041)."""


class OrderPendingError(SourceError):
    """The exchange has not said yet what became of an order; ask again."""


@dataclass(frozen=True, slots=True)
class Order:
    """Energy offered for sale.

    Args:
        reference: Our name of it, under which it is placed once.
        first: First half-hour.
        half_hours: How many.
        mw: Power in each.
        limit_gbp_per_mwh: Least price.
    """

    reference: str
    first: HalfHour
    half_hours: int
    mw: Decimal
    limit_gbp_per_mwh: Decimal

    @property
    def good_until(self) -> datetime:
        """From when it must not be taken any more."""
        return gate_closure(self.first)

    @property
    def file_name(self) -> str:
        """Under which it and its answer travel."""
        return "".join(one if one.isalnum() or one in "_-" else "-" for one in self.reference)


class _OrderFile(BaseModel, extra="forbid"):
    reference: str = Field(min_length=1)
    first: str
    half_hours: int = Field(ge=1)
    mw: Decimal = Field(gt=0)
    limit_gbp_per_mwh: Decimal
    good_until: AwareDatetime


class _AnswerFile(BaseModel, extra="forbid"):
    """An exchange's answer.

    Attributes:
        reference: Of the order.
        trade: The exchange's id of the trade; None if the order was not taken.
        buyer: Party id of the buyer's Energy Account.
        price_gbp_per_mwh: At which it was taken.
        reason: Why it was not.
    """

    reference: str
    trade: str | None = Field(default=None, min_length=1, max_length=REFERENCE_LENGTH)
    buyer: str | None = None
    price_gbp_per_mwh: Decimal | None = None
    reason: str = ""

    @field_serializer("price_gbp_per_mwh")
    def _exactly(self, price: Decimal | None) -> str | None:
        return None if price is None else str(price)


def write_order(order: Order) -> bytes:
    """Return an order as JSON, amounts as text."""
    file = _OrderFile(
        reference=order.reference,
        first=str(order.first),
        half_hours=order.half_hours,
        mw=order.mw,
        limit_gbp_per_mwh=order.limit_gbp_per_mwh,
        good_until=order.good_until,
    )
    return file.model_dump_json(indent=1).encode()


def read_order(payload: bytes) -> Order:
    """Return an order that `write_order` wrote.

    Raises:
        ContractError: It is not valid; the message names each wrong field.
    """
    try:
        file = _OrderFile.model_validate_json(payload)
    except ValidationError as error:
        raise ContractError(f"order: {faults_text(error, whole='file')}") from error
    return Order(
        file.reference,
        HalfHour.parse(file.first),
        file.half_hours,
        file.mw,
        file.limit_gbp_per_mwh,
    )


def write_answer(order: Order, trade: Trade | None, *, reason: str = "") -> bytes:
    """Return the answer to an order as JSON.

    Args:
        order: Which.
        trade: The sale; None if it was not taken.
        reason: Why it was not.
    """
    file = _AnswerFile(reference=order.reference, reason=reason)
    if trade is not None:
        file = _AnswerFile(
            reference=order.reference,
            trade=trade.id,
            buyer=trade.buyer,
            price_gbp_per_mwh=trade.price_gbp_per_mwh,
        )
    return file.model_dump_json(indent=1).encode()


def read_answer(payload: bytes, order: Order) -> Trade | None:
    """Return the sale that an answer reports; None if the order was not taken.

    Raises:
        ContractError: It is not valid, answers another order, sells below the limit, or names
            a trade without its buyer and price.
    """
    try:
        file = _AnswerFile.model_validate_json(payload)
    except ValidationError as error:
        raise ContractError(
            f"answer to {order.reference}: {faults_text(error, whole='file')}"
        ) from error
    if file.reference != order.reference:
        raise ContractError(f"answer to {order.reference} is about {file.reference!r}")
    if file.trade is None:
        return None
    if not file.buyer or file.price_gbp_per_mwh is None:
        raise ContractError(f"answer to {order.reference}: a trade needs buyer, price_gbp_per_mwh")
    if file.price_gbp_per_mwh < order.limit_gbp_per_mwh:
        raise ContractError(
            f"answer to {order.reference}: {file.price_gbp_per_mwh} GBP/MWh is below the limit of "
            f"{order.limit_gbp_per_mwh}"
        )
    return Trade(
        id=file.trade,
        buyer=file.buyer,
        first=order.first,
        half_hours=order.half_hours,
        mw=order.mw,
        price_gbp_per_mwh=file.price_gbp_per_mwh,
        reference=order.reference,
    )
