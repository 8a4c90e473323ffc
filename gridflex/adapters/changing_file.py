"""A file that is read again when it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from gridflex.errors import ContractError, SourceError

T = TypeVar("T")


class ChangingFile(Generic[T]):
    """What a text file says; one that is not valid is not read again either until it changes.

    Args:
        path: Where it is.
        parse: Returns what a text says, or raises `ContractError`.
        name: What it is to who wrote its path, such as a setting; begins every error.
    """

    def __init__(self, path: Path, parse: Callable[[str], T], *, name: str = "") -> None:
        self.place = f"{name} {path}".strip()
        self._path = path
        self._parse = parse
        self._found: tuple[int, T] | None = None
        self._fault: tuple[int, str] | None = None

    def read(self) -> T:
        """Return what it says now; blocks.

        Raises:
            SourceError: It cannot be read.
            ContractError: It is not valid.
        """
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if self._found is not None and self._found[0] == changed_ns:
                return self._found[1]
            if self._fault is None or self._fault[0] != changed_ns:
                return self._take_in(changed_ns)
        except OSError as error:
            raise SourceError(f"{self.place}: cannot be read: {error.strerror}") from error
        raise ContractError(self._fault[1])

    def _take_in(self, changed_ns: int) -> T:
        try:
            said = self._parse(self._path.read_text(encoding="utf-8-sig"))
        except (ContractError, UnicodeDecodeError) as error:
            self._fault = changed_ns, f"{self.place}: {error}"
            raise ContractError(self._fault[1]) from error
        self._found = changed_ns, said
        return said
