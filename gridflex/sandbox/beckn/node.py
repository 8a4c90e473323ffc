"""One participant of the sandbox as a server that also works: receives, decides, sends."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from gridflex.adapters.beckn.http import BecknClient, DediRegistry
from gridflex.beckn.contracts.states import Patience, Side
from gridflex.beckn.messaging.delivery import Courier
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.participant import Participant
from gridflex.beckn.messaging.reacting import Trader
from gridflex.beckn.messaging.receiving import Receiver, Screen
from gridflex.beckn.messaging.writing import Author
from gridflex.beckn.trust.signing import KeyId, SigningKey
from gridflex.beckn.trust.verification import Local, TrustPolicy
from gridflex.beckn.wire.context import DIRECTION
from gridflex.errors import GridFlexError
from gridflex.sandbox.beckn.behaviour import (
    Behaviour,
    Mood,
    MoodyServer,
    MoodyTrader,
    MoodyTransport,
)

log = logging.getLogger(__name__)

TURN_S: Final = 0.1
KEY_NAME: Final = "k1"

Extra = Callable[["Node", datetime], Awaitable[None]]
"""What a node does of its own accord in every turn."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is.

    Args:
        subscriber_id: Its id.
        url: Its address.
        kind: Registry type.
        network_id: Its network.
        registry_url: Base of the registry's lookups.
    """

    subscriber_id: str
    url: str
    kind: str
    network_id: str
    registry_url: str


class Node:
    """A participant that remembers nothing beyond its process.

    Args:
        place: Where it is.
        clock: Wall time.
        trader: Builds who decides, from its store.
        screen: What is refused at once.
        ttl: How long its requests count.
        extra: What it does of its own accord.
        behaviour: How it behaves at first.
    """

    def __init__(
        self,
        place: Place,
        *,
        clock: Callable[[], datetime],
        trader: Callable[[MemoryStore], Trader],
        screen: Screen,
        ttl: timedelta = timedelta(minutes=5),
        extra: Extra | None = None,
        behaviour: Behaviour = Behaviour.ACCEPT,
    ) -> None:
        self.place = place
        self.mood = Mood(behaviour)
        self.store = MemoryStore()
        self.key, wrong = (_new_key(place.subscriber_id) for _ in range(2))
        self._clock = clock
        self._extra = extra
        self._client = BecknClient(timeout_s=10.0)
        registry = DediRegistry(place.registry_url, client=self._client)
        local = Local(place.subscriber_id, place.url, is_service=place.kind in {"CS", "DS", "CDS"})
        author = Author(
            local,
            key=self.key,
            network_id=place.network_id,
            new_id=lambda: str(uuid.uuid4()),
            ttl=ttl,
        )

        def screened(message: Any, background: Any, now: datetime) -> None:  # noqa: ANN401 - a `Screen`
            self.mood.screen(message, background, now)
            screen(message, background, now)

        self.receiver = Receiver(
            local,
            key=self.key,
            inbox=self.store,
            registry=registry,
            policy=TrustPolicy(networks=frozenset({place.network_id})),
            screen=screened,
        )
        self.participant = Participant(
            author,
            store=self.store,
            trader=MoodyTrader(trader(self.store), self.mood),
            patience=Patience(answer=ttl, draft=6 * ttl),
            library=self._client,
        )
        self._courier = Courier(
            store=self.store,
            transport=MoodyTransport(self._client, self.mood, wrong_key=wrong),
            registry=registry,
            note=self.participant.note_outcome,
        )

    def registration(self) -> dict[str, Any]:
        """Return what the registry must know of it."""
        return {
            "subscriber_id": self.place.subscriber_id,
            "unique_key_id": KEY_NAME,
            "url": self.place.url,
            "type": self.place.kind,
            "signing_public_key": self.key.public_base64,
            "networks": [self.place.network_id],
        }

    async def work(self) -> None:
        """Take turns until cancelled; what fails is tried again in the next turn."""
        while True:
            try:
                await self._turn()
            except GridFlexError as error:
                log.warning("%s: %s", self.place.subscriber_id, error)
            await asyncio.sleep(TURN_S)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _turn(self) -> None:
        now = self._clock()
        if self._extra is not None:
            await self._extra(self, now)
        while await self.participant.handle(now) + await self._courier.send(now):
            now = self._clock()
        await self.participant.lapse(now)


class _Order(BaseModel, extra="forbid"):
    behaviour: Behaviour
    at: Literal[tuple(DIRECTION)] | None = None  # type: ignore[valid-type]


def create_node_app(node: Node, *, now: Callable[[], datetime]) -> FastAPI:
    """Return the server of a node: ``/beckn/…``, ``/healthz`` and ``/_sandbox``.

    Args:
        node: Who works while the server runs.
        now: Wall time.
    """

    @asynccontextmanager
    async def working(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(node.work())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await node.close()

    app = FastAPI(title=node.place.subscriber_id, openapi_url=None, lifespan=working)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "subscriber_id": node.place.subscriber_id}

    @app.get("/_sandbox")
    async def state() -> dict[str, Any]:
        return await _state(node)

    @app.put("/_sandbox/behaviour")
    async def behave(order: _Order) -> dict[str, str | None]:
        node.mood.behaviour, node.mood.at = order.behaviour, order.at
        return {"behaviour": order.behaviour.value, "at": order.at}

    @app.post("/beckn/{action:path}")
    async def receive(action: str, request: Request) -> Response:
        if action not in DIRECTION:
            return Response(status_code=404)
        reply = await node.receiver.receive(
            action,
            await request.body(),
            authorization=request.headers.get("authorization"),
            now=now(),
        )
        return Response(
            reply.body,
            status_code=int(reply.status),
            headers=dict(reply.headers),
            media_type="application/json",
        )

    app.add_middleware(MoodyServer, mood=node.mood)
    return app


async def _state(node: Node) -> dict[str, Any]:
    everything = [*node.store.ended, *await node.store.open_contracts(Side.BAP)]
    everything += await node.store.open_contracts(Side.BPP)
    return {
        "subscriber_id": node.place.subscriber_id,
        "behaviour": node.mood.behaviour.value,
        "at": node.mood.at,
        "received": len(node.store.received),
        "sent": len(node.store.sent),
        "contracts": [
            {
                "transaction_id": one.transaction_id,
                "side": one.side.value,
                "stage": one.stage.value,
                "peer": one.peer_id,
                "reason": one.reason,
                "reason_code": one.reason_code,
            }
            for one in everything
        ],
        "holds": [one.thing for one in await node.store.holds()],
    }


def _new_key(subscriber_id: str) -> SigningKey:
    return SigningKey(KeyId(subscriber_id, KEY_NAME), Ed25519PrivateKey.generate())
