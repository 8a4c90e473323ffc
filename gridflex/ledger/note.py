"""Signed notes and checkpoints: what the ledger states about itself, signed with Ed25519.

Formats: C2SP signed-note, tlog-checkpoint, tlog-cosignature and tlog-proof. Verification is in
`gridflex.ledger.verify`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridflex.errors import ContractError
from gridflex.ledger.verify.notes import (
    ED25519,
    Checkpoint,
    Key,
    parse_key,
    parse_note,
    rotation_text,
)
from gridflex.ledger.verify.reading import VerificationError

_PREFIX: Final = "PRIVATE+KEY+"


class Signer:
    """A private key that signs notes under a name; its text form is for a key file only.

    Args:
        name: Key name without spaces or ``+``; for a log, its origin.
        seed: 32 secret bytes.
        kind: 0x01 for a log, 0x04 for a witness.

    Raises:
        ContractError: The name or the seed is not valid.
    """

    def __init__(self, name: str, *, seed: bytes, kind: int = ED25519) -> None:
        try:
            self._private = Ed25519PrivateKey.from_private_bytes(seed)
            public = self._private.public_key().public_bytes_raw()
            self.key = parse_key(str(Key(name, kind, public)))
        except (ValueError, VerificationError) as error:
            raise ContractError(f"no signing key named {name!r}: {error}") from error

    def __repr__(self) -> str:
        return f"Signer({self.key})"

    @classmethod
    def generate(cls, name: str, *, kind: int = ED25519) -> Self:
        """Return a new random key."""
        return cls(name, seed=Ed25519PrivateKey.generate().private_bytes_raw(), kind=kind)

    @classmethod
    def from_secret(cls, text: str) -> Self:
        """Return the key that `secret` wrote.

        Raises:
            ContractError: The text is no private key; it is not shown.
        """
        name, _, rest = text.strip().removeprefix(_PREFIX).partition("+")
        key_id, _, body = rest.partition("+")
        try:
            raw = base64.b64decode(body, validate=True)
        except ValueError:
            raw = b""
        if not text.startswith(_PREFIX) or not raw:
            raise ContractError(f"not a private key; valid is {_PREFIX}name+id+base64")
        signer = cls(name, seed=raw[1:], kind=raw[0])
        if signer.key.key_id.hex() != key_id:
            raise ContractError(f"the id of private key {name!r} is not its own")
        return signer

    def secret(self) -> str:
        """Return the private key as text; whoever reads it can sign."""
        raw = bytes([self.key.kind]) + self._private.private_bytes_raw()
        body = base64.b64encode(raw).decode()
        return f"{_PREFIX}{self.key.name}+{self.key.key_id.hex()}+{body}"

    def sign(self, text: str) -> bytes:
        """Return the Ed25519 signature over a text."""
        return self._private.sign(text.encode())

    def signature_line(self, signature: bytes) -> str:
        """Return a signature as a line of a note."""
        blob = base64.b64encode(self.key.key_id + signature).decode()
        return f"— {self.key.name} {blob}\n"


def sign_note(text: str, *, signers: Sequence[Signer]) -> str:
    """Return a text as a note signed by all of ``signers``.

    Raises:
        ContractError: The text does not end in a newline, or nobody signs.
    """
    lines = [signer.signature_line(signer.sign(text)) for signer in signers]
    note = f"{text}\n{''.join(lines)}"
    try:
        if parse_note(note).text == text:
            return note
    except VerificationError as error:
        raise ContractError(f"no note: {error}") from error
    raise ContractError("the text of a note ends in a newline")


def sign_checkpoint(checkpoint: Checkpoint, *, signers: Sequence[Signer]) -> str:
    """Return a checkpoint as a signed note."""
    root = base64.b64encode(checkpoint.root).decode()
    return sign_note(f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n", signers=signers)


def rotation_body(old: Signer, *, new: Signer) -> dict[str, str]:
    """Return the body of the ``key.rotated`` event with which ``new`` takes over from ``old``."""
    text = rotation_text(str(old.key), str(new.key))
    return {
        "old": str(old.key),
        "new": str(new.key),
        "signed_by_old": base64.b64encode(old.sign(text)).decode(),
        "signed_by_new": base64.b64encode(new.sign(text)).decode(),
    }


def proof_file(index: int, *, proof: Sequence[bytes], checkpoint: str) -> str:
    """Return a ``.tlog-proof``: an inclusion proof with its checkpoint (C2SP tlog-proof)."""
    hashes = "".join(base64.b64encode(one).decode() + "\n" for one in proof)
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{checkpoint}"
