"""A ledger as static files that any web server can publish (C2SP tlog-tiles).

``checkpoint``, ``tile/<level>/<n>`` and ``tile/entries/<n>`` are as the specification says; beside
them ``checkpoints/<size>`` keeps every checkpoint that was ever signed, and
``checkpoints/<size>.<authority>.tsr`` each RFC 3161 token over one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gridflex.errors import ContractError
from gridflex.ledger.verify.entries import ENTRY_MAX_BYTES
from gridflex.ledger.verify.folder import tile_path
from gridflex.ledger.verify.merkle import TILE, RightEdge, leaf_hash
from gridflex.ledger.verify.notes import parse_checkpoint, parse_note

StaticFile = tuple[str, bytes]
"""Path below the ledger's folder, and content."""


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was signed.

    Args:
        note: The signed note.
        tokens: RFC 3161 tokens over the note, DER, by authority.
    """

    note: str
    tokens: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many entries it covers."""
        return parse_checkpoint(parse_note(self.note).text).size

    @property
    def root(self) -> bytes:
        """Merkle root over them."""
        return parse_checkpoint(parse_note(self.note).text).root


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries as one bundle, each after its length in two bytes.

    Raises:
        ContractError: An entry is too long.
    """
    if longest := max((len(entry) for entry in entries if len(entry) > ENTRY_MAX_BYTES), default=0):
        raise ContractError(f"an entry has at most {ENTRY_MAX_BYTES} bytes, got {longest}")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


class StaticExport:
    """Turns entries, given one after the other, into files; the checkpoint that names them is last.

    Args:
        checkpoints: All that were signed, oldest first, at least one; the last one covers all
            entries to come.
    """

    def __init__(self, checkpoints: Sequence[SignedCheckpoint]) -> None:
        self._checkpoints = checkpoints
        self._newest = checkpoints[-1]
        self._size = self._newest.size
        self._signed_sizes = {one.size for one in checkpoints}
        self._edge = RightEdge()
        self._bundle: list[bytes] = []

    def add(self, entry: bytes) -> Iterator[StaticFile]:
        """Take the next entry and yield the files it completes."""
        self._bundle.append(entry)
        for tile in self._edge.append(leaf_hash(entry)):
            yield tile_path(str(tile.level), tile.index, width=TILE), b"".join(tile.hashes)
        size = self._edge.size
        if len(self._bundle) == TILE:
            path = tile_path("entries", size // TILE - 1, width=TILE)
            yield path, entry_bundle(self._bundle)
            self._bundle = []
        is_on_the_edge = size // TILE == self._size // TILE
        if size in self._signed_sizes and is_on_the_edge:
            yield from self._partial_files()

    def finish(self) -> Iterator[StaticFile]:
        """Yield the checkpoints, the newest one as ``checkpoint`` at the very end.

        Raises:
            ContractError: The entries given are not those that the newest checkpoint covers.
        """
        if self._edge.size != self._size or self._edge.root() != self._newest.root:
            raise ContractError(
                f"the checkpoint covers {self._size} entries, {self._edge.size} were given with "
                f"the root {self._edge.root().hex()}"
            )
        for one in self._checkpoints:
            yield f"checkpoints/{one.size}", one.note.encode()
            for authority, token in one.tokens.items():
                yield f"checkpoints/{one.size}.{authority}.tsr", token
        yield "checkpoint", self._newest.note.encode()

    def _partial_files(self) -> Iterator[StaticFile]:
        size = self._edge.size
        if self._bundle:
            path = tile_path("entries", size // TILE, width=len(self._bundle))
            yield path, entry_bundle(self._bundle)
        for level, hashes in enumerate(self._edge.levels):
            if hashes:
                index = size // TILE ** (level + 1)
                yield tile_path(str(level), index, width=len(hashes)), b"".join(hashes)
