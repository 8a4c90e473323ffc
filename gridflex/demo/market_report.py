"""What the demo's market came to, and what is left of it for an auditor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridflex.adapters.ledger.files import write_files
from gridflex.ledger.canonical import canonical_json
from gridflex.ledger.verify.folder import Report
from gridflex.ledger.verify.reading import VerificationError
from gridflex.market.audit import trace
from gridflex.market.billing.invoice import Document
from gridflex.market.billing.receipts import IssuedReceipt
from gridflex.market.settlement.records import replay
from gridflex.units import gbp_text


@dataclass(frozen=True, slots=True)
class MarketReport:
    """What the market part of the demo came to.

    Args:
        traded: Half-hours that were traded.
        sold_mwh: Sold in all.
        delivered_mwh: Deviation in all.
        net_gbp: Net of the trading party, after imbalance.
        settled_again: Settlements that gave the same bytes when run again from the ledger.
        earned_gbp: What the receipts say that jobs earned.
        ledger: What the offline verifier found.
        receipts: How many receipts verified offline.
        invoices: Bills of the month.
    """

    traded: int
    sold_mwh: Decimal
    delivered_mwh: Decimal
    net_gbp: Decimal
    settled_again: int
    earned_gbp: Decimal
    ledger: Report
    receipts: int
    invoices: tuple[Document, ...]

    def as_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "traded_half_hours": self.traded,
            "sold_mwh": str(self.sold_mwh),
            "delivered_mwh": str(self.delivered_mwh),
            "net_gbp": str(self.net_gbp),
            "settled_again": self.settled_again,
            "earned_by_jobs_gbp": str(self.earned_gbp),
            "ledger": {
                "size": self.ledger.size,
                "root": self.ledger.root,
                "event_types": self.ledger.event_types,
            },
            "receipts_verified": self.receipts,
            "invoices": [
                {"number": one.number, "gross_gbp": str(one.gross_gbp)} for one in self.invoices
            ],
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return what to show, by subject."""
        sold = f"sold {self.sold_mwh:.3f} MWh, delivered {self.delivered_mwh:.4f} MWh"
        again = f"{self.settled_again} settlements run again to the same bytes"
        receipts = f"{self.receipts} jobs, each verified against the ledger"
        earned = f"earned {gbp_text(self.earned_gbp)} GBP"
        bills = ", ".join(f"{one.number} over {one.gross_gbp} GBP" for one in self.invoices)
        return [
            ("half-hours settled", f"{self.traded}, simulated market: {sold}"),
            ("net under P415", f"{gbp_text(self.net_gbp)} GBP"),
            ("ledger", f"{self.ledger.size} entries verified offline; {again}"),
            ("receipts", f"{receipts}; {earned}"),
            ("invoices", bills or "nothing to bill"),
        ]


def settle_again(entries: Iterable[Mapping[str, Any]]) -> None:
    """Run every settlement again and follow its inputs back to the entries they come from.

    Raises:
        VerificationError: An outcome or an input is another one.
    """
    known = list(entries)
    if changed := [one.entry for one in replay(known) if not one.is_same]:
        raise VerificationError(f"{changed[0]} settles to other bytes when run again")
    for one in trace(known):
        if one.different:
            raise VerificationError(f"{one.entry}: {one.different[0]}")


def earned_gbp(receipt: IssuedReceipt) -> Decimal | None:
    """Return what a receipt says that its job earned; None if it says nothing."""
    figure = receipt.entry["body"]["figures"]["earned_gbp"]
    return None if figure is None else Decimal(figure["value"])


def leave(keep: Path, receipts: Sequence[IssuedReceipt], *, key: str) -> None:
    """Leave what an auditor needs beside the ledger."""
    files = {f"receipts/{one.entry['body']['job']}.json": one.as_json() for one in receipts}
    write_files(keep, [(name, canonical_json(body)) for name, body in files.items()])
    write_files(keep, [("key.pub", f"{key}\n".encode())])
