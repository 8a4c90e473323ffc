"""Two participants come to the same contract, whatever the network does in between."""

import asyncio
import json
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest

from gridflex.beckn.contracts.lifecycle import open_contract
from gridflex.beckn.contracts.states import ContractState, Patience, Side, Stage, Step
from gridflex.beckn.flexibility.needs import BUY_OFFER_TYPE, inputs_of
from gridflex.beckn.messaging.acknowledging import Reply
from gridflex.beckn.messaging.delivery import Answered, Courier
from gridflex.beckn.messaging.participant import screen_contract
from gridflex.beckn.messaging.reacting import Reaction, Saying, sayings
from gridflex.beckn.messaging.writing import Author, Peer
from gridflex.beckn.trust.signing import SignatureHeader, is_signed_by, public_key
from gridflex.beckn.wire.entities import Contract
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.beckn.wire.schemas import deg
from tests.unit.beckn.network import (
    DRAFT,
    SELLER,
    Network,
    ScriptedBuyer,
    ScriptedSeller,
    both,
    buy,
    memory,
    network,
)
from tests.unit.beckn.wire import (
    BAP,
    BAP_KEY,
    BPP,
    BPP_KEY,
    CONTRACT_ID,
    NETWORK,
    NOW,
    TRANSACTION,
    contract,
    registry,
)

ACTIONS = ["select", "on_select", "init", "on_init", "confirm", "on_confirm"]


async def test_a_trade_ends_as_one_active_contract_on_both_sides() -> None:
    net = network()

    transaction = await buy(net)

    bought, sold = await both(net, transaction)
    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert bought.contract_id == sold.contract_id == CONTRACT_ID
    assert [action for action, _ in net.log] == ACTIONS
    assert {status for _, status in net.log} == {200}


async def test_every_message_is_chained_to_the_one_it_answers() -> None:
    net = network()

    await buy(net)

    asked, answered = memory(net, BAP.url), memory(net, BPP.url)
    for request, callback in zip(asked.sent, answered.sent, strict=True):
        assert callback.answers == request.header.signature
        assert callback.message.context.message_id == request.message.context.message_id
        assert is_signed_by(
            public_key(BPP_KEY.public_base64),
            callback.header,
            callback.message.raw,
            request_signature=request.header.signature,
        )
    assert all(delivery.is_genuine for _, delivery in asked.deliveries)
    first = SignatureHeader.parse(str(asked.deliveries[0][1].signature))
    assert first.key_id == BPP_KEY.key_id
    assert asked.sent[0].header.key_id == BAP_KEY.key_id


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("what", ["lose", "drop-ack", "twice"])
async def test_a_lost_or_repeated_message_changes_nothing_in_the_end(
    action: str, what: str
) -> None:
    net = network(lambda name, attempt: what if (name, attempt) == (action, 1) else None)

    bought, sold = await both(net, await buy(net))

    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert len(await memory(net, BPP.url).holds()) == 1


async def test_what_is_lost_is_sent_again_after_1_2_and_4_seconds() -> None:
    net = network(lambda action, attempt: "lose" if action == "select" and attempt < 4 else None)

    await buy(net)

    tries = [delivery.at for number, delivery in memory(net, BAP.url).deliveries if number == 0]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(tries)]
    assert gaps == [1, 2, 4]


async def test_a_peer_that_never_answers_leaves_no_contract_in_limbo() -> None:
    net = network(lambda action, _attempt: "lose" if action.startswith("on_") else None)

    bought, sold = await both(net, await buy(net, until=timedelta(minutes=40)))

    assert (bought.stage, sold.stage) == (Stage.EXPIRED, Stage.EXPIRED)
    assert bought.reason == "no answer to select until 2026-07-01T12:05:00Z"


async def test_a_confirmation_that_never_arrives_is_undone_on_both_sides() -> None:
    net = network(lambda action, _attempt: "lose" if action == "on_confirm" else None)

    bought, sold = await both(net, await buy(net, until=timedelta(minutes=10)))

    assert (bought.stage, sold.stage) == (Stage.EXPIRED, Stage.CANCELLED)
    assert await memory(net, BPP.url).holds() == []


async def test_a_refused_request_ends_the_draft_with_its_reason() -> None:
    net = network(lambda action, _attempt: "refuse" if action == "init" else None)

    buyer = net.places[BAP.url]
    transaction = await buyer.participant.start("select", DRAFT, peer=SELLER, now=net.now)
    await net.run(until=net.now + timedelta(minutes=1))

    bought = await buyer.store.contract(transaction, Side.BAP)
    assert bought is not None
    assert (bought.stage, bought.reason_code) == (Stage.REFUSED, "POL_ENGAGEMENT_REFUSED")


class LateSeller(ScriptedSeller):
    """Names the contract only when it confirms, as the protocol allows."""

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:
        reaction = await super().react(message, step, now=now)
        if message.action == "confirm" or step is None:
            return reaction
        return sayings(Saying(ContractMessage(contract=step.state.contract)))


async def test_a_contract_may_get_its_id_with_the_confirmation() -> None:
    net = network(seller=LateSeller())

    bought, sold = await both(net, await buy(net))

    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert bought.contract_id == CONTRACT_ID
    said = [one.message.raw for one in memory(net, BAP.url).sent]
    assert [b"null" in raw for raw in said] == [False] * 3


class ReadingSeller(ScriptedSeller):
    """Reads an offer's attributes before it sells."""

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:
        inputs_of(message.contract.commitments[0].offer, "buyer")
        return await super().react(message, step, now=now)


async def test_malformed_attributes_are_refused_and_hold_up_no_other_message() -> None:
    net = network(seller=ReadingSeller())
    draft = contract()
    attributes = {"@context": deg(BUY_OFFER_TYPE), "@type": BUY_OFFER_TYPE, "inputs": 7}
    draft["commitments"][0]["offer"]["offerAttributes"] = attributes
    bad = ContractMessage(contract=Contract.model_validate(draft))
    buyer = net.places[BAP.url]
    transaction = await buyer.participant.start("select", bad, peer=SELLER, now=net.now)

    bought, sold = await both(net, await buy(net))

    refused = await buyer.store.contract(transaction, Side.BAP)
    assert refused is not None
    assert (refused.stage, refused.reason_code) == (Stage.REFUSED, "SCH_ATTRIBUTE_PACK_INVALID")
    assert "malformed attributes: TypeError" in str(refused.reason)
    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)


async def test_the_same_thing_is_never_sold_twice() -> None:
    net = network()

    first, second = await both(net, await buy(net)), await both(net, await buy(net))

    assert [state.stage for state in first] == [Stage.ACTIVE, Stage.ACTIVE]
    assert [state.stage for state in second] == [Stage.REFUSED, Stage.REFUSED]
    assert second[0].reason_code == "BIZ_QUANTITY_UNAVAILABLE"
    assert len(await memory(net, BPP.url).holds()) == 1


async def test_confirming_out_of_the_blue_is_refused_at_once() -> None:
    net = network()
    buyer = net.places[BAP.url].participant

    author = buyer._author
    stray = author.request(
        "confirm", DRAFT, peer=SELLER, transaction_id=author.new_id(), now=net.now
    )
    answered = await net.post(stray.url, stray.message.raw, authorization=str(stray.header))

    assert answered.status == 400
    assert b"BIZ_ORDER_NOT_FOUND" in answered.body


async def test_everybody_hears_once_that_a_contract_ended() -> None:
    net = network(lambda action, _attempt: "lose" if action == "on_confirm" else None)

    await buy(net, until=timedelta(minutes=10))

    assert [state.stage for state in ends(net, BAP.url)] == [Stage.EXPIRED]
    assert [state.stage for state in ends(net, BPP.url)] == [Stage.CANCELLED]


def ends(net: Network, url: str) -> list[ContractState]:
    trader = net.places[url].trader
    assert isinstance(trader, ScriptedBuyer)
    return trader.ends


async def test_a_request_that_arrived_before_is_not_taken_for_refused() -> None:
    def mischief(action: str, attempt: int) -> str | None:
        if action == "select" and attempt == 1:
            return "drop-ack"
        return "lose" if action == "on_select" and attempt < 4 else None

    net = network(mischief)

    bought, sold = await both(net, await buy(net))

    assert ("select", 401) in net.log
    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)


@pytest.mark.parametrize("action", ["select", "init", "confirm"])
async def test_a_request_sent_by_who_was_killed_before_noting_it_is_not_lost(action: str) -> None:
    net = network()
    buyer = net.places[BAP.url]
    transaction = await buyer.participant.start("select", DRAFT, peer=SELLER, now=net.now)
    while memory(net, BAP.url).sent[-1].message.action != action:
        await net.run(until=net.now + timedelta(seconds=1))
    killed = memory(net, BAP.url).sent[-1]
    await net.post(killed.url, killed.message.raw, authorization=str(killed.header))

    await net.run(until=net.now + timedelta(minutes=1))

    bought, sold = await both(net, transaction)
    assert (action, 401) in net.log
    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)


@pytest.mark.parametrize(
    ("what", "code"), [("lose", "NET_ACK_TIMEOUT"), ("refuse", "POL_ENGAGEMENT_REFUSED")]
)
async def test_a_seller_waits_for_a_vanished_buyer_no_longer_than_the_buyer_would(
    what: str, code: str
) -> None:
    def mischief(action: str, _attempt: int) -> str | None:
        return {"on_confirm": what, "cancel": "lose"}.get(action)

    net = network(mischief)

    _, sold = await both(net, await buy(net, until=timedelta(minutes=6)))

    assert (sold.stage, sold.reason_code) == (Stage.CANCELLED, code)
    assert await memory(net, BPP.url).holds() == []


async def test_a_message_whose_signature_ran_out_is_not_sent_any_more() -> None:
    net = network()
    buyer = net.places[BAP.url]
    transaction = await buyer.participant.start("select", DRAFT, peer=SELLER, now=net.now)
    net.now += timedelta(minutes=5, seconds=1)

    await net.turn(buyer)

    bought = await buyer.store.contract(transaction, Side.BAP)
    assert bought is not None
    assert bought.stage is Stage.EXPIRED
    assert net.attempts == {}
    assert memory(net, BAP.url).deliveries[0][1].failure == (
        "its signature ran out before it was acknowledged"
    )


async def test_a_peer_that_lets_us_wait_holds_up_no_other() -> None:
    net = network()
    silent, heard = asyncio.Event(), []

    class Slow(Network):
        async def post(self, url: str, body: bytes, *, authorization: str) -> Answered:
            if url.startswith("https://silent.example.com"):
                await silent.wait()
            heard.append(url)
            return await net.post(url, body, authorization=authorization)

    buyer = net.places[BAP.url]
    note = buyer.participant.note_outcome
    courier = Courier(store=buyer.store, transport=Slow({}), registry=registry(), note=note)
    deaf = Peer("silent.example.com", "https://silent.example.com/beckn")
    for peer in (*[deaf] * 600, SELLER):
        await buyer.participant.start("select", DRAFT, peer=peer, now=net.now)

    first = await courier.send(net.now)
    await buyer.participant.start("select", DRAFT, peer=SELLER, now=net.now)
    second = await courier.send(net.now)

    assert (first, second) == (1, 1)
    assert heard == [f"{BPP.url}/select"] * 2
    silent.set()
    while len(heard) < 602:
        await asyncio.sleep(0)
        await courier.send(net.now)
    assert set(heard[2:]) == {"https://silent.example.com/beckn/select"}


async def drafts(count: int, *, most: int) -> tuple[Network, list[str | None]]:
    """Let a buyer open so many drafts with a seller that keeps silent; return why each ended."""
    net = network(seller=SilentSeller())
    net.places[BPP.url].participant._most_drafts = most
    buyer = net.places[BAP.url]
    asked = [
        await buyer.participant.start("select", DRAFT, peer=SELLER, now=net.now)
        for _ in range(count)
    ]
    await net.run(until=net.now + timedelta(seconds=20))
    states = [await buyer.store.contract(one, Side.BAP) for one in asked]
    return net, [state.reason_code for state in states if state]


class SilentSeller(ScriptedSeller):
    """Takes every request and answers none."""

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:  # noqa: ARG002 - port
        return Reaction()


async def test_a_peer_opens_no_more_drafts_than_it_may() -> None:
    net, codes = await drafts(5, most=3)

    assert codes == [None] * 3 + ["POL_NP_CAPACITY_EXCEEDED"] * 2
    assert await memory(net, BPP.url).drafts(BAP.subscriber_id) == 3


async def test_a_draft_too_many_is_refused_at_once_and_may_come_again() -> None:
    net, _ = await drafts(3, most=3)
    receiver = net.places[BPP.url].receiver
    receiver._screen = partial(screen_contract, most_drafts=3)
    author = net.places[BAP.url].participant._author
    asked = author.request("select", DRAFT, peer=SELLER, transaction_id=author.new_id(), now=NOW)

    async def ask() -> Reply:
        header = str(asked.header)
        return await receiver.receive("select", asked.message.raw, authorization=header, now=NOW)

    refused = await ask()
    net.now += timedelta(minutes=31)
    await net.places[BPP.url].participant.lapse(net.now)

    assert refused.status == 429
    assert refused.headers["Retry-After"] == "2"
    assert json.loads(refused.body)["message"]["error"] == {
        "code": "POL_NP_CAPACITY_EXCEEDED",
        "message": "bap.example.com has 3 drafts open here, at most 3; confirm or cancel one, "
        "or let it lapse",
    }
    assert (await ask()).status == 200


async def test_through_an_adapter_requests_and_callbacks_go_by_a_caller_each() -> None:
    author = Author(
        BAP,
        key=BAP_KEY,
        network_id=NETWORK,
        new_id=lambda: TRANSACTION,
        egress_url="http://adapter:8081/{role}/caller",
    )
    asked = author.request("select", DRAFT, peer=SELLER, transaction_id=TRANSACTION, now=NOW)
    state = open_contract(asked.message, side=Side.BPP, now=NOW, patience=Patience()).state

    told = author.report(state, "on_status", DRAFT, now=NOW)

    assert asked.url == "http://adapter:8081/bap/caller/select"
    assert told.url == "http://adapter:8081/bpp/caller/on_status"
