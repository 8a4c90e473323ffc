"""``/v1/settlement``: what the market says and pays beside P415, checked against our own books.

The central settlement report, the contract notices, the Demand Flexibility Service and the cost
of delivered energy. Amounts are text, so that they stay exact.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.energy_book import EnergyBook, Refused
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.instants import HalfHourStart
from gridflex.ledger.canonical import digest
from gridflex.ledger.event import EventType
from gridflex.market.amounts import Amount
from gridflex.market.delivered_cost import delivered_costs
from gridflex.market.registry_records import registered_units
from gridflex.market.settlement.authority import Authority
from gridflex.market.settlement.dfs import dfs_payment, risks_deregistration
from gridflex.market.settlement.records import newest_of_run, settled_differences, settlement_inputs
from gridflex.market.settlement.reported import report_event, unit_reports
from gridflex.market.settlement.s0142 import read_s0142
from gridflex.market.settlement.s0142_report import report_json
from gridflex.market.tariff import TariffFile
from gridflex.market.trading.exclusivity import Direction, Product, Reservation
from gridflex.market.trading.reconciliation import reconcile
from gridflex.market.trading.records import notices_of, trades_of
from gridflex.market.trading.reservations import Held
from gridflex.market.trading.selling import Outlook, SalePolicy, decide_sale
from gridflex.market.volumes import ZERO, Rounding
from gridflex.market.working_days import first_and_last_of, half_hours_of
from gridflex.serve.clock import Clock
from gridflex.serve.parameters import FirstDay, LastDay
from gridflex.serve.problems import ProblemError

LONGEST: Final = 96
"""Half-hours of the longest block that is traded."""


class ReportOut(BaseModel):
    """A central settlement report, and where it differs from the settlements in the ledger.

    Attributes:
        report: Its fields.
        compared: How many half-hours of ours were compared.
        differences: Figures of ours that it does not confirm, as in ``report_differences`` of a
            settlement, with the start of the half-hour.
        recorded: Its entries in the ledger, one per registered unit; the next settlement of its
            day and run follows them.
    """

    report: dict[str, Any]
    compared: int
    differences: list[dict[str, Any]]
    recorded: list[int]


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

    contracted_mw: Amount = Field(gt=0)
    price_gbp_per_mwh: Amount
    delivered_mwh: Amount
    factors: list[Amount] = Field(default=[], max_length=1_000)


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
    wholesale_gbp_per_mwh: dict[HalfHourStart, Amount] = Field(min_length=1, max_length=20_000)


class SaleIn(BaseModel, extra="forbid"):
    """What is known about one half-hour when a sale is decided.

    Attributes:
        delivery_mwh: Equally likely deliveries.
        system_price_gbp_per_mwh: Equally likely system prices.
        sale_price_gbp_per_mwh: At which energy can be sold now.
        fee_gbp_per_mwh: Exchange, notification and credit cost.
        compensation_gbp_per_mwh: What we pay the supplier per MWh delivered.
        work_lost_gbp_per_mwh: What pausing the work costs.
        risk_aversion: 0 reads the system price at its mean, 1 at its worst tail.
        sale_fraction: Greatest share of the expected delivery that may be sold.
    """

    delivery_mwh: list[Amount] = Field(min_length=1, max_length=10_000)
    system_price_gbp_per_mwh: list[Amount] = Field(min_length=1, max_length=1_000)
    sale_price_gbp_per_mwh: Amount
    fee_gbp_per_mwh: Amount = ZERO
    compensation_gbp_per_mwh: Amount = ZERO
    work_lost_gbp_per_mwh: Amount = ZERO
    risk_aversion: Amount = Field(default=Decimal("0.5"), ge=0, le=1)
    sale_fraction: Amount = Field(default=Decimal(1), ge=0, le=1)


class ReservationIn(BaseModel, extra="forbid"):
    """Energy of one meter pair to be promised to one product.

    Attributes:
        meter: Import id of the pair.
        start: Of the half-hour.
        direction: Less import (``down``) or more (``up``).
        product: To whom.
        mwh: How much.
        contract: Under which contract.
        flexible_mwh: What the pair can deliver in the half-hour; counts when energy is reserved,
            not when what is held is asked for again.
    """

    meter: str = Field(pattern=r"^[0-9]{13}$")
    start: HalfHourStart
    direction: Direction = Direction.DOWN
    product: Product
    mwh: Amount = Field(gt=0)
    contract: str = Field(min_length=1)
    flexible_mwh: Amount = Field(ge=0)


class ReservationOut(BaseModel):
    """A reservation that holds.

    Attributes:
        index: Of its entry in the ledger.
        direction: Less import or more.
        product: To whom.
        mwh: How much.
        contract: Under which contract.
    """

    index: int
    direction: Direction
    product: Product
    mwh: Decimal
    contract: str


def create_market_checks_router(
    ledger: LedgerStore, clock: Clock, *, authority: Authority
) -> APIRouter:
    """Return the paths of reports, reconciliation, reservations, DFS and delivered cost."""
    api = APIRouter()
    _add_reports(api, ledger, clock, authority)
    _add_checks(api, ledger)
    _add_reservations(api, EnergyBook(ledger), clock)
    _add_prices(api)
    return api


def _add_reports(api: APIRouter, ledger: LedgerStore, clock: Clock, authority: Authority) -> None:
    @api.post("/reports")
    async def report(
        text: Annotated[str, Body(media_type="text/plain")],
        party: Annotated[
            str | None,
            Query(description="Market party; its rows of the report alone are answered."),
        ] = None,
    ) -> ReportOut:
        """Take a central settlement report.

        What an S0142 file says of registered units is recorded, and compared with the settlements
        of its day and run as they are when it comes in.
        """
        read = read_s0142(text)
        shown = report_json(read, party=party)
        span = half_hours_of(read.day)
        found = await ledger.find(EventType.SETTLEMENT_RUN, first=span[0], last=span[-1])
        settled = newest_of_run((one.event for one in found), read.run)
        ours = {one.unit for entry in settled for one in settlement_inputs(entry).periods[0].units}
        units = registered_units(one.event for one in await ledger.find(EventType.SITE_REGISTERED))
        reports = unit_reports(read, units=units | ours, file_sha256=digest(text.encode()))
        said = {one.unit: one for one in reports}
        events = [report_event(one) for one in said.values() if one.unit in units]
        return ReportOut(
            report=shown,
            compared=len(settled),
            differences=[
                {"start": str(one.half_hour), **one.as_json()}
                for one in settled_differences(settled, said, authority)
            ],
            recorded=await ledger.append(events, now=clock.now()),
        )


def _add_checks(api: APIRouter, ledger: LedgerStore) -> None:
    @api.get("/reconciliation")
    async def reconciled(
        first: FirstDay,
        last: LastDay,
    ) -> list[DifferenceOut]:
        """Where trades and accepted notices differ.

        Half-hours whose trades (MWh) are not exactly what was notified and accepted, and why.
        """
        start, end = first_and_last_of(first, last)
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


def _add_reservations(api: APIRouter, energy: EnergyBook, clock: Clock) -> None:
    @api.post("/reservations")
    async def reserve(sent: ReservationIn) -> ReservationOut:
        """Promise energy to one product.

        Refused with 409 where it would be sold twice. So is another amount than the contract holds
        already. The same amount again is answered with what is held, also once the half-hour is
        over and whatever `flexible_mwh` is by then.
        """
        wanted = Reservation(
            meter=sent.meter,
            half_hour=HalfHour.parse(sent.start),
            direction=sent.direction,
            product=sent.product,
            mwh=sent.mwh,
            contract=sent.contract,
        )
        now = clock.now()
        if wanted.half_hour.end > now:
            held = await _reserved(energy, wanted, flexible_mwh=sent.flexible_mwh, now=now)
        else:
            held = await _held_since(energy, wanted, now=now)
        held.refuse_other(sent.mwh)
        return _reservation(held)

    @api.get("/reservations")
    async def reservations(
        meter: Annotated[str, Query(description="Import id of the meter pair, 13 digits.")],
        start: Annotated[
            HalfHourStart, Query(description="Start of the half-hour, such as 2026-07-01T12:30Z.")
        ],
    ) -> list[ReservationOut]:
        """What is promised of a meter pair.

        Reservations that hold in a half-hour: energy (MWh), direction, product and contract.
        """
        found = await energy.held(meter, HalfHour.parse(start))
        return [_reservation(one) for one in found.held]


async def _reserved(
    energy: EnergyBook, wanted: Reservation, *, flexible_mwh: Decimal, now: datetime
) -> Held:
    """Return energy that is reserved now, or what the contract holds already."""
    held = await energy.reserve(wanted, flexible_mwh=flexible_mwh, now=now)
    if isinstance(held, Refused):
        why = f"{wanted.contract} ({wanted.product}) is refused, entry {held.index}: {held.reason}"
        raise ProblemError(HTTPStatus.CONFLICT, why)
    return held


async def _held_since(energy: EnergyBook, wanted: Reservation, *, now: datetime) -> Held:
    """Return what the contract holds of a half-hour that is over."""
    held = (await energy.held(wanted.meter, wanted.half_hour)).of(wanted)
    if held is None:
        raise ContractError(
            f"start {wanted.half_hour} is not valid; valid is a half-hour that is not over, and it "
            f"is {now:%Y-%m-%dT%H:%MZ}"
        )
    return held


def _reservation(held: Held) -> ReservationOut:
    one = held.reservation
    return ReservationOut(
        index=held.index,
        direction=one.direction,
        product=one.product,
        mwh=one.mwh,
        contract=one.contract,
    )


def _add_prices(api: APIRouter) -> None:
    @api.post("/dfs")
    async def dfs(sent: DfsIn) -> DfsOut:
        """What the Demand Flexibility Service pays.

        Of one settlement period, GBP, and whether the factors risk deregistration; nothing is
        recorded.
        """
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

    @api.post("/sale")
    async def sale(sent: SaleIn) -> dict[str, Any]:
        """How much of an expected delivery to sell.

        What selling that much is expected to bring (GBP), and whether it is worthwhile; nothing
        is recorded.
        """
        outlook = Outlook(
            delivery_mwh=tuple(sent.delivery_mwh),
            system_price_gbp_per_mwh=tuple(sent.system_price_gbp_per_mwh),
            sale_price_gbp_per_mwh=sent.sale_price_gbp_per_mwh,
            fee_gbp_per_mwh=sent.fee_gbp_per_mwh,
            compensation_gbp_per_mwh=sent.compensation_gbp_per_mwh,
            work_lost_gbp_per_mwh=sent.work_lost_gbp_per_mwh,
        )
        policy = SalePolicy(risk_aversion=sent.risk_aversion, sale_fraction=sent.sale_fraction)
        made = decide_sale(outlook, policy, rounding=Rounding())
        return {name: str(value) for name, value in asdict(made).items()} | {
            "is_worthwhile": made.is_worthwhile
        }

    @api.post("/delivered-cost")
    async def delivered_cost(sent: CostIn) -> list[dict[str, Any]]:
        """What energy costs at the meter.

        Wholesale prices under a site's tariff, half-hour by half-hour and component by component,
        GBP per MWh; nothing is recorded.
        """
        prices = {HalfHour.parse(at): gbp for at, gbp in sent.wholesale_gbp_per_mwh.items()}
        return [one.as_json() for one in delivered_costs(sent.tariff, prices)]
