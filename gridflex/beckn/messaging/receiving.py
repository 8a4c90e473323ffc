"""The receiving side: verify, keep, acknowledge. What follows happens later, from what is kept.

A message is on disk before it is acknowledged, and nothing but the acknowledgement is said at
once: the protocol answers by callback.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from pydantic import TypeAdapter, ValidationError

from gridflex.beckn.messaging.acknowledging import Reply, ack, nack
from gridflex.beckn.trust.registry import Registry
from gridflex.beckn.trust.replay import Novelty, judge
from gridflex.beckn.trust.signing import SignatureHeader, SigningKey
from gridflex.beckn.trust.verification import (
    Authentic,
    Background,
    Local,
    TrustPolicy,
    check_header,
    check_identity,
    check_key,
    check_novelty,
    check_signature,
    is_answer,
    read_context,
)
from gridflex.beckn.wire.context import Context, Uuid
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import Message, parse_payload, read_object
from gridflex.errors import SourceError

log = logging.getLogger(__name__)

_UUID: Final = TypeAdapter(Uuid)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A verified message as it is kept, with the answer it got.

    Args:
        message: What was said.
        sender: Subscriber id of who signed.
        authorization: The header value as received.
        signature: Its signature.
        answers: Signature of our request that it answers; None if it answers none.
        received_at: When.
        reply: Our acknowledgement.
    """

    message: Message
    sender: str
    authorization: str = field(repr=False)
    signature: str = field(repr=False)
    answers: str | None = field(repr=False)
    received_at: datetime
    reply: Reply = field(repr=False)


class Inbox(Protocol):
    """Where received messages are kept."""

    async def background(self, context: Context, *, sender: str) -> Background:
        """Return what is known that bears on a message just received from ``sender``."""
        ...

    async def keep(self, incoming: Incoming) -> bool:
        """Keep a message durably.

        Returns:
            False if a message that excludes this one has been kept meanwhile.
        """
        ...


Screen = Callable[[Message, Background, datetime], None]
"""Refuses, by raising `BecknError`, what can be refused before it is acknowledged."""


def accept_all(message: Message, background: Background, now: datetime) -> None:
    """Screen nothing."""


class Receiver:
    """Takes raw requests and gives raw answers.

    Args:
        local: Who we are.
        key: With which answers are signed.
        inbox: Where messages are kept.
        registry: Where senders are looked up.
        policy: What is trusted.
        screen: What is refused at once.
    """

    def __init__(
        self,
        local: Local,
        *,
        key: SigningKey,
        inbox: Inbox,
        registry: Registry,
        policy: TrustPolicy,
        screen: Screen = accept_all,
    ) -> None:
        self._local = local
        self._key = key
        self._inbox = inbox
        self._registry = registry
        self._policy = policy
        self._screen = screen

    @property
    def subscriber_id(self) -> str:
        """Under which id messages are received."""
        return self._local.subscriber_id

    async def receive(
        self, action: str, body: bytes, *, authorization: str | None, now: datetime
    ) -> Reply:
        """Return the acknowledgement of a message; never raises for what a peer sent.

        Args:
            action: From the path.
            body: Raw bytes.
            authorization: The ``Authorization`` header, if there is one.
            now: When it arrived.
        """
        header: SignatureHeader | None = None
        try:
            header = check_header(authorization, now=now, policy=self._policy)
            reply = await self._accept(action, body, header, str(authorization), now)
        except BecknError as error:
            log.info("refused %s: %s", action, error)
            header = header or _readable(authorization)
            reply = nack(message_id_of(body), error, realm=self._local.subscriber_id)
        except SourceError as error:
            log.warning("cannot judge a message: %s", error)
            failure = BecknError(Code.NET_OVERLOADED, "the message cannot be checked or kept now")
            reply = nack(message_id_of(body), failure, realm=self._local.subscriber_id)
        else:
            return reply
        return self._signed(reply, header, now)

    async def _accept(
        self, action: str, body: bytes, header: SignatureHeader, authorization: str, now: datetime
    ) -> Reply:
        authentic, background = await self._authenticate(body, header, now)
        context = authentic.context
        if context.action != action:
            raise BecknError(
                Code.CTX_ACTION_MISMATCH,
                f"the path says {action!r}, the context {context.action!r}",
                path="$.context.action",
            )
        novelty = check_novelty(context, header, background)
        context.require_fresh(now)
        message = parse_payload(authentic.values, context, raw=body)
        if novelty is Novelty.NEW:
            self._screen(message, background, now)
        incoming = Incoming(
            message=message,
            sender=header.key_id.subscriber_id,
            authorization=authorization,
            signature=header.signature,
            answers=background.request_signature if header.is_bound else None,
            received_at=now,
            reply=self._signed(ack(context.message_id), header, now),
        )
        if novelty is Novelty.NEW and not await self._inbox.keep(incoming):
            await self._judge_again(context, header)
        return incoming.reply

    async def _authenticate(
        self, body: bytes, header: SignatureHeader, now: datetime
    ) -> tuple[Authentic, Background]:
        sender = header.key_id.subscriber_id
        subscriber = await check_key(header, now=now, policy=self._policy, registry=self._registry)
        if not header.is_bound:
            check_signature(body, header, subscriber)
        values, context = read_context(body)
        background = await self._inbox.background(context, sender=sender)
        if header.is_bound:
            check_signature(
                body, header, subscriber, request_signature=background.request_signature
            )
        check_identity(
            context,
            subscriber,
            header=header,
            local=self._local,
            background=background,
            policy=self._policy,
        )
        return Authentic(header, subscriber, values, context), background

    async def _judge_again(self, context: Context, header: SignatureHeader) -> None:
        """Refuse a request that lost a race against one with the same message id."""
        background = await self._inbox.background(context, sender=header.key_id.subscriber_id)
        judge(header.signature, background.earlier, is_callback=is_answer(context))

    def _signed(self, reply: Reply, header: SignatureHeader | None, now: datetime) -> Reply:
        if header is None:
            return reply
        signed = self._key.sign(reply.body, now=now, request_signature=header.signature)
        return replace(reply, headers={**reply.headers, "Signature": str(signed)})


def message_id_of(body: bytes) -> str | None:
    """Return the message id of a body that may be anything, or None."""
    try:
        return _UUID.validate_python(read_object(body)["context"]["messageId"])
    except (BecknError, ValidationError, KeyError, TypeError):
        return None


def _readable(authorization: str | None) -> SignatureHeader | None:
    try:
        return SignatureHeader.parse(authorization) if authorization else None
    except BecknError:
        return None
