"""Signing keys of a Beckn participant, in a folder that only their owner may read.

Each key has a file of its own; ``current`` names the one that signs. A new key is made, put into
the registry, and used; the old one stays valid there until it is taken out.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridflex.adapters.ledger.key import OTHERS
from gridflex.beckn.trust.signing import KeyId, SigningKey
from gridflex.errors import ContractError, SourceError
from gridflex.ledger.canonical import digest

CURRENT: Final = "current"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key without its secret.

    Args:
        key_id: Its name.
        public_base64: For the registry.
        made_at: When its file was written.
        signs_since: When it was chosen to sign, None if it is not the chosen one. Processes that
            started before sign with the key of their start.
    """

    key_id: KeyId
    public_base64: str
    made_at: datetime
    signs_since: datetime | None

    @property
    def is_current(self) -> bool:
        """Whether whoever starts now signs with it."""
        return self.signs_since is not None


class BecknKeys:
    """The keys of one participant.

    Args:
        folder: Where they are; made when first written to.
        subscriber_id: Whose they are.
    """

    def __init__(self, folder: Path, *, subscriber_id: str) -> None:
        self._folder = folder
        self._subscriber_id = subscriber_id

    def new(self, name: str | None = None) -> KeyEntry:
        """Make a key and return it; the first one is chosen to sign.

        Args:
            name: Its unique key id; by default made from the public key.

        Raises:
            ContractError: The name is not valid or taken.
            SourceError: The folder cannot be written.
        """
        private = Ed25519PrivateKey.generate()
        public = digest(private.public_key().public_bytes_raw())
        name = name or f"key-{public[:12]}"
        if not _NAME.fullmatch(name) or name == CURRENT:
            raise ContractError(
                f"key {name!r}: valid are 1 to 64 letters, digits, '-' and '_', not {CURRENT!r}"
            )
        secret = base64.b64encode(private.private_bytes_raw()).decode()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._path(name), secret + "\n")
        except FileExistsError as error:
            raise ContractError(f"key {name!r} exists already in {self._folder}") from error
        except OSError as error:
            raise SourceError(f"{self._folder}: cannot be written: {error.strerror}") from error
        if self.current_name() is None:
            self.use(name)
        return next(one for one in self.all() if one.key_id.unique_key_id == name)

    def use(self, name: str) -> None:
        """Let a key sign from now on, if it does not; running processes read it when they start.

        Raises:
            ContractError: There is no such key.
        """
        self._load(name)
        if name == self.current_name():
            return
        part = self._folder / f"{CURRENT}.{os.getpid()}.part"
        part.unlink(missing_ok=True)
        self._write(part, name + "\n")
        part.replace(self._folder / CURRENT)

    def current(self) -> SigningKey:
        """Return the key that signs.

        Raises:
            ContractError: There is none, or others may read it.
        """
        name = self.current_name()
        if name is None:
            raise ContractError(
                f"{self._subscriber_id} has no key in {self._folder}; "
                "`gridflex market keys new` makes one"
            )
        return self._load(name)

    def current_name(self) -> str | None:
        """Return the name of the key that signs, or None."""
        path = self._folder / CURRENT
        return path.read_text().strip() if path.exists() else None

    def all(self) -> list[KeyEntry]:
        """Return every key, the oldest first."""
        current = self.current_name()
        chosen_at = _written_at(self._folder / CURRENT) if current else None
        entries = []
        for path in sorted(self._folder.glob("*.key")):
            key = self._load(path.stem)
            since = chosen_at if path.stem == current else None
            entries.append(KeyEntry(key.key_id, key.public_base64, _written_at(path), since))
        return sorted(entries, key=lambda entry: entry.made_at)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.key"

    def _load(self, name: str) -> SigningKey:
        path = self._path(name)
        if not _NAME.fullmatch(name) or not path.exists():
            raise ContractError(f"there is no key {name!r} in {self._folder}")
        mode = path.stat().st_mode & 0o777
        if mode & OTHERS:
            raise ContractError(f"{path}: others may use it (mode {mode:o}); valid is mode 600")
        key_id = KeyId(self._subscriber_id, name)
        return SigningKey.from_base64(key_id, path.read_text().strip())

    def _write(self, path: Path, content: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _written_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
