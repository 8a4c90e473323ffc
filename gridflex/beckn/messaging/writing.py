"""Writing messages: the context of each kind, the signature, and what binds it to a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import isodate

from gridflex.beckn.contracts.states import ContractState, Side
from gridflex.beckn.messaging.keeping import Outgoing
from gridflex.beckn.messaging.receiving import Incoming
from gridflex.beckn.trust.signing import DEFAULT_LIFETIME, SigningKey
from gridflex.beckn.trust.verification import Local, is_answer
from gridflex.beckn.wire.context import VERSION, Context, Direction
from gridflex.beckn.wire.entities import Wire
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import compose
from gridflex.beckn.wire.schemas import contexts_in

CALLBACK_LIFETIME: Final = timedelta(hours=1)
"""A callback is repeated with its signature for as long as this, or as its request counts."""

SHORTEST_LIFETIME: Final = timedelta(minutes=1)
"""Of an answer to a request that counts no longer, or hardly."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a message is for.

    Args:
        subscriber_id: Its id.
        url: Its registered address.
        is_service: Whether it is the network's discovery or cataloguing service.
    """

    subscriber_id: str
    url: str
    is_service: bool = False


class Author:
    """Writes and signs in the name of one participant.

    Args:
        local: Who that is.
        key: With which it signs.
        network_id: Where it trades.
        new_id: Returns a new UUID.
        ttl: How long a request counts, and so how long its answer is waited for.
        lifetime: How long the signature of a request is valid.
        egress_url: Where everything is posted instead of to its addressee, if anywhere; ``{role}``
            in it becomes ``bap`` for requests and ``bpp`` for callbacks and catalogues.
    """

    def __init__(
        self,
        local: Local,
        *,
        key: SigningKey,
        network_id: str,
        new_id: Callable[[], str],
        ttl: timedelta = timedelta(minutes=5),
        lifetime: timedelta = DEFAULT_LIFETIME,
        egress_url: str | None = None,
    ) -> None:
        self.local = local
        self.key = key
        self.network_id = network_id
        self.new_id = new_id
        self._ttl = ttl
        self._lifetime = lifetime
        self._egress_url = egress_url

    def request(
        self,
        action: str,
        payload: Wire,
        *,
        peer: Peer,
        transaction_id: str,
        now: datetime,
        is_trial: bool | None = None,
        tags: list[dict[str, Any]] | None = None,
    ) -> Outgoing:
        """Return a request of ours; ``catalog/publish`` included.

        Args:
            action: What is asked.
            payload: With what.
            peer: Of whom.
            transaction_id: The business transaction.
            now: Wall time.
            is_trial: ``try``: ask what would happen.
            tags: What the context says beside its profile.
        """
        me, other = (self.local.subscriber_id, self.local.url), (peer.subscriber_id, peer.url)
        if action == "catalog/publish":
            parties = {"bpp_id": me[0], "bpp_uri": me[1]}
        else:
            parties = {"bap_id": me[0], "bap_uri": me[1]}
            if not peer.is_service:
                parties |= {"bpp_id": other[0], "bpp_uri": other[1]}
        more = {"ttl": isodate.duration_isoformat(self._ttl), **parties}
        if is_trial is not None:
            more["is_trial"] = is_trial
        if tags is not None:
            more["tags"] = tags
        context = self._context(
            action,
            payload,
            transaction_id=transaction_id,
            message_id=self.new_id(),
            now=now,
            more=more,
        )
        return self._signed(context, payload, peer, now, lifetime=max(self._lifetime, self._ttl))

    def answer(
        self,
        incoming: Incoming,
        payload: Wire,
        *,
        now: datetime,
        error: BecknError | None = None,
        url: str | None = None,
    ) -> Outgoing:
        """Return the callback to a request, bound to it.

        Args:
            incoming: The request.
            payload: The answer.
            now: Wall time.
            error: Why this is a late failure.
            url: Where to send it; by default the sender's address in the context.
        """
        asked = incoming.message.context
        name = asked.action.rpartition("/")
        action = f"{name[0]}{name[1]}on_{name[2]}"
        is_published = action == "catalog/on_publish"
        parties = {"bpp_id": asked.bpp_id, "bpp_uri": asked.bpp_uri}
        if not is_published:
            parties |= {"bap_id": asked.bap_id, "bap_uri": asked.bap_uri}
        more: dict[str, Any] = {**parties, "is_trial": asked.is_trial or None}
        context = self._context(
            action,
            payload,
            transaction_id=asked.transaction_id,
            message_id=asked.message_id,
            now=now,
            more=more,
        )
        base = url or str(asked.bpp_uri if is_published else asked.bap_uri)
        return self._signed(
            context,
            payload,
            Peer(incoming.sender, base),
            now,
            lifetime=_lifetime_of_answer(asked, now),
            answers=incoming.signature,
            error=error,
        )

    def report(
        self,
        state: ContractState,
        action: str,
        payload: Wire,
        *,
        now: datetime,
        error: BecknError | None = None,
    ) -> Outgoing:
        """Return a callback about a contract that nobody asked for, with a message id of its own.

        Args:
            state: The contract, in which we are the seller-side platform.
            action: ``on_status``, ``on_cancel`` and so on.
            payload: What there is to say.
            now: Wall time.
            error: Why this is a failure.
        """
        parties = {
            "bap_id": state.peer_id,
            "bap_uri": state.peer_uri,
            "bpp_id": self.local.subscriber_id,
            "bpp_uri": self.local.url,
        }
        context = self._context(
            action,
            payload,
            transaction_id=state.transaction_id,
            message_id=self.new_id(),
            now=now,
            more=parties,
        )
        peer = Peer(state.peer_id, state.peer_uri)
        return self._signed(context, payload, peer, now, lifetime=CALLBACK_LIFETIME, error=error)

    def _context(
        self,
        action: str,
        payload: Wire,
        *,
        transaction_id: str,
        message_id: str,
        now: datetime,
        more: dict[str, Any],
    ) -> Context:
        schemas = contexts_in(payload.to_wire())
        values = {
            "action": action,
            "version": VERSION,
            "network_id": self.network_id,
            "transaction_id": transaction_id,
            "message_id": message_id,
            "timestamp": now.isoformat(),
            **{name: value for name, value in more.items() if value is not None},
        }
        if schemas:
            values["schema_context"] = schemas
        return Context.model_validate(values)

    def _base(self, peer: Peer, context: Context) -> str:
        if self._egress_url is None:
            return peer.url
        role = Side.BAP if context.direction is Direction.REQUEST else Side.BPP
        return self._egress_url.replace("{role}", role.value)

    def _signed(
        self,
        context: Context,
        payload: Wire,
        peer: Peer,
        now: datetime,
        *,
        lifetime: timedelta,
        answers: str | None = None,
        error: BecknError | None = None,
    ) -> Outgoing:
        message = compose(context, payload, error=error)
        return Outgoing(
            message=message,
            peer_id=peer.subscriber_id,
            url=f"{self._base(peer, context).rstrip('/')}/{context.action}",
            header=self.key.sign(
                message.raw, now=now, lifetime=lifetime, request_signature=answers
            ),
            answers=answers,
            made_at=now,
            is_callback=is_answer(context),
        )


def _lifetime_of_answer(asked: Context, now: datetime) -> timedelta:
    """Return for how long an answer is repeated: whoever asked waits no longer than its ttl."""
    left = asked.expires - now if asked.expires else CALLBACK_LIFETIME
    return min(max(left, SHORTEST_LIFETIME), CALLBACK_LIFETIME)


def peer_of(state: ContractState) -> Peer:
    """Return the other party of a contract."""
    return Peer(state.peer_id, state.peer_uri)
