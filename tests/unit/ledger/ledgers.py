"""A small ledger with a signing key, and its folder of static files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.note import Signer, rotation_body, sign_checkpoint
from gridflex.ledger.tiles import SignedCheckpoint, StaticExport
from gridflex.ledger.verify.notes import Checkpoint, parse_note
from tests.unit.ledger.whole_tree import MerkleTree

ORIGIN = "gridflex.example/log1"
SIGNER = Signer(ORIGIN, seed=bytes(range(32)))
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def event(number: int, **changed: object) -> Event:
    """Return the reading of one half-hour as an event."""
    values = {
        "id": f"meter:{number}",
        "event_type": EventType.METER_RECEIVED,
        "body": {"import_kwh": f"{100 + number}.5"},
        "subject": "meter:1200000000001",
        "site": "london",
        "half_hour": HalfHour(NOON) + number,
    }
    return Event(**values | changed)  # type: ignore[arg-type]


def entry(number: int, **changed: object) -> bytes:
    """Return that event as recorded ``number`` seconds after noon."""
    return event(number, **changed).entry(recorded_at=NOON + number * SECOND)


@dataclass
class Ledger:
    """Entries and the checkpoints signed over them."""

    entries: list[bytes] = field(default_factory=list)
    checkpoints: list[SignedCheckpoint] = field(default_factory=list)

    def sign(self, signer: Signer = SIGNER, *, size: int | None = None) -> SignedCheckpoint:
        """Sign what is there."""
        tree = MerkleTree(self.entries[:size])
        checkpoint = Checkpoint(signer.key.name, tree.size, tree.root())
        self.checkpoints.append(SignedCheckpoint(sign_checkpoint(checkpoint, signers=[signer])))
        return self.checkpoints[-1]

    def write(self, folder: Path) -> Path:
        """Write the folder that an export of this ledger has."""
        return write(folder, self.entries, self.checkpoints)


def cosign(note: str, *, witness: Signer) -> str:
    """Return a checkpoint with a witness's cosignature at noon added (C2SP tlog-cosignature)."""
    moment = int(NOON.timestamp())
    signature = witness.sign(f"cosignature/v1\ntime {moment}\n{parse_note(note).text}")
    return note + witness.signature_line(moment.to_bytes(8, "big") + signature)


def handover(old: Signer, new: Signer, number: int) -> bytes:
    """Return the entry with which ``new`` takes over, ``number`` seconds after noon."""
    rotated = Event(f"key:{number}", EventType.KEY_ROTATED, rotation_body(old, new=new))
    return rotated.entry(recorded_at=NOON + number * SECOND)


def ledger(size: int = 600, *, signed_at: Sequence[int] = (100, 256, 600)) -> Ledger:
    """Return a ledger of readings with checkpoints at some sizes."""
    made = Ledger([entry(number) for number in range(size)])
    for at in signed_at:
        made.sign(size=at)
    return made


def write(folder: Path, entries: Iterable[bytes], checkpoints: Sequence[SignedCheckpoint]) -> Path:
    """Write entries and checkpoints as a folder, whether or not they agree."""
    export = StaticExport(checkpoints)
    files = [one for each in entries for one in export.add(each)]
    files += export.finish()
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
