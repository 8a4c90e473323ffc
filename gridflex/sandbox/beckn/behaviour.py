"""How a counterparty behaves: as agreed, or badly in one of the ways that peers do.

What it does to a request and what to a callback is its own affair, and may be limited to one
action: "refuse ``on_confirm``" is a buyer that takes everything but the confirmation.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gridflex.beckn.contracts.states import ContractState, Step
from gridflex.beckn.flexibility.needs import NEED_TYPE, PRICE
from gridflex.beckn.messaging.delivery import Answered, Transport
from gridflex.beckn.messaging.reacting import Reaction, Saying, Trader
from gridflex.beckn.trust.signing import SignatureHeader, SigningKey, instant
from gridflex.beckn.trust.verification import Background
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import Message, read_object
from gridflex.beckn.wire.payloads import ContractMessage

MARKUP: Final = Decimal("1.5")
"""By how much a haggling seller raises its price, and a haggling buyer lowers its bid."""


WITH_THE_SERVICE: Final = frozenset(
    {"discover", "on_discover", "catalog/publish", "catalog/on_publish"}
)
"""Without these no counterparty would ever hear of the other."""

SILENT_S: Final = 60.0
"""How long a callback that is not answered keeps its sender waiting."""


class Behaviour(StrEnum):
    """What a counterparty does."""

    ACCEPT = "accept"
    HAGGLE = "haggle"
    REFUSE = "refuse"
    TIME_OUT = "time-out"
    TWICE = "answer-twice"
    SIGN_WRONGLY = "sign-wrongly"


class Mood:
    """The behaviour in force; can be changed while the counterparty runs.

    Args:
        behaviour: What it does.
        at: The action of the messages that it refuses, does not answer or spoils; None is all
            but those with the network's services.
    """

    def __init__(self, behaviour: Behaviour = Behaviour.ACCEPT, at: str | None = None) -> None:
        self.behaviour = behaviour
        self.at = at

    def does(self, behaviour: Behaviour, action: str) -> bool:
        """Return whether that is what happens to messages of an action."""
        if self.behaviour is not behaviour or action in WITH_THE_SERVICE:
            return False
        return self.at in {None, action}

    def screen(self, message: Message, background: Background, now: datetime) -> None:  # noqa: ARG002 - a `Screen`
        """Refuse a message, in the mood to refuse.

        Raises:
            BecknError: It is refused.
        """
        if self.does(Behaviour.REFUSE, message.action):
            raise BecknError(Code.POL_ENGAGEMENT_REFUSED, f"{message.action} is refused here")


class MoodyTrader:
    """A trader that keeps silent or haggles when its mood says so.

    Args:
        trader: Who decides otherwise.
        mood: The behaviour.
    """

    def __init__(self, trader: Trader, mood: Mood) -> None:
        self._trader = trader
        self._mood = mood

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:
        """See `gridflex.beckn.messaging.reacting.Trader.react`."""
        if self._mood.does(Behaviour.TIME_OUT, message.action):
            return Reaction()
        reaction = await self._trader.react(message, step, now=now)
        sayings = tuple(
            _haggled(one)
            if self._mood.does(Behaviour.HAGGLE, one.action or f"on_{message.action}")
            else one
            for one in reaction.sayings
        )
        return replace(reaction, sayings=sayings)

    async def ended(self, state: ContractState) -> None:
        """See `gridflex.beckn.messaging.reacting.Trader.ended`."""
        await self._trader.ended(state)


class MoodyTransport:
    """Sends twice or signs with a wrong key when its mood says so.

    Args:
        transport: How messages really get out.
        mood: The behaviour.
        wrong_key: A key that the registry does not have under this name.
    """

    def __init__(self, transport: Transport, mood: Mood, *, wrong_key: SigningKey) -> None:
        self._transport = transport
        self._mood = mood
        self._wrong_key = wrong_key

    async def post(self, url: str, body: bytes, *, authorization: str) -> Answered:
        """See `gridflex.beckn.messaging.delivery.Transport.post`."""
        action = str(read_object(body)["context"]["action"])
        if self._mood.does(Behaviour.SIGN_WRONGLY, action):
            authorization = self._forged(body, authorization)
        answered = await self._transport.post(url, body, authorization=authorization)
        if self._mood.behaviour is Behaviour.TWICE and self._mood.at in {None, action}:
            await self._transport.post(url, body, authorization=authorization)
        return answered

    def _forged(self, body: bytes, authorization: str) -> str:
        header = SignatureHeader.parse(authorization)
        forged = self._wrong_key.sign(body, now=instant(header.created))
        return str(replace(header, signature=forged.signature))


class MoodyServer:
    """An HTTP application that does not answer callbacks when its mood says so.

    Args:
        app: What answers otherwise.
        mood: The behaviour.
        silent_s: For how long it says nothing.
    """

    def __init__(self, app: ASGIApp, mood: Mood, *, silent_s: float = SILENT_S) -> None:
        self._app = app
        self._mood = mood
        self._silent_s = silent_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or keep its sender waiting."""
        action = str(scope.get("path", "")).rpartition("/")[2]
        if action.startswith("on_") and self._mood.does(Behaviour.TIME_OUT, action):
            await asyncio.sleep(self._silent_s)
            await Response(status_code=HTTPStatus.GATEWAY_TIMEOUT)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _haggled(saying: Saying) -> Saying:
    payload = saying.payload
    if not isinstance(payload, ContractMessage):
        return saying
    factor = 1 / MARKUP if saying.action else MARKUP
    wire = payload.to_wire()
    for commitment in wire["contract"]["commitments"]:
        _reprice(commitment, factor)
    return replace(saying, payload=ContractMessage.model_validate(wire))


def _reprice(commitment: dict[str, Any], factor: Decimal) -> None:
    terms = commitment["offer"].get("offerAttributes")
    if terms and "pricePerKwh" in terms:
        terms["pricePerKwh"] = round(terms["pricePerKwh"] * float(factor), 4)
    for resource in commitment["resources"]:
        _pay_less(resource.get("resourceAttributes") or {})


def _pay_less(attributes: dict[str, Any]) -> None:
    """Lower the price of a need: who publishes one is the buyer."""
    if attributes.get("@type") != NEED_TYPE:
        return
    for interval in attributes["intervals"]:
        for payload in interval["payloads"]:
            if payload["type"] == PRICE:
                payload["values"] = [round(payload["values"][0] / float(MARKUP), 4)]
