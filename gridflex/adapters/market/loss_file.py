"""Losses in a file, read again when it changes: multipliers are published anew for each run."""

from __future__ import annotations

from pathlib import Path

from gridflex.adapters.changing_file import ChangingFile
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.settlement.losses import Losses, LossFactors, read_losses


class LossFile:
    """`gridflex.market.settlement.losses.LossSource` over a CSV file.

    What it says stays the same from one `read` to the next, so that all half-hours of a tick go
    by one version of the file.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self._file = ChangingFile(path, read_losses, name="energy.losses_file")
        self._found: Losses | None = None
        self._failure = f"{self._file.place}: not read yet"

    def read(self) -> None:
        """Read the file if it changed; blocks."""
        try:
            self._found = self._file.read()
        except (SourceError, ContractError) as error:
            self._found, self._failure = None, str(error)

    def at(self, half_hour: HalfHour) -> LossFactors:
        """Return those of a half-hour, as last read.

        Raises:
            ContractError: The file could not be read, is not valid, or says nothing about it.
        """
        if self._found is None:
            raise ContractError(self._failure)
        try:
            return self._found.at(half_hour)
        except ContractError as error:
            raise ContractError(f"{self._file.place}: {error}") from error
