"""The trading desk: which messages go out, under which number, and what became of each.

It decides and remembers but does nothing itself. Whoever drives it writes the draft to the
ledger, hands the returned file to a mailbox and passes back what comes in; a file that gets no
answer is offered again with the same bytes and number, as long as its gate is open or, for
delivered volumes, until they are due.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import (
    ActivityNotice,
    Artefact,
    ArtefactKind,
    Channel,
    ContractNotice,
    DeliveredVolumes,
    ExpectedVolumes,
    artefact_file,
)
from gridflex.market.messages.deadlines import deadline
from gridflex.market.messages.drafts import Draft, Key, draft_body
from gridflex.market.messages.feedback import Feedback, read_feedback
from gridflex.market.messages.idd import Receipt, file_name, read_header, read_receipt
from gridflex.market.messages.idd_items import Response
from gridflex.market.registry import UnitId
from gridflex.market.trading.alarms import Alarm, AlarmLimits, alarms
from gridflex.market.trading.notices import NoticedSales, split_over
from gridflex.market.trading.position import (
    BEFORE_GATE,
    Answered,
    Logged,
    Position,
    Sent,
    Status,
    advance,
)
from gridflex.market.working_days import WorkingCalendar, gate_closure

NO_CREDENTIAL: Final = "-"
"""Stands for the credential in the files of a desk that follows what another one sends."""

UNUSED_NUMBER: Final = frozenset({Response.HEADER, Response.FILE_TYPE})
"""Receipts after which the next file has the same number."""


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file to hand over.

    Args:
        name: Under which it travels.
        payload: Its bytes.
    """

    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Sending:
    draft: Draft
    file: OutgoingFile
    sent_at: datetime
    replaced: Mapping[Key, Decimal]
    is_answered: bool = False


class TradingDesk:
    """Positions and the messages about them.

    Args:
        positions: What is to be traded.
        channels: From whom to whom each kind of message goes.
        keys: Credential per contract authorisation; None for a desk whose files nobody gets,
            because it follows from the ledger what another one sends.
        next_sequence: Next number per sender (role and party); 1 where absent.
        calendar: Working days.
        limits: When to warn and to send again.
    """

    def __init__(
        self,
        positions: Iterable[Position],
        *,
        channels: Mapping[ArtefactKind, Channel],
        keys: Mapping[str, str] | None,
        calendar: WorkingCalendar,
        next_sequence: Mapping[tuple[str, str], int] | None = None,
        limits: AlarmLimits | None = None,
    ) -> None:
        self._positions = {(one.unit, one.half_hour): one for one in positions}
        self._channels = dict(channels)
        self._keys = None if keys is None else dict(keys)
        self._calendar = calendar
        self._next = dict(next_sequence or {})
        self._limits = limits or AlarmLimits()
        self._sendings: dict[str, _Sending] = {}
        self._sales = NoticedSales()

    def open(self, position: Position) -> None:
        """Begin to trade a position.

        Raises:
            ContractError: It is open already.
        """
        key = (position.unit, position.half_hour)
        if key in self._positions:
            raise ContractError(f"{position.unit} {position.half_hour} is traded already")
        self._positions[key] = position

    @property
    def positions(self) -> tuple[Position, ...]:
        """All positions, by half-hour and unit."""
        return tuple(
            self._positions[key]
            for key in sorted(self._positions, key=lambda key: (key[1], key[0]))
        )

    def has(self, unit: UnitId, half_hour: HalfHour) -> bool:
        """Return whether a position is open."""
        return (unit, half_hour) in self._positions

    def position(self, unit: UnitId, half_hour: HalfHour) -> Position:
        """Return one position.

        Raises:
            ContractError: There is none.
        """
        try:
            return self._positions[unit, half_hour]
        except KeyError as error:
            raise ContractError(f"{unit} {half_hour} has no position") from error

    def next_number(self, kind: ArtefactKind) -> int:
        """Return under which number the next message of a kind is sent."""
        return self._next.get(self._sender(kind), 1)

    def number_from(self, kind: ArtefactKind, number: int) -> None:
        """Go on with a number: what was sent before is not known here."""
        self._next[self._sender(kind)] = number

    def has_sent(self, file_name: str) -> bool:
        """Return whether a file was sent from here."""
        return file_name in self._sendings

    def draft(
        self, artefact: Artefact, *, now: datetime, split: Mapping[Key, Decimal] | None = None
    ) -> Draft:
        """Return a message after checking that every position would allow it.

        Args:
            artefact: What to say.
            now: When; aware UTC.
            split: For a contract notice, the part of its volume that each position delivers;
                may be left out with one unit.

        Raises:
            ContractError: A position is unknown, its gate is closed, more would be sold than
                may be, or the split does not add up.
        """
        kind = artefact.kind
        parts: Mapping[Key, Decimal] = {}
        if isinstance(artefact, ContractNotice):
            parts = split_over(self._positions, artefact, split)
        volumes = dict(self._volumes(artefact, parts))
        for key, mwh in volumes.items():
            advance(self.position(*key), Logged(kind, now, ledger_index=0, mwh=mwh))
        body = draft_body(kind, artefact, volumes, parts, number=self.next_number(kind))
        return Draft(kind, artefact, volumes, parts, body)

    def issue(self, draft: Draft, *, ledger_index: int, now: datetime) -> OutgoingFile:
        """Return the file of a draft that is in the ledger, and count it as sent.

        Args:
            draft: What `draft` returned.
            ledger_index: Its entry.
            now: When; aware UTC.

        Raises:
            ContractError: A gate has closed since, or a value does not fit the file.
        """
        channel = self._channels[draft.kind]
        number = self.next_number(draft.kind)
        key = self._key(draft.artefact)
        payload = artefact_file(draft.artefact, channel=channel, sequence=number, at=now, key=key)
        moved = {}
        for one, mwh in draft.volumes.items():
            logged = Logged(draft.kind, now, ledger_index=ledger_index, mwh=mwh)
            moved[one] = advance(advance(self.position(*one), logged), Sent(draft.kind, now))
        self._positions |= moved
        self.number_from(draft.kind, number + 1)
        file = OutgoingFile(file_name(read_header(payload)), payload)
        replaced: Mapping[Key, Decimal] = {}
        if isinstance(draft.artefact, ContractNotice):
            replaced = self._sales.stand(draft.artefact, draft.parts)
        self._sendings[file.name] = _Sending(draft, file, now, replaced)
        return file

    def take(self, payload: bytes, *, now: datetime) -> tuple[Receipt | Feedback, ...]:
        """Read a file that came in and move the positions it is about.

        Args:
            payload: The file.
            now: When; aware UTC.

        Raises:
            FileError: It breaks the format.
            ContractError: It answers nothing that was sent.
        """
        found: tuple[Receipt | Feedback, ...]
        if read_header(payload).is_response:
            found = (read_receipt(payload)[1],)
        else:
            found = read_feedback(payload)
        for one in found:
            self.hear(one, now=now)
        return found

    def hear(self, answer: Receipt | Feedback, *, now: datetime) -> None:
        """Move the positions that an answer is about.

        Args:
            answer: What central systems said.
            now: When; aware UTC.

        Raises:
            ContractError: It answers nothing that was sent.
        """
        if isinstance(answer, Receipt):
            self._take_receipt(answer, now)
            return
        if answer.kind is ArtefactKind.ECVN and not answer.is_accepted:
            self._unsell(answer)
        status = Status.ACCEPTED if answer.is_accepted else Status.REJECTED
        for key in self._about(answer):
            self._move(key, Answered(answer.kind, now, status, answer.reason))

    def unanswered(self, *, now: datetime) -> tuple[OutgoingFile, ...]:
        """Return the files without an answer that can still make a difference, as they were."""
        return tuple(
            one.file
            for one in self._sendings.values()
            if not one.is_answered and not self._is_too_late(one.draft, now)
        )

    def send_again(self, *, now: datetime) -> tuple[OutgoingFile, ...]:
        """Return the files without an answer that can still make a difference."""
        files = []
        for name, sending in self._sendings.items():
            is_due = now - sending.sent_at > self._limits.unanswered
            if sending.is_answered or not is_due or self._is_too_late(sending.draft, now):
                continue
            for key in sending.draft.volumes:
                self._move(key, Sent(sending.draft.kind, now))
            self._sendings[name] = replace(sending, sent_at=now)
            files.append(sending.file)
        return tuple(files)

    def alarms(self, *, now: datetime) -> list[Alarm]:
        """Return what is missing, rejected or unanswered, the most pressing first."""
        return alarms(
            self._positions.values(), now=now, calendar=self._calendar, limits=self._limits
        )

    def _volumes(
        self, artefact: Artefact, parts: Mapping[Key, Decimal]
    ) -> Iterator[tuple[Key, Decimal | None]]:
        match artefact:
            case ActivityNotice():
                yield from (((unit, artefact.half_hour), None) for unit in artefact.active)
            case ExpectedVolumes():
                for unit, volumes in artefact.volumes.items():
                    yield from (((unit, at), volume.mwh) for at, volume in volumes.items())
            case ContractNotice():
                yield from self._sales.with_others(artefact, parts)
            case DeliveredVolumes():
                yield from _delivered(artefact).items()

    def _unsell(self, rejected: Feedback) -> None:
        """Take back the last version of a contract notice; the one before it stands."""
        for sending in reversed(self._sendings.values()):
            artefact = sending.draft.artefact
            if isinstance(artefact, ContractNotice) and _fits(sending.draft, rejected):
                self._sales.stand(artefact, sending.replaced)
                return

    def _key(self, artefact: Artefact) -> str:
        if not isinstance(artefact, ContractNotice):
            return ""
        if self._keys is None:
            return NO_CREDENTIAL
        if artefact.ecvnaa_id not in self._keys:
            raise ContractError(f"no credential for authorisation {artefact.ecvnaa_id}")
        return self._keys[artefact.ecvnaa_id]

    def _take_receipt(self, receipt: Receipt, now: datetime) -> None:
        sending = self._sendings.get(receipt.file_name)
        if sending is None:
            raise ContractError(f"receipt for {receipt.file_name}, which was not sent")
        arrived = receipt.response in {Response.RECEIVED, Response.SEQUENCE}
        status = Status.RECEIVED if arrived else Status.REJECTED
        for key in sending.draft.volumes:
            self._move(key, Answered(sending.draft.kind, now, status, receipt.detail))
        self._sendings[receipt.file_name] = replace(sending, is_answered=True)
        if not arrived and isinstance(sending.draft.artefact, ContractNotice):
            self._sales.stand(sending.draft.artefact, sending.replaced)
        if receipt.response in UNUSED_NUMBER:
            header = read_header(sending.file.payload)
            self._next[header.from_role, header.from_party] = header.sequence

    def _about(self, feedback: Feedback) -> list[Key]:
        """Return the positions a statement is about, out of those with such a message sent.

        A statement that names neither day nor half-hour is about the oldest message for the
        unit that waits for one.
        """
        drafts = [
            sending.draft
            for sending in self._sendings.values()
            if sending.draft.kind is feedback.kind and _fits(sending.draft, feedback)
        ]
        if feedback.day is None and not feedback.half_hours:
            drafts = [one for one in drafts if self._waits(one, feedback.unit)][:1]
        named = [
            key
            for draft in drafts
            for key in draft.volumes
            if feedback.unit in {None, key[0]}
            and (not feedback.half_hours or key[1] in feedback.half_hours)
        ]
        return list(dict.fromkeys(named))

    def _waits(self, draft: Draft, unit: UnitId | None) -> bool:
        waiting = {Status.SENT, Status.RECEIVED}
        return any(
            unit in {None, key[0]} and self._positions[key].track(draft.kind).status in waiting
            for key in draft.volumes
        )

    def _sender(self, kind: ArtefactKind) -> tuple[str, str]:
        return self._channels[kind].from_role, self._channels[kind].from_party

    def _move(self, key: Key, event: Answered | Sent) -> None:
        self._positions[key] = advance(self._positions[key], event)

    def _is_too_late(self, draft: Draft, now: datetime) -> bool:
        return any(now >= self._last_call(draft.kind, at) for _, at in draft.volumes)

    def _last_call(self, kind: ArtefactKind, half_hour: HalfHour) -> datetime:
        """Return from when on a message may not be sent, or changes nothing any more."""
        if kind in BEFORE_GATE:
            return gate_closure(half_hour)
        return deadline(kind, half_hour=half_hour, calendar=self._calendar)


def _delivered(artefact: DeliveredVolumes) -> dict[Key, Decimal]:
    total: dict[Key, Decimal] = {}
    for one in artefact.deliveries:
        for at, volume in one.volumes.items():
            total[one.unit, at] = total.get((one.unit, at), Decimal(0)) + volume.mwh
    return total


def _fits(draft: Draft, feedback: Feedback) -> bool:
    artefact = draft.artefact
    if isinstance(artefact, ContractNotice) and feedback.reference not in {
        None,
        artefact.reference,
    }:
        return False
    return feedback.day in {None, artefact.day}
