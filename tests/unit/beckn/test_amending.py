"""An agreed answer to a need takes in jobs that can leave later on, until its need begins."""

from datetime import timedelta

import pytest

from gridflex.beckn.contracts.states import ContractState, Side, Stage
from gridflex.beckn.flexibility.needs import OFFERED, PRICE, read_bid
from gridflex.beckn.flexibility.reporting import due_gbp
from gridflex.beckn.roles.trading import Told, amend_all
from gridflex.beckn.wire.entities import Contract
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage
from tests.unit.beckn.feeder import NeedTrade
from tests.unit.beckn.house import TEN_PM, TWO_AM
from tests.unit.beckn.network import SELLER, Mischief, memory
from tests.unit.beckn.wire import BAP, BPP


async def answered(mischief: Mischief | None = None) -> NeedTrade:
    """Return a need that one job answers, after a second job was submitted."""
    trade = NeedTrade(mischief, jobs=("a",))
    await trade.discover()
    trade.house.jobs = ("a", "b")
    return trade


async def amend(trade: NeedTrade) -> Told:
    place = trade.net.places[BAP.url]
    told = await amend_all(place.participant, trade.answerer, place.store, now=trade.net.now)
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))
    return told


async def both(trade: NeedTrade) -> tuple[ContractState, ContractState]:
    (asked,), (sold,) = await trade.contracts()
    return asked, sold


def offered(state: ContractState) -> tuple[float | None, ...]:
    return read_bid(state.contract).table.column(OFFERED).values


async def things(trade: NeedTrade, url: str) -> list[str]:
    return sorted(one.thing for one in await memory(trade.net, url).holds())


def refusals(trade: NeedTrade, url: str) -> list[str]:
    return list(memory(trade.net, url).failures.values())


async def test_a_job_that_came_later_is_opted_in() -> None:
    trade = await answered()

    told = await amend(trade)

    asked, sold = await both(trade)
    assert told == Told(1)
    assert asked.contract == sold.contract
    assert offered(asked) == (75.0,) * 4
    assert await things(trade, BAP.url) == ["a", "b"]
    assert await things(trade, BPP.url) == sorted(read_bid(sold.contract).meters)
    assert len(read_bid(sold.contract).meters) == 2


async def test_both_jobs_are_metered_and_paid() -> None:
    trade = await answered()
    await amend(trade)

    await trade.go_to(TWO_AM)

    asked, sold = await both(trade)
    assert (asked.stage, sold.stage) == (Stage.COMPLETE, Stage.COMPLETE)
    assert due_gbp(asked.contract) == 90  # 75 kW for 2 h at 0.60


async def test_nothing_is_asked_while_nothing_changed() -> None:
    trade = await answered()
    await amend(trade)

    assert await amend(trade) == Told(0)


async def test_a_need_that_began_is_not_amended() -> None:
    trade = await answered()
    trade.net.now = TEN_PM.start + timedelta(seconds=10)

    assert await amend(trade) == Told(0)


async def test_an_update_after_the_begin_is_refused() -> None:
    trade = await answered()
    asked, _ = await both(trade)
    trade.net.now = TEN_PM.start + timedelta(seconds=10)

    await trade.net.places[BAP.url].participant.start(
        "update",
        ContractMessage(contract=asked.contract),
        peer=SELLER,
        now=trade.net.now,
        transaction_id=asked.transaction_id,
    )
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))

    assert any("POL_UPDATE_NOT_ALLOWED" in one for one in refusals(trade, BPP.url))
    assert [one.stage for one in await both(trade)] == [Stage.ACTIVE] * 2


async def test_more_than_is_wanted_is_not_taken_by_update() -> None:
    trade = await answered()
    asked, _ = await both(trade)
    wire = asked.contract.to_wire()
    for row in wire["commitments"][0]["commitmentAttributes"]["intervals"]:
        row["payloads"][0]["values"] = [101]

    await trade.net.places[BAP.url].participant.start(
        "update",
        ContractMessage(contract=Contract.model_validate(wire)),
        peer=SELLER,
        now=trade.net.now,
        transaction_id=asked.transaction_id,
    )
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))

    assert any("BIZ_QUANTITY_UNAVAILABLE" in one for one in refusals(trade, BPP.url))
    assert [offered(one) for one in await both(trade)] == [(37.5,) * 4] * 2
    assert await things(trade, BAP.url) == ["a"]


async def test_what_became_of_an_update_without_answer_is_asked() -> None:
    trade = await answered(lambda action, _attempt: "lose" if action == "on_update" else None)
    await amend(trade)
    await trade.net.run(until=trade.net.now + timedelta(minutes=6))
    asked, sold = await both(trade)
    assert (offered(asked), offered(sold)) == ((37.5,) * 4, (75.0,) * 4)
    assert await things(trade, BAP.url) == ["a", "b"]

    await amend(trade)

    assert [offered(one) for one in await both(trade)] == [(75.0,) * 4] * 2
    assert await things(trade, BAP.url) == ["a", "b"]


async def test_a_job_whose_update_never_arrived_is_let_go() -> None:
    trade = await answered(lambda action, _attempt: "lose" if action == "update" else None)
    await amend(trade)
    await trade.net.run(until=trade.net.now + timedelta(minutes=6))
    trade.house.jobs = ("a",)

    await amend(trade)

    assert [offered(one) for one in await both(trade)] == [(37.5,) * 4] * 2
    assert await things(trade, BAP.url) == ["a"]


@pytest.mark.parametrize("column", [PRICE, OFFERED])
async def test_an_answer_that_changes_the_terms_has_no_effect(column: str) -> None:
    trade = await answered()
    procurer = trade.utility._procurer
    assert procurer is not None
    honest = procurer._offered

    async def spoilt(message: Message):  # type: ignore[no-untyped-def]  # noqa: ANN202
        contract, holds = await honest(message)
        wire = contract.to_wire()
        (one,) = wire["commitments"]
        place = one["commitmentAttributes" if column == OFFERED else "resources"]
        attributes = place if column == OFFERED else place[0]["resourceAttributes"]
        for row in attributes["intervals"]:
            for payload in row["payloads"]:
                if payload["type"] == column:
                    payload["values"] = [0.01 if column == PRICE else 99]
        return Contract.model_validate(wire), holds

    procurer._offered = spoilt  # type: ignore[method-assign]

    await amend(trade)

    asked, _ = await both(trade)
    assert offered(asked) == (37.5,) * 4
    assert any("BIZ_QUOTE_EXPIRED_OR_CHANGED" in one for one in refusals(trade, BAP.url))


async def test_a_trial_says_what_would_be_and_changes_nothing() -> None:
    trade = await answered()
    asked, _ = await both(trade)
    wanted = await trade.answerer.amend(asked)
    assert wanted is not None
    place = trade.net.places[BAP.url]
    trial = place.participant._author.request(
        "update",
        ContractMessage(contract=wanted.contract),
        peer=SELLER,
        transaction_id=asked.transaction_id,
        now=trade.net.now,
        is_trial=True,
    )

    await trade.net.post(trial.url, trial.message.raw, authorization=str(trial.header))
    await trade.net.run(until=trade.net.now + timedelta(seconds=20))

    (said,) = [one for one in memory(trade.net, BPP.url).sent if one.message.action == "on_update"]
    assert read_bid(said.message.contract).table.column(OFFERED).values == (75.0,) * 4
    assert said.message.context.is_trial
    sold = await memory(trade.net, BPP.url).contract(asked.transaction_id, Side.BPP)
    assert sold is not None
    assert offered(sold) == (37.5,) * 4
    assert len(await things(trade, BPP.url)) == 1
