"""RFC 6962 trees: the well-known vectors, and every proof between small sizes."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflex.ledger.tree import inclusion_nodes, tiles_needed
from gridflex.ledger.verify.merkle import (
    RightEdge,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from gridflex.ledger.verify.reading import VerificationError
from tests.unit.ledger.whole_tree import MerkleTree

ENTRIES = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The entries of the Certificate Transparency test vectors."""

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

INCLUSION_5_OF_8 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
CONSISTENCY_2_TO_5 = [
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
]
CONSISTENCY_6_TO_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]

SIZES = st.integers(1, 1000)
BIG = MerkleTree(str(i).encode() for i in range(70_000))
"""Three levels of tiles: 273 full ones and one of 112, one full and one of 17, one of 1."""


def hexed(proof: list[bytes]) -> list[str]:
    return [one.hex() for one in proof]


def slow_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1 as it is written."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(slow_root(leaves[:k]), slow_root(leaves[k:]))


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_certificate_transparency_vectors(size: int) -> None:
    tree = MerkleTree(ENTRIES)

    assert tree.root(size=size).hex() == ROOTS[size]
    assert MerkleTree(ENTRIES[:size]).root().hex() == ROOTS[size]


def test_proofs_of_the_certificate_transparency_vectors() -> None:
    tree = MerkleTree(ENTRIES)

    assert leaf_hash(ENTRIES[5]).hex() == (
        "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658"
    )
    assert hexed(tree.inclusion_proof(5, size=8)) == INCLUSION_5_OF_8
    assert hexed(tree.consistency_proof(2, new=5)) == CONSISTENCY_2_TO_5
    assert hexed(tree.consistency_proof(6, new=8)) == CONSISTENCY_6_TO_8


def test_five_json_entries() -> None:
    tree = MerkleTree(json.dumps({"a": i}, separators=(",", ":")).encode() for i in range(1, 6))

    assert tree.root().hex() == "f4a3c7f9bc8b7de7d8333c3ca3e50a83b4deea3fd62c1fb73b06ad0a27071695"


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 513, 65_536, 65_537, 70_000])
def test_roots_across_tile_boundaries_are_those_of_the_definition(size: int) -> None:
    leaves = [leaf_hash(str(i).encode()) for i in range(size)]

    assert BIG.root(size=size) == slow_root(leaves)


@pytest.mark.parametrize("size", range(1, 34))
def test_every_inclusion_proof_of_small_trees_holds_and_no_other(size: int) -> None:
    leaves = [leaf_hash(str(i).encode()) for i in range(size)]
    root = slow_root(leaves)

    for index in range(size):
        proof = BIG.inclusion_proof(index, size=size)
        verify_inclusion(leaves[index], index=index, size=size, proof=proof, root=root)
        for other in {*range(size + 2), -1} - {index}:
            with pytest.raises(VerificationError):
                verify_inclusion(leaves[index], index=other, size=size, proof=proof, root=root)


@pytest.mark.parametrize("new", range(34))
def test_every_consistency_proof_of_small_trees_holds_and_no_other(new: int) -> None:
    new_root = BIG.root(size=new)

    for old in range(new + 1):
        proof = BIG.consistency_proof(old, new=new)
        old_root = BIG.root(size=old)
        verify_consistency(
            old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=proof
        )
        for other in set(range(new + 2)) - {old}:
            with pytest.raises(VerificationError):
                verify_consistency(
                    old_size=other, old_root=old_root, new_size=new, new_root=new_root, proof=proof
                )


@given(st.integers(0, 69_999), st.integers(1, 70_000))
def test_inclusion_proofs_hold_across_tiles(index: int, size: int) -> None:
    index %= size

    proof = BIG.inclusion_proof(index, size=size)

    leaf = leaf_hash(str(index).encode())
    verify_inclusion(leaf, index=index, size=size, proof=proof, root=BIG.root(size=size))


@given(st.integers(0, 70_000), st.integers(0, 70_000))
def test_consistency_proofs_hold_across_tiles(one: int, other: int) -> None:
    old, new = sorted((one, other))

    proof = BIG.consistency_proof(old, new=new)

    verify_consistency(
        old_size=old,
        old_root=BIG.root(size=old),
        new_size=new,
        new_root=BIG.root(size=new),
        proof=proof,
    )


@given(size=SIZES, at=st.integers(0), data=st.data())
def test_a_changed_inclusion_proof_never_holds(size: int, at: int, data: st.DataObject) -> None:
    index = at % size
    leaf, root = leaf_hash(str(index).encode()), BIG.root(size=size)
    proof = BIG.inclusion_proof(index, size=size)
    changed = data.draw(tampered(proof))

    with pytest.raises(VerificationError):
        verify_inclusion(leaf, index=index, size=size, proof=changed, root=root)


@given(old=SIZES, grown=st.integers(0, 500), data=st.data())
def test_a_changed_consistency_proof_never_holds(old: int, grown: int, data: st.DataObject) -> None:
    new = old + grown
    proof = BIG.consistency_proof(old, new=new)
    changed = data.draw(tampered(proof))

    with pytest.raises(VerificationError):
        verify_consistency(
            old_size=old,
            old_root=BIG.root(size=old),
            new_size=new,
            new_root=BIG.root(size=new),
            proof=changed,
        )


@given(old=st.integers(1, 300), grown=st.integers(1, 300), at=st.integers(0))
def test_a_tree_that_rewrote_an_old_entry_is_not_consistent(old: int, grown: int, at: int) -> None:
    new = old + grown
    forked = MerkleTree(b"rewritten" if i == at % old else str(i).encode() for i in range(new))

    with pytest.raises(VerificationError):
        verify_consistency(
            old_size=old,
            old_root=BIG.root(size=old),
            new_size=new,
            new_root=forked.root(),
            proof=forked.consistency_proof(old),
        )


@st.composite
def tampered(draw: st.DrawFn, proof: list[bytes]) -> list[bytes]:
    kinds = ["add"] + (["drop", "flip"] if proof else []) + (["swap"] if len(proof) > 1 else [])
    kind = draw(st.sampled_from(kinds))
    place = draw(st.integers(0, max(0, len(proof) - 1)))
    changed = list(proof)
    if kind == "add":
        changed.insert(place, draw(st.binary(min_size=32, max_size=32)))
    elif kind == "drop":
        del changed[place]
    elif kind == "flip":
        bit = draw(st.integers(0, 255))
        changed[place] = (int.from_bytes(changed[place]) ^ 1 << bit).to_bytes(32)
    else:
        changed[0], changed[-1] = changed[-1], changed[0]
    return changed


@settings(max_examples=25)
@given(st.integers(0, 70_000))
def test_a_growing_edge_has_the_root_and_the_tiles_of_the_whole_tree(size: int) -> None:
    edge, filled = RightEdge(), 0

    for i in range(size):
        filled += len(edge.append(leaf_hash(str(i).encode())))

    assert edge.root() == BIG.root(size=size)
    assert filled == size // 256 + size // 65_536


def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    edge = RightEdge()
    full = [tile for i in range(70_000) for tile in edge.append(leaf_hash(str(i).encode()))]

    assert [len(level) for level in edge.levels] == [112, 17, 1]
    assert [sum(tile.level == level for tile in full) for level in (0, 1)] == [273, 1]
    assert full[-1].index == 272


def test_a_proof_needs_a_handful_of_tiles() -> None:
    nodes = inclusion_nodes(123_456, size=1_000_000)

    assert len(tiles_needed(nodes, size=1_000_000)) <= 6


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_there_is_no_proof_for_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree"):
        BIG.inclusion_proof(index, size=size)


def test_there_is_no_proof_that_a_tree_shrank() -> None:
    with pytest.raises(ValueError, match="does not extend"):
        BIG.consistency_proof(5, new=4)
    with pytest.raises(ValueError, match="70000 entries"):
        BIG.root(size=70_001)
