"""Invoices and credit notes as events of the ledger."""

from __future__ import annotations

from gridflex.ledger.canonical import digest
from gridflex.ledger.event import Event, EventType
from gridflex.market.billing.invoice import Document
from gridflex.market.billing.invoice_files import document_json


def invoice_event(document: Document, *, account: str | None = None) -> Event:
    """Return an invoice or credit note: its figures, and the digest of the whole document.

    Args:
        document: The invoice or credit note.
        account: Whose revenue it charges for.
    """
    payload = document_json(document)
    lines = [
        {"settlement_month": one.settlement_month, "amount_gbp": str(one.amount_gbp)}
        for one in document.lines
    ]
    return Event(
        id=f"invoice:{document.number}",
        event_type=EventType.INVOICE_ISSUED,
        body={
            "number": document.number,
            "kind": document.kind.value,
            "issued_on": document.issued_on.isoformat(),
            "month": str(document.month),
            "lines": lines,
            "net_gbp": str(document.net_gbp),
            "vat_gbp": str(document.vat_gbp),
            "gross_gbp": str(document.gross_gbp),
            "corrects": list(document.corrects),
            "statement_sha256": document.evidence_sha256,
            "document_sha256": digest(payload),
            **({"account": account} if account else {}),
        },
        subject=f"invoice:{document.number}",
    )
