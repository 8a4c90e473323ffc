"""Files that are read again when they change."""

import os
from pathlib import Path

import pytest

from gridflex.adapters.changing_file import ChangingFile
from gridflex.errors import ContractError, SourceError


class Counting:
    """A file of one whole number, which counts how often it is parsed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parsed = 0
        self._changes = 0
        self.file = ChangingFile(path, self._parse, name="settings.count")

    def write(self, payload: bytes) -> None:
        self._changes += 1
        self.path.write_bytes(payload)
        os.utime(self.path, ns=(self._changes, self._changes))

    def _parse(self, text: str) -> int:
        self.parsed += 1
        if not text.isdigit():
            raise ContractError(f"{text!r} is no whole number")
        return int(text)


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "count.txt")


def test_what_is_valid_is_parsed_once_for_each_change(counting: Counting) -> None:
    said = []
    for payload in (b"7", b"\xef\xbb\xbf8"):  # the second as spreadsheets write it
        counting.write(payload)
        said += [counting.file.read(), counting.file.read()]

    assert said == [7, 7, 8, 8]
    assert counting.parsed == 2


def test_what_is_not_valid_is_remembered_by_name_until_the_file_changes(counting: Counting) -> None:
    counting.write(b"soon")
    for _ in range(3):
        with pytest.raises(ContractError, match=r"^settings.count .*count.txt: 'soon' is no whole"):
            counting.file.read()
    parsed_while_wrong = counting.parsed
    counting.write(b"9")

    assert counting.file.read() == 9
    assert parsed_while_wrong == 1


def test_what_is_no_text_is_not_valid(counting: Counting) -> None:
    counting.write(b"\xff\xfe7")

    with pytest.raises(ContractError, match=r"count.txt: 'utf-8' codec"):
        counting.file.read()


def test_a_file_that_is_away_is_looked_for_each_time(counting: Counting) -> None:
    with pytest.raises(SourceError, match=r"count.txt: cannot be read: No such file"):
        counting.file.read()
    counting.write(b"7")

    assert counting.file.read() == 7
