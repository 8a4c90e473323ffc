"""The ledger published as a folder of static files, for any web server or a memory stick.

The checkpoint is written last: whoever reads the folder meanwhile finds everything that the
checkpoint there covers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.whole_files import write_whole
from gridflex.errors import ContractError, SourceError
from gridflex.ledger.tiles import SignedCheckpoint, StaticExport, StaticFile


async def export_ledger(store: LedgerStore, folder: Path) -> SignedCheckpoint:
    """Write the ledger up to its newest checkpoint and return that.

    Args:
        store: What to publish.
        folder: Where; files of an earlier export are overwritten with the same bytes.

    Raises:
        ContractError: Nothing was signed yet, or the folder holds another ledger's files.
        SourceError: The database or the folder fails.
    """
    checkpoints = await store.checkpoints()
    if not checkpoints:
        raise ContractError("the ledger has no checkpoint yet")
    export = StaticExport(checkpoints)
    async for entry in store.entries(size=checkpoints[-1].size):
        write_files(folder, export.add(entry))
    write_files(folder, export.finish())
    return checkpoints[-1]


def write_files(folder: Path, files: Iterable[StaticFile]) -> None:
    """Write files whole and durably, in their order.

    Raises:
        ContractError: A file that never changes is there with other content.
        SourceError: A file cannot be written.
    """
    for name, content in files:
        path = folder / name
        try:
            _write(path, content, is_fixed=name != "checkpoint")
        except OSError as error:
            raise SourceError(f"{path}: cannot be written: {error.strerror}") from error


def _write(path: Path, content: bytes, *, is_fixed: bool) -> None:
    if is_fixed and path.exists():
        if path.read_bytes() != content:
            raise ContractError(f"{path}: another ledger was exported here")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
