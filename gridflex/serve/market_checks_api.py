"""``/v1/settlement``: what the market says and pays beside P415, checked against our own books.

The central settlement report, the contract notices, the Demand Flexibility Service and the cost
of delivered energy. Amounts are text, so that they stay exact.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from gridflex.adapters.ledger_store import LedgerStore
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.book import settle_book
from gridflex.market.delivered_cost import delivered_costs
from gridflex.market.dfs import dfs_payment, risks_deregistration
from gridflex.market.reconciliation import reconcile
from gridflex.market.records import book_of
from gridflex.market.s0142 import ROUNDING_MWH, compare, read_s0142
from gridflex.market.s0142_report import report_json, residuals_json
from gridflex.market.tariff import TariffFile
from gridflex.market.trade_records import notices_of, trades_of
from gridflex.market.working_days import half_hours_of

LONGEST: Final = 96
"""Half-hours of the longest block that is traded."""


class ReportOut(BaseModel):
    """A central settlement report, and where it differs from the settlements in the ledger.

    Attributes:
        report: Its fields.
        compared: How many half-hours of ours were compared.
        differences: Figures of ours that it does not confirm.
    """

    report: dict[str, Any]
    compared: int
    differences: list[dict[str, Any]]


class DifferenceOut(BaseModel):
    """A half-hour in which trades and accepted contract notices differ.

    Attributes:
        start: Of the half-hour.
        buyer: Which counterparty.
        traded_mwh: Sum of the trades.
        accepted_mwh: Sum of the accepted notices.
        why: What is the matter.
    """

    start: str
    buyer: str
    traded_mwh: Decimal
    accepted_mwh: Decimal
    why: str


class DfsIn(BaseModel, extra="forbid"):
    """One settlement period of the Demand Flexibility Service.

    Attributes:
        contracted_mw: Accepted volume.
        price_gbp_per_mwh: The accepted bid.
        delivered_mwh: Delivered in the contracted direction; negative in the other.
        factors: Payment factors of the last three months before it, in order.
    """

    contracted_mw: Decimal = Field(gt=0)
    price_gbp_per_mwh: Decimal
    delivered_mwh: Decimal
    factors: list[Decimal] = []


class DfsOut(BaseModel):
    """What it pays.

    Attributes:
        delivered_percent: Delivered over contracted volume.
        factor: What the bid is multiplied by.
        payment_gbp: Negative is paid by the provider.
        risks_deregistration: Whether the factors are persistently poor with this one.
    """

    delivered_percent: Decimal
    factor: Decimal
    payment_gbp: Decimal
    risks_deregistration: bool


class CostIn(BaseModel, extra="forbid"):
    """Wholesale prices, to be delivered.

    Attributes:
        tariff: As in docs/settlement.md; every component is stated.
        wholesale_gbp_per_mwh: By the start of the half-hour.
    """

    tariff: TariffFile
    wholesale_gbp_per_mwh: dict[str, Decimal] = Field(min_length=1, max_length=20_000)


def create_market_checks_router(ledger: LedgerStore) -> APIRouter:
    """Return the paths of reports, reconciliation, DFS and delivered cost."""
    api = APIRouter()
    _add_checks(api, ledger)
    _add_prices(api)
    return api


def _add_checks(api: APIRouter, ledger: LedgerStore) -> None:
    @api.post("/reports")
    async def report(text: Annotated[str, Body(media_type="text/plain")]) -> ReportOut:
        """Read an S0142 report and compare it with the settlements of its day and run."""
        read = read_s0142(text)
        span = half_hours_of(read.day)
        found = await ledger.find(EventType.SETTLEMENT_RUN, first=span[0], last=span[-1])
        results = [
            one
            for one in settle_book(book_of(entry.event for entry in found)).results
            if one.run is read.run
        ]
        differences = compare(results, report=read, tolerance_mwh=ROUNDING_MWH)
        return ReportOut(
            report=report_json(read),
            compared=len(results),
            differences=residuals_json(differences),
        )

    @api.get("/reconciliation")
    async def reconciled(
        first: Annotated[date, Query(description="First settlement day.")],
        last: Annotated[date, Query(description="Last settlement day.")],
    ) -> list[DifferenceOut]:
        """Half-hours whose trades are not exactly what was notified and accepted."""
        start, end = half_hours_of(first)[0], half_hours_of(last)[-1]
        traded = await ledger.find(EventType.CONTRACT_MESSAGE, first=start + -LONGEST, last=end)
        trades = list(trades_of(one.event for one in traded))
        notified = await ledger.find(EventType.ECVN_SUBMITTED, first=start, last=end)
        since = notified[0].index if notified else 0
        answers = await ledger.find(EventType.ACK_RECEIVED, since=since) if notified else []
        entries = sorted([*notified, *answers], key=lambda one: one.index)
        found = reconcile(trades, notices_of((one.event for one in entries), trades))
        return [
            DifferenceOut(
                start=str(one.half_hour),
                buyer=one.buyer,
                traded_mwh=one.traded_mwh,
                accepted_mwh=one.accepted_mwh,
                why=one.mismatch.value,
            )
            for one in found
            if start <= one.half_hour <= end
        ]


def _add_prices(api: APIRouter) -> None:
    @api.post("/dfs")
    async def dfs(sent: DfsIn) -> DfsOut:
        """What a settlement period of the Demand Flexibility Service pays."""
        made = dfs_payment(
            contracted_mw=sent.contracted_mw,
            price_gbp_per_mwh=sent.price_gbp_per_mwh,
            delivered_mwh=sent.delivered_mwh,
        )
        return DfsOut(
            delivered_percent=made.delivered_percent,
            factor=made.factor,
            payment_gbp=made.gbp,
            risks_deregistration=risks_deregistration([*sent.factors, made.factor]),
        )

    @api.post("/delivered-cost")
    async def delivered_cost(sent: CostIn) -> list[dict[str, Any]]:
        """What energy costs at the meter under a site's tariff, half-hour by half-hour."""
        prices = {HalfHour.parse(at): gbp for at, gbp in sent.wholesale_gbp_per_mwh.items()}
        return [one.as_json() for one in delivered_costs(sent.tariff, prices)]
