"""Lists that lie with their sender are fetched, checked and put in their place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from gridflex.beckn.contracts.states import ContractState, Stage
from gridflex.beckn.flexibility.needs import read_bid
from gridflex.beckn.flexibility.reporting import DELIVERED, due_gbp
from gridflex.beckn.messaging.referring import LARGEST_LIST, with_lists
from gridflex.beckn.wire.entities import Contract
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import Message, parse
from gridflex.beckn.wire.meters import is_whole, meters_in
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.errors import SourceError
from gridflex.ledger.canonical import canonical_json, digest
from tests.unit.beckn.feeder import NeedTrade
from tests.unit.beckn.house import TWO_AM
from tests.unit.beckn.network import SELLER, memory
from tests.unit.beckn.wire import BAP, BPP, body, contract

Change = Callable[[dict[str, Any]], None]
NAMES = ["did:web:m:2", "did:web:m:1"]
URI = "https://bap.example.com/lists/1"


@dataclass
class Shelf:
    """Lists by address."""

    lists: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def fetch(self, uri: str, *, most_bytes: int) -> bytes:
        self.asked.append(uri)
        if uri not in self.lists:
            raise SourceError(f"{uri}: HTTP 404")
        assert len(self.lists[uri]) <= most_bytes
        return self.lists[uri]

    def put(self, uri: str, values: list[Any]) -> dict[str, Any]:
        self.lists[uri] = canonical_json(values)
        return {
            "@type": "ResourceRef",
            "uri": uri,
            "contentHash": f"sha256:{digest(canonical_json(values))}",
            "count": len(values),
        }


def offer(reference: object) -> Message:
    values = contract()
    inputs = {"participatingMetersRef": reference}
    values["commitments"][0]["offer"]["offerAttributes"] = {
        "@context": "c", "@type": "DemandFlexBuyOffer",
        "inputs": [{"role": "seller", "participantId": "s", "inputs": inputs}],
    }  # fmt: skip
    return parse(body("confirm", {"contract": values}))


async def test_the_meters_of_an_offer_are_put_into_it() -> None:
    shelf = Shelf()
    message = offer(shelf.put(URI, NAMES))

    whole = await with_lists(message, shelf)

    attributes = whole.contract.commitments[0].offer.offer_attributes or {}
    assert attributes["inputs"][0]["inputs"] == {"participatingMeters": NAMES}
    assert whole.raw == message.raw


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: one.update(uri="https://bpp.example.com/lists/1"), "not at"),
        (lambda one: one.update(uri="http://bap.example.com/lists/1"), "not at"),
        (lambda one: one.update(uri="https://bap.example.com:8443/lists/1"), "not at"),
        (lambda one: one.update(uri="https://bap.example.com@evil.test/"), "not at"),
        (lambda one: one.update(uri="file:///etc/passwd"), "uri"),
        (lambda one: one.update(contentHash="sha256:" + "0" * 64), "another hash"),
        (lambda one: one.update(contentHash="md5:1"), "contentHash"),
        (lambda one: one.update(count=3), "no list of 3"),
        (lambda one: one.update(count=-1), "count"),
        (lambda one: one.update(sizeBytes=LARGEST_LIST + 1), "at most"),
        (lambda one: one.update(uri=f"{URI}/none"), "HTTP 404"),
        (lambda one: one.update(more=1), "more"),
    ],
)
async def test_a_list_that_is_not_what_was_signed_is_refused(change: Change, says: str) -> None:
    shelf = Shelf()
    reference = shelf.put(URI, NAMES)
    change(reference)

    with pytest.raises(BecknError, match=says):
        await with_lists(offer(reference), shelf)


async def test_a_peer_does_not_choose_whom_we_call() -> None:
    shelf = Shelf()

    with pytest.raises(BecknError):
        await with_lists(offer(shelf.put("https://10.0.0.1/admin", NAMES)), shelf)

    assert shelf.asked == []


async def test_a_list_and_a_reference_to_one_exclude_one_another() -> None:
    shelf = Shelf()
    message = offer(shelf.put(URI, NAMES))
    wire = message.contract.to_wire()
    wire["commitments"][0]["offer"]["offerAttributes"]["inputs"][0]["inputs"][
        "participatingMeters"
    ] = NAMES

    with pytest.raises(BecknError, match="exclude"):
        await with_lists(parse(body("confirm", {"contract": wire})), shelf)


def by_reference(trade: NeedTrade, shelf: Shelf) -> None:
    """Let a utility say what meters measured by reference."""
    whole = trade.utility.report

    async def report(state: ContractState) -> Contract | None:
        told = await whole(state)
        if told is None or not told.performance:
            return told
        wire = told.to_wire()
        for one in wire["performance"]:
            attributes = one["performanceAttributes"]
            uri = f"https://bpp.example.com/lists/{one['id']}"
            attributes["metersRef"] = shelf.put(uri, attributes.pop("meters"))
        return Contract.model_validate(wire)

    trade.utility.report = report  # type: ignore[method-assign]


async def test_telemetry_by_reference_settles_to_the_penny() -> None:
    shelf, trade = Shelf(), NeedTrade()
    by_reference(trade, shelf)
    trade.net.places[BAP.url].participant._library = shelf
    await trade.discover()

    await trade.go_to(TWO_AM)

    (asked,), _ = await trade.contracts()
    assert asked.stage is Stage.COMPLETE
    assert due_gbp(asked.contract) == 45
    (actuals,) = [
        one
        for one in asked.contract.performance or ()
        if one.status is not None and one.status.code == DELIVERED
    ]
    assert len(meters_in(actuals)) == 1
    assert shelf.asked
    said = [one.message.raw for one in memory(trade.net, BPP.url).sent]
    assert any(b"metersRef" in raw for raw in said)


async def test_what_was_not_fetched_is_not_whole() -> None:
    shelf, trade = Shelf(), NeedTrade()
    by_reference(trade, shelf)
    await trade.discover()

    await trade.go_to(TWO_AM)

    (asked,), _ = await trade.contracts()
    assert not is_whole(asked.contract.performance or ())


async def test_an_offer_with_its_meters_by_reference_is_taken() -> None:
    shelf, trade = Shelf(), NeedTrade()
    trade.net.places[BPP.url].participant._library = shelf
    await trade.discover()
    (asked,), (sold,) = await trade.contracts()
    names = list(read_bid(sold.contract).meters)
    wire = asked.contract.to_wire()
    inputs = wire["commitments"][0]["offer"]["offerAttributes"]["inputs"]
    (mine,) = [one for one in inputs if one["role"] == "seller"]
    mine["inputs"] = {"participatingMetersRef": shelf.put(URI, [*names, "another"])}

    await trade.net.places[BAP.url].participant.start(
        "update",
        ContractMessage(contract=Contract.model_validate(wire)),
        peer=SELLER,
        now=trade.net.now,
        transaction_id=asked.transaction_id,
    )
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))
    _, (sold,) = await trade.contracts()
    assert read_bid(sold.contract).meters == (*names, "another")
