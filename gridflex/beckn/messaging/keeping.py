"""What a participant keeps, and the port through which it does.

A message is on disk before it is acknowledged or sent. What is decided about one message (the
contract's new state, what to send, what to hold) is kept in one step or not at all, so that a
participant may die between any two lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gridflex.beckn.contracts.states import ContractState, Side
from gridflex.beckn.messaging.receiving import Inbox, Incoming
from gridflex.beckn.trust.signing import SignatureHeader
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import Message
from gridflex.halfhour import HalfHour


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A signed message that is to be sent.

    Args:
        message: What is said.
        peer_id: Subscriber id of whom it is for.
        url: Where it goes, action included.
        header: Its signature.
        answers: Signature of the request that it answers, if any.
        made_at: When.
        is_callback: Whether it goes the way of callbacks.
    """

    message: Message
    peer_id: str
    url: str
    header: SignatureHeader
    answers: str | None = field(repr=False)
    made_at: datetime
    is_callback: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """A received message that has not been taken up yet.

    Args:
        number: Under which it is kept.
        incoming: The message with its signature.
    """

    number: int
    incoming: Incoming


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that is still to be sent.

    Args:
        number: Under which it is kept.
        outgoing: The message with its signature.
        tries: How often it was tried.
    """

    number: int
    outgoing: Outgoing
    tries: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one attempt to send.

    Args:
        at: When.
        status: HTTP status; None if there was no answer.
        body: The answer.
        signature: Its ``Signature`` header, if it had one.
        is_genuine: Whether that signature is the peer's over our request; None without one.
        failure: Why there was no answer.
        retry_at: When to try again; None if this was the last attempt.
    """

    at: datetime
    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    signature: str | None = field(default=None, repr=False)
    is_genuine: bool | None = None
    failure: str | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A thing that is promised to one contract and to no other.

    Args:
        transaction_id: The contract.
        thing: What is held; a job's id.
        start: First half-hour in which it must run.
        half_hours: How many.
        energy_kwh: How much it uses there.
    """

    transaction_id: str
    thing: str
    start: HalfHour
    half_hours: int
    energy_kwh: float


class HeldError(BecknError):
    """Something that was to be held is held by another contract.

    Args:
        thing: What.
    """

    def __init__(self, thing: str) -> None:
        super().__init__(Code.BIZ_QUANTITY_UNAVAILABLE, f"{thing} is promised to another contract")
        self.thing = thing

    def __reduce__(self) -> tuple[object, ...]:
        return (HeldError, (self.thing,))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is kept together.

    Args:
        handled: Number of the received message that it takes up, if any.
        failure: Why that message had no effect.
        states: Contracts as they now are.
        outgoing: Messages to be sent.
        holds: What is promised from now on.
        freed: Transactions whose holds end.
    """

    handled: int | None = None
    failure: str | None = None
    states: tuple[ContractState, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()
    holds: tuple[Hold, ...] = ()
    freed: tuple[str, ...] = ()


class Store(Inbox, Protocol):
    """Where messages, contracts and holds are kept."""

    async def arrived(self, *, limit: int) -> Sequence[Arrived]:
        """Return received messages that nobody has taken up, oldest first."""
        ...

    async def pending(self, now: datetime, *, limit: int, per_peer: int) -> Sequence[Pending]:
        """Return messages whose time to be sent has come, oldest first.

        Args:
            now: Aware UTC.
            limit: How many at most.
            per_peer: How many to one peer at most, so that others come into view.
        """
        ...

    async def delivered(self, number: int, delivery: Delivery) -> None:
        """Keep what came of an attempt to send."""
        ...

    async def decide(self, decision: Decision) -> bool:
        """Keep a decision as a whole.

        Returns:
            False if the message was taken up before; then nothing is kept.

        Raises:
            HeldError: Something is promised to another contract; then nothing is kept.
        """
        ...

    async def contract(self, transaction_id: str, side: Side) -> ContractState | None:
        """Return one contract as it stands."""
        ...

    async def open_contracts(self, side: Side) -> Sequence[ContractState]:
        """Return the contracts that have not ended, oldest first."""
        ...

    async def drafts(self, peer_id: str) -> int:
        """Return how many drafts a peer has open with us as the one that answers."""
        ...

    async def due_contracts(self, now: datetime) -> Sequence[ContractState]:
        """Return the contracts whose patience may have run out."""
        ...

    async def holds(self) -> Sequence[Hold]:
        """Return what is promised now."""
        ...


def due_at(state: ContractState) -> datetime | None:
    """Return when `gridflex.beckn.contracts.lifecycle.lapse` should look at a contract again."""
    if state.stage.is_final:
        return None
    if state.awaiting is not None:
        return state.awaiting.until
    return state.lapses_at if state.stage.is_draft else None
