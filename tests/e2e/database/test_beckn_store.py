"""The same trades over PostgreSQL, and what only a database can promise."""

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.beckn.store import BecknStore
from gridflex.adapters.database import connect
from gridflex.beckn.contracts.states import Side, Stage
from gridflex.beckn.messaging.keeping import Decision, HeldError, Hold
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.receiving import Incoming, Receiver
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from tests.unit.beckn.network import DRAFT, SELLER, ScriptedSeller, both, buy, network
from tests.unit.beckn.wire import (
    BAP,
    BAP_KEY,
    BPP,
    BPP_KEY,
    NOW,
    POLICY,
    TRANSACTION,
    body,
    registry,
)

OTHER = "5d1f0d7e-93a4-4f0b-8f5e-2f0f3b9c1a77"
HOLD = Hold(TRANSACTION, "job-1", HalfHour.containing(NOW), 8, 150.0)


@pytest.fixture
def store(engine: AsyncEngine) -> BecknStore:
    return BecknStore(engine)


async def incoming(number: int) -> Incoming:
    """Return a message as it is kept; the same number is the same message."""
    inbox = MemoryStore()
    receiver = Receiver(BPP, key=BPP_KEY, inbox=inbox, registry=registry(), policy=POLICY)
    raw = body("select", messageId=str(uuid.UUID(int=number)))
    header = str(BAP_KEY.sign(raw, now=NOW))
    await receiver.receive("select", raw, authorization=header, now=NOW)
    return inbox.received[0]


async def test_messages_that_arrive_together_are_each_kept_once(
    store: BecknStore, engine: AsyncEngine
) -> None:
    arriving = [await incoming(number) for number in (*range(100), 7, 7, 99)]

    kept = await asyncio.gather(*(store.keep(one) for one in arriving))

    assert kept == [True] * 100 + [False] * 3
    assert await store.keep(arriving[0]) is False
    assert await count(engine, "beckn_message") == 100
    assert len(await store.arrived(limit=200)) == 100


async def test_a_message_that_cannot_be_kept_is_said_to_everyone_who_waits() -> None:
    arriving = [await incoming(number) for number in range(3)]
    store = BecknStore(connect("postgresql://nobody@127.0.0.1:9/none"))

    said = await asyncio.gather(*(store.keep(one) for one in arriving), return_exceptions=True)

    assert [type(one) for one in said] == [SourceError] * 3


async def test_a_message_that_another_version_kept_is_set_aside(
    store: BecknStore, engine: AsyncEngine
) -> None:
    for number in (1, 2):
        await store.keep(await incoming(number))
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE beckn_message DISABLE TRIGGER USER"))
        await connection.execute(
            text("UPDATE beckn_message SET body = '{}' WHERE message_id = CAST(:id AS uuid)"),
            {"id": str(uuid.UUID(int=1))},
        )
        await connection.execute(text("ALTER TABLE beckn_message ENABLE TRIGGER USER"))

    (left,) = await store.arrived(limit=10)

    assert left.incoming.message.context.message_id == str(uuid.UUID(int=2))
    assert [one.number for one in await store.arrived(limit=10)] == [left.number]
    async with engine.connect() as connection:
        failures = await connection.execute(text("SELECT failure FROM beckn_task ORDER BY message"))
    assert [row[0] for row in failures] == ["CTX_MISSING_FIELD: context must be an object", None]


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608 - a name of the test's


async def test_a_trade_with_a_seller_in_the_database(store: BecknStore) -> None:
    net = network(stores=(None, store))

    bought, sold = await both(net, await buy(net))

    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert [one.thing for one in await store.holds()] == ["job-1"]
    assert await store.contract(sold.transaction_id, Side.BPP) == sold


async def test_a_trade_with_a_buyer_in_the_database(store: BecknStore, engine: AsyncEngine) -> None:
    net = network(stores=(store, None))

    bought, sold = await both(net, await buy(net))

    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert await count(engine, "beckn_delivery") == 3
    assert await store.open_contracts(Side.BAP) == [bought]


@pytest.mark.parametrize("action", ["select", "on_select", "on_init", "confirm", "on_confirm"])
async def test_a_lost_acknowledgement_changes_nothing(store: BecknStore, action: str) -> None:
    net = network(
        lambda name, attempt: "drop-ack" if (name, attempt) == (action, 1) else None,
        stores=(None, store),
    )

    bought, sold = await both(net, await buy(net))

    assert (bought.stage, sold.stage) == (Stage.ACTIVE, Stage.ACTIVE)
    assert len(await store.holds()) == 1


async def test_a_confirmation_that_never_arrives_frees_what_it_held(store: BecknStore) -> None:
    net = network(
        lambda action, _attempt: "lose" if action == "on_confirm" else None, stores=(None, store)
    )

    bought, sold = await both(net, await buy(net, until=timedelta(minutes=10)))

    assert (bought.stage, sold.stage) == (Stage.EXPIRED, Stage.CANCELLED)
    assert await store.holds() == []


async def test_drafts_of_a_peer_are_counted_until_they_are_confirmed_or_end(
    store: BecknStore,
) -> None:
    net = network(
        lambda action, _attempt: "lose" if action == "init" else None, stores=(None, store)
    )
    for _ in range(2):
        await buy(net)

    opening, other = await incoming(1), await incoming(2)
    seen = await store.background(opening.message.context, sender=BAP.subscriber_id)
    unseen = await store.background(other.message.context, sender="other.example.com")

    assert await store.drafts(BAP.subscriber_id) == seen.drafts == 2
    assert await store.drafts("other.example.com") == unseen.drafts == 0
    net.mischief = lambda _action, _attempt: None
    await net.run(until=net.now + timedelta(minutes=3))
    assert await store.drafts(BAP.subscriber_id) == 0  # one is active, the other was refused


async def test_a_peer_with_many_messages_leaves_those_of_others_in_sight(store: BecknStore) -> None:
    buyer = network(stores=(store, None)).places[BAP.url].participant
    for peer in (*[replace(SELLER, subscriber_id="silent.example.com")] * 5, SELLER):
        await buyer.start("select", DRAFT, peer=peer, now=NOW)

    pending = await store.pending(NOW, limit=10, per_peer=2)
    (first,) = await store.pending(NOW, limit=1, per_peer=2)

    peers = [one.outgoing.peer_id for one in pending]
    assert peers == ["silent.example.com"] * 2 + [SELLER.subscriber_id]
    assert first.number == pending[0].number == min(one.number for one in pending)


async def test_two_sellers_over_one_database_never_sell_the_same_thing(store: BecknStore) -> None:
    first = network(stores=(None, store), seller=ScriptedSeller("job-1"))
    second = network(stores=(None, store), seller=ScriptedSeller("job-1"))

    sold = [await both(first, await buy(first)), await both(second, await buy(second))]

    assert [state.stage for _, state in sold] == [Stage.ACTIVE, Stage.REFUSED]


async def test_a_message_is_taken_up_once(store: BecknStore) -> None:
    net = network(stores=(None, store))
    await net.places[BAP.url].participant.start("select", DRAFT, peer=SELLER, now=net.now)
    await net.turn(net.places[BAP.url])
    arrived = await store.arrived(limit=10)

    assert await store.decide(Decision(handled=arrived[0].number))
    assert not await store.decide(Decision(handled=arrived[0].number, holds=(HOLD,)))
    assert await store.holds() == []


async def test_what_cannot_be_held_leaves_no_trace_of_its_decision(store: BecknStore) -> None:
    await store.decide(Decision(holds=(HOLD,)))
    second = replace(HOLD, transaction_id=OTHER)

    with pytest.raises(HeldError):
        await store.decide(Decision(holds=(replace(second, thing="job-2"), second)))

    assert await store.holds() == [HOLD]
    await store.decide(Decision(freed=(TRANSACTION,)))
    await store.decide(Decision(holds=(second,)))
    assert await store.holds() == [second]


async def test_messages_and_final_contracts_cannot_be_rewritten(
    store: BecknStore, engine: AsyncEngine
) -> None:
    net = network(stores=(None, store))
    await buy(net)

    for statement in (
        "UPDATE beckn_message SET body = ''",
        "DELETE FROM beckn_message",
        "UPDATE beckn_delivery SET status = 200",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(text(statement))
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE beckn_contract SET stage = 'complete', is_final = true")
        )
    with pytest.raises(DBAPIError, match="cannot become active"):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE beckn_contract SET stage = 'active'"))


async def test_a_database_that_is_gone_is_a_failed_source() -> None:
    gone = BecknStore(connect("postgresql://nobody@127.0.0.1:1/none"))

    with pytest.raises(SourceError):
        await gone.holds()
