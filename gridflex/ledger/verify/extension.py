"""That a ledger extends a checkpoint somebody kept: by proofs, without its entries.

A key that was handed over in between counts, as in a whole ledger: the hand-over is an entry that
a trusted key signed and that is proved to be in the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gridflex.ledger.verify.entries import canonical_json, parse_entry
from gridflex.ledger.verify.merkle import leaf_hash, verify_consistency, verify_inclusion
from gridflex.ledger.verify.notes import (
    KEY_ROTATED,
    Checkpoint,
    Key,
    open_checkpoint,
    parse_checkpoint,
    parse_key,
    parse_note,
    rotate,
    signers_of,
)
from gridflex.ledger.verify.reading import VerificationError, bytes_of, text_of


@dataclass(frozen=True, slots=True)
class HandOver:
    """An entry with which one key takes over from another, not yet verified.

    Args:
        index: Its place.
        entry: Its bytes.
        proof: That it is in the tree, a hash a step.
    """

    index: int
    entry: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """A ledger that extends what was kept.

    Args:
        old: The checkpoint that was kept.
        new: The newest one.
        keys: In force under the newest one.
        followed: Indexes of the hand-overs that led to them.
    """

    old: Checkpoint
    new: Checkpoint
    keys: tuple[Key, ...]
    followed: tuple[int, ...]


def read_hand_over(told: Any) -> HandOver:  # noqa: ANN401 - parsed JSON
    """Return a hand-over as the API tells it.

    Raises:
        VerificationError: It is malformed.
    """
    fields = told if isinstance(told, dict) else {}
    index, hashes = fields.get("index"), fields.get("hashes")
    if type(index) is not int or not isinstance(hashes, list):
        raise VerificationError("a hand-over has an index and an inclusion proof")
    proof = tuple(bytes_of(one, what="a proof hash") for one in hashes)
    return HandOver(index, canonical_json(fields.get("entry")), proof)


def claimed(note: str) -> Checkpoint:
    """Return what a signed checkpoint says, whoever signed it.

    Raises:
        VerificationError: It is no signed checkpoint.
    """
    return parse_checkpoint(parse_note(note).text)


def verify_extension(
    kept: str,
    newest: str,
    *,
    keys: Sequence[Key],
    hand_overs: Iterable[HandOver],
    proof: Sequence[bytes],
) -> Extension:
    """Check that a ledger extends a checkpoint.

    A hand-over from before the kept checkpoint by a key that is not trusted is passed over: who
    trusts its successor need not know it. After that only the key that signed the kept checkpoint
    counts, and what it hands over to: other trusted keys may have been retired by a hand-over that
    is not told.

    Args:
        kept: The checkpoint as signed.
        newest: Of the same ledger, as signed.
        keys: Trusted; those of other logs are passed over.
        hand_overs: Those in the ledger, with proofs in the tree of ``newest``.
        proof: That the tree of ``newest`` begins with that of ``kept``.

    Raises:
        VerificationError: It does not, or is not shown to.
    """
    old, tree = claimed(kept), claimed(newest)
    in_order = sorted(hand_overs, key=lambda one: one.index)
    before = [one for one in in_order if one.index < old.size]
    own = [key for key in keys if key.name == old.origin]
    trusted, followed = _follow(own, before, tree=tree, passes_over=True)
    old = open_checkpoint(kept, keys=trusted)
    signers = signers_of(kept, keys=trusted)
    in_force, later = _follow(signers, in_order[len(before) :], tree=tree, passes_over=False)
    new = open_checkpoint(newest, keys=in_force)
    verify_consistency(
        old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=proof
    )
    return Extension(old, new, tuple(in_force), (*followed, *later))


def _follow(
    keys: Sequence[Key], hand_overs: Iterable[HandOver], *, tree: Checkpoint, passes_over: bool
) -> tuple[list[Key], list[int]]:
    """Return the keys trusted after some hand-overs, and the indexes of those that were followed.

    ``tree`` need not be trusted yet: what hangs on it counts once a key signed it.
    """
    trusted, followed = list(keys), []
    for one in hand_overs:
        verify_inclusion(
            leaf_hash(one.entry), index=one.index, size=tree.size, proof=one.proof, root=tree.root
        )
        event = parse_entry(one.entry)
        if event["event_type"] != KEY_ROTATED:
            raise VerificationError(f"entry {one.index} is {event['event_type']}, no hand-over")
        body = event["body"]
        if passes_over and parse_key(text_of(body, "old")) not in trusted:
            continue
        trusted = rotate(trusted, body)
        followed.append(one.index)
    return trusted, followed
