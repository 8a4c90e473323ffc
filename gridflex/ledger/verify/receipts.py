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

RECEIPT_SCHEMA: Final = "gridflex-receipt/1"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that holds on its own.

    Args:
        subject: What it is about, such as a job.
        index: Of its entry in the ledger.
        checkpoint: That covers it, as signed.
        evidence: Index and leaf hash of the entries it rests on.
    """

    subject: str
    index: int
    checkpoint: str
    evidence: tuple[tuple[int, str], ...]


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
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise VerificationError(f"the receipt is malformed: {error!r}") from error
    return Receipt(str(event["subject"]), index, receipt["checkpoint"], evidence)


def _check_details(details: Any, body: Any) -> None:  # noqa: ANN401 - parsed JSON
    """Check that a receipt's details are those of its entry, and its totals follow from them."""
    if hashlib.sha256(canonical_json(details)).hexdigest() != body["details_sha256"]:
        raise VerificationError("the details are not those that its entry names")
    figures = body["figures"]
    for name, expected in totals(details["half_hours"]).items():
        stated = figures[name]
        value = None if stated is None else Decimal(stated["value"])
        if value != expected:
            raise VerificationError(f"{name} is stated as {value}, the half-hours give {expected}")


def totals(half_hours: Sequence[Any]) -> dict[str, Decimal | None]:
    """Return what the half-hours of a receipt add up to, exactly.

    A total over marginal intensity is None where a half-hour has none.
    """
    with localcontext(prec=200) as exact:
        exact.traps[Inexact] = True
        used = [Decimal(row["used_kwh"]) for row in half_hours]
        run_now = [Decimal(row["run_now_kwh"]) for row in half_hours]
        change = [kwh - before for kwh, before in zip(used, run_now, strict=True)]

        def weighted(kwh: list[Decimal], factor: str) -> Decimal | None:
            factors = [row[factor] for row in half_hours]
            if None in factors:
                return None
            products = (k * Decimal(f) for k, f in zip(kwh, factors, strict=True))
            return sum(products, Decimal(0))

        def cost(kwh: list[Decimal]) -> Decimal:
            prices = [Decimal(row["price_gbp_per_mwh"]) for row in half_hours]
            products = (k * p for k, p in zip(kwh, prices, strict=True))
            return sum(products, Decimal(0)).scaleb(-3)

        return {
            "used_kwh": sum(used, Decimal(0)),
            "run_now_kwh": sum(run_now, Decimal(0)),
            "energy_change_kwh": sum(change, Decimal(0)),
            "location_based_gco2": weighted(used, "average_gco2_per_kwh"),
            "average_change_gco2": weighted(change, "average_gco2_per_kwh"),
            "marginal_change_gco2": weighted(change, "marginal_gco2_per_kwh"),
            "cost_gbp": cost(used),
            "run_now_cost_gbp": cost(run_now),
            "saved_gbp": cost(run_now) - cost(used),
        }
