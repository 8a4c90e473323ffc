"""A folder as mailbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.errors import ContractError, SourceError
from gridflex.market.trading.desk import OutgoingFile
from gridflex.market.trading.messenger import Mailbox

FILE = OutgoingFile("VT000000000001", b"AAA|\n")


def test_a_file_is_written_whole_under_its_name(tmp_path: Path) -> None:
    mailbox: Mailbox = MarketFolder(tmp_path)

    for _ in range(2):
        mailbox.send(FILE)

    assert [path.name for path in (tmp_path / "outbox").iterdir()] == ["VT000000000001"]
    assert (tmp_path / "outbox" / FILE.name).read_bytes() == FILE.payload


def test_a_number_given_out_twice_is_noticed(tmp_path: Path) -> None:
    mailbox = MarketFolder(tmp_path)
    mailbox.send(FILE)

    with pytest.raises(ContractError, match="another file"):
        mailbox.send(OutgoingFile(FILE.name, b"BBB|\n"))


def test_what_came_in_is_read_once_in_order_and_kept(tmp_path: Path) -> None:
    mailbox = MarketFolder(tmp_path)
    for name in ("EC2", "EC1", "EC3.part"):
        (tmp_path / "inbox" / name).write_bytes(name.encode())

    assert list(mailbox.collect()) == [b"EC1", b"EC2"]
    assert list(mailbox.collect()) == []
    assert sorted(path.name for path in (tmp_path / "read").iterdir()) == ["EC1", "EC2"]


def test_a_reader_that_fails_finds_the_file_again(tmp_path: Path) -> None:
    mailbox = MarketFolder(tmp_path)
    (tmp_path / "inbox" / "EC1").write_bytes(b"x")

    collected = mailbox.collect()
    assert next(collected) == b"x"
    collected.close()  # type: ignore[attr-defined]  # a generator

    assert list(mailbox.collect()) == [b"x"]


def test_a_folder_that_is_gone_is_a_failed_source(tmp_path: Path) -> None:
    mailbox = MarketFolder(tmp_path)
    (tmp_path / "outbox").rmdir()

    with pytest.raises(SourceError, match="cannot be written"):
        mailbox.send(FILE)
