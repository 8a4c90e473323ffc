"""Whether a received message may be believed: the whole check, in the order of the protocol.

1. The header parses.
2. The algorithm is ed25519, in the header and in the key id.
3. ``created`` is not in the future beyond the tolerance, ``expires`` has not passed.
4. The registry has the key; it is not revoked, is valid now, and its owner is a member of a
   network that we trade on, the one that the context names.
5. The digest is that of the bytes received, and
6. the signature verifies; on a solicited callback it covers our request's signature.
7. The signer is the party that the context says is speaking, at its registered address, and
   the message is addressed to us.
8. It has not been here before (`gridflex.beckn.trust.replay`).
9. Its time to live has not run out.

Each step raises `BecknError`. What the message says beyond its context is not checked here.

Source:
    NFH-007 and CON-004-01 to CON-004-22 (July 2026 draft).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from gridflex.beckn.contracts.states import ContractState
from gridflex.beckn.trust.registry import Registry, Subscriber
from gridflex.beckn.trust.replay import Novelty, judge
from gridflex.beckn.trust.signing import SignatureHeader, answers_request, instant, is_signed_by
from gridflex.beckn.wire.context import Context, Direction
from gridflex.beckn.wire.errors import BecknError, Code, refuse
from gridflex.beckn.wire.messages import parse_context, read_object

SERVICE_KINDS: Final = frozenset({"BG", "CS", "DS", "CDS"})
"""Registry types that may answer for the network itself."""


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What a participant accepts.

    Args:
        networks: Ids of the networks it trades on.
        future_tolerance: How far in the future ``created`` may lie.
        longest_lifetime: Greatest ``expires`` minus ``created`` believed.
        must_bind: Refuse a callback to our request whose signature does not cover it; peers
            that still sign three lines need this off.
        must_match_url: Refuse a sender whose address differs from its registered one.
    """

    networks: frozenset[str]
    future_tolerance: timedelta = timedelta(seconds=60)
    longest_lifetime: timedelta = timedelta(hours=24)
    must_bind: bool = True
    must_match_url: bool = True


@dataclass(frozen=True, slots=True)
class Local:
    """Who is receiving.

    Args:
        subscriber_id: Our id.
        url: Our registered address.
        is_service: Whether we are a network service, to which discovery and catalogues go.
    """

    subscriber_id: str
    url: str
    is_service: bool = False


@dataclass(frozen=True, slots=True)
class Background:
    """What the receiver knows when a message arrives.

    Args:
        earlier: Signatures kept of the same sender, message id and way.
        request_signature: Signature of our own request with this message id, if we sent one.
        request_body: Its bytes.
        state: The contract of this transaction in which we play the part addressed.
        drafts: How many drafts of the sender are open here, if the message may open one.
    """

    earlier: tuple[str, ...] = ()
    request_signature: str | None = None
    request_body: bytes | None = field(default=None, repr=False)
    state: ContractState | None = field(default=None, repr=False)
    drafts: int = 0


@dataclass(frozen=True, slots=True)
class Authentic:
    """A message whose sender is known.

    Args:
        header: Its signature.
        subscriber: Who signed.
        values: The JSON object.
        context: Its envelope, with the profile checked.
    """

    header: SignatureHeader
    subscriber: Subscriber
    values: dict[str, Any] = field(repr=False)
    context: Context = field(repr=False)


def check_header(text: str | None, *, now: datetime, policy: TrustPolicy) -> SignatureHeader:
    """Steps 1 to 3: return the parsed header if it is in force at ``now``.

    Raises:
        BecknError: It is absent, malformed, of another algorithm, early or late.
    """
    if not text:
        raise BecknError(Code.AUT_SIGNATURE_MISSING, "the Authorization header is missing")
    header = SignatureHeader.parse(text)
    if header.expires < header.created:
        refuse(Code.AUT_SIGNATURE_INVALID, "expires lies before created")
    if header.expires - header.created > policy.longest_lifetime.total_seconds():
        refuse(
            Code.AUT_SIGNATURE_INVALID,
            f"valid for {header.expires - header.created} s, more than {policy.longest_lifetime}",
        )
    if instant(header.created) > now + policy.future_tolerance:
        refuse(
            Code.AUT_SIGNATURE_INVALID,
            f"created {instant(header.created)} lies more than {policy.future_tolerance} ahead",
        )
    if now > instant(header.expires):
        refuse(Code.AUT_SIGNATURE_INVALID, f"expired at {instant(header.expires)}")
    return header


async def check_key(
    header: SignatureHeader, *, now: datetime, policy: TrustPolicy, registry: Registry
) -> Subscriber:
    """Step 4: return who owns the key, if it counts now.

    Raises:
        BecknError: It is unknown, revoked, out of its time or of another network.
        SourceError: The registry does not answer.
    """
    subscriber = await registry.find(header.key_id, now=now)
    subscriber.require_usable(now=now, networks=policy.networks)
    return subscriber


def check_signature(
    body: bytes,
    header: SignatureHeader,
    subscriber: Subscriber,
    *,
    request_signature: str | None = None,
) -> None:
    """Steps 5 and 6: the digest and the signature over it.

    Args:
        body: Raw bytes as received.
        header: Its header.
        subscriber: Whose key to use.
        request_signature: What a four-line signature must cover.

    Raises:
        BecknError: They do not match.
    """
    if header.is_bound and request_signature is None:
        refuse(Code.AUT_SIGNATURE_INVALID, "it claims to answer a request that was not sent here")
    bound = request_signature if header.is_bound else None
    if not is_signed_by(subscriber.key, header, body, request_signature=bound):
        refuse(Code.AUT_SIGNATURE_INVALID, "the signature does not match the body")


def check_identity(
    context: Context,
    subscriber: Subscriber,
    *,
    header: SignatureHeader,
    local: Local,
    background: Background,
    policy: TrustPolicy,
) -> None:
    """Step 7: the signer is who the context says, and the message is for us.

    Raises:
        BecknError: It speaks for another, from another address, on another network or to
            another; or a callback is not bound to the request that it answers.
    """
    _check_network(context, subscriber, policy)
    signer = subscriber.key_id.subscriber_id
    if context.sender is None:
        if subscriber.kind not in SERVICE_KINDS:
            refuse(Code.AUT_UNAUTHORIZED_ACTION, f"{signer} is a {subscriber.kind}, no service")
    elif signer != context.sender:
        refuse(
            Code.AUT_UNAUTHORIZED_ACTION, f"{signer} signed a message that {context.sender} sends"
        )
    uri = context.sender_uri
    if policy.must_match_url and uri is not None and _place(uri) != _place(subscriber.url):
        refuse(
            Code.CTX_INVALID_BPP_URI if signer == context.bpp_id else Code.CTX_INVALID_FIELD,
            f"{uri} is not the registered address of {signer}",
            path="$.context.bppUri" if signer == context.bpp_id else "$.context.bapUri",
        )
    _check_addressee(context, local)
    _check_binding(context, header, background, policy)


def check_novelty(context: Context, header: SignatureHeader, background: Background) -> Novelty:
    """Step 8: whether the message is new.

    Raises:
        BecknError: It is a request with a message id that was used before, or a callback that
            nobody asked for about a transaction that is not open here.
    """
    is_callback = is_answer(context)
    novelty = judge(header.signature, background.earlier, is_callback=is_callback)
    is_open = background.state is not None and not background.state.stage.is_final
    if (
        novelty is Novelty.NEW
        and is_callback
        and background.request_signature is None
        and not is_open
    ):
        refuse(
            Code.CTX_TRANSACTION_ID_UNKNOWN,
            f"transaction {context.transaction_id} is not open here",
            path="$.context.transactionId",
        )
    return novelty


def is_answer(context: Context) -> bool:
    """Return whether a message goes the way of callbacks."""
    return context.direction in {Direction.CALLBACK, Direction.PUBLISHED}


def read_context(body: bytes) -> tuple[dict[str, Any], Context]:
    """Return the JSON object and its context, which names the request that is answered.

    Raises:
        BecknError: The body is not JSON or its context breaks the profile.
    """
    values = read_object(body)
    return values, parse_context(values)


def check_request_digest(context: Context, background: Background) -> None:
    """Compare ``context.requestDigest``, where a callback has one, with our request.

    Raises:
        BecknError: It is the digest of something else.
    """
    claimed = context.request_digest
    if claimed is None or background.request_body is None:
        return
    if not answers_request(claimed.digest, background.request_body):
        refuse(
            Code.AUT_SIGNATURE_INVALID,
            "requestDigest is not that of the request that was sent",
            path="$.context.requestDigest",
        )


def _check_network(context: Context, subscriber: Subscriber, policy: TrustPolicy) -> None:
    allowed: Collection[str] = policy.networks & subscriber.networks
    if context.network_id not in allowed:
        refuse(
            Code.AUT_DOMAIN_NOT_ALLOWED,
            f"network {context.network_id!r} is not one that we and "
            f"{subscriber.key_id.subscriber_id} share: {sorted(allowed)}",
        )


def _check_addressee(context: Context, local: Local) -> None:
    if local.is_service or context.direction is Direction.PUBLISH:
        return
    is_to_bap = context.direction is Direction.CALLBACK
    named = context.bap_id if is_to_bap else context.bpp_id
    uri = context.bap_uri if is_to_bap else context.bpp_uri
    side = "bap" if is_to_bap else "bpp"
    if named is not None and named != local.subscriber_id:
        refuse(
            Code.CTX_INVALID_FIELD,
            f"the message is addressed to {named}, this is {local.subscriber_id}",
            path=f"$.context.{side}Id",
        )
    if uri is not None and _place(uri) != _place(local.url):
        refuse(
            Code.CTX_INVALID_FIELD if is_to_bap else Code.CTX_INVALID_BPP_URI,
            f"{uri} is not the address of {local.subscriber_id}",
            path=f"$.context.{side}Uri",
        )


def _check_binding(
    context: Context, header: SignatureHeader, background: Background, policy: TrustPolicy
) -> None:
    is_solicited = is_answer(context) and background.request_signature is not None
    if is_solicited and not header.is_bound and policy.must_bind:
        refuse(Code.AUT_SIGNATURE_INVALID, "the callback's signature does not cover our request's")
    if header.is_bound and not is_answer(context):
        refuse(Code.AUT_SIGNATURE_INVALID, "a request answers nothing, yet is signed as an answer")
    check_request_digest(context, background)


def _place(uri: str) -> str:
    return uri.rstrip("/")
