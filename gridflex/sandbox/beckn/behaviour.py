"""How a counterparty behaves: as agreed, or badly in one of the ways that peers do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from gridflex.beckn.delivery import Answered, Transport
from gridflex.beckn.errors import BecknError, Code
from gridflex.beckn.messages import Message, read_object
from gridflex.beckn.needs import NEED_TYPE, PRICE
from gridflex.beckn.payloads import ContractMessage
from gridflex.beckn.reacting import Reaction, Saying, Trader
from gridflex.beckn.signing import SignatureHeader, SigningKey, instant
from gridflex.beckn.states import ContractState, Step
from gridflex.beckn.verification import Background, is_answer

MARKUP: Final = Decimal("1.5")
"""By how much a haggling seller raises its price, and a haggling buyer lowers its bid."""


WITH_THE_SERVICE: Final = frozenset({"discover", "catalog/publish"})
"""Without these no counterparty would ever hear of the other."""


class Behaviour(StrEnum):
    """What a counterparty does."""

    ACCEPT = "accept"
    HAGGLE = "haggle"
    REFUSE = "refuse"
    TIME_OUT = "time-out"
    TWICE = "answer-twice"
    SIGN_WRONGLY = "sign-wrongly"


class Mood:
    """The behaviour in force; can be changed while the counterparty runs."""

    def __init__(self, behaviour: Behaviour = Behaviour.ACCEPT) -> None:
        self.behaviour = behaviour

    def screen(self, message: Message, background: Background, now: datetime) -> None:  # noqa: ARG002 - a `Screen`
        """Refuse everything that asks for something, in the mood to refuse.

        Raises:
            BecknError: It is refused.
        """
        if self.behaviour is Behaviour.REFUSE and not is_answer(message.context):
            raise BecknError(Code.POL_ENGAGEMENT_REFUSED, "this counterparty refuses everything")


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
        """See `gridflex.beckn.reacting.Trader.react`."""
        if self._mood.behaviour is Behaviour.TIME_OUT and message.action != "catalog/on_publish":
            return Reaction()
        if self._mood.behaviour is Behaviour.REFUSE and message.action == "on_discover":
            return Reaction()
        reaction = await self._trader.react(message, step, now=now)
        if self._mood.behaviour is not Behaviour.HAGGLE:
            return reaction
        return replace(reaction, sayings=tuple(map(_haggled, reaction.sayings)))

    async def ended(self, state: ContractState) -> None:
        """See `gridflex.beckn.reacting.Trader.ended`."""
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
        """See `gridflex.beckn.delivery.Transport.post`."""
        action = str(read_object(body)["context"]["action"])
        if self._mood.behaviour is Behaviour.SIGN_WRONGLY and action not in WITH_THE_SERVICE:
            authorization = self._forged(body, authorization)
        answered = await self._transport.post(url, body, authorization=authorization)
        if self._mood.behaviour is Behaviour.TWICE:
            await self._transport.post(url, body, authorization=authorization)
        return answered

    def _forged(self, body: bytes, authorization: str) -> str:
        header = SignatureHeader.parse(authorization)
        forged = self._wrong_key.sign(body, now=instant(header.created))
        return str(replace(header, signature=forged.signature))


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
