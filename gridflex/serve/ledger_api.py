"""``/v1/settlement/ledger``: the ledger as it is published, and proofs from it.

``checkpoint`` and ``tile/…`` are those of C2SP tlog-tiles, so that any client of such logs, and a
mirror made with any HTTP tool, can check it.
"""

from __future__ import annotations

import base64
import re
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.checked_values import LARGEST_ID
from gridflex.ledger.event import EventType
from gridflex.ledger.note import proof_file
from gridflex.ledger.tiles import SignedCheckpoint, entry_bundle
from gridflex.ledger.tree import TileId
from gridflex.ledger.verify.merkle import TILE
from gridflex.ledger.verify.notes import parse_checkpoint, parse_note
from gridflex.serve.problems import ProblemError

"""The greatest number that the database keeps."""

Index = Annotated[
    int, Path(ge=0, le=LARGEST_ID, description="Place of the entry in the ledger, from 0.")
]
Size = Annotated[
    int, Query(ge=0, le=LARGEST_ID, description="Entries of the ledger that the proofs are in.")
]
Older = Annotated[int, Query(ge=0, le=LARGEST_ID, description="Entries of the smaller ledger.")]
Newer = Annotated[
    int,
    Query(ge=0, le=LARGEST_ID, description="Entries of the larger ledger, not more than it has."),
]
_TILE: Final = re.compile(r"(\d{1,2}|entries)/((?:x\d{3}/)*\d{3})(?:\.p/(\d{1,3}))?")


class LedgerStatus(BaseModel):
    """What the ledger says of itself.

    Attributes:
        origin: Its name; None before the first checkpoint.
        size: Entries in all.
        signed_size: Entries under the newest checkpoint.
        root: Merkle root over those, in hexadecimal.
        signed_by: Names and ids of the keys that signed it.
    """

    origin: str | None
    size: int
    signed_size: int
    root: str | None
    signed_by: list[str]


class LedgerEntry(BaseModel):
    """One entry with its proof.

    Attributes:
        index: Its place.
        entry: What it says.
        leaf_sha256: Its leaf hash, in hexadecimal.
        proof: A C2SP ``tlog-proof`` under the newest checkpoint; None while no checkpoint
            covers it.
    """

    index: int
    entry: dict[str, Any]
    leaf_sha256: str
    proof: str | None


class Consistency(BaseModel):
    """Proof that the tree of ``new`` entries begins with that of ``old``.

    Attributes:
        old: Entries of the smaller tree.
        new: Entries of the larger tree.
        hashes: RFC 6962 consistency proof, base64.
    """

    old: int
    new: int
    hashes: list[str]


class HandOver(BaseModel):
    """An entry with which another key takes over, with its proof.

    Attributes:
        index: Its place.
        entry: What it says; both keys signed it.
        hashes: RFC 6962 inclusion proof, base64.
    """

    index: int
    entry: dict[str, Any]
    hashes: list[str]


class HandOvers(BaseModel):
    """How the key of the ledger changed hands.

    Attributes:
        size: Entries of the tree that the proofs are in.
        hand_overs: Those among them, in order.
    """

    size: int
    hand_overs: list[HandOver]


def create_ledger_router(ledger: LedgerStore) -> APIRouter:
    """Return the paths below ``/ledger``."""
    api = APIRouter(prefix="/ledger", tags=["ledger"])
    _add_proofs(api, ledger)
    _add_files(api, ledger)
    return api


def _add_proofs(api: APIRouter, ledger: LedgerStore) -> None:
    @api.get("")
    async def status() -> LedgerStatus:
        """How far the ledger goes and is signed.

        Entries in all and under the newest checkpoint, with its Merkle root and who signed it.
        """
        return await _status(ledger)

    @api.get("/entries/{index}")
    async def entry(index: Index) -> LedgerEntry:
        """One ledger entry with its proof.

        The proof is a C2SP tlog-proof under the newest checkpoint; null while none covers it.
        """
        logged = await ledger.get(index)
        if logged is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, f"the ledger has no entry {index}")
        newest = await ledger.newest_checkpoint()
        proof = None
        if newest is not None and index < newest.size:
            hashes = await ledger.inclusion_proof(index, size=newest.size)
            proof = proof_file(index, proof=hashes, checkpoint=newest.note)
        return LedgerEntry(
            index=index, entry=logged.event, leaf_sha256=logged.leaf.hex(), proof=proof
        )

    @api.get("/consistency")
    async def consistency(old: Older, new: Newer) -> Consistency:
        """Proof that the ledger was only added to.

        The ledger of `new` entries begins with that of `old`: an RFC 6962 consistency proof.
        """
        hashes = await ledger.consistency_proof(old, new=new)
        return Consistency(old=old, new=new, hashes=[_base64(one) for one in hashes])

    @api.get("/hand-overs")
    async def hand_overs(size: Size) -> HandOvers:
        """Entries that hand the ledger's key over.

        Those among the first `size`, each with the proof that it is one of them.
        """
        logged = await ledger.find(EventType.KEY_ROTATED)
        found = [
            HandOver(
                index=one.index,
                entry=one.event,
                hashes=[
                    _base64(each) for each in await ledger.inclusion_proof(one.index, size=size)
                ],
            )
            for one in logged
            if one.index < size
        ]
        return HandOvers(size=size, hand_overs=found)


def _add_files(api: APIRouter, ledger: LedgerStore) -> None:
    @api.get("/checkpoint", response_class=PlainTextResponse)
    async def checkpoint() -> PlainTextResponse:
        """Newest signed checkpoint.

        A C2SP tlog-checkpoint as text: origin, size, root and signatures. 404 before the first.
        """
        return PlainTextResponse((await _signed(ledger)).note)

    @api.get("/tile/{path:path}", response_class=Response)
    async def tile(
        path: Annotated[str, Path(description="Such as `0/x001/234.p/56` or `entries/000`.")],
    ) -> Response:
        """One tile of the ledger.

        Hashes or a bundle of entries as C2SP tlog-tiles says, in bytes; 404 where the newest
        checkpoint does not cover it.
        """
        level, index, width = _tile(path)
        signed = (await _signed(ledger)).size
        content = await _content(ledger, level, index, width, signed)
        if content is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, f"the ledger has no tile {path} yet")
        return Response(content, media_type="application/octet-stream")


async def _status(ledger: LedgerStore) -> LedgerStatus:
    size, newest = await ledger.size(), await ledger.newest_checkpoint()
    if newest is None:
        return LedgerStatus(origin=None, size=size, signed_size=0, root=None, signed_by=[])
    note = parse_note(newest.note)
    return LedgerStatus(
        origin=parse_checkpoint(note.text).origin,
        size=size,
        signed_size=newest.size,
        root=newest.root.hex(),
        signed_by=[f"{name}+{key_id.hex()}" for name, key_id, _ in note.signatures],
    )


async def _signed(ledger: LedgerStore) -> SignedCheckpoint:
    newest = await ledger.newest_checkpoint()
    if newest is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "the ledger has no checkpoint yet")
    return newest


async def _content(
    ledger: LedgerStore, level: str, index: int, width: int, signed: int
) -> bytes | None:
    """Return a tile as far as the newest checkpoint covers it whole."""
    below = TILE ** int(level) if level != "entries" else 1
    if (index * TILE + width) * below > signed:
        return None
    if level == "entries":
        first = index * TILE
        return entry_bundle([one async for one in ledger.entries(first=first, size=first + width)])
    return b"".join(await ledger.hashes(TileId(int(level), index), width=width))


def _tile(path: str) -> tuple[str, int, int]:
    found = _TILE.fullmatch(path)
    width = int(found[3]) if found and found[3] else TILE
    if not found or not 1 <= width <= TILE:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, f"{path!r} is no tile; valid is such as 0/x001/234.p/56"
        )
    return found[1], int(found[2].replace("x", "").replace("/", "")), width


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
