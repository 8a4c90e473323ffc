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

from pydantic import TypeAdapter

from gridflex.ledger.canonical import canonical_json
from gridflex.market.invoice import Document, DocumentKind, Party
from gridflex.market.page import facts_list, page

_DOCUMENT: Final = TypeAdapter(Document)

CSV_COLUMNS: Final = (
    *("number", "kind", "issued_on", "customer", "line", "description", "basis"),
    *("settlement_month", "net_gbp", "vat_gbp", "gross_gbp", "corrects"),
)

_TITLES: Final = {DocumentKind.INVOICE: "Invoice", DocumentKind.CREDIT_NOTE: "Credit note"}


def document_json(document: Document) -> bytes:
    """Return a document as canonical JSON; amounts are strings."""
    return canonical_json(_DOCUMENT.dump_python(document, mode="json"))


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
    title = f"{_TITLES[document.kind]} {document.number}"
    return page(
        title,
        f"<header><div><h1>{escape(title)}</h1>{_facts(document)}</div>",
        f"{_party(document.seller)}</header>",
        f"<h2>To</h2>{_party(document.customer)}",
        _lines(document),
        _show_back(document),
        _evidence(document),
    )


def _facts(document: Document) -> str:
    facts = [
        ("Date and tax point", document.issued_on.isoformat()),
        ("Billing month", str(document.month)),
    ]
    if document.corrects:
        facts.append(("Corrects", ", ".join(document.corrects)))
    return facts_list(facts)


def _party(party: Party) -> str:
    lines = [party.name, *party.address]
    if party.vat_number:
        lines.append(f"VAT {party.vat_number}")
    return f"<address>{escape(chr(10).join(lines))}</address>"


def _lines(document: Document) -> str:
    rows = "".join(
        f"<tr><td>{escape(line.description)}<br><small>{escape(line.basis)}</small></td>"
        f'<td class="money">{_money(line.amount_gbp)}</td></tr>'
        for line in document.lines
    )
    totals = (
        ("Net", document.net_gbp),
        (f"VAT {document.vat_fraction:.0%}", document.vat_gbp),
        (
            "To credit" if document.kind is DocumentKind.CREDIT_NOTE else "To pay",
            document.gross_gbp,
        ),
    )
    foot = "".join(
        f'<tr><td>{escape(name)}</td><td class="money">{_money(amount)}</td></tr>'
        for name, amount in totals
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
        f'<tr><td>{escape(row.team)}</td><td class="money">{_money(row.net_gbp)}</td>'
        f'<td class="money">{_money(row.commission_gbp)}</td>'
        f'<td class="money">{_money(row.kept_gbp)}</td></tr>'
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


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _safe(cell: object) -> str:
    """Keep a spreadsheet from reading text as a formula."""
    text = str(cell)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
