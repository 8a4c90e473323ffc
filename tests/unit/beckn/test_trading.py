"""150 kWh that may wait for 4 h at 0.15 GBP/kWh: offered, ordered, moved, metered, settled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gridflex.beckn.contracts.states import ContractState, Stage
from gridflex.beckn.flexibility.offers import order_of, read_listed, read_order
from gridflex.beckn.flexibility.reporting import due_gbp, rows_of
from gridflex.beckn.messaging.keeping import Hold
from gridflex.beckn.roles.buying import BuyingPolicy, block_settlement_fault
from gridflex.beckn.wire.entities import Catalog, Contract, ContractCode, Offer, Resource
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage, KnownContractMessage
from gridflex.beckn.wire.tables import read_table
from gridflex.jobs import JobId
from tests.unit.beckn.house import SIX_AM, TEN_PM, TWO_AM, Trade
from tests.unit.beckn.network import SELLER
from tests.unit.beckn.wire import BAP, BPP, NOW

Change = Callable[[dict[str, Any]], None]


def table(state: ContractState, name: str) -> list[float | None]:
    performance = (state.contract.performance or [])[0]
    meter = (performance.performance_attributes or {})["meters"][0]
    return list(read_table(meter["telemetry"]).column(name).values)


async def test_a_waiting_job_is_offered_with_its_energy_deferral_and_premium() -> None:
    trade = Trade()

    catalog = (await trade.catalogs()).catalogs[0]

    assert catalog.resources is not None
    assert catalog.offers is not None
    listed = read_listed(catalog.resources[0], catalog.offers[0])
    quantity = listed.resource.quantity
    assert quantity is not None
    assert (quantity.unit_code, quantity.unit_quantity) == ("kWh", 150.0)
    assert listed.attributes.maximum_deferral == "PT4H"
    assert listed.price_gbp_per_kwh == Decimal("0.15")
    assert (listed.planned, listed.starts[-1]) == (TEN_PM, TWO_AM)
    assert listed.table.column("BASELINE").total == 150.0
    assert listed.half_hour_kwh == 18.75


async def test_a_catalogue_does_not_tell_job_names() -> None:
    catalog = (await Trade(jobs=("secret-project",)).catalogs()).catalogs[0]

    assert "secret" not in str(catalog.to_wire())


async def test_the_buyer_orders_the_clean_window_and_both_agree() -> None:
    trade = Trade()

    await trade.discover()

    (bought,), (sold,) = await trade.contracts()
    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert bought.contract == sold.contract
    assert read_order(bought.contract.commitments[0]).start == TWO_AM


async def test_confirming_reserves_the_job_and_moves_it() -> None:
    trade = Trade()

    await trade.discover()

    holds = await trade.house.store.holds()
    transaction = (await trade.contracts())[1][0].transaction_id
    assert holds == [Hold(transaction, "train-1", TWO_AM, 8, 150.0)]
    assert (await trade.house.runs())[JobId("train-1")][0].start == TWO_AM
    assert (await trade.house.standing()).slack.blocks() == ()


async def test_what_ran_is_reported_as_it_is_metered() -> None:
    trade = Trade()
    await trade.discover()

    await trade.go_to(TWO_AM + 3)

    (bought,), _ = await trade.contracts()
    used = table(bought, "USAGE")
    first = [value for value in used if value is not None]
    assert first[-3:] == [37.5, 37.5, 37.5]
    assert sum(first) == 3 * 37.5
    assert used[-1] is None
    assert bought.stage is Stage.ACTIVE


async def test_completion_settles_to_the_penny_on_both_sides() -> None:
    trade = Trade()
    await trade.discover()

    await trade.go_to(SIX_AM + 2)

    (bought,), (sold,) = await trade.contracts()
    assert (bought.stage, sold.stage) == (Stage.COMPLETE, Stage.COMPLETE)
    assert due_gbp(bought.contract) == Decimal("22.5")
    assert block_settlement_fault(bought.contract) is None
    attributes = (bought.contract.settlements or [])[0].settlement_attributes or {}
    assert attributes["shiftedKwh"] == 150.0
    assert attributes["savedKgCO2"] == 24.0
    assert (
        sum(one["value"] for one in (bought.contract.contract_attributes or {})["revenueFlows"])
        == 0
    )
    assert bought.contract.code is ContractCode.COMPLETE
    assert await trade.house.store.holds() == []


async def test_a_job_that_did_not_run_earns_nothing() -> None:
    trade = Trade()
    await trade.discover()
    trade.house.is_idle = True

    await trade.go_to(SIX_AM + 2)

    (bought,), _ = await trade.contracts()
    assert due_gbp(bought.contract) == 0
    assert block_settlement_fault(bought.contract) is None


async def test_a_seller_who_claims_more_than_its_meters_say_is_found_out() -> None:
    trade = Trade()
    await trade.discover()
    await trade.go_to(SIX_AM + 2)
    (bought,), _ = await trade.contracts()
    flows = [{"role": "seller", "value": 99.0}]
    attributes = {**(bought.contract.contract_attributes or {}), "revenueFlows": flows}

    fault = block_settlement_fault(
        bought.contract.model_copy(update={"contract_attributes": attributes})
    )

    assert fault == "99.0 GBP claimed, 22.50 GBP due"


async def test_two_blocks_that_need_the_same_gpus_are_not_both_sold() -> None:
    trade = Trade(jobs=("train-1", "train-2"), gpus=4)
    trade.house.planned = {"train-1": TEN_PM, "train-2": TEN_PM - 8}

    await trade.discover()

    _, sold = await trade.contracts()
    stages = sorted(one.stage for one in sold)
    assert Stage.ACTIVE in stages
    assert len(await trade.house.store.holds()) == stages.count(Stage.ACTIVE)
    starts = [one.start for one in await trade.house.store.holds()]
    assert len(set(starts)) == len(starts)


async def test_a_block_that_is_bought_twice_is_sold_once() -> None:
    trade = Trade()
    catalogs = await trade.catalogs()
    listed = read_listed(*_first(catalogs.catalogs[0]))
    buyer = trade.net.places[BAP.url].participant
    order = order_of(listed, TWO_AM, buyer=BAP.subscriber_id, seller=BPP.subscriber_id)
    for _ in range(2):
        await buyer.start("select", ContractMessage(contract=order), peer=SELLER, now=trade.net.now)

    await trade.net.run(until=NOW + timedelta(minutes=1))

    bought, sold = await trade.contracts()
    assert sorted(one.stage for one in bought) == [Stage.ACTIVE, Stage.REFUSED]
    assert sorted(one.stage for one in sold) == [Stage.ACTIVE, Stage.REFUSED]
    assert {one.reason_code for one in bought} == {None, "BIZ_QUANTITY_UNAVAILABLE"}
    assert len(await trade.house.store.holds()) == 1


def _first(catalog: Catalog) -> tuple[Resource, Offer]:
    assert catalog.resources is not None
    assert catalog.offers is not None
    return catalog.resources[0], catalog.offers[0]


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (BuyingPolicy(most_premium_gbp_per_kwh=Decimal("0.14")), "premium"),
        (BuyingPolicy(most_intensity_gco2_per_kwh=89.0), "intensity"),
        (BuyingPolicy(most_price_gbp_per_mwh=79.0), "price"),
        (BuyingPolicy(most_contracts=0), "number of contracts"),
    ],
)
async def test_the_buyer_buys_nothing_beyond_its_policy(policy: BuyingPolicy, why: str) -> None:
    trade = Trade(policy=policy)

    await trade.discover()

    assert await trade.contracts() == ([], []), why


async def test_the_buyer_does_not_buy_the_same_block_again() -> None:
    trade = Trade()
    catalogs = await trade.catalogs()

    await trade.discover(catalogs)
    await trade.discover(catalogs)

    assert len((await trade.contracts())[0]) == 1


async def refusal(trade: Trade, change: Change) -> tuple[Stage, str | None]:
    """Order what the catalogue does not say, and return why that is refused."""
    listed = read_listed(*_first((await trade.catalogs()).catalogs[0]))
    contract = order_of(listed, TWO_AM, buyer=BAP.subscriber_id, seller=BPP.subscriber_id)
    wire = contract.to_wire()
    change(wire["commitments"][0])
    buyer = trade.net.places[BAP.url].participant
    payload = ContractMessage.model_validate({"contract": wire})
    await buyer.start("select", payload, peer=SELLER, now=trade.net.now)
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))
    (bought,), _ = await trade.contracts()
    return bought.stage, bought.reason_code


def _ask_for_half(commitment: dict[str, Any]) -> None:
    for interval in commitment["commitmentAttributes"]["intervals"]:
        interval["payloads"][0]["values"][0] /= 2


def _leave_a_gap(commitment: dict[str, Any]) -> None:
    intervals = commitment["commitmentAttributes"]["intervals"]
    full = [one for one in intervals if one["payloads"][0]["values"][0]]
    full[3]["payloads"][0]["values"][0] = 0.0


def _pay_less(commitment: dict[str, Any]) -> None:
    commitment["offer"]["offerAttributes"]["pricePerKwh"] = 0.01


def _start_too_late(commitment: dict[str, Any]) -> None:
    grid = commitment["commitmentAttributes"]
    grid["intervalPeriod"]["start"] = "2026-07-02T12:00:00Z"


def _unknown(commitment: dict[str, Any]) -> None:
    commitment["resources"][0]["id"] = "block-x"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_ask_for_half, "BIZ_QUANTITY_UNAVAILABLE"),
        (_leave_a_gap, "BIZ_QUANTITY_UNAVAILABLE"),
        (_pay_less, "BIZ_PRICE_MISMATCH"),
        (_start_too_late, "BIZ_FULFILLMENT_UNAVAILABLE"),
        (_unknown, "BIZ_QUANTITY_UNAVAILABLE"),
    ],
)
async def test_an_order_that_the_plan_does_not_allow_is_refused(change: Change, code: str) -> None:
    assert await refusal(Trade(), change) == (Stage.REFUSED, code)


async def test_a_plan_that_changed_since_the_quote_is_not_confirmed() -> None:
    trade = Trade()

    def replan(action: str, _attempt: int) -> None:
        if action == "confirm":
            trade.house.planned["train-1"] = TEN_PM - 2

    trade.net.mischief = replan
    await trade.discover()

    (bought,), (sold,) = await trade.contracts()
    assert (bought.stage, bought.reason_code) == (Stage.REFUSED, "BIZ_QUOTE_EXPIRED_OR_CHANGED")
    assert sold.stage is Stage.REFUSED
    assert await trade.house.store.holds() == []


async def cancel(trade: Trade) -> tuple[ContractState, ContractState]:
    (bought,), _ = await trade.contracts()
    await trade.net.places[BAP.url].participant.start(
        "cancel",
        KnownContractMessage(contract=bought.contract),
        peer=SELLER,
        now=trade.net.now,
        transaction_id=bought.transaction_id,
    )
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))
    (bought,), (sold,) = await trade.contracts()
    return bought, sold


async def test_a_contract_can_be_cancelled_until_delivery_begins() -> None:
    trade = Trade()
    await trade.discover()

    bought, sold = await cancel(trade)

    assert (bought.stage, sold.stage) == (Stage.CANCELLED, Stage.CANCELLED)
    assert await trade.house.store.holds() == []


async def test_a_contract_in_delivery_is_not_cancelled() -> None:
    trade = Trade()
    await trade.discover()
    await trade.go_to(TWO_AM + 1)

    bought, sold = await cancel(trade)

    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert bought.awaiting is None


@pytest.mark.parametrize("what", ["lose", "drop-ack", "twice"])
async def test_reports_and_settlement_survive_a_bad_network(what: str) -> None:
    trade = Trade(lambda action, attempt: what if action == "on_status" and attempt % 2 else None)
    await trade.discover()

    await trade.go_to(SIX_AM + 2)

    (bought,), (sold,) = await trade.contracts()
    assert (bought.stage, sold.stage) == (Stage.COMPLETE, Stage.COMPLETE)
    assert due_gbp(bought.contract) == due_gbp(sold.contract) == Decimal("22.5")


async def test_rows_are_signed_energy_against_the_baseline() -> None:
    trade = Trade()
    await trade.discover()
    await trade.go_to(SIX_AM + 2)
    (bought,), _ = await trade.contracts()

    rows = rows_of(bought.contract)

    by_start = {row.half_hour: row.shifted_kwh for row in rows}
    assert by_start[TEN_PM] == 0
    assert by_start[TWO_AM] == Decimal("18.75")
    worse = [replace(row, used_kwh=Decimal(0), baseline_kwh=row.asked_kwh) for row in rows]
    assert sum(row.shifted_kwh for row in worse) == Decimal(-150)


async def test_a_seller_who_answers_about_another_start_gets_a_cancellation() -> None:
    trade = Trade()
    honest = trade.seller._contract

    def dishonest(message: Message, *others: Any, **more: Any) -> Contract:  # noqa: ANN401 - passed on
        wire = honest(message, *others, **more).to_wire()
        grid = wire["commitments"][0]["commitmentAttributes"]
        grid["intervalPeriod"]["start"] = "2026-07-01T21:00:00Z"
        return Contract.model_validate(wire)

    trade.seller._contract = dishonest  # type: ignore[method-assign]
    await trade.discover()

    (bought,), (sold,) = await trade.contracts()
    assert (bought.stage, sold.stage) == (Stage.CANCELLED, Stage.CANCELLED)
    assert "init" not in trade.net.attempts
