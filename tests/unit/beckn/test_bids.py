"""What is offered to a need: by which meters, and in shapes that GridFlex does not trade."""

import json
from typing import Any

import pytest

from gridflex.beckn.flexibility.needs import interest_in, read_bid, with_bid
from gridflex.beckn.roles.answering import best_answer
from gridflex.beckn.wire.entities import Contract
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import compose, parse
from gridflex.beckn.wire.meters import digest_of
from tests.unit.beckn.feeder import HALF_HOURS, NeedTrade, need
from tests.unit.beckn.wire import body


async def test_no_more_jobs_are_offered_than_one_message_may_name() -> None:
    standing = await NeedTrade(jobs=("a", "b", "c"), gpus=12).house.standing()

    answer = best_answer(need(kw=1_000.0), standing, most=2)

    assert answer is not None
    assert len(answer.moves) == 2
    assert answer.offered_kw == [75.0] * HALF_HOURS


CURVE = {
    "@context": "https://schema.nfh.global/BecknTimeSeries/v1.0/context.jsonld",
    "@type": "TimeSeries",
    "intervalPeriod": {"start": "2026-07-01T22:00:00Z", "duration": "PT30M"},
    "payloadDescriptors": [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": name, "units": unit}
        for name, unit in (("OFFER_PRICE", "GBP_PER_KWH"), ("CAPACITY_OFFERED", "KW"))
    ],
    "intervals": [
        {
            "id": 0,
            "payloads": [
                {"type": "OFFER_PRICE", "values": [0.2, 0.4, 0.6]},
                {"type": "CAPACITY_OFFERED", "values": [10, 30, 60]},
            ],
        }
    ],
}
"""A bid curve: in each half-hour steps of price and power, as pay-as-clear contracts have them."""


def test_the_meters_of_an_offer_are_pinned_whatever_their_order() -> None:
    """``printf 'm:1\\nm:2' | sha256sum`` gives the value."""
    pinned = "sha256:2bfd3d03798a8ff2c3c63d08563b7bbd3562576c7dbd39dc08a58ce9d92c0047"

    assert digest_of(["m:2", "m:1"]) == {"count": 2, "sha256OfSortedIds": pinned}


@pytest.mark.parametrize(
    "pinned",
    [
        pytest.param(digest_of(["did:web:m:1", "did:web:m:3"]), id="other meters"),
        pytest.param({"count": 2}, id="no digest"),
        pytest.param("sha256:0", id="text"),
    ],
)
def test_meters_that_are_not_those_that_were_pinned_are_refused(pinned: object) -> None:
    contract = with_bid(
        interest_in(need(), most_kw=1.0), [1.0] * HALF_HOURS, seller="s", meters=["did:web:m:1"]
    )
    wire = contract.to_wire()
    (_, mine) = wire["commitments"][0]["offer"]["offerAttributes"]["inputs"]
    assert read_bid(contract).meters == ("did:web:m:1",)
    mine["inputs"]["participatingMetersDigest"] = pinned

    with pytest.raises(BecknError, match="is not that of the 1 meters"):
        read_bid(Contract.model_validate(wire))


def of_a_curve() -> dict[str, Any]:
    """A confirmation about a need that names no price, with a bid curve and what it may earn."""
    wire = interest_in(need(), most_kw=60.0).to_wire()
    (commitment,) = wire["commitments"]
    table = commitment["resources"][0]["resourceAttributes"]
    table["payloadDescriptors"] = table["payloadDescriptors"][:1]
    for interval in table["intervals"]:
        interval["payloads"] = interval["payloads"][:1]
    commitment["commitmentAttributes"] = CURVE
    term = {"@context": "c", "@type": "SettlementTerm", "penaltyRate": {"value": 1.5}}
    wire["consideration"] = [
        {"id": "c1", "status": {"code": "DRAFT"}, "considerationAttributes": term}
    ]
    return wire


def test_a_bid_curve_is_read_and_written_back_whole() -> None:
    raw = body("confirm", {"contract": of_a_curve()})

    read = parse(raw)

    assert (
        json.loads(compose(read.context, read.payload).raw)["message"] == json.loads(raw)["message"]
    )


async def test_a_need_without_a_price_is_left_alone_and_a_curve_is_no_bid() -> None:
    contract = Contract.model_validate(of_a_curve())
    commitment = contract.commitments[0]
    trade = NeedTrade()
    priceless = trade.catalog().model_copy(
        update={"resources": [commitment.resources[0]], "offers": [commitment.offer]}
    )

    reaction = await trade.answerer._choose([priceless])

    assert reaction.sayings == ()
    with pytest.raises(BecknError, match="SCH_ATTRIBUTE_PACK_INVALID"):
        read_bid(contract)
