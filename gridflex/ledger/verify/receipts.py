"""Receipts: that one is in the ledger, and that its totals follow from its half-hours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, Inexact, localcontext
from typing import Any, Final

from gridflex.ledger.verify.entries import canonical_json, parse_entry
from gridflex.ledger.verify.merkle import leaf_hash, verify_inclusion
from gridflex.ledger.verify.notes import Key, open_checkpoint
from gridflex.ledger.verify.reading import VerificationError, bytes_of, parse_json, text_of
from gridflex.ledger.verify.settled import GivenParts, Part, read_parts

RECEIPT_SCHEMA: Final = "gridflex-receipt/1"
COMMODITY: Final = "price_gbp_per_mwh"
DELIVERED: Final = "delivered_gbp_per_mwh"
EARNED_PLACES: Final = 6
"""Decimals of GBP to which the net of a settlement is spread over jobs."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that holds on its own.

    Args:
        subject: What it is about, such as a job.
        index: Of its entry in the ledger.
        checkpoint: That covers it, as signed.
        evidence: Index and leaf hash of the entries it rests on.
        settled: Parts that it says its job has in settlements.
    """

    subject: str
    index: int
    checkpoint: str
    evidence: tuple[tuple[int, str], ...]
    settled: tuple[Part, ...] = ()


def verify_receipt(raw: str | bytes, *, keys: Iterable[Key]) -> Receipt:
    """Check a receipt by itself: steps 6 to 8.

    Raises:
        VerificationError: A step fails.
    """
    receipt = parse_json(raw, what="the receipt")
    if not isinstance(receipt, dict) or receipt.get("schema") != RECEIPT_SCHEMA:
        raise VerificationError(f"not a receipt; its schema would be {RECEIPT_SCHEMA}")
    index, proof = receipt.get("index"), receipt.get("inclusion")
    if type(index) is not int or not isinstance(proof, list):
        raise VerificationError("a receipt has an index and an inclusion proof")
    entry = canonical_json(receipt.get("entry"))
    event = parse_entry(entry)
    checkpoint = open_checkpoint(text_of(receipt, "checkpoint"), keys=keys)  # step 7
    verify_inclusion(  # step 6
        leaf_hash(entry),
        index=index,
        size=checkpoint.size,
        proof=[bytes_of(one, what="a proof hash") for one in proof],
        root=checkpoint.root,
    )
    if event["event_type"] != "receipt.issued":
        raise VerificationError(f"entry {index} is {event['event_type']}, not a receipt")
    try:
        details = receipt["details"]
        _check_details(details, event["body"])  # step 8
        evidence = tuple((int(e["index"]), str(e["leaf_sha256"])) for e in details["evidence"])
        named = {index for index, _ in evidence}
        settled = read_parts(details.get("settled", []), evidence=named)
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise VerificationError(f"the receipt is malformed: {error!r}") from error
    return Receipt(str(event["subject"]), index, receipt["checkpoint"], evidence, settled)


class GivenReceipts:
    """Receipts against their ledger, whose entries it is given in order: step 9.

    Args:
        receipts: Each verified by itself.
    """

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._evidence: dict[int, set[tuple[str, str]]] = {}
        self._parts = GivenParts([(one.subject, part) for one in receipts for part in one.settled])
        self._newest = {one.index: one.index for one in receipts}
        for receipt in receipts:
            for index, leaf in receipt.evidence:
                self._evidence.setdefault(index, set()).add((leaf, receipt.subject))

    def take(self, index: int, raw: bytes, event: dict[str, Any]) -> None:
        """Check what receipts say about one entry.

        Raises:
            VerificationError: One rests on another entry, or takes a part of something else.
        """
        for leaf, subject in self._evidence.pop(index, ()):
            if leaf_hash(raw).hex() != leaf:
                raise VerificationError(f"{subject} rests on another entry {index} than this")
        self._parts.take(index, event)
        before = event["prev_ref"]
        if event["event_type"] == "receipt.issued" and before in self._newest.values():
            self._newest |= {old: index for old, at in self._newest.items() if at == before}

    def finish(self) -> dict[int, int]:
        """Return the receipts that a later one followed, each with the newest.

        Raises:
            VerificationError: One rests on an entry that the ledger has not.
        """
        if self._evidence:
            missing = sorted(self._evidence)
            raise VerificationError(f"receipts rest on entries {missing}, which are missing")
        return {old: at for old, at in self._newest.items() if at != old}

    def replaced(self) -> dict[int, int]:
        """Return the settlements under receipts that no longer count, each with the one that does.

        Only known once all entries are taken.
        """
        return self._parts.replaced()


def _check_details(details: Any, body: Any) -> None:  # noqa: ANN401 - parsed JSON
    """Check that a receipt's details are those of its entry, and its totals follow from them."""
    if hashlib.sha256(canonical_json(details)).hexdigest() != body["details_sha256"]:
        raise VerificationError("the details are not those that its entry names")
    figures = body["figures"]
    for name, expected in totals(details["half_hours"]).items():
        stated = figures.get(name)
        value = None if stated is None else Decimal(stated["value"])
        if value != expected:
            raise VerificationError(f"{name} is stated as {value}, the half-hours give {expected}")
    rows, stated = details.get("settled", []), figures["earned_gbp"]
    earned = earnings(rows) if rows else None
    value = None if stated is None else Decimal(stated["value"])
    if value != earned:
        raise VerificationError(f"earned_gbp is stated as {value}, its settlements give {earned}")


def totals(half_hours: Sequence[Any]) -> dict[str, Decimal | None]:
    """Return what the half-hours of a receipt add up to, exactly.

    A total over marginal intensity, or over what energy costs delivered, is None where a half-hour
    has none.
    """
    with localcontext(prec=200) as exact:
        exact.traps[Inexact] = True
        used = [Decimal(row["used_kwh"]) for row in half_hours]
        run_now = [Decimal(row["run_now_kwh"]) for row in half_hours]
        change = [kwh - before for kwh, before in zip(used, run_now, strict=True)]

        def weighted(kwh: list[Decimal], factor: str) -> Decimal | None:
            factors = [row.get(factor) for row in half_hours]
            if None in factors:
                return None
            products = (k * Decimal(f) for k, f in zip(kwh, factors, strict=True))
            return sum(products, Decimal(0))

        def cost(kwh: list[Decimal], price: str) -> Decimal | None:
            total = weighted(kwh, price)
            return None if total is None else total.scaleb(-3)

        back = [-kwh for kwh in change]

        return {
            "used_kwh": sum(used, Decimal(0)),
            "run_now_kwh": sum(run_now, Decimal(0)),
            "energy_change_kwh": sum(change, Decimal(0)),
            "location_based_gco2": weighted(used, "average_gco2_per_kwh"),
            "average_change_gco2": weighted(change, "average_gco2_per_kwh"),
            "marginal_change_gco2": weighted(change, "marginal_gco2_per_kwh"),
            "cost_gbp": cost(used, COMMODITY),
            "run_now_cost_gbp": cost(run_now, COMMODITY),
            "saved_gbp": cost(back, COMMODITY),
            "delivered_cost_gbp": cost(used, DELIVERED),
            "run_now_delivered_cost_gbp": cost(run_now, DELIVERED),
            "delivered_saved_gbp": cost(back, DELIVERED),
        }


def earnings(settled: Sequence[Any]) -> Decimal:
    """Return what a job's parts of settlements add up to, exactly.

    Raises:
        VerificationError: A part is not the job's share of the reductions.
    """
    with localcontext(prec=200):
        for row in settled:
            part = Decimal(row["reduction_mwh"]) / Decimal(row["all_reductions_mwh"])
            share, stated = Decimal(row["net_gbp"]) * part, Decimal(row["earned_gbp"])
            if abs(share - stated) > 2 * Decimal(1).scaleb(-EARNED_PLACES):
                raise VerificationError(
                    f"{stated} GBP earned at {row['start']}, its share is {share:.6f}"
                )
        return sum((Decimal(row["earned_gbp"]) for row in settled), Decimal(0))
