"""Losses in a file, read again when it changes: multipliers are published anew for each run."""

from __future__ import annotations

from pathlib import Path

from gridflex.errors import ContractError
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
        self._path = path
        self._changed_ns: int | None = None
        self._found: Losses | ContractError = ContractError(f"{self._named}: not read yet")

    @property
    def _named(self) -> str:
        return f"energy.losses_file {self._path}"

    def read(self) -> None:
        """Read the file if it changed; blocks."""
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return
            self._found = read_losses(self._path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            self._changed_ns = None
            self._found = ContractError(f"{self._named}: {error}")
        except ContractError as error:
            self._changed_ns = changed_ns
            self._found = error
        else:
            self._changed_ns = changed_ns

    def at(self, half_hour: HalfHour) -> LossFactors:
        """Return those of a half-hour, as last read.

        Raises:
            ContractError: The file could not be read, is not valid, or says nothing about it.
        """
        if isinstance(self._found, ContractError):
            raise self._found
        return self._found.at(half_hour)
