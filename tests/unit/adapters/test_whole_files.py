"""Files that others read while they are written."""

from pathlib import Path

import pytest

from gridflex.adapters.whole_files import write_whole


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "order.json"

    for payload in (b"the first, which is longer", b"second"):
        write_whole(target, payload)

    assert target.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "order.json"
    write_whole(target, b"before")
    (tmp_path / "order.json.part").mkdir()

    with pytest.raises(IsADirectoryError):
        write_whole(target, b"after")

    assert target.read_bytes() == b"before"
