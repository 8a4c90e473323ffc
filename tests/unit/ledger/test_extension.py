"""Whether a ledger extends a checkpoint that was kept, by proofs and hand-overs of the key."""

import base64

import pytest

from gridflex.ledger.note import Signer, sign_checkpoint
from gridflex.ledger.verify.entries import parse_entry
from gridflex.ledger.verify.extension import (
    Extension,
    HandOver,
    claimed,
    read_hand_over,
    verify_extension,
)
from gridflex.ledger.verify.notes import Key
from gridflex.ledger.verify.reading import VerificationError
from tests.unit.ledger.ledgers import ORIGIN, SIGNER, Ledger, entry, handover
from tests.unit.ledger.whole_tree import MerkleTree

NEW = Signer(ORIGIN, seed=bytes([5]) * 32)
NEWER = Signer(ORIGIN, seed=bytes([6]) * 32)
THIEF = Signer(ORIGIN, seed=bytes([66]) * 32)
OTHER = Signer("other.example/log", seed=bytes([7]) * 32)


def made(*hands: tuple[Signer, Signer] | None) -> Ledger:
    """Return entries of which some hand over."""
    return Ledger(
        [handover(*pair, number) if pair else entry(number) for number, pair in enumerate(hands)]
    )


def hand_over(ledger: Ledger, index: int) -> HandOver:
    proof = MerkleTree(ledger.entries).inclusion_proof(index)
    return HandOver(index, ledger.entries[index], tuple(proof))


def extension(
    ledger: Ledger, *signed: tuple[int, Signer], keys: list[Key], hands: list[HandOver]
) -> Extension:
    """Return what is found from the first checkpoint, which was kept, to the second."""
    (old, by_old), (new, by_new) = signed
    return verify_extension(
        ledger.sign(by_old, size=old).note,
        ledger.sign(by_new, size=new).note,
        keys=keys,
        hand_overs=hands,
        proof=MerkleTree(ledger.entries).consistency_proof(old, new=new),
    )


ROTATED = made(None, None, (SIGNER, NEW), None, (NEW, NEWER), None)


@pytest.mark.parametrize(
    ("kept", "by", "trusted", "followed"),
    [
        pytest.param(2, SIGNER, SIGNER, (2, 4), id="kept before"),
        pytest.param(4, NEW, SIGNER, (2, 4), id="kept between, the first key trusted"),
        pytest.param(4, NEW, NEW, (4,), id="kept between, its own key trusted"),
        pytest.param(6, NEWER, SIGNER, (2, 4), id="kept after"),
        pytest.param(6, NEWER, NEWER, (), id="nothing to follow"),
    ],
)
def test_trust_is_handed_over(
    kept: int, by: Signer, trusted: Signer, followed: tuple[int, ...]
) -> None:
    hands = [hand_over(ROTATED, 4), hand_over(ROTATED, 2)]

    found = extension(ROTATED, (kept, by), (6, NEWER), keys=[trusted.key], hands=hands)

    assert found.keys == (NEWER.key,)
    assert found.followed == followed


def test_a_key_that_handed_over_signs_no_more() -> None:
    with pytest.raises(VerificationError, match="no trusted key"):
        extension(
            ROTATED,
            *((2, SIGNER), (6, SIGNER)),
            keys=[SIGNER.key],
            hands=[hand_over(ROTATED, 2), hand_over(ROTATED, 4)],
        )


def test_a_hand_over_that_is_not_in_the_ledger_is_not_followed() -> None:
    stolen = hand_over(made(None, None, (SIGNER, NEW), None), 2)
    plain = made(None, None, None, None)

    with pytest.raises(VerificationError, match="entry 2 is not in the tree of 4"):
        extension(plain, (2, SIGNER), (4, NEW), keys=[SIGNER.key], hands=[stolen])


def test_a_thief_cannot_hand_over() -> None:
    robbed = made(None, None, (THIEF, THIEF), None)

    with pytest.raises(VerificationError, match="without being trusted"):
        extension(robbed, (2, SIGNER), (4, THIEF), keys=[SIGNER.key], hands=[hand_over(robbed, 2)])
    with pytest.raises(VerificationError, match="no trusted key"):
        extension(robbed, (3, THIEF), (4, THIEF), keys=[SIGNER.key], hands=[hand_over(robbed, 2)])


@pytest.mark.parametrize(("kept", "by"), [(2, SIGNER), (4, NEW)])
def test_the_trusted_key_of_another_log_does_not_hand_this_one_over(kept: int, by: Signer) -> None:
    taken = made(None, None, (OTHER, NEW), None)

    with pytest.raises(VerificationError, match="trusted"):
        extension(
            taken,
            *((kept, by), (4, NEW)),
            keys=[SIGNER.key, OTHER.key],
            hands=[hand_over(taken, 2)],
        )


HIDDEN = made(None, None, (SIGNER, NEW), None, (SIGNER, THIEF), None)


def test_a_key_retired_by_a_hand_over_that_is_hidden_hands_over_no_more() -> None:
    with pytest.raises(VerificationError, match="without being trusted"):
        extension(
            HIDDEN,
            *((4, NEW), (6, THIEF)),
            keys=[SIGNER.key, NEW.key],
            hands=[hand_over(HIDDEN, 4)],
        )


def test_a_key_retired_by_a_hand_over_that_is_hidden_signs_no_more() -> None:
    with pytest.raises(VerificationError, match="no trusted key"):
        extension(ROTATED, (4, NEW), (6, SIGNER), keys=[SIGNER.key, NEW.key], hands=[])


def test_of_several_trusted_keys_the_one_that_signed_what_was_kept_is_followed() -> None:
    keys = [NEWER.key, OTHER.key, NEW.key, SIGNER.key]

    found = extension(ROTATED, (4, NEW), (6, NEWER), keys=keys, hands=[hand_over(ROTATED, 4)])

    assert found.keys == (NEWER.key,)
    assert found.followed == (4,)


def test_several_keys_that_signed_what_was_kept_are_all_followed() -> None:
    plain = made(None, None, None)
    both = sign_checkpoint(claimed(plain.sign(size=2).note), signers=[SIGNER, NEW])

    found = verify_extension(
        both,
        plain.sign(NEW, size=3).note,
        keys=[SIGNER.key, NEW.key, NEWER.key],
        hand_overs=[],
        proof=MerkleTree(plain.entries).consistency_proof(2, new=3),
    )

    assert found.keys == (SIGNER.key, NEW.key)


def test_a_forged_signature_of_the_old_key_is_not_followed() -> None:
    said = parse_entry(handover(SIGNER, NEW, 2))
    forged = handover(SIGNER, NEW, 2).replace(
        said["body"]["signed_by_old"].encode(), base64.b64encode(THIEF.sign("x"))
    )
    ledger = Ledger([entry(0), entry(1), forged, entry(3)])

    with pytest.raises(VerificationError, match=r"signature .* is not valid"):
        extension(ledger, (2, SIGNER), (4, NEW), keys=[SIGNER.key], hands=[hand_over(ledger, 2)])


def test_another_entry_is_no_hand_over() -> None:
    with pytest.raises(VerificationError, match=r"entry 1 is meter.received, no hand-over"):
        extension(
            ROTATED, (2, SIGNER), (6, NEWER), keys=[SIGNER.key], hands=[hand_over(ROTATED, 1)]
        )


def test_a_hand_over_is_read_as_the_interface_tells_it() -> None:
    hand = hand_over(ROTATED, 2)
    told = {
        "index": 2,
        "entry": parse_entry(hand.entry),
        "hashes": [base64.b64encode(one).decode() for one in hand.proof],
    }

    assert read_hand_over(told) == hand
    wrongs: list[object] = [{}, [], told | {"index": "2"}, told | {"hashes": ["x"]}]
    for wrong in wrongs:
        with pytest.raises(VerificationError):
            read_hand_over(wrong)
