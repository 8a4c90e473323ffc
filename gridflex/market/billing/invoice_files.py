"""Invoices as files: a printable page, CSV for bookkeeping, JSON for machines.

The same document always yields the same bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from decimal import Decimal
from html import escape
from io import StringIO
from typing import Final

from pydantic import TypeAdapter, ValidationError

from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.ledger.canonical import canonical_json
from gridflex.market.billing.invoice import Document, DocumentKind, Party
from gridflex.market.billing.page import facts_list, page

_DOCUMENT: Final = TypeAdapter(Document)

CSV_COLUMNS: Final = (
    *("number", "kind", "issued_on", "customer", "line", "description", "basis"),
    *("settlement_month", "net_gbp", "vat_gbp", "gross_gbp", "corrects"),
)

_TITLES: Final = {DocumentKind.INVOICE: "Invoice", DocumentKind.CREDIT_NOTE: "Credit note"}


def document_json(document: Document) -> bytes:
    """Return a document as canonical JSON; amounts are strings."""
    return canonical_json(_DOCUMENT.dump_python(document, mode="json"))


def read_document(payload: bytes) -> Document:
    """Return a document that `document_json` wrote.

    Raises:
        ContractError: It is not valid; the message names each wrong value.
    """
    try:
        return _DOCUMENT.validate_json(payload)
    except ValidationError as error:
        raise ContractError(f"document: {faults_text(error, whole='document')}") from error


def documents_csv(documents: Iterable[Document]) -> str:
    """Return one row per line and one per total; amounts of credit notes are negative."""
    out = StringIO()
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(CSV_COLUMNS)
    for document in documents:
        sign = -1 if document.kind is DocumentKind.CREDIT_NOTE else 1
        head = (document.number, document.kind, document.issued_on, document.customer.name)
        corrects = " ".join(document.corrects)
        for number, line in enumerate(document.lines, start=1):
            what = (line.description, line.basis, line.settlement_month)
            rows.writerow((*map(_safe, (*head, number, *what)), sign * line.amount_gbp, "", "", ""))
        totals = (document.net_gbp, document.vat_gbp, document.gross_gbp)
        rows.writerow(
            (*map(_safe, head), "", "total", "", "", *(sign * one for one in totals), corrects)
        )
    return out.getvalue()


def document_html(document: Document) -> str:
    """Return a document as a page that needs nothing else."""
    title = title_of(document)
    return page(
        title,
        f"<header><div><h1>{escape(title)}</h1>{facts_list(facts_of(document))}</div>",
        f"{_party(document.seller)}</header>",
        f"<h2>To</h2>{_party(document.customer)}",
        _lines(document),
        _show_back(document),
        _evidence(document),
    )


def title_of(document: Document) -> str:
    """Return what a document is called."""
    return f"{_TITLES[document.kind]} {document.number}"


def facts_of(document: Document) -> list[tuple[str, str]]:
    """Return what a document says of itself, by name."""
    facts = [
        ("Date and tax point", document.issued_on.isoformat()),
        ("Billing month", str(document.month)),
    ]
    if document.corrects:
        facts.append(("Corrects", ", ".join(document.corrects)))
    return facts


def totals_of(document: Document) -> list[tuple[str, Decimal]]:
    """Return the sums below a document's lines, GBP, by name."""
    is_credit = document.kind is DocumentKind.CREDIT_NOTE
    return [
        ("Net", document.net_gbp),
        (f"VAT {document.vat_fraction:.0%}", document.vat_gbp),
        ("To credit" if is_credit else "To pay", document.gross_gbp),
    ]


def in_pounds(amount: Decimal) -> str:
    """Return an amount in GBP as it is printed."""
    return f"{amount:,.2f}"


def _party(party: Party) -> str:
    lines = [party.name, *party.address]
    if party.vat_number:
        lines.append(f"VAT {party.vat_number}")
    return f"<address>{escape(chr(10).join(lines))}</address>"


def _lines(document: Document) -> str:
    rows = "".join(
        f"<tr><td>{escape(line.description)}<br><small>{escape(line.basis)}</small></td>"
        f'<td class="money">{in_pounds(line.amount_gbp)}</td></tr>'
        for line in document.lines
    )
    foot = "".join(
        f'<tr><td>{escape(name)}</td><td class="money">{in_pounds(amount)}</td></tr>'
        for name, amount in totals_of(document)
    )
    return (
        '<h2>Lines</h2><div class="wide"><table><thead><tr><th scope="col">For</th>'
        '<th scope="col" class="money">GBP</th></tr></thead>'
        f"<tbody>{rows}</tbody><tfoot>{foot}</tfoot></table></div>"
    )


def _show_back(document: Document) -> str:
    if not document.show_back:
        return ""
    rows = "".join(
        f'<tr><td>{escape(row.team)}</td><td class="money">{in_pounds(row.net_gbp)}</td>'
        f'<td class="money">{in_pounds(row.commission_gbp)}</td>'
        f'<td class="money">{in_pounds(row.kept_gbp)}</td></tr>'
        for row in document.show_back
    )
    return (
        '<h2>By team</h2><div class="wide"><table><thead><tr><th scope="col">Team</th>'
        '<th scope="col" class="money">P415 net GBP</th>'
        '<th scope="col" class="money">Commission GBP</th>'
        '<th scope="col" class="money">Kept GBP</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _evidence(document: Document) -> str:
    if not document.evidence_sha256:
        return ""
    return (
        "<p><small>Rests on the settlement statement with SHA-256 "
        f"{escape(document.evidence_sha256)}</small></p>"
    )


def _safe(cell: object) -> str:
    """Keep a spreadsheet from reading text as a formula."""
    text = str(cell)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
