"""The ledger under ``/v1/settlement/ledger``, with its proofs, on real PostgreSQL."""

import base64
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.ledger.note import Signer
from gridflex.ledger.verify.extension import read_hand_over, verify_extension
from gridflex.ledger.verify.folder import verify_ledger
from tests.e2e.database.test_settlement_api import Served
from tests.unit.ledger.ledgers import NOON, ORIGIN, event
from tests.unit.ledger.whole_tree import MerkleTree


@pytest.fixture
def served(engine: AsyncEngine, tmp_path: Path) -> Served:
    return Served(engine, tmp_path / "key")


async def test_a_mirror_of_the_served_ledger_verifies(served: Served, tmp_path: Path) -> None:
    await served.ledger.append([event(i) for i in range(600)], now=NOON)
    await served.ledger.sign(now=NOON)
    paths = [
        *("checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"),
        *("tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"),
    ]

    for path in paths:
        answer = await served.http.get(f"/ledger/{path}")
        assert answer.status_code == 200, path
        (tmp_path / "mirror" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / path).write_bytes(answer.content)

    assert verify_ledger(tmp_path / "mirror", keys=[served.key.signer.key]).size == 600


@pytest.mark.parametrize(
    "path", ["0/003", "0/002", "1/000", "entries/002", "0/002.p/89", "7/000", "0/2", "x/000"]
)
async def test_a_tile_that_is_not_whole_under_the_checkpoint_is_not_served(
    served: Served, path: str
) -> None:
    await served.ledger.append([event(i) for i in range(600)], now=NOON)
    await served.ledger.sign(now=NOON)
    await served.ledger.append([event(i) for i in range(600, 800)], now=NOON)

    assert (await served.http.get(f"/ledger/tile/{path}")).status_code == 404


async def test_an_entry_comes_with_its_proof_once_it_is_signed(served: Served) -> None:
    await served.ledger.append([event(i) for i in range(3)], now=NOON)
    assert (await served.get("/ledger/entries/1"))["proof"] is None
    note = (await served.ledger.sign(now=NOON)).note

    entry = await served.get("/ledger/entries/1")

    assert entry["proof"].startswith("c2sp.org/tlog-proof@v1\nindex 1\n")
    assert entry["proof"].endswith(note)
    assert entry["entry"]["id"] == "meter:1"
    assert (await served.http.get("/ledger/entries/3")).status_code == 404


async def test_the_ledger_says_how_far_it_is_signed(served: Served) -> None:
    assert (await served.get("/ledger"))["signed_size"] == 0
    assert (await served.http.get("/ledger/checkpoint")).status_code == 404
    await served.ledger.append([event(i) for i in range(3)], now=NOON)
    await served.ledger.sign(now=NOON)
    await served.ledger.append([event(3)], now=NOON)

    status = await served.get("/ledger")

    tree = MerkleTree([one async for one in served.ledger.entries(size=3)])
    assert status == {
        "origin": ORIGIN,
        "size": 4,
        "signed_size": 3,
        "root": tree.root().hex(),
        "signed_by": [f"{ORIGIN}+{served.key.signer.key.key_id.hex()}"],
    }


async def test_consistency_is_proved_over_the_api(served: Served) -> None:
    await served.ledger.append([event(i) for i in range(8)], now=NOON)

    found = await served.get("/ledger/consistency", params={"old": 6, "new": 8})

    assert len(found["hashes"]) == 3
    refused = await served.http.get("/ledger/consistency", params={"old": 6, "new": 9})
    assert refused.status_code == 400


async def test_hand_overs_of_the_key_are_proved_over_the_api(served: Served) -> None:
    old = served.key.signer.key
    await served.ledger.append([event(i) for i in range(3)], now=NOON)
    kept = (await served.ledger.sign(now=NOON)).note
    await served.ledger.rotate_key(Signer.generate(ORIGIN), now=NOON)
    newest = (await served.ledger.sign(now=NOON)).note

    told = await served.get("/ledger/hand-overs", params={"size": 4})
    proof = await served.get("/ledger/consistency", params={"old": 3, "new": 4})

    found = verify_extension(
        kept,
        newest,
        keys=[old],
        hand_overs=[read_hand_over(one) for one in told["hand_overs"]],
        proof=[base64.b64decode(one) for one in proof["hashes"]],
    )
    assert found.followed == (3,)
    assert (await served.get("/ledger/hand-overs", params={"size": 3}))["hand_overs"] == []
