"""The life of one unit in one half-hour, from plan to final settlement.

A position is a value; `advance` is the only way to change it and refuses what the market would
not undo: a message that is sent before it is in the ledger, changed after its gate, or sells
more than is expected to be delivered. Answers may arrive late and are always recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.registry import BaselineIndicator, UnitId
from gridflex.market.settlement.runs import Run
from gridflex.market.working_days import gate_closure


class Status(StrEnum):
    """Where one message is."""

    NONE = "none"
    LOGGED = "logged"
    SENT = "sent"
    RECEIVED = "received"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Stage(StrEnum):
    """How far the position has come."""

    PLANNED = "planned"
    WMAN_SENT = "wman-sent"
    SEV_SENT = "sev-sent"
    ECVN_ACKED = "ecvn-acked"
    GATE_CLOSED = "gate-closed"
    METERED = "metered"
    DVN_SENT = "dvn-sent"
    II = "II"
    SF = "SF"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"
    RF = "RF"
    DF = "DF"


@dataclass(frozen=True, slots=True)
class Track:
    """One message of a position.

    Args:
        status: Where it is.
        mwh: What it says, with the sign of its flow; None for an activity notice.
        ledger_index: Its entry in the ledger.
        sent_at: When it was last sent.
        reason: Why it was rejected, or what the receipt found.
        attempts: How often it was sent.
        stands: Whether some version of it is in force, also while a newer one is under way.
        standing_mwh: What that version says.
    """

    status: Status = Status.NONE
    mwh: Decimal | None = None
    ledger_index: int | None = None
    sent_at: datetime | None = None
    reason: str = ""
    attempts: int = 0
    stands: bool = False
    standing_mwh: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """The message's content is in the ledger."""

    kind: ArtefactKind
    at: datetime
    ledger_index: int
    mwh: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The file was handed over."""

    kind: ArtefactKind
    at: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """A receipt or a statement about the content came back.

    Args:
        kind: Which message.
        at: When it was read.
        status: Received, accepted or rejected.
        reason: Why it was rejected.
    """

    kind: ArtefactKind
    at: datetime
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Metered:
    """The half-hour's settlement readings are complete."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement run reported the half-hour."""

    at: datetime
    run: Run


Event = Logged | Sent | Answered | Metered | Settled

BEFORE_GATE: Final = (ArtefactKind.WMAN, ArtefactKind.SEV, ArtefactKind.ECVN)
_ANSWERS: Final = frozenset({Status.RECEIVED, Status.ACCEPTED, Status.REJECTED})
_UNDER_WAY: Final = frozenset({Status.SENT, Status.RECEIVED, Status.ACCEPTED})


@dataclass(frozen=True, slots=True)
class Position:
    """One unit in one half-hour.

    Args:
        unit: Which unit.
        half_hour: When.
        indicator: Who says the baseline; a submitted one needs SEV and DVN.
        expected_mwh: Delivery that the plan expects.
        sale_fraction: Greatest share of it that may be sold.
        tracks: Per message.
        is_metered: Whether its readings are complete.
        run: Latest settlement run.
    """

    unit: UnitId
    half_hour: HalfHour
    indicator: BaselineIndicator
    expected_mwh: Decimal
    sale_fraction: Decimal
    tracks: Mapping[ArtefactKind, Track] = field(default_factory=dict)
    is_metered: bool = False
    run: Run | None = None

    def track(self, kind: ArtefactKind) -> Track:
        """Return where a message is."""
        return self.tracks.get(kind, Track())

    @property
    def most_mwh(self) -> Decimal:
        """Most that may be sold."""
        return max(self.expected_mwh * self.sale_fraction, Decimal(0))

    @property
    def sold_mwh(self) -> Decimal:
        """What the contract notice says that is on its way, else the one in force."""
        track = self.track(ArtefactKind.ECVN)
        mwh = track.mwh if track.status in _UNDER_WAY else track.standing_mwh
        return mwh or Decimal(0)

    @property
    def counts(self) -> bool:
        """Whether a deviation will be measured, as far as the answers tell.

        An activity notice is never accepted in words; one that arrived and was not rejected
        counts. A submitted baseline must have been accepted too.
        """
        has_baseline = self.indicator is BaselineIndicator.BASELINED
        return self.track(ArtefactKind.WMAN).stands and (
            has_baseline or self.track(ArtefactKind.SEV).stands
        )

    def needs(self) -> tuple[ArtefactKind, ...]:
        """Return the messages that the position needs."""
        needed = [ArtefactKind.WMAN]
        if self.indicator is BaselineIndicator.SUBMITTED:
            needed += [ArtefactKind.SEV, ArtefactKind.DVN]
        if self.most_mwh > 0:
            needed.append(ArtefactKind.ECVN)
        return tuple(needed)

    def stage(self, now: datetime) -> Stage:
        """Return how far it has come at ``now``."""
        if self.run is not None:
            return Stage(self.run.name)
        if self.track(ArtefactKind.DVN).status in _UNDER_WAY:
            return Stage.DVN_SENT
        if self.is_metered:
            return Stage.METERED
        if now >= gate_closure(self.half_hour):
            return Stage.GATE_CLOSED
        return self._stage_before_gate()

    def _stage_before_gate(self) -> Stage:
        if self.track(ArtefactKind.ECVN).status is Status.ACCEPTED:
            return Stage.ECVN_ACKED
        if self.track(ArtefactKind.SEV).status in _UNDER_WAY:
            return Stage.SEV_SENT
        if self.track(ArtefactKind.WMAN).status in _UNDER_WAY:
            return Stage.WMAN_SENT
        return Stage.PLANNED


def advance(position: Position, event: Event) -> Position:
    """Return the position after an event.

    Raises:
        ContractError: The event is not allowed: a message before its ledger entry, after its
            gate, or for more than may be sold; a run that goes backwards; metering or
            settlement before the half-hour is over.
    """
    match event:
        case Logged():
            return _logged(position, event)
        case Sent():
            return _sent(position, event)
        case Answered():
            return _answered(position, event)
        case Metered():
            _check_over(position, event.at, "metered")
            return replace(position, is_metered=True)
        case Settled():
            return _settled(position, event)


def _logged(position: Position, event: Logged) -> Position:
    _check_gate(position, event.kind, event.at)
    if (event.mwh is None) != (event.kind is ArtefactKind.WMAN):
        raise ContractError(f"{_name(position)}: {event.kind} with volume {event.mwh}")
    if event.kind is ArtefactKind.ECVN and not 0 <= (event.mwh or 0) <= position.most_mwh:
        raise ContractError(
            f"{_name(position)}: {event.mwh} MWh to be sold, at most {position.most_mwh} of "
            f"{position.expected_mwh} MWh expected"
        )
    track = replace(
        position.track(event.kind),
        status=Status.LOGGED,
        mwh=event.mwh,
        ledger_index=event.ledger_index,
        sent_at=None,
        reason="",
    )
    return _with(position, event.kind, track)


def _sent(position: Position, event: Sent) -> Position:
    _check_gate(position, event.kind, event.at)
    track = position.track(event.kind)
    if track.ledger_index is None:
        raise ContractError(f"{_name(position)}: {event.kind} is not in the ledger yet")
    if track.status is Status.ACCEPTED:
        raise ContractError(f"{_name(position)}: {event.kind} is already accepted")
    sent = replace(
        track, status=Status.SENT, sent_at=event.at, attempts=track.attempts + 1, reason=""
    )
    return _with(position, event.kind, sent)


def _answered(position: Position, event: Answered) -> Position:
    track = position.track(event.kind)
    if track.sent_at is None or event.status not in _ANSWERS:
        raise ContractError(
            f"{_name(position)}: {event.kind} is {track.status}, an answer {event.status} "
            "has nothing to belong to"
        )
    if event.status is Status.RECEIVED and track.status in {Status.ACCEPTED, Status.REJECTED}:
        return position
    answered = replace(track, status=event.status, reason=event.reason)
    is_activity = event.kind is ArtefactKind.WMAN
    if event.status is Status.ACCEPTED or (is_activity and event.status is Status.RECEIVED):
        answered = replace(answered, stands=True, standing_mwh=track.mwh)
    elif is_activity and event.status is Status.REJECTED:
        answered = replace(answered, stands=False)
    return _with(position, event.kind, answered)


def _settled(position: Position, event: Settled) -> Position:
    _check_over(position, event.at, "settled")
    if position.run is not None and not event.run.is_after(position.run):
        raise ContractError(f"{_name(position)}: run {event.run} after {position.run} was settled")
    return replace(position, run=event.run)


def _check_gate(position: Position, kind: ArtefactKind, at: datetime) -> None:
    if kind is ArtefactKind.DVN:
        _check_over(position, at, "delivered")
        return
    closes = gate_closure(position.half_hour)
    if at >= closes:
        raise ContractError(
            f"{_name(position)}: {kind} at {at:%Y-%m-%dT%H:%M:%SZ} is refused, the gate closed "
            f"at {closes:%Y-%m-%dT%H:%MZ}"
        )


def _check_over(position: Position, at: datetime, what: str) -> None:
    if at < position.half_hour.end:
        raise ContractError(f"{_name(position)}: cannot be {what} at {at}, before it ends")


def _with(position: Position, kind: ArtefactKind, track: Track) -> Position:
    return replace(position, tracks={**position.tracks, kind: track})


def _name(position: Position) -> str:
    return f"{position.unit} {position.half_hour}"
