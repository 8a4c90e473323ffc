from pathlib import Path

import pytest

from gridflex.adapters.ledger.key import LedgerKey
from gridflex.errors import ContractError, SourceError
from gridflex.ledger.note import Signer
from tests.unit.ledger.ledgers import ORIGIN


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"

    first = LedgerKey(folder, origin=ORIGIN)
    second = LedgerKey(folder, origin=ORIGIN)

    assert first.signer.key == second.signer.key
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert (folder / "key.pub").read_text() == f"{first.signer.key}\n"


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    LedgerKey(tmp_path, origin=ORIGIN)
    (tmp_path / "key").chmod(0o640)

    with pytest.raises(ContractError, match="mode 640"):
        LedgerKey(tmp_path, origin=ORIGIN)


def test_a_key_of_another_ledger_is_refused(tmp_path: Path) -> None:
    LedgerKey(tmp_path, origin=ORIGIN)

    with pytest.raises(ContractError, match=r"not of other\.example/log"):
        LedgerKey(tmp_path, origin="other.example/log")


def test_a_folder_that_cannot_be_made_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SourceError, match="cannot be made"):
        LedgerKey(tmp_path / "file" / "ledger", origin=ORIGIN)


def test_the_prepared_key_takes_over_for_good(tmp_path: Path) -> None:
    key = LedgerKey(tmp_path, origin=ORIGIN)
    new = Signer.generate(ORIGIN)

    old = key.signer.key
    key.prepare(new)
    assert old != new.key

    assert key.use_next()
    assert LedgerKey(tmp_path, origin=ORIGIN).signer.key == key.signer.key == new.key
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key.pub").read_text() == f"{new.key}\n"
    assert (tmp_path / f"key.{old.key_id.hex()}.pub").read_text() == f"{old}\n"
    assert not key.use_next()


def test_the_secret_is_in_no_representation(tmp_path: Path) -> None:
    key = LedgerKey(tmp_path, origin=ORIGIN)

    assert "PRIVATE" not in repr(key.signer)
    assert key.signer.secret() not in f"{key.signer!r} {key!r}"
