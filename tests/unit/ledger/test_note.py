"""Signed notes, with the vector of C2SP signed-note."""

import base64
from datetime import timedelta

import pytest

from gridflex.errors import ContractError
from gridflex.ledger.note import (
    Signer,
    proof_file,
    rotation_body,
    sign_checkpoint,
    sign_note,
)
from gridflex.ledger.verify.notes import (
    COSIGNATURE,
    Checkpoint,
    Key,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_key,
    parse_note,
    rotate,
    rotation_text,
)
from gridflex.ledger.verify.reading import VerificationError
from tests.unit.ledger.ledgers import NOON, ORIGIN, SIGNER, cosign

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
TEXT = "This is an example message.\n"
SIGNATURE = (
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
)
NOTE = f"{TEXT}\n— example.com/foo {SIGNATURE}\n"
ROOT = bytes(32)
CHECKPOINT = Checkpoint(ORIGIN, 5, ROOT)
WITNESS = Signer("witness.example", seed=bytes(32), kind=COSIGNATURE)
OTHER = Signer(ORIGIN, seed=bytes([7]) * 32)


def test_the_vector_of_the_specification_verifies() -> None:
    assert open_note(NOTE, keys=[parse_key(VKEY)]) == TEXT


def test_a_key_is_written_as_it_was_read() -> None:
    assert str(parse_key(VKEY)) == VKEY
    assert parse_key(VKEY).key_id.hex() == "530d903a"


def test_a_key_whose_name_is_no_text_is_refused() -> None:
    with pytest.raises(VerificationError, match="not its own"):
        parse_key(VKEY.replace("foo", "f\ud800"))


@pytest.mark.parametrize(
    "changed",
    [
        NOTE.replace("example message", "Example message"),
        NOTE.replace("\n\n", "\n \n\n"),
        NOTE.replace("Uw2QOkn8", "Uw2QOkn9"),
    ],
    ids=["text", "added line", "signature"],
)
def test_a_changed_note_does_not_verify(changed: str) -> None:
    with pytest.raises(VerificationError, match="not valid"):
        open_note(changed, keys=[parse_key(VKEY)])


def test_an_unknown_signature_is_passed_over_but_does_not_count() -> None:
    both = sign_note(TEXT, signers=[OTHER, SIGNER])

    assert open_note(both, keys=[SIGNER.key]) == TEXT
    with pytest.raises(VerificationError, match="no trusted key"):
        open_note(both, keys=[parse_key(VKEY)])


def test_one_false_signature_of_a_trusted_key_spoils_the_note() -> None:
    false = sign_note("another text\n", signers=[OTHER]).rpartition("\n\n")[2]

    with pytest.raises(VerificationError, match="not valid"):
        open_note(sign_note(TEXT, signers=[SIGNER]) + false, keys=[SIGNER.key, OTHER.key])


@pytest.mark.parametrize(
    "raw",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n— name not-base64!\n",
        f"{TEXT}\n- name {SIGNATURE}\n",
        NOTE[:-1],
        NOTE.replace("message", "mess\tage"),
        NOTE + f"— example.com/foo {SIGNATURE}\n" * 64,
        NOTE.replace("aQM=", "aQN="),  # the same bytes, written another way
    ],
)
def test_what_is_no_note_is_refused(raw: str) -> None:
    with pytest.raises(VerificationError):
        parse_note(raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("example.com/foo", "example.com/bar"),
        VKEY[:-4],
        VKEY.replace("+AekyeR", "+BekyeR"),
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_key(text)


def test_a_checkpoint_is_three_lines() -> None:
    note = sign_checkpoint(CHECKPOINT, signers=[SIGNER])

    assert note.startswith(
        f"{ORIGIN}\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— {ORIGIN} "
    )
    assert open_checkpoint(note, keys=[SIGNER.key]) == CHECKPOINT


def test_lines_below_a_checkpoint_are_not_read() -> None:
    text = parse_note(sign_checkpoint(CHECKPOINT, signers=[SIGNER])).text

    assert parse_checkpoint(text + "extension\n") == CHECKPOINT


@pytest.mark.parametrize("size", ["05", "-1", "5.0", "", "\u0665", "1" * 20])
def test_a_size_is_a_plain_number(size: str) -> None:
    with pytest.raises(VerificationError):
        parse_checkpoint(f"{ORIGIN}\n{size}\n{'A' * 43}=\n")


def test_a_key_signs_only_for_the_log_of_its_name() -> None:
    note = sign_note(f"other.example/log\n5\n{'A' * 43}=\n", signers=[SIGNER])

    with pytest.raises(VerificationError, match="no trusted key"):
        open_checkpoint(note, keys=[SIGNER.key])


def test_a_witness_adds_its_cosignature() -> None:
    note = cosign(sign_checkpoint(CHECKPOINT, signers=[SIGNER]), witness=WITNESS)

    assert open_note(note, keys=[WITNESS.key]) == open_note(note, keys=[SIGNER.key])
    later = int((NOON + timedelta(seconds=1)).timestamp()).to_bytes(8, "big")
    name, _, signature = parse_note(note).signatures[1]
    with pytest.raises(VerificationError, match=name):
        WITNESS.key.verify(later + signature[8:], text=parse_note(note).text)


@pytest.mark.parametrize("text", ["no newline", ""])
def test_the_text_of_a_note_ends_in_a_newline(text: str) -> None:
    with pytest.raises(ContractError):
        sign_note(text, signers=[SIGNER])


def test_a_note_has_a_signer() -> None:
    with pytest.raises(ContractError):
        sign_note(TEXT, signers=[])


def test_a_secret_comes_back_from_its_text() -> None:
    assert Signer.from_secret(SIGNER.secret()).key == SIGNER.key
    assert SIGNER.secret().startswith("PRIVATE+KEY+")


@pytest.mark.parametrize(
    "text",
    ["", "PRIVATE+KEY+", "PRIVATE+KEY+a+b+!", SIGNER.secret().replace(ORIGIN, "other.example")],
)
def test_what_is_no_secret_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ContractError) as refused:
        Signer.from_secret(text)

    assert SIGNER.secret()[-20:] not in str(refused.value)


@pytest.mark.parametrize("name", ["", "two words", "with+plus"])
def test_a_key_has_a_name_that_a_note_can_carry(name: str) -> None:
    with pytest.raises(ContractError):
        Signer(name, seed=bytes(32))


def test_the_old_key_leaves_when_the_new_one_takes_over() -> None:
    assert rotate([SIGNER.key], rotation_body(SIGNER, new=OTHER)) == [OTHER.key]


@pytest.mark.parametrize("field", ["signed_by_old", "signed_by_new"])
def test_both_keys_sign_a_handover(field: str) -> None:
    stranger = Signer(ORIGIN, seed=bytes([9]) * 32)
    body = rotation_body(SIGNER, new=OTHER)
    body[field] = rotation_body(stranger, new=stranger)[field]

    with pytest.raises(VerificationError, match="not valid"):
        rotate([SIGNER.key], body)


def test_only_a_trusted_key_hands_over() -> None:
    with pytest.raises(VerificationError, match="without being trusted"):
        rotate([SIGNER.key], rotation_body(OTHER, new=SIGNER))


OF_ANOTHER_LOG = Signer("other.example/log", seed=bytes([8]) * 32)
WITNESS_OF_THAT_NAME = Signer(ORIGIN, seed=bytes([8]) * 32, kind=COSIGNATURE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(OF_ANOTHER_LOG, SIGNER, id="from the key of another log"),
        pytest.param(SIGNER, OF_ANOTHER_LOG, id="to the key of another log"),
        pytest.param(WITNESS_OF_THAT_NAME, SIGNER, id="from a witness"),
        pytest.param(SIGNER, WITNESS_OF_THAT_NAME, id="to a witness"),
    ],
)
def test_only_a_key_of_the_same_log_takes_over(old: Signer, new: Signer) -> None:
    text = rotation_text(str(old.key), str(new.key))
    timed = f"cosignature/v1\ntime 0\n{text}"
    by_old, by_new = (
        bytes(8) + one.sign(timed) if one.key.kind == COSIGNATURE else one.sign(text)
        for one in (old, new)
    )
    body = {
        "old": str(old.key),
        "new": str(new.key),
        "signed_by_old": base64.b64encode(by_old).decode(),
        "signed_by_new": base64.b64encode(by_new).decode(),
    }

    with pytest.raises(VerificationError, match="not two keys of one log"):
        rotate([old.key], body)


def test_a_witness_of_the_name_of_a_log_signs_no_checkpoint_for_it() -> None:
    signed = sign_checkpoint(CHECKPOINT, signers=[SIGNER])
    cosigned = cosign(signed, witness=WITNESS_OF_THAT_NAME)

    assert open_note(cosigned, keys=[WITNESS_OF_THAT_NAME.key])
    with pytest.raises(VerificationError, match="no trusted key"):
        open_checkpoint(cosigned, keys=[WITNESS_OF_THAT_NAME.key])


def test_a_proof_file_has_the_form_of_the_specification() -> None:
    note = sign_checkpoint(CHECKPOINT, signers=[SIGNER])

    proof = proof_file(3, proof=[ROOT, bytes([1]) * 32], checkpoint=note)

    head, blank, below = proof.partition("\n\n")
    assert blank
    assert head.split("\n")[:2] == ["c2sp.org/tlog-proof@v1", "index 3"]
    assert len(head.split("\n")) == 4
    assert below == note


def test_keys_of_different_kinds_have_different_ids() -> None:
    assert Key(ORIGIN, 1, ROOT).key_id != Key(ORIGIN, 4, ROOT).key_id
