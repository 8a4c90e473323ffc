"""Invoices and credit notes, as documents with lines, tax and a digest of what they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from gridflex.errors import ContractError
from gridflex.market.billing.fees import VAT, CommissionLine, Month, subscription_gbp
from gridflex.market.policy import Dated
from gridflex.market.settlement.attribution import Shares
from gridflex.market.volumes import ZERO, Rounding, rounded_together


class DocumentKind(StrEnum):
    """Charge or credit."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit-note"


@dataclass(frozen=True, slots=True)
class Party:
    """Who sends or receives a document.

    Args:
        name: Legal name.
        address: Lines of the address.
        vat_number: VAT registration; empty without one.
    """

    name: str
    address: tuple[str, ...]
    vat_number: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a document, without tax.

    Args:
        description: What it is for.
        amount_gbp: In whole pence; positive on both kinds of document.
        basis: How the amount comes about.
        settlement_month: Which settlement month it belongs to, if one.
    """

    description: str
    amount_gbp: Decimal
    basis: str
    settlement_month: str = ""


@dataclass(frozen=True, slots=True)
class TeamRow:
    """One team's part of a settlement month.

    Args:
        team: Its name.
        net_gbp: Net revenue that its jobs earned.
        commission_gbp: Its part of the commission.
        kept_gbp: What remains.
    """

    team: str
    net_gbp: Decimal
    commission_gbp: Decimal
    kept_gbp: Decimal


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice or a credit note.

    Args:
        number: Unique and without gaps per seller.
        kind: Charge or credit.
        seller: Who sends it.
        customer: Who receives it.
        issued_on: Date of issue and tax point.
        month: Billing month.
        lines: What is charged or credited.
        vat_fraction: Rate of tax.
        net_gbp: Sum of the lines.
        vat_gbp: Tax on the sum.
        gross_gbp: To be paid or credited.
        corrects: Numbers of the invoices that a credit note corrects.
        evidence_sha256: Digest of the settlement statement it rests on.
        show_back: Per team.
    """

    number: str
    kind: DocumentKind
    seller: Party
    customer: Party
    issued_on: date
    month: Month
    lines: tuple[Line, ...]
    vat_fraction: Decimal
    net_gbp: Decimal
    vat_gbp: Decimal
    gross_gbp: Decimal
    corrects: tuple[str, ...] = ()
    evidence_sha256: str = ""
    show_back: tuple[TeamRow, ...] = ()


@dataclass(frozen=True, slots=True)
class BillingRun:
    """What a monthly bill is made from.

    Args:
        month: Billing month; the fee is for it.
        issued_on: Date of issue.
        seller: Who sends it.
        customer: Who receives it.
        gpus: Fleet on the first day of the month; None for no fee.
        lines: Commission differences.
        invoices: Numbers of earlier invoices per settlement month.
        next_number: Running number of the next document.
        evidence_sha256: Digest of the settlement statement.
        show_back: Per team.
    """

    month: Month
    issued_on: date
    seller: Party
    customer: Party
    gpus: int | None
    lines: tuple[CommissionLine, ...]
    invoices: Mapping[Month, tuple[str, ...]]
    next_number: int
    evidence_sha256: str = ""
    show_back: tuple[TeamRow, ...] = ()


def documents(
    run: BillingRun, *, rounding: Rounding, vat: Dated[Decimal] = VAT
) -> tuple[Document, ...]:
    """Return the invoice of a month and, for what is to be paid back, a credit note.

    A document without lines is not made.
    """
    charges = [_commission_line(one) for one in run.lines if one.amount_gbp > 0]
    if run.gpus is not None:
        charges.insert(0, _fee_line(run))
    credits_ = [_commission_line(one) for one in run.lines if one.amount_gbp < 0]
    corrected = {one.month for one in run.lines if one.amount_gbp < 0}
    numbers = [number for month in sorted(corrected) for number in run.invoices.get(month, ())]
    made: list[Document] = []
    for kind, lines, corrects in (
        (DocumentKind.INVOICE, charges, ()),
        (DocumentKind.CREDIT_NOTE, credits_, tuple(dict.fromkeys(numbers))),
    ):
        if lines:
            number = run.next_number + len(made)
            tax = vat.on(run.issued_on)
            made.append(
                _document(
                    run, lines, rounding, kind=kind, number=number, corrects=corrects, vat=tax
                )
            )
    return tuple(made)


def show_back(shares: Shares, *, commission_gbp: Decimal) -> tuple[TeamRow, ...]:
    """Return each team's net, its part of the commission and what it keeps.

    Commission is spread in proportion to the net; the columns add up to the totals.

    Args:
        shares: Net revenue per team.
        commission_gbp: Commission on the sum.

    Raises:
        ContractError: There is commission but no net revenue.
    """
    if not shares.by_team:
        return ()
    if not shares.total_gbp and commission_gbp:
        raise ContractError(f"commission of {commission_gbp} GBP on a net of 0")
    whole = Fraction(shares.total_gbp) or Fraction(1)
    parts = rounded_together(
        {
            team: Fraction(commission_gbp) * Fraction(net) / whole
            for team, net in shares.by_team.items()
        }
    )
    return tuple(
        TeamRow(team, net, parts[team], net - parts[team])
        for team, net in sorted(shares.by_team.items())
    )


def total_gbp(lines: Iterable[Line]) -> Decimal:
    """Return the sum of lines."""
    return sum((line.amount_gbp for line in lines), ZERO)


def _fee_line(run: BillingRun) -> Line:
    gpus = run.gpus or 0
    fee = subscription_gbp(gpus, day=run.month.first)
    basis = f"{gpus} GPUs on {run.month.first}"
    return Line(f"Subscription {run.month}", fee, basis)


def _commission_line(one: CommissionLine) -> Line:
    correction = "" if not one.billed_before_gbp else f", billed before {one.billed_before_gbp} GBP"
    return Line(
        description=f"Commission on P415 net revenue of {one.month}",
        amount_gbp=abs(one.amount_gbp),
        basis=f"net {one.net_gbp:.2f} GBP at run {one.run}, due {one.due_gbp} GBP{correction}",
        settlement_month=str(one.month),
    )


def _document(
    run: BillingRun,
    lines: list[Line],
    rounding: Rounding,
    *,
    kind: DocumentKind,
    number: int,
    corrects: tuple[str, ...],
    vat: Decimal,
) -> Document:
    net = total_gbp(lines)
    tax = rounding.cash(net * vat)
    prefix = "GF" if kind is DocumentKind.INVOICE else "GFC"
    return Document(
        number=f"{prefix}-{run.month.year}-{number:05d}",
        kind=kind,
        seller=run.seller,
        customer=run.customer,
        issued_on=run.issued_on,
        month=run.month,
        lines=tuple(lines),
        vat_fraction=vat,
        net_gbp=net,
        vat_gbp=tax,
        gross_gbp=net + tax,
        corrects=corrects,
        evidence_sha256=run.evidence_sha256,
        show_back=run.show_back,
    )
