"""What was traded, rebuilt from the ledger alone: for a trader that starts again.

Every message was recorded before it was sent and every answer when it was read, so that going
through the entries in their order brings a desk to where it was. What was recorded and not sent
comes out as sent and without an answer; it is sent again under the same number. Entries from some
half-hour on are enough: each message was recorded with its number, and what is about earlier ones
is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.baselines.commitments import Committed, is_commitment, read_commitment
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.messages.drafts import read_draft
from gridflex.market.messages.idd import Receipt
from gridflex.market.registry import BaselineIndicator, UnitId
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.position import Position
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import read_answer, trades_of

MESSAGES: Final = (
    EventType.SEV_SUBMITTED,
    EventType.WMAN_SUBMITTED,
    EventType.ECVN_SUBMITTED,
    EventType.DVN_SUBMITTED,
)
TRADED: Final = (EventType.BASELINE_COMPUTED, *MESSAGES, EventType.CONTRACT_MESSAGE)
"""What a trader is rebuilt from, beside the answers; each is about a half-hour."""


class Recorded(Protocol):
    """An entry; see `gridflex.adapters.ledger.store.Logged`."""

    @property
    def index(self) -> int:
        """Its place."""
        ...

    @property
    def event(self) -> dict[str, Any]:
        """What it says."""
        ...


@dataclass(frozen=True, slots=True)
class Restored:
    """What a unit traded.

    Args:
        committed: Its baselines.
        trades: Sales, by the half-hour of the order.
    """

    committed: Mapping[HalfHour, Committed]
    trades: Mapping[HalfHour, Trade]


def restore(entries: Iterable[Recorded], *, desk: TradingDesk, unit: UnitId) -> Restored:
    """Bring a fresh desk to where the entries leave it, and return what was traded.

    Args:
        entries: Of the types `TRADED`, and the answers, oldest first.
        desk: Without positions.
        unit: Which unit.

    Raises:
        ContractError: A statement does not fit the message it is about.
    """
    committed: dict[HalfHour, Committed] = {}
    trades: dict[HalfHour, Trade] = {}
    for entry in entries:
        event = entry.event
        kind = event["event_type"]
        if is_commitment(event) and event["subject"] == f"unit:{unit}":
            half_hour = HalfHour.parse(event["valid_time"])
            committed[half_hour] = read_commitment(event["body"])
            if committed[half_hour].is_traded:
                desk.open(opened_by(committed[half_hour], unit, half_hour))
        elif kind in MESSAGES:
            _issue(desk, entry)
        elif kind == EventType.ACK_RECEIVED:
            _hear(desk, event)
        for trade in trades_of([event]):
            if trade.reference == order_reference(unit, trade.first):
                trades[trade.first] = trade
    return Restored(committed, trades)


def opened_by(committed: Committed, unit: UnitId, half_hour: HalfHour) -> Position:
    """Return the position that a submitted baseline opens."""
    delivery = (committed.expected - committed.planned).mwh
    return Position(unit, half_hour, BaselineIndicator.SUBMITTED, delivery, committed.share)


def order_reference(unit: UnitId, half_hour: HalfHour) -> str:
    """Return the name of the one order for a unit's half-hour, under which it is placed once."""
    return f"{unit}:{half_hour}"


def ordering_unit(trade: Trade) -> UnitId | None:
    """Return for which unit a sale was ordered under `order_reference`; None if it was not."""
    unit, _, half_hour = (trade.reference or "").partition(":")
    return UnitId(unit) if half_hour == str(trade.first) else None


def continue_numbers(desk: TradingDesk, newest: Iterable[Recorded]) -> None:
    """Let a desk go on with the numbers after the newest message of each kind."""
    for entry in newest:
        kind = ArtefactKind(entry.event["body"]["artefact"])
        after = entry.event["body"]["number"] + 1
        desk.number_from(kind, max(after, desk.next_number(kind)))


def _issue(desk: TradingDesk, entry: Recorded) -> None:
    """Count a message as sent, unless its gate closed between recording and sending."""
    body = entry.event["body"]
    artefact, split = read_draft(body)
    at = _recorded(entry.event)
    kind = ArtefactKind(body["artefact"])
    keys = {(UnitId(one["unit"]), HalfHour.parse(one["half_hour"])) for one in body["positions"]}
    if not all(desk.has(*key) for key in keys):
        desk.number_from(kind, body["number"] + 1)
        return
    desk.number_from(kind, body["number"])
    try:
        draft = desk.draft(artefact, now=at, split=split)
    except ContractError:
        return
    desk.issue(draft, ledger_index=entry.index, now=at)


def _hear(desk: TradingDesk, event: Mapping[str, Any]) -> None:
    """Take an answer, unless it is the receipt of a file from before the first entry."""
    answer = read_answer(event)
    if not isinstance(answer, Receipt) or desk.has_sent(answer.file_name):
        desk.hear(answer, now=_recorded(event))


def _recorded(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["recorded_time"])
