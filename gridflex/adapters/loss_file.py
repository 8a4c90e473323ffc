"""Losses in a file, read again when it changes: multipliers are published anew for each run."""

from __future__ import annotations

from pathlib import Path

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.losses import Losses, LossFactors, read_losses


class LossFile:
    """`gridflex.market.losses.LossSource` over a CSV file.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, Losses] | None = None

    def at(self, half_hour: HalfHour) -> LossFactors:
        """Return those of a half-hour.

        Raises:
            ContractError: The file cannot be read, is not valid, or says nothing about it.
        """
        try:
            changed = self._path.stat().st_mtime_ns
            if self._read is None or self._read[0] != changed:
                self._read = changed, read_losses(self._path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(f"energy.losses_file {self._path}: {error}") from error
        return self._read[1].at(half_hour)
