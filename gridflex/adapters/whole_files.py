"""Files that others read while they are written: there whole, or as they were before."""

from __future__ import annotations

import os
from pathlib import Path

from gridflex.errors import SourceError


def make_folders(*folders: Path) -> None:
    """Make folders where they are missing.

    Raises:
        SourceError: One cannot be made.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"{folder}: cannot be made: {error.strerror}") from error


def write_whole(path: Path, payload: bytes) -> None:
    """Write a file whole and durably, under a name that ends in ``.part`` until it is.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
