from pathlib import Path

import pytest

from gridflex.errors import ContractError
from gridflex.ledger.tiles import StaticExport, entry_bundle
from gridflex.ledger.verify.folder import parse_bundle, tile_path
from gridflex.ledger.verify.reading import VerificationError
from tests.unit.ledger.ledgers import Ledger, entry, ledger
from tests.unit.ledger.whole_tree import MerkleTree


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        ("0", 0, 256, "tile/0/000"),
        ("1", 17, 3, "tile/1/017.p/3"),
        ("entries", 1_234_067, 256, "tile/entries/x001/x234/067"),
        ("0", 1000, 256, "tile/0/x001/000"),
    ],
)
def test_paths_are_those_of_the_specification(
    level: str, index: int, width: int, path: str
) -> None:
    assert tile_path(level, index, width=width) == path


def test_a_bundle_gives_back_its_entries() -> None:
    entries = [b"", b"a", b"x" * 65_535]

    assert entry_bundle(entries)[:3] == b"\x00\x00\x00"
    assert parse_bundle(entry_bundle(entries), width=3, what="it") == entries


def test_an_entry_too_long_for_a_bundle_is_refused() -> None:
    with pytest.raises(ContractError, match="65536"):
        entry_bundle([b"x" * 65_536])


@pytest.mark.parametrize("raw", [b"\x00", b"\x00\x02a", b"\x00\x01a", b"\x00\x00" * 3])
def test_a_bundle_that_is_cut_or_too_full_is_refused(raw: bytes) -> None:
    with pytest.raises(VerificationError, match="exactly 2 entries"):
        parse_bundle(raw, width=2, what="it")


def test_a_ledger_of_600_has_these_files(tmp_path: Path) -> None:
    folder = ledger().write(tmp_path)

    files = {
        str(path.relative_to(folder)): len(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and "entries" not in path.parts
    }
    checkpoints = {name for name in files if name.startswith("checkpoint")}
    assert checkpoints == {"checkpoint", "checkpoints/100", "checkpoints/256", "checkpoints/600"}
    assert {name: size for name, size in files.items() if name not in checkpoints} == {
        "tile/0/000": 8192,
        "tile/0/001": 8192,
        "tile/0/002.p/88": 88 * 32,
        "tile/1/000.p/2": 2 * 32,
    }
    assert (folder / "tile/entries/002.p/88").exists()


def test_tiles_hold_the_hashes_of_the_tree(tmp_path: Path) -> None:
    made = ledger()
    folder = made.write(tmp_path)
    tree = MerkleTree(made.entries)

    assert (folder / "tile/0/000").read_bytes()[:32] == tree.root(size=1)
    assert (folder / "tile/1/000.p/2").read_bytes()[:32] == tree.root(size=256)


def test_partial_files_of_older_checkpoints_stay_while_the_tile_grows(tmp_path: Path) -> None:
    folder = ledger(120, signed_at=(30, 120)).write(tmp_path)

    assert (folder / "tile/0/000.p/30").exists()
    assert (folder / "tile/entries/000.p/30").exists()
    assert (folder / "tile/0/000.p/120").exists()


def test_the_checkpoint_comes_last() -> None:
    made = ledger(3, signed_at=(1, 3))
    export = StaticExport(made.checkpoints)
    files = [name for one in made.entries for name, _ in export.add(one)]

    assert [*files, *(name for name, _ in export.finish())][-1] == "checkpoint"


def test_an_empty_ledger_is_its_checkpoint(tmp_path: Path) -> None:
    made = Ledger()
    made.sign()

    folder = made.write(tmp_path)

    assert sorted(path.name for path in folder.rglob("*")) == ["0", "checkpoint", "checkpoints"]


@pytest.mark.parametrize("count", [0, 599, 601])
def test_more_or_fewer_entries_than_were_signed_are_refused(count: int) -> None:
    export = StaticExport(ledger().checkpoints)
    for number in range(count):
        list(export.add(entry(number)))

    with pytest.raises(ContractError, match=f"{count} were given"):
        list(export.finish())


def test_other_entries_than_were_signed_are_refused() -> None:
    export = StaticExport(ledger(2, signed_at=(2,)).checkpoints)
    for number in (1, 0):
        list(export.add(entry(number)))

    with pytest.raises(ContractError, match="with the root"):
        list(export.finish())
