"""What jobs earned in the market, from the settlements in the ledger, and receipts that say so.

A receipt is issued when a job ended; its half-hours are settled weeks later and again with every
run. Each settlement spreads its net over the jobs that reduced import in it, and the receipt is
followed by another one that says what came of it; nothing else in it changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.verify.receipts import EARNED_PLACES, earnings
from gridflex.market.billing.receipts import Basis, DraftReceipt, Evidence, IssuedReceipt
from gridflex.market.meters import Evidence as Metering
from gridflex.market.settlement.book import SettlementBook
from gridflex.market.settlement.records import settlement_inputs
from gridflex.market.settlement.runs import Run, newest_paying
from gridflex.market.volumes import ZERO, Rounding, share_out

_BASIS: Final = {
    Metering.SETTLEMENT: Basis.MODELLED,
    Metering.ASSET_METERED: Basis.MODELLED,
    Metering.TELEMETRY: Basis.MODELLED,
    Metering.ESTIMATED: Basis.ASSUMED,
}
"""A job's part is always modelled: it rests on what it would have used."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """One settlement as the ledger has it.

    Args:
        index: Of its entry.
        leaf_sha256: Of its entry, in hexadecimal.
        account: Which account.
        half_hour: When.
        run: Which run.
        net_gbp: What the account earned, exact.
        reduction_mwh: Per job, what it reduced, above zero.
        basis: What a job's part rests on.
    """

    index: int
    leaf_sha256: str
    account: str
    half_hour: HalfHour
    run: Run
    net_gbp: Decimal
    reduction_mwh: Mapping[str, Decimal]
    basis: Basis


def read_settlement(index: int, leaf: bytes, entry: Mapping[str, Any]) -> Settlement:
    """Return a settlement from its entry."""
    book = settlement_inputs(entry)
    (period,) = book.periods
    metering = [pair.evidence for unit in period.units for pair in unit.pairs]
    is_assumed = any(_BASIS[one] is Basis.ASSUMED for one in metering)
    return Settlement(
        index=index,
        leaf_sha256=leaf.hex(),
        account=period.account,
        half_hour=period.half_hour,
        run=period.run,
        net_gbp=Decimal(entry["body"]["net_gbp"]),
        reduction_mwh=_reductions(book),
        basis=Basis.ASSUMED if is_assumed else Basis.MODELLED,
    )


def settled_jobs(settlements: Iterable[Settlement]) -> list[str]:
    """Return the jobs that have a part in any of these, in the order of their names."""
    return sorted({job for one in settlements for job in one.reduction_mwh})


def in_force(settlements: Iterable[Settlement]) -> list[Settlement]:
    """Return the settlements that count: the latest paying run of each half-hour and account."""
    counting = newest_paying(sorted(settlements, key=lambda one: one.index))
    return sorted(counting, key=lambda one: (one.half_hour, one.account))


def with_earnings(receipt: IssuedReceipt, settlements: Sequence[Settlement]) -> DraftReceipt | None:
    """Return the receipt that follows one, with what its job earned; None if that one says so.

    Args:
        receipt: The newest receipt of a job.
        settlements: Those in force, over all half-hours of the job.
    """
    job = receipt.entry["body"]["job"]
    mine = [one for one in settlements if job in one.reduction_mwh]
    rows = [_row(one, job) for one in mine]
    if rows == receipt.details.get("settled", []):
        return None
    evidence = {one["index"]: one["leaf_sha256"] for one in receipt.details["evidence"]}
    former = {one["entry"] for one in receipt.details.get("settled", [])}
    kept = [Evidence(at, leaf) for at, leaf in evidence.items() if at not in former]
    found = [*kept, *(Evidence(one.index, one.leaf_sha256) for one in mine)]
    details = {
        "half_hours": receipt.details["half_hours"],
        "evidence": [{"index": one.index, "leaf_sha256": one.leaf_sha256} for one in found],
        **({"settled": rows} if rows else {}),
    }
    body = dict(receipt.entry["body"])
    body["figures"] = body["figures"] | {"earned_gbp": _figure(mine, rows)}
    body["details_sha256"] = digest(canonical_json(details))
    event = Event(
        id=f"receipt:{job}:{receipt.index}:{digest(canonical_json(body))[:16]}",
        event_type=EventType.RECEIPT_ISSUED,
        body=body,
        subject=receipt.entry["subject"],
        site=receipt.entry["site"],
        prev_ref=receipt.index,
    )
    return DraftReceipt(event, details)


def _reductions(book: SettlementBook) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for one in book.contributions:
        if one.reduction_mwh > 0:
            found[one.job] = found.get(one.job, ZERO) + one.reduction_mwh
    return found


def _row(settlement: Settlement, job: str) -> dict[str, Any]:
    net = Rounding(cash_places=EARNED_PLACES).cash(settlement.net_gbp)
    parts = share_out(net, dict(settlement.reduction_mwh), places=EARNED_PLACES)
    return {
        "start": str(settlement.half_hour),
        "account": settlement.account,
        "run": settlement.run.value,
        "entry": settlement.index,
        "net_gbp": str(settlement.net_gbp),
        "reduction_mwh": str(settlement.reduction_mwh[job]),
        "all_reductions_mwh": str(sum(settlement.reduction_mwh.values(), ZERO)),
        "earned_gbp": format(parts[job], "f"),
    }


def _figure(settlements: Sequence[Settlement], rows: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - JSON
    if not rows:
        return None
    bases = {one.basis for one in settlements}
    basis = Basis.ASSUMED if Basis.ASSUMED in bases else Basis.MODELLED
    first = min((one.run for one in settlements), key=lambda run: run.position)
    return {
        "value": format(earnings(rows), "f"),
        "unit": "GBP",
        "basis": basis.value,
        "run": first.value,
    }
