"""What earlier documents charged, against a bill that is to be issued and its contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from gridflex.ledger.canonical import digest
from gridflex.market.billing.invoice import DocumentKind, Line
from gridflex.market.billing.invoice_files import document_json
from gridflex.market.billing.monthly import BillingContract, MonthlyBill
from gridflex.market.volumes import ZERO

Body = Mapping[str, Any]
"""Of a `gridflex.market.billing.records.invoice_event`; one without ``account`` is of any."""


def why_not_issued(
    bill: MonthlyBill, *, contract: BillingContract, issued: Iterable[Body]
) -> str | None:
    """Return what keeps a bill from being issued, and what to put in its contract; None if nothing.

    Args:
        bill: Its documents may be among those issued.
        contract: States what was billed before.
        issued: Every document of every account.
    """
    bodies = list(issued)
    ours = [one for one in bodies if one.get("account", contract.account) == contract.account]
    wrong = misstated(contract, issued=bodies)
    return (
        _number_taken(bill, contract, bodies)
        or _charged_before(bill, contract, ours)
        or (f"billed of the contract: {wrong}" if wrong else None)
    )


def misstated(contract: BillingContract, *, issued: Iterable[Body]) -> str | None:
    """Return what a contract says was billed before and the documents do not; None if they agree.

    Args:
        contract: States what was billed before.
        issued: A document that is not among them was issued elsewhere and is taken at its word.
    """
    known = {body["number"]: body for body in issued}
    for row in contract.billed:
        if not all(number in known for number in row.documents):
            continue
        charged = sum((_commission(known[n], row.settlement_month) for n in row.documents), ZERO)
        if charged != row.commission_gbp:
            return (
                f"commission_gbp of {row.settlement_month} is {row.commission_gbp}, its documents "
                f"{', '.join(row.documents)} charge {charged}"
            )
    return None


def _number_taken(
    bill: MonthlyBill, contract: BillingContract, issued: Sequence[Body]
) -> str | None:
    """Say which number of a bill stands for another document already."""
    known = {body["number"]: body for body in issued}
    for one in bill.documents:
        before = known.get(one.number)
        if before is None or before["document_sha256"] == digest(document_json(one)):
            continue
        free = 1 + max(int(number.rpartition("-")[2]) for number in known)
        months = {line["settlement_month"] for line in before["lines"]} - {""}
        rows = " and ".join(_row(contract, month, issued) for month in sorted(months))
        return (
            f"{one.number} was issued with other content: set next_number: {free} in the contract"
            + (f" and list it under billed: {rows}" if rows else "")
            + (
                "; what changed since is in a later bill"
                if before["month"] == str(one.month)
                else ""
            )
        )
    return None


def _charged_before(
    bill: MonthlyBill, contract: BillingContract, issued: Sequence[Body]
) -> str | None:
    """Say which earlier document charged what a bill charges again."""
    known = {(one.settlement_month, number) for one in contract.billed for number in one.documents}
    numbers = {one.number for one in bill.documents}
    charged = {_charged(str(one.month), line) for one in bill.documents for line in one.lines}
    for before in issued:
        if before["number"] in numbers:
            continue
        for line in before["lines"]:
            month = line["settlement_month"]
            if not month and (before["month"], True) in charged:
                return (
                    f"the fee of {before['month']} of account {contract.account} was charged with "
                    f"{before['number']}; a month's fee is billed once"
                )
            if (month, False) in charged and (month, before["number"]) not in known:
                return (
                    f"{month} of account {contract.account} was charged with {before['number']}; "
                    f"list it under billed in the contract: {_row(contract, month, issued)}"
                )
    return None


def _row(contract: BillingContract, month: str, issued: Sequence[Body]) -> str:
    """Return the row of ``billed`` for a settlement month, with what was issued elsewhere."""
    charging = {
        one["number"]: _commission(one, month)
        for one in issued
        if one.get("account", contract.account) == contract.account
        and any(line["settlement_month"] == month for line in one["lines"])
    }
    held = next((row for row in contract.billed if row.settlement_month == month), None)
    elsewhere = [number for number in held.documents if number not in charging] if held else []
    if held and elsewhere:
        listed = sum((charging.get(number, ZERO) for number in held.documents), ZERO)
        charging = {**dict.fromkeys(elsewhere, ZERO), **charging}
        charging[elsewhere[0]] = held.commission_gbp - listed
    return (
        f'{{settlement_month: {month}, commission_gbp: "{sum(charging.values(), ZERO)}", '
        f"documents: [{', '.join(charging)}]}}"
    )


def _commission(body: Body, settlement_month: str) -> Decimal:
    """Return what a document charges for a settlement month; a credit note gives back."""
    lines = [one for one in body["lines"] if one["settlement_month"] == settlement_month]
    charged = sum((Decimal(one["amount_gbp"]) for one in lines), ZERO)
    return -charged if body["kind"] == DocumentKind.CREDIT_NOTE else charged


def _charged(month: str, line: Line) -> tuple[str, bool]:
    """Return what a line charges: the month, and whether its fee or its commission."""
    return line.settlement_month or month, not line.settlement_month
