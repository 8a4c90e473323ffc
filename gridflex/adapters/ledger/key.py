"""The key that signs the ledger's checkpoints, in a folder that only its owner may read.

Beside the key lies the last note that was signed. It is written, and on the disk, before a note
leaves this process: a database that was put back to an older state cannot make the key sign
another history.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gridflex.errors import ContractError, SourceError
from gridflex.ledger.note import Signer

OTHERS: Final = 0o077
"""Permission bits of everybody but the owner."""


class LedgerKey:
    """A signing key in a folder; made when first asked for.

    Args:
        folder: ``key`` (secret), ``key.pub`` to hand out, ``signed`` (last note) and, during a
            rotation, ``key.next``.
        origin: Name of the ledger, in its key and its checkpoints.

    Raises:
        ContractError: Others may read the key, or it is another ledger's.
        SourceError: The folder cannot be used.
    """

    def __init__(self, folder: Path, *, origin: str) -> None:
        self._folder = folder
        self.signer = self._load() or self._create(origin)
        if self.signer.key.name != origin:
            raise ContractError(
                f"{folder / 'key'} is the key of {self.signer.key.name}, not of {origin}"
            )

    def last_signed(self) -> str | None:
        """Return the last note that was signed, or None before the first."""
        path = self._folder / "signed"
        return path.read_text() if path.exists() else None

    def remember(self, note: str) -> None:
        """Keep a note as the last one signed; durable when this returns."""
        self._write("signed", note)

    def prepare(self, new: Signer) -> None:
        """Keep the key that is about to take over, before the ledger says so."""
        self._write("key.next", new.secret() + "\n")

    def use_next(self) -> bool:
        """Let the prepared key take over, if there is one; return whether there was."""
        path = self._folder / "key.next"
        if not path.exists():
            return False
        old = self.signer.key
        self._write(f"key.{old.key_id.hex()}.pub", f"{old}\n")
        self.signer = Signer.from_secret(path.read_text())
        path.replace(self._folder / "key")
        self._write("key.pub", f"{self.signer.key}\n")
        return True

    def take_over(self) -> None:
        """Use the key that took over: prepared here, or in place since another process rotated."""
        if not self.use_next() and (placed := self._load()) is not None:
            self.signer = placed

    def _load(self) -> Signer | None:
        path = self._folder / "key"
        if not path.exists():
            return None
        mode = path.stat().st_mode & 0o777
        if mode & OTHERS:
            raise ContractError(f"{path}: others may use it (mode {mode:o}); valid is mode 600")
        try:
            return Signer.from_secret(path.read_text())
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror}") from error

    def _create(self, origin: str) -> Signer:
        signer = Signer.generate(origin)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"{self._folder}: cannot be made: {error.strerror}") from error
        self._write("key.first", signer.secret() + "\n")
        try:
            os.link(self._folder / "key.first", self._folder / "key")
        except FileExistsError:  # another process was faster: its key counts
            return self._load() or signer
        finally:
            (self._folder / "key.first").unlink(missing_ok=True)
        self._write("key.pub", f"{signer.key}\n")
        return signer

    def _write(self, name: str, content: str) -> None:
        """Write a file whole and durably; only its owner may read it."""
        path, part = self._folder / name, self._folder / f"{name}.{os.getpid()}.part"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            folder = os.open(self._folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise SourceError(f"{path}: cannot be written: {error.strerror}") from error
