"""Merkle proofs over hash tiles.

A tree is known by its size and, per tile level, the hashes of complete subtrees: level 0 has the
leaves, each higher level one hash for 256 of the level below. A proof needs a few tiles of at
most 256 hashes, however large the tree is. Verification is in `gridflex.ledger.verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gridflex.ledger.verify.merkle import TILE, tree_hash

TILE_HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Node:
    """A subtree: the leaves from ``index << height`` on, ``1 << height`` of them or to the end."""

    height: int
    index: int


@dataclass(frozen=True, slots=True)
class TileId:
    """A run of 256 hashes of one level."""

    level: int
    index: int


Tiles = Mapping[TileId, Sequence[bytes]]
"""Hashes by tile; a tile may hold more than the tree's size needs."""


def root_node(size: int) -> Node:
    """Return the node that is the root of a tree with at least one leaf."""
    return Node((size - 1).bit_length(), 0)


def inclusion_nodes(index: int, *, size: int) -> list[Node]:
    """Return the nodes of an inclusion proof, from the leaf up (RFC 6962, section 2.1.1).

    Raises:
        ValueError: The tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not in a tree of {size}")
    return _siblings(Node(0, index), size)


def consistency_nodes(old: int, *, new: int) -> list[Node]:
    """Return the nodes of a consistency proof (RFC 6962, section 2.1.2).

    Raises:
        ValueError: ``old`` is greater than ``new``, or below 0.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} does not extend one of {old}")
    if old in {0, new}:
        return []
    height = (old & -old).bit_length() - 1
    start = Node(height, (old >> height) - 1)
    is_whole_old_tree = start.index == 0
    return [*([] if is_whole_old_tree else [start]), *_siblings(start, new)]


def tiles_needed(nodes: Iterable[Node], *, size: int) -> set[TileId]:
    """Return the tiles from which `node_hashes` computes these nodes."""
    needed = set()
    for node in nodes:
        level, rise = divmod(node.height, TILE_HEIGHT)
        if node.index << rise < size >> TILE_HEIGHT * level:
            needed.add(TileId(level, (node.index << rise) // TILE))
        if (node.index + 1) << node.height > size:
            needed |= {edge for edge in _edge_tiles(size) if edge.level <= level}
    return needed


def node_hashes(nodes: Iterable[Node], *, size: int, tiles: Tiles) -> list[bytes]:
    """Return the hashes of nodes in the tree of ``size``."""
    return [_node_hash(node, size, tiles) for node in nodes]


def tile_width(tile: TileId, *, size: int) -> int:
    """Return how many hashes of a tile a tree of ``size`` has, 0 to 256."""
    complete = size >> TILE_HEIGHT * tile.level
    return max(0, min(TILE, complete - tile.index * TILE))


def _siblings(start: Node, size: int) -> list[Node]:
    height, index = start.height, start.index
    found = []
    while (size - 1) >> height:
        if (index ^ 1) << height < size:
            found.append(Node(height, index ^ 1))
        height, index = height + 1, index >> 1
    return found


def _edge_tiles(size: int) -> list[TileId]:
    levels = range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT)
    edge = [TileId(level, (size >> TILE_HEIGHT * level) // TILE) for level in levels]
    return [tile for tile in edge if tile_width(tile, size=size)]


def _node_hash(node: Node, size: int, tiles: Tiles) -> bytes:
    level, rise = divmod(node.height, TILE_HEIGHT)
    complete = size >> TILE_HEIGHT * level
    first, last = node.index << rise, min((node.index + 1) << rise, complete)
    hashes: list[bytes] = []
    if first < last:
        begins = first // TILE * TILE
        hashes += tiles[TileId(level, first // TILE)][first - begins : last - begins]
    if (node.index + 1) << node.height > size:
        hashes += _ragged(level, size, tiles)
    return tree_hash(hashes)


def _ragged(level: int, size: int, tiles: Tiles) -> list[bytes]:
    """Return the hash over the leaves past the last complete subtree of a level, if any."""
    below: list[bytes] = []
    for tile in _edge_tiles(size):
        if tile.level < level:
            hashes = [*tiles[tile][: tile_width(tile, size=size)], *below]
            below = [tree_hash(hashes)]
    return below
