"""The Merkle tree: its hashes, the check of its proofs, and how it grows at its edge.

Source: RFC 6962, section 2.1; RFC 9162, section 2.1; C2SP tlog-tiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gridflex.ledger.verify.reading import VerificationError

TILE: Final = 256
"""Hashes in a full tile."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes: Sequence[bytes]) -> bytes:
    """Return the root over hashes of equal height; the last may be of a smaller tree."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf is at ``index`` of the tree of ``size`` with this root.

    Raises:
        VerificationError: It is not shown to be.

    Source:
        RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise VerificationError(f"index {index} is not in a tree of {size}")
    fn, sn, r = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise VerificationError(f"the inclusion proof of {index} in {size} is too long")
        if fn & 1 or fn == sn:
            r = node_hash(sibling, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise VerificationError(f"the inclusion proof of {index} in {size} is too short")
    if r != root:
        raise VerificationError(f"entry {index} is not in the tree of {size} with this root")


def verify_consistency(  # noqa: C901 - the steps of the RFC, in its order
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``new_size`` begins with the tree of ``old_size``.

    Raises:
        VerificationError: It is not shown to.

    Source:
        RFC 9162, section 2.1.4.2.
    """
    if not 0 <= old_size <= new_size:
        raise VerificationError(f"the tree shrank from {old_size} to {new_size} entries")
    if old_size in {0, new_size}:
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected or (new_size == 0 and new_root != EMPTY_ROOT):
            raise VerificationError(f"the trees of {old_size} and {new_size} do not agree")
        return
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    if not path:
        raise VerificationError("the consistency proof is empty")
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            raise VerificationError("the consistency proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if sn or fr != old_root or sr != new_root:
        raise VerificationError(f"the tree of {new_size} does not begin with that of {old_size}")


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile that will not change any more.

    Args:
        level: 0 holds leaves, each higher one the roots of full tiles below.
        index: Within its level.
        hashes: 256 of them.
        root: Of the subtree they span; one hash of the tile above.
    """

    level: int
    index: int
    hashes: tuple[bytes, ...]
    root: bytes


@dataclass(slots=True)
class RightEdge:
    """The unfinished tiles of a tree, one per level: all that growing it needs.

    Args:
        levels: Hashes in the partial tile of each level, level 0 first.
        size: How many leaves the whole tree has.
    """

    levels: list[list[bytes]] = field(default_factory=lambda: [[]])
    size: int = 0

    def append(self, leaf: bytes) -> list[FullTile]:
        """Add a leaf and return the tiles it filled, lowest first."""
        self.levels[0].append(leaf)
        self.size += 1
        if len(self.levels[0]) < TILE:
            return []
        return self._close_tiles()

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        below: list[bytes] = []
        for level in self.levels:
            hashes = level + below
            below = [tree_hash(hashes)] if hashes else []
        return tree_hash(below)

    def _close_tiles(self) -> list[FullTile]:
        filled = []
        level = 0
        while len(self.levels[level]) == TILE:
            hashes = tuple(self.levels[level])
            index = self.size // TILE ** (level + 1) - 1
            filled.append(FullTile(level, index, hashes, tree_hash(hashes)))
            self.levels[level] = []
            level += 1
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(filled[-1].root)
        return filled
