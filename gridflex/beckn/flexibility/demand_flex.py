"""What less load earns: the settlement rule of the Digital Energy Grid's demand flexibility.

In each half-hour, what was delivered is the sum over the meters of baseline less use, where that
is above zero. Up to what was offered it earns the price; what is missing costs the penalty. More
load than the baseline counts as nothing, and what happens in other half-hours does not count.

Source:
    Contract policy ``data.deg.contracts.demand_flex`` of the Digital Energy Grid, use case 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from gridflex.beckn.flexibility.needs import OFFERED, PENALTY, RULE_PATH, need_of, read_bid
from gridflex.beckn.flexibility.offers import BASELINE
from gridflex.beckn.flexibility.reporting import DELIVERED, USAGE, closed, due_gbp
from gridflex.beckn.flexibility.settling import PENNY, ZERO, exact
from gridflex.beckn.wire.entities import Contract, Performance
from gridflex.beckn.wire.errors import BecknError, Code, reading_attributes
from gridflex.beckn.wire.meters import assembled, is_whole, meters_in
from gridflex.beckn.wire.schemas import own
from gridflex.beckn.wire.tables import BUYER, SELLER, Table, read_table
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.units import HOURS_PER_HALF_HOUR

HOURS: Final = exact(HOURS_PER_HALF_HOUR)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One half-hour of a contract about a need.

    Args:
        half_hour: When.
        offered_kw: What was promised.
        delivered_kw: What the meters say.
        price_per_kwh: What it earns.
        penalty_per_kwh: What is lost for what is missing.
    """

    half_hour: HalfHour
    offered_kw: Decimal
    delivered_kw: Decimal
    price_per_kwh: Decimal
    penalty_per_kwh: Decimal

    @property
    def earned(self) -> Decimal:
        """What it brings, not rounded; negative if the penalty is greater."""
        eligible_kw = min(self.delivered_kw, self.offered_kw)
        missing_kw = max(ZERO, self.offered_kw - self.delivered_kw)
        return HOURS * (eligible_kw * self.price_per_kwh - missing_kw * self.penalty_per_kwh)


def rows_of(contract: Contract) -> list[Delivered]:
    """Return what a contract and its telemetry say, half-hour by half-hour.

    Raises:
        BecknError: Something that settlement needs is missing or malformed.
    """
    need, bid = need_of(contract), read_bid(contract)
    tables = [read_table(meter["telemetry"]) for meter in meters_in(_delivery(contract))]
    return [
        Delivered(
            half_hour=one,
            offered_kw=exact(bid.table.at(OFFERED, one)),
            delivered_kw=sum((_less_kw(table, one) for table in tables), ZERO),
            price_per_kwh=exact(need.price_per_kwh(one)),
            penalty_per_kwh=exact(
                need.table.at(PENALTY, one) if PENALTY in need.table.columns else 0.0
            ),
        )
        for one in bid.table.start.span(bid.table.half_hours)
    ]


def due(rows: Sequence[Delivered]) -> Decimal:
    """Return what the buyer owes the seller for some half-hours, rounded once, half to even."""
    return sum((row.earned for row in rows), ZERO).quantize(PENNY, ROUND_HALF_EVEN)


def settled(contract: Contract) -> Contract:
    """Return the contract said to be complete, with what is due.

    Raises:
        BecknError: Something that settlement needs is missing or malformed.
    """
    rows, need = rows_of(contract), need_of(contract)
    value = due(rows)
    inputs = {"rule": RULE_PATH, "rows": [_record(row) for row in rows]}
    why = f"net of {len(rows)} half-hours"
    flows: list[dict[str, Any]] = [
        {"role": role, "value": float(sign * value) or 0.0, "currency": need.currency,
         "description": why}
        for role, sign in ((BUYER, -1), (SELLER, 1))
    ]  # fmt: skip
    figures = {
        "@context": own("DemandFlexSettlement"),
        "@type": "DemandFlexSettlement",
        "rule": RULE_PATH,
        "inputsDigest": f"sha256:{digest(canonical_json(inputs))}",
        "due": float(value),
        "currency": need.currency,
    }
    return closed(contract, flows=flows, figures=figures)


def need_settlement_fault(contract: Contract) -> str | None:
    """Return how a buyer's settlement differs from what its own telemetry gives, if it does."""
    try:
        with reading_attributes():
            claimed, ours = due_gbp(contract), due(rows_of(contract))
    except BecknError as error:
        return error.reason
    if claimed is None:
        return "it says nothing about what is due"
    return None if ours == claimed else f"{claimed} claimed, {ours} due"


def _delivery(contract: Contract) -> Performance:
    """Return the first performance that was metered to the end."""
    performances = contract.performance or ()
    if not is_whole(performances):
        raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, "pages of the meters are missing")
    for one in assembled(performances):
        if one.status is not None and one.status.code == DELIVERED:
            return one
    raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, "no delivery was metered to the end")


def _less_kw(table: Table, half_hour: HalfHour) -> Decimal:
    """Return how much less than its baseline a meter shows; one that was not read shows nothing."""
    if not table.has(USAGE, half_hour):
        return ZERO
    return max(ZERO, exact(table.at(BASELINE, half_hour)) - exact(table.at(USAGE, half_hour)))


def _record(row: Delivered) -> dict[str, str]:
    return {
        "half_hour": str(row.half_hour),
        "offered_kw": str(row.offered_kw),
        "delivered_kw": str(row.delivered_kw),
        "price_per_kwh": str(row.price_per_kwh),
        "penalty_per_kwh": str(row.penalty_per_kwh),
    }
