"""A utility wants less load, pays for it, and gets it from jobs that run later."""

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from gridflex.adapters.beckn.log import due_to_us_gbp, is_seller
from gridflex.beckn.contracts.states import Stage
from gridflex.beckn.flexibility.demand_flex import due, need_settlement_fault, rows_of
from gridflex.beckn.flexibility.needs import Need, interest_in, needs_in, read_bid, with_bid
from gridflex.beckn.flexibility.offers import resource_id
from gridflex.beckn.flexibility.reporting import due_gbp
from gridflex.beckn.flexibility.summary import energy_kwh
from gridflex.beckn.roles.answering import _require_same, best_answer
from gridflex.beckn.roles.procuring import Procurer, catalog_of_needs
from gridflex.beckn.wire.entities import Offer
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import Message, parse
from gridflex.beckn.wire.meters import is_whole, meter_of, pages_of
from gridflex.beckn.wire.payloads import CatalogsMessage, ContractMessage, PublishMessage
from gridflex.jobs import JobId
from tests.shared import shared_data
from tests.unit.beckn.feeder import NeedTrade, need
from tests.unit.beckn.house import SIX_AM, TEN_PM, TWO_AM
from tests.unit.beckn.network import SELLER, Mischief
from tests.unit.beckn.wire import BAP, BPP, NOW, TRANSACTION

JOBS = ("a", "b", "c", "d", "e")
MALFORMED = [
    pytest.param({"inputs": 7}, id="inputs are a number"),
    pytest.param({"contractAttributes": "x"}, id="contract attributes are text"),
]


def official(name: str) -> Message:
    path = shared_data(
        "beckn", "examples", "demand-flex-2026", "uc1-bdr-w-baselining", f"{name}.json"
    )
    return parse(path.read_bytes())


def with_attributes(offer: Offer, attributes: dict[str, Any]) -> Offer:
    held = {**(offer.offer_attributes or {}), **attributes}
    return offer.model_copy(update={"offer_attributes": held})


async def kw_offered(trade: NeedTrade, asked: Need) -> list[float]:
    answer = best_answer(asked, await trade.house.standing())
    return answer.offered_kw if answer else []


def test_the_published_need_is_read() -> None:
    payload = official("publish-catalog").payload
    assert isinstance(payload, PublishMessage)

    (found,) = needs_in(payload.catalogs[0])

    assert (found.buyer, found.currency) == ("tpddl-north-delhi", "INR")
    assert [found.requested_kw(one) for one in found.half_hours] == [150.0, 200.0]
    assert [found.price_per_kwh(one) for one in found.half_hours] == [3.5, 4.0]


def test_the_published_settlement_is_ours_to_the_penny() -> None:
    contract = official("on-status-response-settled").contract

    assert due(rows_of(contract)) == Decimal("436.25")
    assert need_settlement_fault(contract) is None


@pytest.mark.parametrize("malformed", MALFORMED)
def test_an_offer_that_cannot_be_read_hides_no_other(malformed: dict[str, Any]) -> None:
    catalog = NeedTrade().catalog(need(name="bad"), need(name="good"))
    bad, good = catalog.offers or []
    offers = [with_attributes(bad, malformed), good]

    found = needs_in(catalog.model_copy(update={"offers": offers}))

    assert [one.resource.id for one in found] == ["good"]


async def test_a_malformed_quote_holds_up_no_other() -> None:
    trade, bad = NeedTrade(), need(name="bad")
    malformed = replace(bad, offer=with_attributes(bad.offer, {"inputs": 7}))
    trade.feeder.wanted = [malformed, need()]
    asked = ContractMessage(contract=interest_in(bad, most_kw=1.0))
    site = trade.net.places[BAP.url].participant
    await site.start("select", asked, peer=SELLER, now=trade.net.now)

    await trade.discover(need())

    (left, agreed), _ = await trade.contracts()
    assert (left.stage, agreed.stage) == (Stage.CANCELLED, Stage.ACTIVE)
    assert "malformed attributes" in str(left.reason)


async def test_a_need_in_another_currency_is_left_alone() -> None:
    payload = official("publish-catalog").payload
    assert isinstance(payload, PublishMessage)
    catalog = payload.catalogs[0].model_copy(update={"bpp_id": BPP.subscriber_id})
    trade = NeedTrade()

    assert not (await trade.answerer._choose([catalog])).sayings


async def test_jobs_leave_the_hours_in_which_less_load_is_wanted() -> None:
    trade = NeedTrade(jobs=("a", "b"))

    answer = best_answer(need(), await trade.house.standing())

    assert answer is not None
    assert answer.offered_kw == [75.0] * 4
    assert set(answer.moves.values()) == {TWO_AM}


@pytest.mark.parametrize(
    ("price", "offered"),
    [
        # 75 of its 150 kWh leave for 0.15 each; all of it becomes 72.8 GBP/MWh cheaper.
        pytest.param(0.6, [37.5] * 4, id="pays well"),
        pytest.param(0.05, [37.5] * 4, id="saves more than the premium costs"),
        pytest.param(-0.2, [], id="a penalty for less load"),
    ],
)
async def test_an_answer_covers_the_premium_and_what_the_move_costs(
    price: float, offered: list[float]
) -> None:
    assert await kw_offered(NeedTrade(), need(price=price)) == offered


async def test_a_move_to_a_dearer_time_must_be_paid_for() -> None:
    trade = NeedTrade(deadline=TWO_AM, planned={"train-1": TEN_PM})

    # 75 kWh leave for the afternoon at the same price: 0.15 GBP/kWh is just what the owner wants.
    assert await kw_offered(trade, need(price=0.16)) == [37.5] * 4
    assert await kw_offered(trade, need(price=0.14)) == []


async def test_a_job_that_could_only_shift_within_the_hours_is_not_offered() -> None:
    trade = NeedTrade(deadline=TWO_AM)
    trade.net.now = NOW.replace(hour=19)

    assert await kw_offered(trade, need()) == []


async def test_no_more_is_offered_than_is_wanted() -> None:
    trade = NeedTrade(jobs=("a", "b"))

    assert await kw_offered(trade, need(kw=50.0)) == [50.0] * 4


async def test_both_agree_and_the_job_moves() -> None:
    trade = NeedTrade()

    await trade.discover()

    (asked,), (sold,) = await trade.contracts()
    assert (asked.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert asked.contract == sold.contract
    meter = meter_of(resource_id(BAP.subscriber_id, JobId("train-1")))
    assert read_bid(sold.contract).meters == (meter,)
    assert [one.thing for one in await trade.stores[1].holds()] == [meter]
    assert (await trade.house.runs())[JobId("train-1")][0].start == TWO_AM
    assert (is_seller(asked), is_seller(sold)) == (True, False)
    assert energy_kwh(asked.contract) == 75.0


async def test_what_was_delivered_is_paid() -> None:
    trade = NeedTrade()
    await trade.discover()

    await trade.go_to(TWO_AM)

    (asked,), (sold,) = await trade.contracts()
    assert (asked.stage, sold.stage) == (Stage.COMPLETE, Stage.COMPLETE)
    assert due_gbp(asked.contract) == Decimal("45.0")  # 37.5 kW for 2 h at 0.60
    assert (due_to_us_gbp(asked), due_to_us_gbp(sold)) == (Decimal("45.0"), Decimal("-45.0"))
    assert need_settlement_fault(asked.contract) is None
    assert await trade.house.store.holds() == []


async def test_what_was_not_delivered_costs_the_penalty() -> None:
    trade = NeedTrade()
    trade.feeder.delivered = 0.5
    await trade.discover()

    await trade.go_to(TWO_AM)

    (asked,), _ = await trade.contracts()
    assert due_gbp(asked.contract) == Decimal("15.0")  # 37.5 kWh * 0.60 - 37.5 kWh * 0.20


async def test_a_buyer_who_pays_less_than_its_meters_say_is_found_out() -> None:
    trade = NeedTrade()
    await trade.discover()
    await trade.go_to(TWO_AM)
    (asked,), _ = await trade.contracts()
    flows = [{"role": "seller", "value": 1.0}]
    attributes = {**(asked.contract.contract_attributes or {}), "revenueFlows": flows}

    fault = need_settlement_fault(
        asked.contract.model_copy(update={"contract_attributes": attributes})
    )

    assert fault == "1.0 claimed, 45.00 due"


async def test_what_is_bought_already_is_not_wanted_again() -> None:
    trade = NeedTrade()
    trade.feeder.wanted = [need(kw=50.0)]
    await trade.discover()
    (sold,) = (await trade.contracts())[1]
    bid = read_bid(sold.contract)
    procurer = Procurer(BPP.subscriber_id, feeder=trade.feeder, store=trade.stores[1])

    with pytest.raises(BecknError, match=r"no more than 12.5 kW are wanted") as refused:
        await procurer._require_wanted(trade.feeder.wanted[0], bid, TRANSACTION)

    assert refused.value.code == "BIZ_QUANTITY_UNAVAILABLE"
    await procurer._require_wanted(trade.feeder.wanted[0], bid, sold.transaction_id)


async def test_a_price_that_falls_after_the_quote_is_not_accepted_by_either() -> None:
    trade = NeedTrade()

    def mischief(action: str, _attempt: int) -> None:
        if action == "on_select":
            trade.feeder.wanted = [need(price=0.5)]

    trade.net.mischief = mischief
    await trade.discover()

    (asked,), (sold,) = await trade.contracts()
    assert (asked.stage, asked.reason_code) == (Stage.REFUSED, "BIZ_PRICE_MISMATCH")
    assert sold.stage is Stage.REFUSED
    quoted = with_bid(interest_in(need(), most_kw=1.0), [1.0] * 4, seller="s", meters=["m"])
    other = with_bid(interest_in(need(price=0.5), most_kw=1.0), [1.0] * 4, seller="s", meters=["m"])
    _require_same(quoted, quoted)
    with pytest.raises(BecknError, match="the price changed since the quote"):
        _require_same(other, quoted)


async def test_a_price_that_falls_before_the_offer_loses_it() -> None:
    trade = NeedTrade(deadline=TWO_AM)
    published = need(price=0.3)
    trade.feeder.wanted = [need(price=0.1)]

    await trade.discover(published)

    (asked,), (sold,) = await trade.contracts()
    assert (asked.stage, sold.stage) == (Stage.CANCELLED, Stage.CANCELLED)
    assert await trade.house.store.holds() == []


def changes_the_plan(trade: NeedTrade) -> Mischief:
    def mischief(action: str, _attempt: int) -> None:
        if action == "on_init":
            trade.house.planned["a"] = SIX_AM - 8

    return mischief


@pytest.mark.parametrize("jobs", [("a",), ("a", "b")])
async def test_a_plan_that_changes_before_the_confirmation_ends_the_offer(
    jobs: tuple[str, ...],
) -> None:
    trade = NeedTrade(jobs=jobs)
    trade.net.mischief = changes_the_plan(trade)

    await trade.discover()

    (asked,), (sold,) = await trade.contracts()
    assert (asked.stage, sold.stage) == (Stage.CANCELLED, Stage.CANCELLED)
    assert await trade.house.store.holds() == []
    assert await trade.stores[1].holds() == []


async def test_a_confirmation_that_is_never_answered_frees_the_job() -> None:
    trade = NeedTrade(lambda action, _attempt: "lose" if action == "on_confirm" else None)

    await trade.discover()
    assert len(await trade.house.store.holds()) == 1
    await trade.net.run(until=trade.net.now.replace(minute=20))

    (asked,), (sold,) = await trade.contracts()
    assert asked.stage is Stage.EXPIRED
    assert sold.stage is not Stage.ACTIVE
    assert await trade.house.store.holds() == []
    assert await trade.stores[1].holds() == []


@pytest.mark.parametrize("lost", [None, 2, 5])
async def test_many_meters_come_in_pages_and_missing_pages_are_asked_for(lost: int | None) -> None:
    """Five meters, two on a page; attempts 1 to 3 are baselines, 4 to 6 what was used."""
    trade = NeedTrade(
        lambda action, attempt: "lose" if action == "on_status" and attempt == lost else None,
        jobs=JOBS,
        gpus=40,
        meters_per_page=2,
    )
    trade.feeder.wanted = [need(kw=500.0)]
    await trade.discover()

    await trade.go_to(TWO_AM)

    (asked,), (sold,) = await trade.contracts()
    assert (asked.stage, sold.stage) == (Stage.COMPLETE, Stage.COMPLETE)
    assert due_gbp(asked.contract) == Decimal("225.0")
    assert need_settlement_fault(asked.contract) is None
    pages = Counter(one.id for one in asked.contract.performance or ())
    assert pages == {"performance-baselines": 3, "performance-actuals": 3}
    assert (trade.net.attempts["status"] > 0) is (lost is not None)


async def test_the_official_pages_are_pages_to_us() -> None:
    push = official("on-status-response-actuals-paged-push").contract
    pull = official("on-status-response-actuals-paged-pull").contract

    assert not is_whole(push.performance or ())
    assert not is_whole((*(push.performance or ()), *(pull.performance or ())))


async def test_a_page_reads_as_the_official_one_does() -> None:
    trade = NeedTrade(jobs=JOBS, gpus=40)
    trade.feeder.wanted = [need(kw=500.0)]
    await trade.discover()
    await trade.go_to(TEN_PM)
    (asked,), _ = await trade.contracts()
    performance = (asked.contract.performance or [])[0]
    theirs = (official("on-status-response-actuals-paged-pull").contract.performance or [])[0]

    ours = pages_of(performance, 2, with_cursors=True)[1]

    page, official_page = ((one.performance_attributes or {})["pageInfo"] for one in (ours, theirs))
    assert set(page) == set(official_page)
    assert {name: type(value) for name, value in page.items()} == {
        name: type(value) for name, value in official_page.items()
    }
    assert (page["sequence"], page["isLast"], page["total"]) == (1, False, 5)


def test_an_offer_is_written_as_in_the_official_confirmation() -> None:
    theirs = official("confirm-request").contract
    inputs = theirs.commitments[0].offer.offer_attributes or {}

    ours = with_bid(
        official("select-request").contract,
        [150.0, 120.0],
        seller="greenflex-agg",
        meters=[f"did:web:tpddl.delhi.gov.in:meters:00{number}" for number in (1, 2)],
    )

    mine = ours.commitments[0]
    assert mine.commitment_attributes == theirs.commitments[0].commitment_attributes
    assert ours.contract_attributes == theirs.contract_attributes
    assert ours.participants == theirs.participants
    seller = inputs["inputs"][1]["inputs"]
    written = (mine.offer.offer_attributes or {})["inputs"][1]
    assert written["participantId"] == "greenflex-agg"
    assert written["inputs"]["participatingMeters"] == seller["participatingMeters"]


async def test_a_catalogue_of_needs_is_found_again() -> None:
    catalog = catalog_of_needs([need()], catalog_id="c", provider="u", name="Utility")

    read = CatalogsMessage.model_validate(json.loads(json.dumps({"catalogs": [catalog.to_wire()]})))

    assert [one.resource.id for one in needs_in(read.catalogs[0])] == ["need-1"]
