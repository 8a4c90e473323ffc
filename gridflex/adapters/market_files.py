"""A folder as the mailbox of the central systems, for whatever transport carries the files.

Files leave through ``outbox`` and arrive in ``inbox``; each is written under another name first
and then renamed, so that a transport never sees half of one. What has been read moves to
``read`` and stays there: settlement evidence is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gridflex.adapters.whole_files import write_whole
from gridflex.errors import ContractError, SourceError
from gridflex.market.desk import OutgoingFile


class MarketFolder:
    """Hands files over and collects files in one folder.

    Args:
        root: Folder with ``outbox``, ``inbox`` and ``read``; made where they are missing.
    """

    def __init__(self, root: Path) -> None:
        self._outbox, self._inbox, self._read = (root / n for n in ("outbox", "inbox", "read"))
        for folder in (self._outbox, self._inbox, self._read):
            folder.mkdir(parents=True, exist_ok=True)

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
                yield path.read_bytes()
                path.replace(self._read / path.name)
        except OSError as error:
            raise SourceError(f"{self._inbox}: cannot be read: {error.strerror}") from error
