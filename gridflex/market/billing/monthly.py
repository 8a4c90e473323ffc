"""A monthly bill from a book of settlement inputs and the customer's contract.

The same book, contract, month and day of knowledge always give the same documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from gridflex.checked_values import Rows
from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.ledger.canonical import digest
from gridflex.market.amounts import Amount
from gridflex.market.billing.fees import (
    CommissionTerms,
    LossRule,
    Month,
    commission_due,
    commission_lines,
    counting_on,
    month_nets,
)
from gridflex.market.billing.invoice import (
    BillingRun,
    Document,
    Party,
    TeamRow,
    documents,
    show_back,
)
from gridflex.market.settlement.attribution import Shares, attribute
from gridflex.market.settlement.book import SettlementBook, Statement, settle_book, write_statement
from gridflex.market.settlement.calendar import (
    PublishedDays,
    SettlementCalendar,
    calendar_rows,
    published_days,
)
from gridflex.market.settlement.runs import HalfHourCash, Run, day_cash
from gridflex.market.volumes import ZERO, Rounding
from gridflex.market.working_days import DAY, WorkingCalendar, half_hours_of

_MONTH: Final = r"^\d{4}-(0[1-9]|1[0-2])$"


class PartyFile(BaseModel, extra="forbid", frozen=True):
    """Seller or customer.

    Attributes:
        name: Legal name.
        address: Lines.
        vat_number: VAT registration.
    """

    name: str
    address: Rows[str]
    vat_number: str = ""

    def party(self) -> Party:
        """Return the domain's view."""
        return Party(self.name, self.address, self.vat_number)


class Billed(BaseModel, extra="forbid", frozen=True):
    """What earlier documents charged for one settlement month.

    Attributes:
        settlement_month: ``YYYY-MM``.
        commission_gbp: Sum of charges less credits.
        documents: Their numbers.
    """

    settlement_month: str = Field(pattern=_MONTH)
    commission_gbp: Amount
    documents: Rows[str]


class BillingContract(BaseModel, extra="forbid", frozen=True):
    """One customer's contract and bills so far.

    Attributes:
        seller: Who sends the bills.
        customer: Who receives them.
        account: Energy Account whose net revenue the commission is on.
        gpus: GPUs under management on the first day of each billing month, by ``YYYY-MM``.
        commission_fraction: Share of the net revenue.
        loss_rule: What becomes of a month with a loss.
        hold_back_fraction: Part billed only after the final run.
        billed: Earlier bills.
        next_number: Running number of the next document.
        settlement_calendar: Published rows; where they are missing the usual lags count. A running
            GridFlex also counts those of its settings.
    """

    seller: PartyFile
    customer: PartyFile
    account: str
    gpus: dict[str, Annotated[int, Field(strict=True)]]
    commission_fraction: Amount = Field(default=Decimal("0.20"), ge=0, le=1)
    loss_rule: LossRule = LossRule.CARRY_FORWARD
    hold_back_fraction: Amount = Field(default=ZERO, ge=0, le=1)
    billed: Rows[Billed] = ()
    next_number: int = Field(default=1, ge=1)
    settlement_calendar: SettlementCalendar = ()

    @field_validator("billed")
    @classmethod
    def _one_row_a_month(cls, billed: tuple[Billed, ...]) -> tuple[Billed, ...]:
        months = [one.settlement_month for one in billed]
        twice = sorted({one for one in months if months.count(one) > 1})
        if twice:
            raise ValueError(
                f"settlement_month {', '.join(twice)} is there twice; valid is one row of each "
                "month, with the sum of its documents"
            )
        return billed

    def with_published(self, published: PublishedDays) -> BillingContract:
        """Return the contract with the rows of a system's calendar beside its own.

        Raises:
            ContractError: They disagree on when a run of a day pays.
        """
        own = published_days(self.settlement_calendar)
        for (day, run), paid_on in own.items():
            if published.get((day, run), paid_on) != paid_on:
                raise ContractError(
                    f"settlement_calendar: {day} {run} pays on {paid_on} by the billing contract "
                    f"and on {published[day, run]} by the settings (energy.settlement_calendar); "
                    "valid is one of them, in both"
                )
        rows = calendar_rows({**published, **own})
        return self.model_copy(update={"settlement_calendar": rows})

    def terms(self) -> CommissionTerms:
        """Return the commission terms."""
        return CommissionTerms(self.commission_fraction, self.loss_rule, self.hold_back_fraction)


@dataclass(frozen=True, slots=True)
class Unbilled:
    """A settled day that no bill counts yet, by the calendar of the billing contract.

    Args:
        day: Settlement day.
        run: Which run.
        net_gbp: Its net revenue as that run leaves it, exact.
        paid_on: When it pays.
        in_bill_of: Billing month whose bill is the first to count it, if issued after the month.
        is_published: Whether a row of the contract's calendar says so, or the usual lags.
    """

    day: date
    run: Run
    net_gbp: Decimal
    paid_on: date
    in_bill_of: str
    is_published: bool


@dataclass(frozen=True, slots=True)
class MonthlyBill:
    """What a billing month comes to.

    Args:
        documents: Invoice and credit note, as far as there is something to bill.
        statement: Settlement it rests on.
        shares: Net revenue per contract, job and team of the billed settlement months.
        unbilled: Runs that are settled and pay after the day of issue.
    """

    documents: tuple[Document, ...]
    statement: Statement
    shares: Shares
    unbilled: tuple[Unbilled, ...] = ()


def parse_month(text: str) -> Month:
    """Return a month written ``YYYY-MM``.

    Raises:
        ContractError: It is not.
    """
    try:
        first = date.fromisoformat(f"{text}-01")
        half_hours_of(first)
        return Month.of(first)
    except (ValueError, ContractError) as error:
        raise ContractError(
            f"month {text!r} is not valid; valid is YYYY-MM, 1900 to 2200"
        ) from error


def read_contract(text: str) -> BillingContract:
    """Return a billing contract written in YAML.

    Raises:
        ContractError: It is not YAML, or a value is not valid.
    """
    try:
        return BillingContract.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ContractError(f"billing contract is not valid YAML: {error}") from error
    except ValidationError as error:
        raise ContractError(f"billing contract: {faults_text(error, whole='contract')}") from error


def contract_cash(
    statement: Statement, *, contract: BillingContract, calendar: WorkingCalendar
) -> list[HalfHourCash]:
    """Return each half-hour's net per run, with the day on which that pays by a contract."""
    published = published_days(contract.settlement_calendar)
    return statement.cash(contract.account, calendar=calendar, published=published)


def monthly_bill(
    book: SettlementBook,
    *,
    contract: BillingContract,
    month: Month,
    known_on: date,
    calendar: WorkingCalendar,
    rounding: Rounding,
) -> MonthlyBill:
    """Return the documents of a billing month.

    Args:
        book: Settlement inputs of all runs so far.
        contract: The customer's contract and earlier bills.
        month: Billing month; the fee is for it.
        known_on: Runs paid by this day count; also the date of issue.
        calendar: Working days.
        rounding: How money is rounded.

    Raises:
        ContractError: The month has not begun on the date of issue, so that nobody knows the fleet
            on its first day, or the fleet is not stated.
    """
    if known_on < month.first:
        raise ContractError(
            f"month {month} is not valid; valid is a month that has begun by the date of issue, "
            f"{known_on}: {Month.of(known_on)} or before"
        )
    if str(month) not in contract.gpus:
        known = ", ".join(sorted(contract.gpus)) or "none"
        raise ContractError(f"billing contract: gpus of {month} are not stated; known are {known}")
    statement = settle_book(book)
    cash = contract_cash(statement, contract=contract, calendar=calendar)
    counting = counting_on(cash, known_on=known_on)
    nets = month_nets(counting)
    billed = {parse_month(one.settlement_month): one for one in contract.billed}
    lines = commission_lines(
        nets,
        billed_gbp={at: one.commission_gbp for at, one in billed.items()},
        terms=contract.terms(),
        rounding=rounding,
    )
    months = {line.month for line in lines}
    dues = commission_due(nets, terms=contract.terms(), rounding=rounding)
    shares = attribute(
        {one.half_hour: one.net_gbp for one in counting if Month.of(one.day) in months},
        contributions=book.did_for(contract.account),
        rounding=rounding,
    )
    run = BillingRun(
        month=month,
        issued_on=known_on,
        seller=contract.seller.party(),
        customer=contract.customer.party(),
        gpus=contract.gpus[str(month)],
        lines=tuple(lines),
        invoices={at: one.documents for at, one in billed.items()},
        next_number=contract.next_number,
        evidence_sha256=digest(write_statement(statement)),
        show_back=_teams(shares, sum((one.due_gbp for one in dues if one.month in months), ZERO)),
    )
    return MonthlyBill(
        documents(run, rounding=rounding),
        statement,
        shares,
        unbilled=tuple(unbilled(cash, contract=contract, month=month, known_on=known_on)),
    )


def unbilled(
    cash: Iterable[HalfHourCash], *, contract: BillingContract, month: Month, known_on: date
) -> Iterator[Unbilled]:
    """Yield the paying runs that are settled and not counted in a bill yet, in order of payment.

    Args:
        cash: Each half-hour's net per run with its payment day.
        contract: Says in its calendar when runs pay.
        month: Billed; what pays later is in a bill after its.
        known_on: Date of issue; runs paid by then are counted.
    """
    published = published_days(contract.settlement_calendar)
    days = day_cash(cash)
    for one in sorted(days, key=lambda one: (one.paid_on, one.day, one.run.position)):
        if one.paid_on > known_on:
            yield Unbilled(
                day=one.day,
                run=one.run,
                net_gbp=one.net_gbp,
                paid_on=one.paid_on,
                in_bill_of=str(max(Month.of(one.paid_on - DAY), Month.of(month.end))),
                is_published=(one.day, one.run) in published,
            )


def _teams(shares: Shares, commission_gbp: Decimal) -> tuple[TeamRow, ...]:
    """Return the teams' table; without a positive net there is no commission to spread."""
    return show_back(shares, commission_gbp=commission_gbp if shares.total_gbp > 0 else ZERO)
