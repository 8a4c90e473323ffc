"""The offline verifier against everything that can be done to a ledger."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import cryptography
import pytest

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.ledger.note import Signer, sign_checkpoint
from gridflex.ledger.standalone import standalone_verifier
from gridflex.ledger.tiles import SignedCheckpoint, entry_bundle
from gridflex.ledger.verify.command import main
from gridflex.ledger.verify.entries import canonical_json, parse_entry
from gridflex.ledger.verify.folder import parse_bundle, verify_ledger
from gridflex.ledger.verify.notes import COSIGNATURE, Checkpoint
from gridflex.ledger.verify.reading import VerificationError
from tests.unit.ledger.ledgers import (
    NOON,
    ORIGIN,
    SECOND,
    SIGNER,
    Ledger,
    cosign,
    entry,
    event,
    handover,
    ledger,
)

KEYS = [SIGNER.key]
THIEF = Signer(ORIGIN, seed=bytes([66]) * 32)
Tamper = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return ledger().write(tmp_path / "ledger")


def resigned(entries: list[bytes], *, sizes: tuple[int, ...] = ()) -> Ledger:
    """What the owner of the key can make: any entries under fresh, valid signatures."""
    made = Ledger(entries)
    for size in (*sizes, len(entries)):
        made.sign(size=size)
    return made


def rebundle(folder: Path, path: str, width: int, change: Tamper) -> None:
    """Change the entries of one bundle without the key: hashes and checkpoints stay."""
    file = folder / path
    changed = change(parse_bundle(file.read_bytes(), width=width, what=path))
    file.write_bytes(entry_bundle(changed))


def test_a_whole_ledger_holds(folder: Path) -> None:
    report = verify_ledger(folder, keys=KEYS)

    assert (report.origin, report.size, report.checkpoints) == (ORIGIN, 600, 3)
    assert report.root == ledger().checkpoints[-1].root.hex()
    assert report.event_types == {"meter.received": 600}
    assert report.recorded_from == "2026-07-01T12:00:00.000000Z"
    assert report.recorded_to == "2026-07-01T12:09:59.000000Z"
    assert report.key == str(SIGNER.key)


def test_an_empty_ledger_holds(tmp_path: Path) -> None:
    made = Ledger()
    made.sign()

    assert verify_ledger(made.write(tmp_path), keys=KEYS).size == 0


EDITED = entry(300, body={"import_kwh": "1.5"})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda e: [*e[:44], EDITED, *e[45:]], id="edit"),
        pytest.param(lambda e: [e[1], e[0], *e[2:]], id="reorder"),
        pytest.param(lambda e: [*e[:44], *e[45:], e[44]], id="delete and append"),
        pytest.param(lambda e: [*e[:44], *e[45:]], id="delete"),
        pytest.param(lambda e: [*e[:44], EDITED, *e[44:]], id="insert"),
    ],
)
def test_changed_entries_are_detected(folder: Path, change: Tamper) -> None:
    rebundle(folder, "tile/entries/001", 256, change)

    with pytest.raises(VerificationError):
        verify_ledger(folder, keys=KEYS)


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"])
def test_changed_hashes_are_detected(folder: Path, path: str) -> None:
    file = folder / path
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])

    with pytest.raises(VerificationError, match="other hashes"):
        verify_ledger(folder, keys=KEYS)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        pytest.param("tile/0/002.p/38", lambda raw: bytes(32) + raw[32:], id="hashes"),
        pytest.param("tile/1/000.p/1", lambda raw: raw[:-1] + b"x", id="hashes of hashes"),
        pytest.param("tile/entries/002.p/38", lambda raw: raw[:-2] + b" }", id="an entry"),
        pytest.param("tile/entries/002.p/38", lambda raw: raw[:-9], id="cut off"),
    ],
)
def test_a_changed_tile_that_was_published_before_it_was_full_is_detected(
    tmp_path: Path, path: str, change: Callable[[bytes], bytes]
) -> None:
    made, entries = Ledger(), ledger().entries
    for size in (300, 550, 600):
        made.entries = entries[:size]
        made.sign()
        folder = made.write(tmp_path)
    verify_ledger(folder, keys=KEYS)
    file = folder / path
    file.write_bytes(change(file.read_bytes()))

    with pytest.raises(VerificationError, match=r"holds other|does not hold exactly"):
        verify_ledger(folder, keys=KEYS)


def test_files_that_are_no_tiles_of_this_checkpoint_say_nothing(folder: Path) -> None:
    (folder / "tile/0/002.p/250").write_bytes(b"of the next checkpoint")
    (folder / "tile/0/002.p/README").write_text("notes")

    assert verify_ledger(folder, keys=KEYS).size == 600


@pytest.mark.parametrize("path", ["tile/0/001", "tile/entries/001", "checkpoint"])
def test_a_missing_file_is_detected(folder: Path, path: str) -> None:
    (folder / path).unlink()

    with pytest.raises(VerificationError, match="cannot be read"):
        verify_ledger(folder, keys=KEYS)


TAMPERED: dict[str, Tamper] = {
    "edit": lambda e: [*e[:50], entry(50, body={"import_kwh": "1.5"}), *e[51:]],
    "delete": lambda e: [*e[:50], *e[51:]],
    "reorder": lambda e: [*e[:50], e[51], e[50], *e[52:]],
    "insert": lambda e: [*e[:50], entry(50, id="late"), *e[50:]],
    "clock shift": lambda e: [
        *e[:50],
        event(50).entry(recorded_at=NOON + 50 * SECOND - timedelta(microseconds=1)),
        *e[51:],
    ],
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_the_owner_of_the_key_cannot_rewrite_what_he_signed(
    folder: Path, tmp_path: Path, change: Tamper
) -> None:
    """All is signed anew and agrees with itself, but not with a checkpoint somebody kept."""
    kept = (folder / "checkpoints/256").read_text()
    forged = resigned(change(ledger().entries)).write(tmp_path / "forged")

    with pytest.raises(VerificationError, match=r"signed checkpoint|recorded at"):
        verify_ledger(forged, keys=KEYS, since=[kept])


def test_a_fork_is_detected_though_both_sides_are_signed(tmp_path: Path) -> None:
    mine, yours = (
        resigned([*ledger(300).entries, *(entry(300, id=f"{side}:{i}") for i in range(50))])
        for side in ("mine", "yours")
    )
    folder = mine.write(tmp_path)

    with pytest.raises(VerificationError, match="not those of a signed checkpoint"):
        verify_ledger(folder, keys=KEYS, since=[yours.checkpoints[-1].note])


def test_a_fork_inside_the_history_of_checkpoints_is_detected(folder: Path) -> None:
    other = resigned([entry(i, id=f"other:{i}") for i in range(400)])
    (folder / "checkpoints" / "400").write_text(other.checkpoints[-1].note)

    with pytest.raises(VerificationError, match="not those of a signed checkpoint"):
        verify_ledger(folder, keys=KEYS)


def test_a_truncated_ledger_is_detected_given_an_older_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    kept = (folder / "checkpoint").read_text()
    cut = resigned(ledger(500).entries).write(tmp_path / "cut")

    verify_ledger(cut, keys=KEYS)  # by itself it holds
    with pytest.raises(VerificationError, match="covers 600 entries, the ledger has only 500"):
        verify_ledger(cut, keys=KEYS, since=[kept])


def test_a_ledger_that_grew_holds_against_an_older_checkpoint(folder: Path) -> None:
    kept = ledger(450, signed_at=(450,)).checkpoints[0].note

    assert verify_ledger(folder, keys=KEYS, since=[kept]).checkpoints == 4


def test_a_clock_that_went_back_is_detected(tmp_path: Path) -> None:
    made = resigned([entry(0), entry(5), event(3).entry(recorded_at=NOON + 4 * SECOND)])

    with pytest.raises(VerificationError, match=r"entry 2: recorded at .*04.*before .*05"):
        verify_ledger(made.write(tmp_path), keys=KEYS)


def test_a_swapped_key_is_detected(tmp_path: Path) -> None:
    made = Ledger(ledger().entries)
    made.sign(THIEF)

    with pytest.raises(VerificationError, match="no trusted key"):
        verify_ledger(made.write(tmp_path), keys=KEYS)


def test_a_key_that_takes_over_unannounced_is_detected(tmp_path: Path) -> None:
    made = ledger(10, signed_at=(5,))
    made.sign(THIEF)

    with pytest.raises(VerificationError, match="no trusted key"):
        verify_ledger(made.write(tmp_path), keys=KEYS)


def test_a_key_that_was_handed_over_counts_from_there_on(tmp_path: Path) -> None:
    new = Signer(ORIGIN, seed=bytes([5]) * 32)
    made = ledger(3, signed_at=(3,))
    made.entries.append(handover(SIGNER, new, 3))
    made.sign(new)

    report = verify_ledger(made.write(tmp_path / "new"), keys=KEYS)
    assert report.key == str(new.key)

    made.sign(SIGNER)
    with pytest.raises(VerificationError, match="no trusted key"):
        verify_ledger(made.write(tmp_path / "old"), keys=KEYS)


def test_a_thief_cannot_hand_over(tmp_path: Path) -> None:
    made = ledger(3, signed_at=(3,))
    made.entries.append(handover(THIEF, THIEF, 3))
    made.sign(THIEF)

    with pytest.raises(VerificationError, match=r"entry 3: key .* without being trusted"):
        verify_ledger(made.write(tmp_path), keys=KEYS)


BAD_ENTRIES = {
    "space": entry(1).replace(b'":', b'": ', 1),
    "order": json.dumps(dict(reversed(json.loads(entry(1)).items()))).encode(),
    "twice the same key": entry(1).replace(b'{"body"', b'{"body":{},"body"'),
    "fraction": entry(1).replace(b'"101.5"', b"101.5"),
    "number beyond 2^53": entry(1).replace(b'"101.5"', b"9007199254740993"),
    "another field": entry(1).replace(b'"prev_ref"', b'"odd":1,"prev_ref"'),
    "no field": entry(1).replace(b'"prev_ref":null,', b""),
    "another schema": entry(1).replace(b"gridflex-event/1", b"gridflex-event/2"),
    "local time": entry(1).replace(b"12:00:01.000000Z", b"13:00:01.000000+01:00"),
    "no such day": entry(1).replace(b"2026-07-01T12:00:01", b"2026-02-30T12:00:01"),
    "the id again": entry(1, id="meter:0"),
    "a reference ahead": entry(1, prev_ref=1),
    "not JSON": b"{",
    "no object": b"[]",
    "nested too deeply": b"[" * 30_000 + b"]" * 30_000,
    "no text": b"\xff",
}


@pytest.mark.parametrize("bad", BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_an_entry_that_is_not_as_agreed_is_detected(tmp_path: Path, bad: bytes) -> None:
    made = resigned([entry(0), bad])

    with pytest.raises(VerificationError, match="entry 1: "):
        verify_ledger(made.write(tmp_path), keys=KEYS)


def test_market_messages_recorded_after_gate_closure_are_named(tmp_path: Path) -> None:
    at = HalfHour(NOON)
    messages = [
        event(i, event_type=EventType.SEV_SUBMITTED, half_hour=at + i) for i in (1, 2, 3, 4)
    ]
    made = resigned([one.entry(recorded_at=NOON) for one in messages])

    report = verify_ledger(made.write(tmp_path), keys=KEYS)

    assert report.after_gate == [0, 1]  # the gate of 12:30 closed at 11:30, of 13:00 at 12:00


def test_a_market_message_about_the_first_hour_there_is_is_named(tmp_path: Path) -> None:
    noted = parse_entry(event(1, event_type=EventType.SEV_SUBMITTED).entry(recorded_at=NOON))
    first = canonical_json(noted | {"valid_time": "0001-01-01T00:00:00.000000Z"})
    made = resigned([first])

    assert verify_ledger(made.write(tmp_path), keys=KEYS).after_gate == [0]


def test_a_witness_must_have_cosigned_the_newest_checkpoint(tmp_path: Path) -> None:
    witness = Signer("witness.example", seed=bytes([3]) * 32, kind=COSIGNATURE)
    made = ledger(5, signed_at=(3, 5))

    with pytest.raises(VerificationError, match="no trusted key"):
        verify_ledger(made.write(tmp_path / "a"), keys=KEYS, witnesses=[witness.key])

    note = cosign(made.checkpoints[-1].note, witness=witness)
    made.checkpoints[-1] = SignedCheckpoint(note)
    assert verify_ledger(made.write(tmp_path / "b"), keys=KEYS, witnesses=[witness.key]).size == 5


def test_a_checkpoint_beyond_the_entries_is_detected(folder: Path) -> None:
    beyond = sign_checkpoint(Checkpoint(ORIGIN, 601, bytes(32)), signers=[SIGNER])
    (folder / "checkpoints" / "601").write_text(beyond)

    with pytest.raises(VerificationError, match="covers 601 entries"):
        verify_ledger(folder, keys=KEYS)


def test_the_command_says_what_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--key", str(SIGNER.key)]) == 0

    assert capsys.readouterr().out.startswith(f"VERIFIED {folder}: 600 entries of {ORIGIN}")


def test_the_command_takes_a_key_file_and_prints_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key.pub").write_text(f"{SIGNER.key}\n")

    assert main([str(folder), "--key", str(tmp_path / "key.pub"), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["verified"] is True
    assert found["ledgers"][0]["size"] == 600


def test_the_command_says_what_does_not_hold(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--key", str(THIEF.key)]) == 1
    assert "NOT VERIFIED" in capsys.readouterr().out

    assert main([str(folder), "--key", "nonsense", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verified"] is False


def test_the_archive_needs_python_and_cryptography_alone(folder: Path, tmp_path: Path) -> None:
    archive, libraries = tmp_path / "verify.pyz", tmp_path / "libraries"
    archive.write_bytes(standalone_verifier())
    libraries.mkdir()
    site = Path(cryptography.__file__).parents[1]
    for name in ("cryptography", "cffi", "pycparser", *(p.name for p in site.glob("_cffi_b*"))):
        if (site / name).exists():
            (libraries / name).symlink_to(site / name)
    command = [sys.executable, "-S", str(archive), str(folder), "--key", str(SIGNER.key)]
    environment = {"PYTHONPATH": str(libraries)}

    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("VERIFIED")
    rebundle(folder, "tile/entries/000", 256, lambda e: [EDITED, *e[1:]])
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout[:12]) == (1, "NOT VERIFIED")


def test_the_archive_is_the_same_wherever_it_is_made() -> None:
    assert standalone_verifier() == standalone_verifier()
