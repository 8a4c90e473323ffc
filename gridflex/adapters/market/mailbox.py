"""A folder as the mailbox of the central systems, for whatever transport carries the files.

Files leave through ``outbox`` and arrive in ``inbox``; each is written under another name first
and then renamed, so that a transport never sees half of one. What has been read moves to
``read`` and stays there: settlement evidence is kept. What cannot be used moves to ``refused``,
beside a file that says why, and is told until somebody takes it away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gridflex.adapters.whole_files import make_folders, write_whole
from gridflex.errors import ContractError, SourceError
from gridflex.market.trading.desk import OutgoingFile

_WHY: Final = ".why.txt"


class MarketFolder:
    """Hands files over and collects files in one folder.

    Args:
        root: Folder with ``outbox``, ``inbox``, ``read`` and ``refused``; made where they are
            missing.

    Raises:
        SourceError: They cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._outbox, self._inbox = root / "outbox", root / "inbox"
        self._read, self._refused = root / "read", root / "refused"
        make_folders(self._outbox, self._inbox, self._read, self._refused)
        self._yielded: Path | None = None

    def send(self, file: OutgoingFile) -> None:
        """Write a file into the outbox; the same file again changes nothing.

        Raises:
            SourceError: The folder cannot be written.
            ContractError: Another file has that name: its number was given out twice.
        """
        target = self._outbox / file.name
        try:
            if target.exists():
                if target.read_bytes() != file.payload:
                    raise ContractError(f"{target}: another file has this number")
                return
            write_whole(target, file.payload)
        except OSError as error:
            raise SourceError(f"{target}: cannot be written: {error.strerror}") from error

    def collect(self) -> Iterator[bytes]:
        """Yield the files of the inbox by name; each moves away once its reader is done with it.

        Raises:
            SourceError: The folder cannot be read.
        """
        try:
            waiting = sorted(path for path in self._inbox.iterdir() if path.suffix != ".part")
            for path in waiting:
                self._yielded = path
                try:
                    payload = path.read_bytes()
                except OSError as error:
                    self.refuse(f"cannot be read: {error.strerror}")
                    continue
                yield payload
                if path.exists():
                    path.replace(self._read / path.name)
        except OSError as error:
            raise SourceError(f"{self._inbox}: cannot be read: {error.strerror}") from error

    def refuse(self, why: str) -> None:
        """Move the file that was yielded last to ``refused``, beside the reason.

        Raises:
            SourceError: It cannot be moved.
        """
        if self._yielded is None:
            return
        kept = self._refused / self._yielded.name
        try:
            write_whole(kept.with_name(f"{kept.name}{_WHY}"), why.encode())
            self._yielded.replace(kept)
        except OSError as error:
            raise SourceError(f"{kept}: cannot be written: {error.strerror}") from error

    def refused(self) -> Mapping[str, str]:
        """Return why files were refused, by name, as long as they are there.

        Raises:
            SourceError: The folder cannot be read.
        """
        try:
            return {
                path.name: path.with_name(f"{path.name}{_WHY}").read_text()
                for path in sorted(self._refused.iterdir())
                if not path.name.endswith((_WHY, ".part"))
            }
        except OSError as error:
            raise SourceError(f"{self._refused}: cannot be read: {error.strerror}") from error
