"""What is traded, notified and answered, as events of the ledger, and back again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest, without_fractions
from gridflex.ledger.event import Entry, Event, EventType
from gridflex.market.messages.artefacts import ArtefactKind, ContractNotice
from gridflex.market.messages.drafts import Draft, read_draft
from gridflex.market.messages.feedback import Feedback
from gridflex.market.messages.idd import Receipt
from gridflex.market.messages.idd_items import Response
from gridflex.market.registry import Msid, UnitId
from gridflex.market.trading.position import Status
from gridflex.market.trading.reconciliation import Notified, Trade

ARTEFACT_EVENTS: Final = {
    ArtefactKind.WMAN: EventType.WMAN_SUBMITTED,
    ArtefactKind.SEV: EventType.SEV_SUBMITTED,
    ArtefactKind.ECVN: EventType.ECVN_SUBMITTED,
    ArtefactKind.DVN: EventType.DVN_SUBMITTED,
}


def artefact_event(draft: Draft) -> Event:
    """Return a market message as it is recorded before it is sent."""
    half_hours = [half_hour for _, half_hour in draft.volumes]
    body = without_fractions(dict(draft.body))
    return Event(
        id=f"{draft.kind}:{digest(canonical_json(body))[:32]}",
        event_type=ARTEFACT_EVENTS[draft.kind],
        body=body,
        subject=_unit_subject(unit for unit, _ in draft.volumes),
        half_hour=min(half_hours, default=None),
        stem=f"{draft.kind}:",
    )


def answer_event(answer: Receipt | Feedback, *, file_sha256: str) -> Event:
    """Return what central systems answered, with the digest of their file."""
    if isinstance(answer, Receipt):
        said = {
            "file": answer.file_name,
            "response": answer.response.name.lower(),
            "detail": answer.detail,
            "file_sha256": file_sha256,
        }
        return Event(f"ack:{file_sha256[:32]}", EventType.ACK_RECEIVED, said)
    body = {
        "artefact": str(answer.kind),
        "accepted": answer.is_accepted,
        "reason": answer.reason,
        "unit": answer.unit,
        "meter": answer.meter,
        "reference": answer.reference,
        "day": answer.day.isoformat() if answer.day else None,
        "half_hours": [str(one) for one in answer.half_hours],
        "file_sha256": file_sha256,
    }
    return Event(
        id=f"answer:{digest(canonical_json(body))[:32]}",
        event_type=EventType.ACK_RECEIVED,
        body=body,
        subject=f"unit:{answer.unit}" if answer.unit else None,
    )


def read_answer(entry: Entry) -> Receipt | Feedback:
    """Return what central systems answered, from its entry."""
    body = entry["body"]
    if "file" in body:
        at = datetime.fromisoformat(entry["recorded_time"])
        return Receipt(body["file"], at, Response[body["response"].upper()], body["detail"])
    return Feedback(
        kind=ArtefactKind(body["artefact"]),
        is_accepted=body["accepted"],
        reason=body["reason"],
        half_hours=tuple(HalfHour.parse(one) for one in body["half_hours"]),
        unit=UnitId(body["unit"]) if body["unit"] else None,
        meter=Msid(body["meter"]) if body["meter"] else None,
        reference=body["reference"],
        day=date.fromisoformat(body["day"]) if body["day"] else None,
    )


def trade_event(trade: Trade) -> Event:
    """Return a sale as it was concluded."""
    body = {
        "trade": trade.id,
        "buyer": trade.buyer,
        "half_hours": trade.half_hours,
        "mw": str(trade.mw),
        "price_gbp_per_mwh": str(trade.price_gbp_per_mwh),
        "reference": trade.reference,
    }
    if trade.contract is not None:
        body["contract"] = trade.contract
    return Event(
        id=f"trade:{trade.id}",
        event_type=EventType.CONTRACT_MESSAGE,
        body=body,
        subject=f"trade:{trade.id}",
        half_hour=trade.first,
    )


def trades_of(entries: Iterable[Entry]) -> Iterator[Trade]:
    """Yield the sales among entries; Beckn messages are passed over."""
    for entry in entries:
        body = entry["body"]
        if entry["event_type"] == EventType.CONTRACT_MESSAGE and "trade" in body:
            yield Trade(
                id=body["trade"],
                buyer=body["buyer"],
                first=HalfHour.parse(entry["valid_time"]),
                half_hours=body["half_hours"],
                mw=Decimal(body["mw"]),
                price_gbp_per_mwh=Decimal(body["price_gbp_per_mwh"]),
                contract=body.get("contract"),
                reference=body.get("reference"),
            )


def notices_of(entries: Iterable[Entry], trades: Iterable[Trade]) -> Iterator[Notified]:
    """Yield the contract notices among entries by half-hour, each as it was answered last.

    Args:
        entries: Contract notices and answers, oldest first; a later notice of the same
            reference and day replaces the one before.
        trades: Who bought under which reference.
    """
    buyers = {trade.id: trade.buyer for trade in trades}
    sent: dict[tuple[str, date], ContractNotice] = {}
    status: dict[tuple[str, date], Status] = {}
    for entry in entries:
        if entry["event_type"] == EventType.ECVN_SUBMITTED:
            notice, _ = read_draft(entry["body"])
            if isinstance(notice, ContractNotice):
                sent[notice.reference, notice.day] = notice
                status[notice.reference, notice.day] = Status.SENT
        else:
            status |= _answered(entry, sent)
    for name, notice in sent.items():
        buyer = buyers.get(notice.reference, notice.reference)
        for at, mwh in notice.volumes.items():
            yield Notified(notice.reference, buyer, at, mwh, status[name])


def _answered(entry: Entry, sent: Iterable[tuple[str, date]]) -> dict[tuple[str, date], Status]:
    """Return which contract notices an answer accepts or rejects."""
    is_answer = entry["event_type"] == EventType.ACK_RECEIVED
    answer = read_answer(entry) if is_answer else None
    if not isinstance(answer, Feedback) or answer.kind is not ArtefactKind.ECVN:
        return {}
    status = Status.ACCEPTED if answer.is_accepted else Status.REJECTED
    return {
        (reference, day): status
        for reference, day in sent
        if answer.reference in {None, reference} and answer.day in {None, day}
    }


def _unit_subject(units: Iterable[str]) -> str | None:
    named = sorted(set(units))
    return f"unit:{named[0]}" if len(named) == 1 else None
