"""A whole tree in memory, to compare with: tiles and proofs by the functions under test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gridflex.ledger.tree import (
    Node,
    TileId,
    consistency_nodes,
    inclusion_nodes,
    node_hashes,
    root_node,
    tiles_needed,
)
from gridflex.ledger.verify.merkle import TILE, leaf_hash, tree_hash


class MerkleTree:
    """A whole tree in memory.

    Args:
        entries: What it begins with.
    """

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for entry in entries:
            self.append(entry)

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self._levels[0])

    def append(self, entry: bytes) -> int:
        """Add an entry and return its index."""
        self._levels[0].append(leaf_hash(entry))
        level = 0
        while len(self._levels[level]) % TILE == 0:
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(tree_hash(self._levels[level][-TILE:]))
            level += 1
        return self.size - 1

    def root(self, *, size: int | None = None) -> bytes:
        """Return the root of the first ``size`` entries, of all without it."""
        size = self.size if size is None else size
        return self._hashes([root_node(size)], size)[0] if size else tree_hash([])

    def inclusion_proof(self, index: int, *, size: int | None = None) -> list[bytes]:
        """Return the proof that an entry is among the first ``size``, of all without it."""
        size = self.size if size is None else size
        return self._hashes(inclusion_nodes(index, size=size), size)

    def consistency_proof(self, old: int, *, new: int | None = None) -> list[bytes]:
        """Return the proof that the tree of ``new``, or of all, begins with that of ``old``."""
        new = self.size if new is None else new
        return self._hashes(consistency_nodes(old, new=new), new)

    def tiles(self, wanted: Iterable[TileId]) -> dict[TileId, Sequence[bytes]]:
        """Return tiles as far as they are filled."""
        return {
            tile: self._levels[tile.level][tile.index * TILE : (tile.index + 1) * TILE]
            for tile in wanted
        }

    def _hashes(self, nodes: list[Node], size: int) -> list[bytes]:
        if size > self.size:
            raise ValueError(f"the tree has {self.size} entries, not {size}")
        tiles = self.tiles(tiles_needed(nodes, size=size))
        return node_hashes(nodes, size=size, tiles=tiles)
