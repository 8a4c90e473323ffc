"""Delivering what is to be sent: again after a failure, for as long as its signature lasts.

The very bytes that were kept are sent, with the signature that was kept. A peer that says it
had a request before has received an attempt whose acknowledgement was lost, even if we know of
none: we may have been killed before it was noted. A peer that lets us
wait for its acknowledgement is waited for beside what is sent to others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from gridflex.beckn.messaging.acknowledging import Acknowledgement, read_acknowledgement
from gridflex.beckn.messaging.keeping import Delivery, Outgoing, Pending, Store
from gridflex.beckn.trust.registry import Registry
from gridflex.beckn.trust.signing import SignatureHeader, instant, is_signed_by
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.errors import GridFlexError, SourceError

log = logging.getLogger(__name__)

AT_ONCE: Final = 32
"""Messages sent together."""

MOST_UNDER_WAY: Final = 96
"""Messages that may wait for an acknowledgement; an HTTP client has 100 connections."""

MOST_PER_PEER: Final = 16
"""Of these, to one peer."""

LOOKED_AT: Final = 512
"""Messages among which those to be sent now are chosen."""

PROMPT_S: Final = 1.0
"""For as long a new message's acknowledgement is waited for before others get their turn."""

FIRST_RETRY: Final = timedelta(seconds=1)
LONGEST_RETRY: Final = timedelta(minutes=5)
_RECEIVED_BEFORE: Final = frozenset({Code.AUT_REPLAY_DETECTED, Code.CTX_MESSAGE_ID_DUPLICATE})


@dataclass(frozen=True, slots=True)
class Answered:
    """A synchronous answer as it came.

    Args:
        status: HTTP status.
        body: Raw bytes.
        signature: The ``Signature`` header, if there is one.
    """

    status: int
    body: bytes = field(repr=False)
    signature: str | None = field(default=None, repr=False)


_Ended = tuple[Delivery, Acknowledgement]


class Transport(Protocol):
    """How messages get to a peer."""

    async def post(self, url: str, body: bytes, *, authorization: str) -> Answered:
        """Return the answer to one POST.

        Raises:
            SourceError: There was none.
        """
        ...


class Outcome(Protocol):
    """Who wants to know how a message ended up."""

    def __call__(
        self, outgoing: Outgoing, heard: Acknowledgement, *, now: datetime
    ) -> Awaitable[None]:
        """Take note of it."""
        ...


class Courier:
    """Sends what a store has to send.

    Args:
        store: What is kept.
        transport: How messages get to a peer.
        registry: Where peers' keys are looked up.
        note: Told how each message ended up.
    """

    def __init__(
        self, *, store: Store, transport: Transport, registry: Registry, note: Outcome
    ) -> None:
        self._store = store
        self._transport = transport
        self._registry = registry
        self._note = note
        self._under_way: dict[int, tuple[Pending, asyncio.Task[_Ended]]] = {}

    async def send(self, now: datetime) -> int:
        """Send what is to be sent and return of how many messages the outcome is known."""
        due = await self._store.pending(now, limit=LOOKED_AT, per_peer=2 * MOST_PER_PEER)
        new = self._chosen(due)
        for one in new:
            self._under_way[one.number] = one, asyncio.create_task(self._post(one, now))
        if new:
            await asyncio.wait([self._under_way[one.number][1] for one in new], timeout=PROMPT_S)
        ended = [number for number, (_, task) in self._under_way.items() if task.done()]
        for number in ended:
            one, task = self._under_way.pop(number)
            delivery, heard = task.result()
            await self._store.delivered(number, delivery)
            if delivery.retry_at is None:
                await self._note(one.outgoing, heard, now=now)
        return len(ended)

    def _chosen(self, pending: Sequence[Pending]) -> list[Pending]:
        """Return what is sent now: the oldest, but never too many to a peer that is slow."""
        to_peer = Counter(one.outgoing.peer_id for one, _ in self._under_way.values())
        room = min(AT_ONCE, MOST_UNDER_WAY - len(self._under_way))
        chosen: list[Pending] = []
        for one in pending:
            peer_id = one.outgoing.peer_id
            if len(chosen) == room:
                break
            if one.number not in self._under_way and to_peer[peer_id] < MOST_PER_PEER:
                to_peer[peer_id] += 1
                chosen.append(one)
        return chosen

    async def _post(self, one: Pending, now: datetime) -> _Ended:
        outgoing = one.outgoing
        expires = instant(outgoing.header.expires)
        if now > expires:
            failure = "its signature ran out before it was acknowledged"
            return Delivery(at=now, failure=failure), _unheard(failure)
        try:
            answered = await self._transport.post(
                outgoing.url, outgoing.message.raw, authorization=str(outgoing.header)
            )
        except SourceError as error:
            delivery = Delivery(at=now, failure=str(error), retry_at=_retry_at(one, now, expires))
            return delivery, _unheard(str(error))
        heard = read_acknowledgement(answered.status, answered.body)
        if heard.error is not None and heard.error.code in _RECEIVED_BEFORE:
            heard = Acknowledgement(is_ack=True, expects_callback=True)
        may_retry = heard.may_retry or (outgoing.is_callback and not heard.is_ack)
        delivery = Delivery(
            at=now,
            status=answered.status,
            body=answered.body,
            signature=answered.signature,
            is_genuine=await self._is_genuine(answered, outgoing, now),
            retry_at=_retry_at(one, now, expires) if may_retry else None,
        )
        return delivery, heard

    async def _is_genuine(
        self, answered: Answered, outgoing: Outgoing, now: datetime
    ) -> bool | None:
        """Return whether the peer signed its acknowledgement; None if nobody did."""
        if answered.signature is None:
            return None
        try:
            header = SignatureHeader.parse(answered.signature)
            record = await self._registry.find(header.key_id, now=now)
        except GridFlexError as error:
            log.warning("acknowledgement of %s: %s", outgoing.peer_id, error)
            return False
        return header.key_id.subscriber_id == outgoing.peer_id and is_signed_by(
            record.key, header, answered.body, request_signature=outgoing.header.signature
        )


def _unheard(reason: str) -> Acknowledgement:
    error = BecknError(Code.NET_ACK_TIMEOUT, reason)
    return Acknowledgement(is_ack=False, expects_callback=False, error=error)


def _retry_at(one: Pending, now: datetime, expires: datetime) -> datetime | None:
    """Return when to try again: after 1, 2, 4 s and so on, a last time as its signature ends."""
    wait = min(FIRST_RETRY * 2 ** min(one.tries, 20), LONGEST_RETRY)
    at = min(now + wait, expires)
    return at if at > now else None
