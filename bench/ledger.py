"""How fast the ledger takes events, proves one and is verified whole, at a million entries.

Readings of a meter go in batches through `LedgerStore` into an embedded PostgreSQL on this
machine: canonical JSON, Merkle tree and a durable transaction per batch. Proofs are read from
the database and checked. Then the ledger is exported and the stand-alone archive verifies all
of it in a process of its own. Beside them, in the same run: the same bytes in plain INSERTs, and
a root computed anew from all leaves.

    python bench/ledger.py [--events 1000000] [--batch 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from results_file import Figure, publish
from rich.progress import Progress
from sqlalchemy import text

from gridflex.adapters import database
from gridflex.adapters.ledger.files import export_ledger
from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.standalone import standalone_verifier
from gridflex.ledger.verify.merkle import RightEdge, leaf_hash, verify_inclusion
from gridflex.settings import Settings

START = HalfHour(datetime(2026, 1, 1, tzinfo=UTC))
PROOFS = 500
PLAIN_EVENTS = 100_000


@dataclass(frozen=True)
class Found:
    """What one run measured."""

    append_s: float
    plain_per_s: float
    proof_ms: list[float]
    root_ms: float
    export_s: float
    verify_s: float


def readings(first: int, last: int) -> list[Event]:
    """Return half-hourly readings of a hundred meters as events."""
    return [
        Event(
            id=f"meter:{i}",
            event_type=EventType.METER_RECEIVED,
            body={
                "meter": f"12000000{i % 100:05d}",
                "import_kwh": f"{4000 + i % 977}.{i % 10}",
                "export_kwh": "0",
                "evidence": "settlement",
                "is_substituted": False,
            },
            subject=f"meter:12000000{i % 100:05d}",
            site="london",
            half_hour=START + i // 100,
        )
        for i in range(first, last)
    ]


def batches(events: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each batch."""
    for first in range(0, events, size):
        yield first, min(first + size, events)


async def append_all(store: LedgerStore, events: int, size: int) -> float:
    """Append all events and return the seconds spent in the store."""
    spent = 0.0
    now = START.start
    with Progress() as progress:
        bar = progress.add_task("append", total=events)
        for first, last in batches(events, size):
            batch = readings(first, last)
            now += timedelta(seconds=1)
            began = time.perf_counter()
            await store.append(batch, now=now)
            spent += time.perf_counter() - began
            progress.advance(bar, last - first)
    return spent


async def plain_inserts(url: str, size: int) -> float:
    """Return how many such entries a second a plain table takes in the same batches."""
    engine = database.connect(url)
    async with engine.begin() as connection:
        await connection.execute(
            text("CREATE TABLE plain (index bigint PRIMARY KEY, entry bytea NOT NULL)")
        )
    insert = text("INSERT INTO plain VALUES (:index, :entry)")
    spent = 0.0
    for first, last in batches(PLAIN_EVENTS, size):
        rows = [
            {"index": first + i, "entry": one.entry(recorded_at=START.start)}
            for i, one in enumerate(readings(first, last))
        ]
        began = time.perf_counter()
        async with engine.begin() as connection:
            await connection.execute(insert, rows)
        spent += time.perf_counter() - began
    await engine.dispose()
    return PLAIN_EVENTS / spent


async def prove(store: LedgerStore, events: int) -> list[float]:
    """Return milliseconds of proofs for entries at random; each is checked."""
    newest = await store.newest_checkpoint()
    assert newest is not None  # noqa: S101 - just signed
    chosen = random.Random(1)  # noqa: S311 - a sample
    took = []
    for _ in range(PROOFS):
        index = chosen.randrange(events)
        logged = await store.get(index)
        assert logged is not None  # noqa: S101 - just written
        began = time.perf_counter()
        proof = await store.inclusion_proof(index, size=events)
        took.append(1000 * (time.perf_counter() - began))
        verify_inclusion(logged.leaf, index=index, size=events, proof=proof, root=newest.root)
    return took


async def root_from_leaves(store: LedgerStore, events: int) -> float:
    """Return milliseconds of computing the root from all leaves."""
    leaves = [leaf_hash(entry) async for entry in store.entries(size=events)]
    began = time.perf_counter()
    edge = RightEdge()
    for leaf in leaves:
        edge.append(leaf)
    edge.root()
    return 1000 * (time.perf_counter() - began)


def verify_whole(folder: Path, work: Path, key: str) -> float:
    """Return the seconds in which the stand-alone archive verified the folder."""
    archive = work / "gridflex-verify.pyz"
    archive.write_bytes(standalone_verifier())
    command = [sys.executable, str(archive), str(folder), "--key", key, "--json"]
    began = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    spent = time.perf_counter() - began
    print(json.loads(ran.stdout)["ledgers"][0]["size"], "entries verified")
    return spent


async def measure(work: Path, events: int, size: int) -> Found:
    """Run everything once on a fresh database in ``work``."""
    settings = Settings(state_dir=work / "state")
    url = database.ensure_database(settings)
    engine = database.connect(url)
    key = LedgerKey(settings.ledger_key_path, origin="bench.gridflex.example/log")
    store = LedgerStore(engine, key=key)
    try:
        plain = await plain_inserts(url, size)
        append_s = await append_all(store, events, size)
        await store.sign(now=START.start + timedelta(days=365))
        proofs = await prove(store, events)
        root_ms = await root_from_leaves(store, events)
        began = time.perf_counter()
        await export_ledger(store, work / "export")
        export_s = time.perf_counter() - began
    finally:
        await engine.dispose()
        database.stop_embedded(settings)
    verify_s = verify_whole(work / "export", work, str(key.signer.key))
    return Found(append_s, plain, proofs, root_ms, export_s, verify_s)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=1_000)
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="gridflex-bench-ledger-"))
    try:
        found = asyncio.run(measure(work, given.events, given.batch))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    data = f"{given.events} synthetic readings of about 400 bytes, batches of {given.batch}"
    p99 = statistics.quantiles(found.proof_ms, n=100)[98]
    publish(
        "ledger",
        [
            Figure(
                "append_events_per_s",
                given.events / found.append_s,
                "1/s",
                ">= 5000",
                {"plain INSERT of the same bytes, no ids, no tree": found.plain_per_s},
                data,
            ),
            Figure(
                "proof_ms_at_1m",
                statistics.median(found.proof_ms),
                "ms",
                "< 5",
                {"root anew from all leaves in memory": found.root_ms},
                f"{data}; median of {PROOFS} at random, 99 % within {p99:.2f} ms",
            ),
            Figure("verify_1m_s", found.verify_s, "s", "< 60", {}, f"{data}; stand-alone archive"),
            Figure("export_1m_s", found.export_s, "s", None, {}, data),
        ],
    )


if __name__ == "__main__":
    main()
