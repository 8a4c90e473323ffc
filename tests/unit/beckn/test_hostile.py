"""What a counterparty that means harm writes costs it its own trade, and nobody else's."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from gridflex.adapters.beckn.log import figures_of
from gridflex.beckn.contracts.states import ContractState, Side, Stage
from gridflex.beckn.flexibility.needs import BUY_OFFER_TYPE, NEED_TYPE
from gridflex.beckn.messaging.acknowledging import read_acknowledgement
from gridflex.beckn.roles.buying import BuyingPolicy, block_settlement_fault, listed_in
from gridflex.beckn.roles.trading import CHASE_AFTER, GIVE_UP_AFTER, Told, chase_all, report_all
from gridflex.beckn.wire.entities import Catalog, Contract
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import LARGEST_BODY, parse
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.beckn.wire.schemas import deg
from gridflex.beckn.wire.tables import LONGEST, read_table
from gridflex.halfhour import HalfHour
from tests.unit.beckn.feeder import NeedTrade
from tests.unit.beckn.house import SIX_AM, TWO_AM, Trade
from tests.unit.beckn.network import SELLER, both, buy, memory, network
from tests.unit.beckn.wire import BAP, BAP_KEY, BPP, TRANSACTION, body, contract

HUGE = 10**400


def asking(**more: Any) -> ContractMessage:  # noqa: ANN401 - JSON
    return ContractMessage(contract=Contract.model_validate(contract(**more)))


def with_attributes(state: ContractState, **attributes: Any) -> ContractState:  # noqa: ANN401 - JSON
    wire = state.contract.to_wire()
    wire["contractAttributes"] = {**wire["contractAttributes"], **attributes}
    return state_with(state, Contract.model_validate(wire))


def state_with(state: ContractState, said: Contract) -> ContractState:
    return ContractState(
        **{name: getattr(state, name) for name in state.__slots__ if name != "contract"},
        contract=said,
    )


@pytest.mark.parametrize("number", ["1e999", "-1e999", '[1,{"a":1e400}]'])
def test_a_number_that_no_database_keeps_is_refused(number: str) -> None:
    attributes = {"@context": "c", "@type": "t", "x": "NUMBER"}
    raw = body("select", {"contract": contract(contractAttributes=attributes)})

    with pytest.raises(BecknError, match=r"SCH_INVALID_FORMAT.*1e999"):
        parse(raw.replace(b'"NUMBER"', number.encode()))


def test_the_word_infinity_is_no_number() -> None:
    parse(body("select", {"contract": contract(descriptor={"name": "To Infinity"})}))


async def test_a_request_whose_answer_would_be_too_large_is_taken_up_once() -> None:
    net = network()
    buyer, large = net.places[BAP.url], str(uuid.uuid4())
    author = buyer.participant._author
    small = author.request(
        "select", asking(descriptor={"name": ""}), peer=SELLER, transaction_id=large, now=net.now
    )
    padding = "x" * (LARGEST_BODY - len(small.message.raw))
    await buyer.participant.start(
        "select",
        asking(descriptor={"name": padding}),
        peer=SELLER,
        now=net.now,
        transaction_id=large,
    )

    bought, sold = await both(net, await buy(net))

    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    failures = memory(net, BPP.url).failures
    assert any("bytes" in why for why in failures.values())
    assert await net.places[BPP.url].store.arrived(limit=1) == []
    await net.run(until=net.now + timedelta(minutes=31))
    left = await buyer.store.contract(large, Side.BAP)
    assert left is not None
    assert left.stage.is_final


@pytest.mark.parametrize(
    "said", [b'"\\u0000"', b'"\\ud800"', b"1e999", b"[" * 5_000, b'"' + b"x" * LARGEST_BODY]
)
def test_a_refusal_says_nothing_that_cannot_be_kept(said: bytes) -> None:
    answer = b'{"message":{"status":"NACK","error":{"code":"BIZ_GENERIC_ERROR","message":'

    heard = read_acknowledgement(400, answer + said + b"}}}")

    assert not heard.is_ack
    assert heard.error is not None
    assert "\0" not in heard.error.reason


async def test_a_contract_that_cannot_be_read_keeps_no_other_from_its_report() -> None:
    trade = Trade(jobs=("train-1", "train-2"), gpus=8)
    await trade.discover()
    place = trade.net.places[BPP.url]
    bad, good = (await trade.contracts())[1]
    wire = bad.contract.to_wire()
    wire["commitments"][0]["commitmentAttributes"]["intervals"] = 7
    broken = state_with(bad, Contract.model_validate(wire))
    assert isinstance(place.store, type(memory(trade.net, BPP.url)))
    place.store._contracts[bad.transaction_id, Side.BPP] = broken
    trade.net.now = (TWO_AM + 1).start

    told = await report_all(place.participant, trade.seller, place.store, now=trade.net.now)

    assert told.contracts == 1
    assert list(told.failures) == [bad.transaction_id]
    assert "SCH_ATTRIBUTE_PACK_INVALID" in told.failures[bad.transaction_id]
    reported = await place.store.contract(good.transaction_id, Side.BPP)
    assert reported is not None
    assert reported.contract.performance


async def test_a_bug_in_one_report_is_named_and_keeps_no_other_from_its_own() -> None:
    trade = Trade(jobs=("train-1", "train-2"), gpus=8)
    await trade.discover()
    first, _ = (await trade.contracts())[1]
    place = trade.net.places[BPP.url]

    class Reporter:
        async def report(self, state: ContractState) -> Contract | None:
            if state.transaction_id == first.transaction_id:
                raise TypeError("unhashable")
            return state.contract

    told = await report_all(place.participant, Reporter(), place.store, now=trade.net.now)

    assert told.contracts == 1
    assert "TypeError" in told.failures[first.transaction_id]


@pytest.mark.parametrize(
    "flows", [7, [{"role": "seller", "value": HUGE}]], ids=["a number", "a huge value"]
)
async def test_a_contract_whose_figures_cannot_be_read_is_listed_with_the_reason(
    flows: object,
) -> None:
    trade = Trade()
    await trade.discover()
    (bought,), _ = await trade.contracts()

    figures = figures_of(with_attributes(bought, revenueFlows=flows))

    assert (figures.energy_kwh, figures.due_to_us_gbp) == (None, None)
    assert "malformed attributes" in str(figures.fault)
    assert figures_of(bought).energy_kwh == 150


def test_what_a_need_is_offered_cannot_be_read() -> None:
    wanted = {"@context": deg(NEED_TYPE), "@type": NEED_TYPE}
    values = contract()
    values["commitments"][0]["resources"][0]["resourceAttributes"] = wanted
    values["commitments"][0]["commitmentAttributes"] = {"@context": "c", "@type": "TimeSeries"}
    values["commitments"][0]["offer"]["offerAttributes"] = {
        "@context": deg(BUY_OFFER_TYPE), "@type": BUY_OFFER_TYPE, "inputs": 7
    }  # fmt: skip
    net = network()
    state = state_with(_opened(net.now), Contract.model_validate(values))

    assert "malformed attributes: TypeError" in str(figures_of(state).fault)


def _opened(now: Any) -> ContractState:  # noqa: ANN401 - datetime
    return ContractState(
        transaction_id="t", side=Side.BAP, peer_id="p", peer_uri="u", network_id="n",
        stage=Stage.ACTIVE, opened_at=now, lapses_at=now,
        contract=Contract.model_validate(contract()),
    )  # fmt: skip


async def test_one_malformed_block_hides_no_other_in_its_catalogue() -> None:
    catalog = (await Trade(jobs=("train-1", "train-2"), gpus=8).catalogs()).catalogs[0].to_wire()
    catalog["offers"][0]["offerAttributes"]["pricePerKwh"] = HUGE

    found = listed_in(Catalog.model_validate(catalog))

    assert len(found) == 1


async def test_a_settlement_that_cannot_be_read_still_ends_the_contract() -> None:
    trade = Trade()
    await trade.discover()
    await trade.go_to(SIX_AM + 2)
    (bought,), _ = await trade.contracts()

    fault = block_settlement_fault(with_attributes(bought, revenueFlows=7).contract)

    assert "malformed attributes" in str(fault)


@pytest.mark.parametrize(
    ("columns", "rows"), [(65, [0]), (64, [LONGEST - 1])], ids=["too many columns", "all but empty"]
)
def test_a_small_message_makes_no_huge_table(columns: int, rows: list[int]) -> None:
    kind = "EVENT_PAYLOAD_DESCRIPTOR"
    values = {
        "intervalPeriod": {"start": "2026-07-01T18:00:00Z", "duration": "PT30M"},
        "payloadDescriptors": [
            {"objectType": kind, "payloadType": f"P{number}"} for number in range(columns)
        ],
        "intervals": [{"id": row, "payloads": [{"type": "P0", "values": [1]}]} for row in rows],
    }

    with pytest.raises(BecknError, match="SCH_ATTRIBUTE_PACK_INVALID"):
        read_table(values)


async def test_a_statement_from_the_future_silences_no_later_one() -> None:
    trade = Trade()
    await trade.discover()
    (bought,), (sold,) = await trade.contracts()
    seller = trade.net.places[BPP.url].participant._author
    ahead = seller.report(
        sold,
        "on_status",
        ContractMessage(contract=sold.contract),
        now=trade.net.now + timedelta(days=3_650),
    )
    signed = seller.key.sign(ahead.message.raw, now=trade.net.now)
    answered = await trade.net.post(ahead.url, ahead.message.raw, authorization=str(signed))
    assert answered.status == 200

    await trade.go_to(SIX_AM + 2)

    (bought,), _ = await trade.contracts()
    assert bought.stage is Stage.COMPLETE


async def test_a_quote_that_cannot_be_read_ends_the_draft_and_says_so() -> None:
    def spoilt(contract: Contract) -> Contract:
        wire = contract.to_wire()
        wire["commitments"][0]["offer"]["offerAttributes"]["pricePerKwh"] = HUGE
        return Contract.model_validate(wire)

    trade = Trade()
    quote = trade.seller._contract
    trade.seller._contract = lambda *given, **named: spoilt(quote(*given, **named))  # type: ignore[method-assign]

    await trade.discover()

    (bought,), _ = await trade.contracts()
    assert bought.stage is Stage.CANCELLED
    (told,) = [one for one in memory(trade.net, BAP.url).sent if one.message.action == "cancel"]
    assert b"malformed attributes: OverflowError" in told.message.raw


async def test_answered_needs_leave_room_for_blocks() -> None:
    needs = NeedTrade()
    await needs.discover()
    trade = Trade(policy=BuyingPolicy(most_contracts=1))
    store = memory(trade.net, BAP.url)
    (asked,), _ = await needs.contracts()
    store._contracts[asked.transaction_id, Side.BAP] = asked

    await trade.discover()

    bought = [one for one in (await trade.contracts())[0] if one is not asked]
    assert [one.stage for one in bought] == [Stage.ACTIVE]


def dearer(said: Contract) -> Contract:
    wire = said.to_wire()
    wire["commitments"][0]["offer"]["offerAttributes"]["pricePerKwh"] = 9.99
    return Contract.model_validate(wire)


async def test_a_price_that_rises_with_the_confirmation_is_not_owed() -> None:
    trade = Trade()
    quote = trade.seller._contract

    def hiked(*given: Any, is_final: bool) -> Contract:  # noqa: ANN401 - passed on
        said = quote(*given, is_final=is_final)
        return dearer(said) if is_final else said

    trade.seller._contract = hiked  # type: ignore[assignment]
    await trade.discover()

    await trade.go_to(SIX_AM + 2)

    (bought,), (sold,) = await trade.contracts()
    assert (bought.stage, sold.stage) == (Stage.COMPLETE, Stage.COMPLETE)
    assert block_settlement_fault(bought.contract) == "1498.5 GBP claimed, 22.50 GBP due"


async def test_a_statement_about_other_commitments_changes_nothing() -> None:
    trade = Trade()
    await trade.discover()
    _, (sold,) = await trade.contracts()
    one = sold.contract.commitments[0]
    two = sold.contract.model_copy(update={"commitments": [one, one]})
    place = trade.net.places[BPP.url].participant

    await place.tell(sold, "on_status", ContractMessage(contract=two), now=trade.net.now)
    await trade.net.run(until=trade.net.now + timedelta(seconds=5))

    (bought,), _ = await trade.contracts()
    assert len(bought.contract.commitments) == 1
    failures = memory(trade.net, BAP.url).failures.values()
    assert any("BIZ_UPDATE_INCONSISTENT" in why for why in failures)


@pytest.mark.parametrize("action", ["select", "confirm", "status", "on_confirm"])
def test_only_updates_and_cancellations_can_be_tried(action: str) -> None:
    with pytest.raises(BecknError, match="CTX_INVALID_FIELD") as refused:
        parse(body(action, {"contract": contract(id=TRANSACTION)}, **{"try": True}))

    assert refused.value.path == "$.context.try"


async def test_a_stranger_who_speaks_about_a_contract_is_told_off_at_once() -> None:
    trade = Trade()
    await trade.discover()
    (bought,), (sold,) = await trade.contracts()
    raw = body(
        "on_status",
        {"contract": sold.contract.to_wire()},
        transactionId=bought.transaction_id,
        bppId=BAP.subscriber_id,
        bppUri=BAP.url,
    )

    answered = await trade.net.post(
        f"{BAP.url}/on_status", raw, authorization=str(BAP_KEY.sign(raw, now=trade.net.now))
    )

    assert (answered.status, b"AUT_UNAUTHORIZED_ACTION" in answered.body) == (403, True)


async def test_another_contract_in_the_same_transaction_is_refused_at_once() -> None:
    trade = Trade()
    await trade.discover()
    _, (sold,) = await trade.contracts()
    other = sold.contract.model_copy(update={"id": TRANSACTION})
    author = trade.net.places[BPP.url].participant._author
    said = author.report(sold, "on_status", ContractMessage(contract=other), now=trade.net.now)

    answered = await trade.net.post(said.url, said.message.raw, authorization=str(said.header))

    assert (answered.status, b"BIZ_UPDATE_INCONSISTENT" in answered.body) == (400, True)


async def chase(trade: Trade, half_hour: HalfHour) -> Told:
    place = trade.net.places[BAP.url]
    trade.net.now = half_hour.start
    told = await chase_all(place.participant, place.store, half_hour=half_hour, now=trade.net.now)
    await trade.net.run(until=trade.net.now + timedelta(minutes=6))
    return told


async def test_a_seller_that_never_settles_blocks_no_place_for_ever() -> None:
    trade = Trade(lambda action, _attempt: "lose" if action == "on_status" else None)
    await trade.discover()

    told = [await chase(trade, SIX_AM + late) for late in (0, CHASE_AFTER, GIVE_UP_AFTER)]

    assert [one.contracts for one in told] == [0, 1, 1]
    (bought,), _ = await trade.contracts()
    assert bought.stage is Stage.CANCELLED
    assert bought.reason == "not settled 168 h after it was over"
    said = [one.message.action for one in memory(trade.net, BAP.url).sent]
    assert said.count("status") == 1


async def test_a_settlement_that_was_lost_is_asked_for() -> None:
    trade = Trade()
    await trade.discover()
    trade.net.mischief = lambda action, _attempt: "lose" if action == "on_status" else None
    await trade.go_to(SIX_AM + 3)
    trade.net.mischief = lambda _action, _attempt: None

    await chase(trade, SIX_AM + CHASE_AFTER)

    (bought,), (sold,) = await trade.contracts()
    assert (bought.stage, sold.stage) == (Stage.COMPLETE, Stage.COMPLETE)
