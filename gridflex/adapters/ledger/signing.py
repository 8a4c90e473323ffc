"""Who may sign the ledger, and that he signs no second history."""

from __future__ import annotations

import json

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.rows import TileReader, newest_checkpoint
from gridflex.adapters.ledger.tables import LedgerEntryRow
from gridflex.errors import ContractError
from gridflex.ledger.event import EventType
from gridflex.ledger.note import Signer
from gridflex.ledger.tiles import SignedCheckpoint
from gridflex.ledger.tree import root_node
from gridflex.ledger.verify.merkle import EMPTY_ROOT
from gridflex.ledger.verify.notes import open_checkpoint, parse_key
from gridflex.ledger.verify.reading import VerificationError


async def check_extends(
    connection: AsyncConnection, size: int, last: SignedCheckpoint | None, key: LedgerKey
) -> None:
    """Check that the tree of ``size`` begins with what was signed, here and beside the key.

    Raises:
        ContractError: It does not.
    """
    signed = key.last_signed()
    for one in (last, SignedCheckpoint(signed) if signed else None):
        if one is None:
            continue
        root = EMPTY_ROOT
        if 0 < one.size <= size:
            (root,) = await TileReader().hashes(connection, [root_node(one.size)], size=one.size)
        if one.size > size or root != one.root:
            raise ContractError(
                f"the ledger's {size} entries do not extend the {one.size} that were signed; "
                "the database was changed or put back"
            )


async def signer_in_force(connection: AsyncConnection, key: LedgerKey) -> Signer:
    """Return the key of the newest rotation, or the one that signed before.

    Raises:
        ContractError: It is another one than is here.
    """
    rotated = (
        select(col(LedgerEntryRow.entry))
        .where(col(LedgerEntryRow.event_type) == EventType.KEY_ROTATED)
        .order_by(col(LedgerEntryRow.index).desc())
        .limit(1)
    )
    entry = await connection.scalar(rotated)
    if entry is not None:
        in_force = parse_key(json.loads(entry)["body"]["new"])
        if key.signer.key != in_force:
            key.take_over()
        if key.signer.key != in_force:
            raise ContractError(f"the key in force is {in_force}, not {key.signer.key}")
    elif (last := await newest_checkpoint(connection)) is not None:
        try:
            open_checkpoint(last.note, keys=[key.signer.key])
        except VerificationError as error:
            raise ContractError(f"another key signed this ledger before: {error}") from error
    return key.signer
