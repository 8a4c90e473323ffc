"""The ledger in PostgreSQL, on both kinds of server."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from gridflex.adapters import database
from gridflex.adapters.ledger.files import export_ledger
from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.cli.settlement import settlement_app
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.ledger.note import Signer
from gridflex.ledger.tree import TileId
from gridflex.ledger.verify.folder import verify_ledger
from gridflex.ledger.verify.merkle import leaf_hash, verify_consistency, verify_inclusion
from tests.unit.ledger.ledgers import NOON, ORIGIN, SECOND, entry, event
from tests.unit.ledger.whole_tree import MerkleTree

MINUTE = timedelta(minutes=1)


@pytest.fixture
def key(tmp_path: Path) -> LedgerKey:
    return LedgerKey(tmp_path / "ledger", origin=ORIGIN)


@pytest.fixture
def store(engine: AsyncEngine, key: LedgerKey) -> LedgerStore:
    return LedgerStore(engine, key=key)


async def fill(store: LedgerStore, first: int, last: int) -> None:
    await store.append([event(i) for i in range(first, last)], now=NOON + first * SECOND)


async def test_events_get_the_next_places_and_come_back_as_recorded(store: LedgerStore) -> None:
    assert await store.append([event(0), event(1)], now=NOON) == [0, 1]
    assert await store.append([event(2)], now=NOON + SECOND) == [2]

    found = await store.find(EventType.METER_RECEIVED)

    assert [one.index for one in found] == [0, 1, 2]
    assert found[0].entry == entry(0)
    assert found[2].event["recorded_time"] == "2026-07-01T12:00:01.000000Z"


async def test_what_is_there_already_keeps_its_place(store: LedgerStore) -> None:
    await store.append([event(0), event(1)], now=NOON)

    again = await store.append([event(1), event(2), event(2), event(0)], now=NOON + MINUTE)

    assert again == [1, 2, 2, 0]
    assert await store.size() == 3


async def test_only_the_newest_version_is_there_already(store: LedgerStore) -> None:
    one, other = (
        replace(event(i), subject="meter", half_hour=None, stem="meter:") for i in range(2)
    )

    assert await store.append([one, other, one, one], now=NOON) == [0, 1, 2, 2]
    assert await store.append([one, other, other], now=NOON + MINUTE) == [2, 3, 3]


async def test_an_id_stands_for_one_event(store: LedgerStore) -> None:
    await store.append([event(0)], now=NOON)

    with pytest.raises(ContractError, match="meter:0 is entry 0 with other content"):
        await store.append([event(1), event(0, body={"import_kwh": "0"})], now=NOON)

    assert await store.size() == 1


@pytest.mark.parametrize("size", [1, 255, 256, 257, 600])
async def test_the_tree_is_that_of_the_entries_however_they_were_appended(
    engine: AsyncEngine, key: LedgerKey, size: int
) -> None:
    for first in range(0, size, 150):  # each time a writer that has not seen the tree before
        store = LedgerStore(engine, key=key)
        await fill(store, first, min(first + 150, size))

    tree = MerkleTree([one async for one in store.entries(size=size)])

    assert (await store.sign(now=NOON)).root == tree.root()


async def test_writers_take_turns(engine: AsyncEngine) -> None:
    stores = [LedgerStore(engine) for _ in range(4)]

    indexes = await asyncio.gather(
        *(stores[i % 4].append([event(i)], now=NOON) for i in range(40)),
    )

    assert sorted(index for (index,) in indexes) == list(range(40))
    assert MerkleTree([one async for one in stores[0].entries(size=40)]).size == 40


async def test_an_append_is_there_whole_or_not_at_all(
    store: LedgerStore, engine: AsyncEngine
) -> None:
    await fill(store, 0, 250)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'power cut' USING ERRCODE = 'crash_shutdown'; END $$"
            )
        )
        await connection.execute(
            text(
                "CREATE TRIGGER cut BEFORE INSERT ON ledger_tile "
                "FOR EACH ROW EXECUTE FUNCTION fail()"
            )
        )

    with pytest.raises(SourceError):
        await fill(store, 250, 300)
    assert await store.size() == 250

    async with engine.begin() as connection:
        await connection.execute(text("DROP TRIGGER cut ON ledger_tile"))
    await fill(store, 250, 300)
    tree = MerkleTree([one async for one in store.entries(size=300)])
    assert (await store.sign(now=NOON)).root == tree.root()


async def test_a_writer_whose_connection_dies_leaves_nothing_half_done(
    store: LedgerStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TRUSTED_S", 3600.0)
    await fill(store, 0, 5)
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(SourceError, match="appending to the ledger"):
        await fill(store, 5, 8)
    assert await store.size() == 5
    await fill(store, 5, 8)

    assert await store.size() == 8


async def test_a_database_that_is_lost_in_the_middle_is_a_source_error(
    store: LedgerStore, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
            )
        )
        await connection.execute(
            text(
                "CREATE TRIGGER lost BEFORE INSERT ON ledger_entry "
                "FOR EACH ROW EXECUTE FUNCTION lose()"
            )
        )

    with pytest.raises(SourceError, match="appending to the ledger"):
        await fill(store, 0, 3)

    async with engine.begin() as connection:
        await connection.execute(text("DROP TRIGGER lost ON ledger_entry"))
    await fill(store, 0, 3)
    assert await store.size() == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET entry = '\\x00' WHERE index = 0",
        "DELETE FROM ledger_entry WHERE index = 0",
        "TRUNCATE ledger_entry CASCADE",
        "UPDATE ledger_checkpoint SET size = 9",
        "DELETE FROM ledger_checkpoint",
        "TRUNCATE ledger_checkpoint CASCADE",
    ],
)
async def test_the_database_refuses_to_change_what_is_there(
    store: LedgerStore, engine: AsyncEngine, statement: str
) -> None:
    await fill(store, 0, 2)
    await store.sign(now=NOON)

    with pytest.raises(DBAPIError, match="is append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(statement))


async def test_entries_are_found_by_type_subject_and_time(store: LedgerStore) -> None:
    other = replace(event(7), id="override:1", event_type=EventType.OVERRIDE_MADE, subject="job:1")
    await store.append([*(event(i) for i in range(5)), other], now=NOON)
    start = HalfHour(NOON)

    assert [one.index for one in await store.find(subject="job:1")] == [5]
    assert [one.index for one in await store.find(EventType.OVERRIDE_MADE)] == [5]
    assert [one.index for one in await store.find(first=start + 1, last=start + 3)] == [1, 2, 3]
    assert len(await store.find()) == 6
    assert await store.get(6) is None


async def test_a_slow_clock_is_held_to_the_last_time_and_a_wrong_one_refused(
    store: LedgerStore,
) -> None:
    await store.append([event(0)], now=NOON)
    await store.append([event(1)], now=NOON - 59 * MINUTE)

    assert (await store.find())[1].event["recorded_time"] == "2026-07-01T12:00:00.000000Z"
    with pytest.raises(ContractError, match="the clock says"):
        await store.append([event(2)], now=NOON - 61 * MINUTE)


async def test_proofs_hold_for_any_size_that_was(store: LedgerStore) -> None:
    await fill(store, 0, 700)
    tree = MerkleTree([one async for one in store.entries(size=700)])

    for index, size in [(0, 1), (5, 256), (299, 300), (511, 512), (699, 700), (0, 700)]:
        verify_inclusion(
            leaf_hash((await store.find())[index].entry),
            index=index,
            size=size,
            proof=await store.inclusion_proof(index, size=size),
            root=tree.root(size=size),
        )
    for old, new in [(1, 2), (256, 257), (300, 700), (700, 700), (0, 5)]:
        verify_consistency(
            old_size=old,
            old_root=tree.root(size=old),
            new_size=new,
            new_root=tree.root(size=new),
            proof=await store.consistency_proof(old, new=new),
        )
    assert await store.hashes(TileId(0, 2), width=188) == [
        leaf_hash(one.entry) for one in (await store.find())[512:]
    ]


@pytest.mark.parametrize(("index", "size"), [(3, 3), (0, 4), (-1, 2)])
async def test_what_is_not_there_cannot_be_proved(
    store: LedgerStore, index: int, size: int
) -> None:
    await fill(store, 0, 3)

    with pytest.raises(ContractError, match="no proof"):
        await store.inclusion_proof(index, size=size)


async def test_signing_again_without_news_gives_the_same_checkpoint(store: LedgerStore) -> None:
    await fill(store, 0, 3)
    first = await store.sign(now=NOON)

    assert await store.sign(now=NOON + MINUTE) == first
    assert await store.newest_checkpoint() == first
    assert await store.checkpoints() == [first]


async def test_an_exported_ledger_verifies_offline(
    store: LedgerStore, key: LedgerKey, tmp_path: Path
) -> None:
    await fill(store, 0, 300)
    kept = await store.sign(now=NOON)
    await store.stamp(300, authority="tsa.example", token=b"token", at=NOON)
    await export_ledger(store, tmp_path / "export")
    await fill(store, 300, 700)
    await store.sign(now=NOON)

    newest = await export_ledger(store, tmp_path / "export")

    report = verify_ledger(
        tmp_path / "export", keys=[key.signer.key], since=[kept.note], receipts=[]
    )
    assert (report.size, report.root) == (700, newest.root.hex())
    assert report.checkpoints == 2
    assert (tmp_path / "export/checkpoints/300.tsa.example.tsr").read_bytes() == b"token"


async def test_a_ledger_without_a_checkpoint_is_not_exported(
    store: LedgerStore, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="no checkpoint"):
        await export_ledger(store, tmp_path)


async def test_a_database_that_was_put_back_is_not_signed_again(
    engine: AsyncEngine, key: LedgerKey, store: LedgerStore, database_url: str
) -> None:
    await fill(store, 0, 5)
    await store.sign(now=NOON)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE ledger_entry DISABLE TRIGGER USER")
        owner.execute("ALTER TABLE ledger_checkpoint DISABLE TRIGGER USER")
        owner.execute("DELETE FROM ledger_checkpoint")
        owner.execute("DELETE FROM ledger_entry WHERE index >= 3")
    again = LedgerStore(engine, key=key)

    with pytest.raises(ContractError, match="3 entries do not extend the 5"):
        await again.sign(now=NOON)

    await again.append([event(8), event(9)], now=NOON + MINUTE)  # as many, but others
    with pytest.raises(ContractError, match="5 entries do not extend the 5"):
        await again.sign(now=NOON)


async def test_a_note_that_was_signed_but_not_stored_is_signed_again_or_extended(
    engine: AsyncEngine, key: LedgerKey, store: LedgerStore, database_url: str
) -> None:
    await fill(store, 0, 2)
    signed = await store.sign(now=NOON)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE ledger_checkpoint DISABLE TRIGGER USER")
        owner.execute("DELETE FROM ledger_checkpoint")  # as if the power had failed before it

    assert await store.sign(now=NOON) == signed

    await fill(store, 2, 4)
    assert (await LedgerStore(engine, key=key).sign(now=NOON)).size == 4


async def test_a_reader_cannot_sign(engine: AsyncEngine) -> None:
    with pytest.raises(ContractError, match="no key"):
        await LedgerStore(engine).sign(now=NOON)


async def test_another_key_does_not_sign_unannounced(
    engine: AsyncEngine, store: LedgerStore, tmp_path: Path
) -> None:
    await fill(store, 0, 2)
    await store.sign(now=NOON)
    other = LedgerKey(tmp_path / "other", origin=ORIGIN)

    with pytest.raises(ContractError, match="another key signed"):
        await LedgerStore(engine, key=other).sign(now=NOON)


async def test_a_key_that_was_handed_over_signs_and_verifies(
    store: LedgerStore, key: LedgerKey, tmp_path: Path
) -> None:
    first = key.signer.key
    await fill(store, 0, 2)
    await store.sign(now=NOON)

    await store.rotate_key(Signer.generate(ORIGIN), now=NOON + MINUTE)
    await store.append([event(3)], now=NOON + MINUTE)
    await store.sign(now=NOON + MINUTE)

    await export_ledger(store, tmp_path / "export")
    report = verify_ledger(tmp_path / "export", keys=[first])
    assert report.key == str(key.signer.key) != str(first)
    assert LedgerKey(tmp_path / "ledger", origin=ORIGIN).signer.key == key.signer.key


async def test_a_handover_that_was_cut_off_is_completed(
    store: LedgerStore, key: LedgerKey, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 0, 2)
    monkeypatch.setattr(key, "use_next", lambda: False)
    await store.rotate_key(Signer.generate(ORIGIN), now=NOON + MINUTE)
    monkeypatch.undo()

    assert (await LedgerStore(engine, key=key).sign(now=NOON + MINUTE)).size == 3


async def test_without_a_database_it_says_so() -> None:
    nowhere = database.connect("postgresql://postgres@127.0.0.1:9/none")

    with pytest.raises(SourceError, match="appending to the ledger"):
        await LedgerStore(nowhere).append([event(0)], now=NOON)
    await nowhere.dispose()


def test_the_command_exports_what_is_signed(database_url: str, tmp_path: Path) -> None:
    key = LedgerKey(tmp_path / "ledger", origin=ORIGIN)

    async def signed() -> None:
        engine = database.connect(database_url)
        await fill(LedgerStore(engine), 0, 5)
        await LedgerStore(engine, key=key).sign(now=NOON)
        await engine.dispose()

    asyncio.run(signed())
    runner = CliRunner(env={"GRIDFLEX_DATABASE_URL": database_url})
    folder = tmp_path / "export"

    result = runner.invoke(settlement_app, ["export", "--out", str(folder), "--json"])

    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert (told["size"], told["origin"]) == (5, ORIGIN)
    assert told["ledger"] == database.without_password(database_url)
    assert verify_ledger(folder, keys=[key.signer.key]).size == 5
