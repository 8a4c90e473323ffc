"""Everything GridFlex says is valid by the official documents, and so are its answers."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from gridflex.beckn.contracts.states import ContractState
from gridflex.beckn.messaging.acknowledging import Reply, ack, nack
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.writing import Peer
from gridflex.beckn.roles.buying import discovery
from gridflex.beckn.roles.discovering import CatalogService
from gridflex.beckn.wire.context import DIRECTION
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.payloads import (
    ContractMessage,
    KnownContractMessage,
    PublishMessage,
    RateMessage,
    Support,
    SupportMessage,
    Tracking,
    TrackingMessage,
)
from tests.conformance.beckn.official import (
    JULY,
    LTS,
    OFFICIAL,
    answer_faults,
    attribute_faults,
    faults,
    types_in,
    without_remarks,
)
from tests.shared import shared_data
from tests.unit.beckn.feeder import NeedTrade
from tests.unit.beckn.house import SIX_AM, TWO_AM, Trade
from tests.unit.beckn.network import SELLER, place
from tests.unit.beckn.wire import BAP, BPP, SERVICE, SERVICE_KEY

MESSAGE = "54fb3f15-48aa-4408-bca4-52486b767679"
DISCOVERY = Peer(SERVICE.subscriber_id, SERVICE.url, is_service=True)


async def ask_everything(trade: Trade, state: ContractState) -> None:
    """Send one of each request that is not part of the trade itself."""
    buyer = trade.net.places[BAP.url].participant
    contract = KnownContractMessage(contract=state.contract)
    rating = {"target": {"id": state.contract_id}, "range": {"value": 5, "best": 5, "worst": 1}}
    for action, payload in (
        ("status", contract),
        ("update", ContractMessage(contract=state.contract)),
        ("track", TrackingMessage(tracking=Tracking(url="https://x.example.com", status="ACTIVE"))),
        ("rate", RateMessage.model_validate({"ratingInputs": [rating]})),
        ("support", SupportMessage(support=Support(order_id=state.contract_id))),
    ):
        await buyer.start(
            action,
            payload,
            peer=SELLER,
            now=trade.net.now,
            transaction_id=state.transaction_id,
        )
    await trade.net.run(until=trade.net.now + timedelta(seconds=10))


async def everything_said() -> list[tuple[str, dict[str, Any]]]:
    """Return every message of a whole trade, of a refused, of a cancelled and of a need's."""
    trade = Trade(jobs=("train-1", "train-2"))
    service = CatalogService()
    trade.net.places[SERVICE.url] = place(SERVICE, SERVICE_KEY, service, screen=service.screen)
    await trade.discover()
    bought, _ = await trade.contracts()
    await ask_everything(trade, bought[0])
    buyer = trade.net.places[BAP.url].participant
    await buyer.start(
        "cancel",
        KnownContractMessage(contract=bought[1].contract),
        peer=SELLER,
        now=trade.net.now,
        transaction_id=bought[1].transaction_id,
    )
    await buyer.start("discover", discovery(), peer=DISCOVERY, now=trade.net.now)
    catalogs = (await trade.catalogs()).catalogs
    seller = trade.net.places[BPP.url].participant
    publish = PublishMessage.model_validate({"catalogs": [one.to_wire() for one in catalogs]})
    await seller.start("catalog/publish", publish, peer=DISCOVERY, now=trade.net.now)
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))
    refused = Trade()
    await refused.discover()
    again = ContractMessage(contract=(await refused.contracts())[0][0].contract)
    await refused.net.places[BAP.url].participant.start(
        "select", again, peer=SELLER, now=refused.net.now
    )
    await refused.net.run(until=refused.net.now + timedelta(seconds=20))
    await trade.go_to(SIX_AM + 2)
    wanted = NeedTrade(jobs=("a", "b", "c"), gpus=12, meters_per_page=2)
    await wanted.discover()
    needs = PublishMessage.model_validate({"catalogs": [wanted.catalog().to_wire()]})
    utility = wanted.net.places[BPP.url].participant
    await utility.start("catalog/publish", needs, peer=DISCOVERY, now=wanted.net.now)
    (asked,), _ = await wanted.contracts()
    site = wanted.net.places[BAP.url].participant
    status = KnownContractMessage(contract=asked.contract)
    for half_hour in (TWO_AM - 2, TWO_AM):
        await site.start(
            "status", status, peer=SELLER, now=wanted.net.now, transaction_id=asked.transaction_id
        )
        await wanted.go_to(half_hour)
    said = []
    for net in (trade.net, refused.net, wanted.net):
        for one in net.places.values():
            assert isinstance(one.store, MemoryStore)
            said += [sent.message for sent in one.store.sent]
    return [(one.action, json.loads(one.raw)) for one in said]


@pytest.mark.parametrize("document", [JULY, LTS])
async def test_every_message_of_a_trade_is_valid(document: str) -> None:
    said = await everything_said()

    wrong = {
        f"{number} {action}": found
        for number, (action, values) in enumerate(said)
        if (found := faults(document, action, values))
    }
    assert not wrong
    counts = Counter(action for action, _ in said)
    assert set(DIRECTION) == set(counts)
    assert counts["on_status"] > 10


async def test_every_object_of_an_official_type_is_valid_by_that_type() -> None:
    said = await everything_said()

    wrong = {
        f"{number} {action}": found
        for number, (action, values) in enumerate(said)
        if (found := attribute_faults(values))
    }
    assert not wrong
    assert {kind for _, values in said for kind in types_in(values)} == {
        "DEGContract",
        "DemandFlexBuyOffer",
        "DemandFlexNeed",
        "DemandFlexPerformance",
        "RevenueFlow",
        "TimeSeries",
    }


def test_the_validators_of_types_find_faults_and_none_in_the_official_examples() -> None:
    path = shared_data("beckn", "examples", "demand-flex-2026", "uc1-bdr-w-baselining")
    read = [
        json.loads(one.read_text(), object_hook=without_remarks)
        for one in sorted(path.glob("*.json"))
    ]

    assert [fault for one in read for fault in attribute_faults(one)] == []
    contract = {"@context": f"{OFFICIAL}DEGContract/v2.0/context.jsonld", "@type": "DEGContract"}
    assert attribute_faults({"contractAttributes": contract}) != []


@pytest.mark.parametrize(
    ("action", "reply"),
    [
        pytest.param("confirm", ack(MESSAGE), id="ack"),
        *(
            pytest.param(
                "confirm",
                nack(MESSAGE, BecknError(code, "why", path="$.message", cause="X"), realm="us"),
                id=code,
            )
            for code in (
                "CTX_MISSING_FIELD",
                "SCH_INVALID_JSON",
                "AUT_SIGNATURE_INVALID",
                "AUT_UNAUTHORIZED_ACTION",
                "AUT_RATE_LIMITED",
                "POL_ENGAGEMENT_REFUSED",
                "NET_INTERNAL_ERROR",
            )
        ),
        pytest.param(
            "confirm", nack(None, BecknError("SCH_INVALID_JSON", "why"), realm="us"), id="no id"
        ),
    ],
)
def test_every_answer_is_valid(action: str, reply: Reply) -> None:
    assert answer_faults(action, int(reply.status), json.loads(reply.body)) == []


def test_the_validators_find_faults() -> None:
    values = {"context": {"version": "1.1.0", "action": "confirm"}, "message": {"contract": {}}}

    for document in (JULY, LTS):
        assert len(faults(document, "confirm", values)) >= 2
    assert answer_faults("confirm", 200, {"message": {"ack": {"status": "ACK"}}})
