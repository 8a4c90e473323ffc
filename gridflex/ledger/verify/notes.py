"""Signed notes and the checkpoints written as such.

Source: C2SP signed-note, tlog-checkpoint, tlog-cosignature.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gridflex.ledger.verify.reading import VerificationError, bytes_of, text_of

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
SIGNATURES_MAX: Final = 64
KEY_ROTATED: Final = "key.rotated"
"""Type of the entry with which one key takes over from another."""

_SIGNATURE_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")
_NAME: Final = re.compile(r"[^\s+\ud800-\udfff]+")
_COUNT: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that may sign notes, as its text form says.

    Args:
        name: Whose.
        kind: Signature type: 0x01 a log's, 0x04 a witness's cosignature.
        public: 32 bytes.
    """

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """First four bytes of the hash of name, kind and key."""
        material = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(material).digest()[:4]

    def __str__(self) -> str:
        body = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{body}"

    def verify(self, signature: bytes, *, text: str) -> None:
        """Check a signature over the text of a note.

        Raises:
            VerificationError: It is not by this key.
        """
        message = text.encode()
        if self.kind == COSIGNATURE:
            moment, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = f"cosignature/v1\ntime {moment}\n".encode() + message
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise VerificationError(f"the signature of {self.name} is not valid") from error


def parse_key(text: str) -> Key:
    """Return the key that ``name+id+base64`` names.

    Raises:
        VerificationError: It is not such a text, or the id does not belong to the key.
    """
    parts = text.strip().split("+", 2)
    raw = bytes_of(parts[2], what="a verifier key") if len(parts) == 3 else b""  # noqa: PLR2004
    if len(raw) != 33 or raw[0] not in {ED25519, COSIGNATURE}:  # noqa: PLR2004 - type and key
        raise VerificationError(f"{text!r} is no verifier key; valid is name+id+base64")
    key = Key(parts[0], raw[0], raw[1:])
    if not _NAME.fullmatch(key.name) or key.key_id.hex() != parts[1]:
        raise VerificationError(f"the name or id in verifier key {text!r} is not its own")
    return key


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it, not yet verified.

    Args:
        text: Ends in a newline.
        signatures: Name, key id and signature of each.
    """

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


def parse_note(raw: str) -> Note:
    """Split a note.

    Raises:
        VerificationError: It is no signed note.
    """
    text, blank, below = raw.rpartition("\n\n")
    lines = below.split("\n")
    if not blank or not text or lines.pop() != "" or not 1 <= len(lines) <= SIGNATURES_MAX:
        raise VerificationError("not a signed note: text, blank line and signatures expected")
    if any(ord(letter) < 0x20 and letter != "\n" for letter in raw):  # noqa: PLR2004
        raise VerificationError("a signed note holds no control characters")
    found = []
    for line in lines:
        match = _SIGNATURE_LINE.fullmatch(line)
        if not match:
            raise VerificationError(f"not a signature line: {line!r}")
        blob = bytes_of(match[2], what="a signature")
        found.append((match[1], blob[:4], blob[4:]))
    return Note(text + "\n", tuple(found))


def open_note(raw: str, *, keys: Iterable[Key]) -> str:
    """Return the text of a note that a trusted key has signed.

    Raises:
        VerificationError: As `signers_of`.
    """
    signers_of(raw, keys=keys)
    return parse_note(raw).text


def signers_of(raw: str, *, keys: Iterable[Key]) -> list[Key]:
    """Return the trusted keys that have signed a note, each once.

    Signatures of unknown keys are passed over; one of a known key that fails spoils the note.

    Raises:
        VerificationError: No trusted key signed it, or a trusted key's signature is false.
    """
    note = parse_note(raw)
    trusted = {(key.name, key.key_id): key for key in keys}
    known = [(trusted[(n, i)], s) for n, i, s in note.signatures if (n, i) in trusted]
    if not known:
        names = ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _ in note.signatures)
        raise VerificationError(f"no trusted key signed this note; signed by {names}")
    for key, signature in known:
        key.verify(signature, text=note.text)
    return list(dict.fromkeys(key for key, _ in known))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself.

    Args:
        origin: Which log.
        size: How many entries.
        root: Merkle root over them.
    """

    origin: str
    size: int
    root: bytes


def parse_checkpoint(text: str) -> Checkpoint:
    """Return what the text of a note says as a checkpoint; further lines are not read.

    Raises:
        VerificationError: It is none.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() != "" or not all(lines) or not _COUNT.fullmatch(lines[1]):  # noqa: PLR2004
        raise VerificationError("not a checkpoint: origin, size and root hash expected")
    root = bytes_of(lines[2], what="a root hash")
    if len(root) != hashlib.sha256().digest_size:
        raise VerificationError(f"a root hash has 32 bytes, not {len(root)}")
    return Checkpoint(lines[0], int(lines[1]), root)


def open_checkpoint(raw: str, *, keys: Iterable[Key]) -> Checkpoint:
    """Return a checkpoint that the log it names has signed with a trusted key.

    Raises:
        VerificationError: As `open_note`, or a key signed for another log's name or as a witness.
    """
    origin = raw.split("\n", 1)[0]
    own = [key for key in keys if key.name == origin and key.kind == ED25519]
    return parse_checkpoint(open_note(raw, keys=own))


def rotation_text(old: str, new: str) -> str:
    """Return what both keys sign when ``new`` takes over from ``old``."""
    return f"gridflex-key-rotation/1\n{old}\n{new}\n"


def rotate(trusted: Sequence[Key], body: Any) -> list[Key]:  # noqa: ANN401 - parsed JSON
    """Return the keys trusted after a ``key.rotated`` entry.

    Raises:
        VerificationError: The old key is not trusted, a signature is false, or the two are not
            keys of one log.
    """
    old, new = parse_key(text_of(body, "old")), parse_key(text_of(body, "new"))
    if old not in trusted:
        raise VerificationError(f"key {old} hands over without being trusted")
    if old.name != new.name or {old.kind, new.kind} != {ED25519}:
        raise VerificationError(f"{old} cannot hand over to {new}: not two keys of one log")
    text = rotation_text(str(old), str(new))
    old.verify(bytes_of(text_of(body, "signed_by_old"), what="a signature"), text=text)
    new.verify(bytes_of(text_of(body, "signed_by_new"), what="a signature"), text=text)
    return [key for key in trusted if key not in {old, new}] + [new]
