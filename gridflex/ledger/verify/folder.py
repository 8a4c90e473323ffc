"""A whole ledger as static files: entries, tiles and every checkpoint against each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from gridflex.ledger.verify.entries import instant_of, parse_entry
from gridflex.ledger.verify.merkle import TILE, RightEdge, leaf_hash
from gridflex.ledger.verify.notes import (
    KEY_ROTATED,
    Key,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_note,
    rotate,
)
from gridflex.ledger.verify.reading import VerificationError, read_bytes, read_text
from gridflex.ledger.verify.receipts import GivenReceipts, Receipt

BEFORE_GATE: Final = frozenset({"wman.submitted", "sev.submitted", "ecvn.submitted"})
GATE: Final = timedelta(hours=1)
_PARTIAL: Final = re.compile(
    r"tile/(?P<level>\d{1,2}|entries)/(?P<index>(?:x\d{3}/)*\d{3})\.p/(?P<width>\d{1,3})"
)


@dataclass(slots=True)
class Report:
    """What was found in a ledger folder that holds.

    Args:
        origin: Which ledger.
        size: How many entries.
        root: In hexadecimal.
        checkpoints: How many signed checkpoints hold, kept ones and receipts' included.
        recorded_from: Recording time of the first entry.
        recorded_to: Recording time of the last.
        event_types: How many entries of each type.
        after_gate: Indexes of market messages recorded at or after their gate closure.
        superseded: Given receipts that a later one replaced, with the index of the newest.
        replaced: Settlements under given receipts that another run replaced, with the index of
            the one that counts.
        key: The key in force at the end.
    """

    origin: str = ""
    size: int = 0
    root: str = ""
    checkpoints: int = 0
    recorded_from: str = ""
    recorded_to: str = ""
    event_types: dict[str, int] = field(default_factory=dict)
    after_gate: list[int] = field(default_factory=list)
    superseded: dict[int, int] = field(default_factory=dict)
    replaced: dict[int, int] = field(default_factory=dict)
    key: str = ""


def verify_ledger(
    folder: Path,
    *,
    keys: Sequence[Key],
    since: Iterable[str] = (),
    receipts: Iterable[Receipt] = (),
    witnesses: Iterable[Key] = (),
) -> Report:
    """Check a whole exported ledger: steps 1 to 5 and 9.

    Args:
        folder: With ``checkpoint``, ``checkpoints/`` and ``tile/``.
        keys: Trusted.
        since: Signed checkpoints from elsewhere that it must extend.
        receipts: Already verified by themselves.
        witnesses: Keys that must have cosigned the newest checkpoint.

    Raises:
        VerificationError: A step fails.
    """
    newest = read_text(folder / "checkpoint")
    size = parse_checkpoint(parse_note(newest).text).size
    history = sorted((folder / "checkpoints").glob("*"))
    notes = [newest, *(read_text(path) for path in history if path.suffix != ".tsr")]
    issued = list(receipts)
    check = _LedgerCheck(
        folder, size, trusted=list(keys), notes=[*notes, *since, *(r.checkpoint for r in issued)]
    )
    report = check.run(issued)
    for witness in witnesses:  # step 5
        open_note(newest, keys=[witness])
    return report


def keys_handed_over(folder: Path, *, keys: Sequence[Key]) -> list[Key]:
    """Return the keys to which a ledger folder hands over from trusted ones, in its order.

    Each was in force at some size; at which is only known once the folder is verified.

    Raises:
        VerificationError: A file is missing or malformed, or a hand-over is false.
    """
    size = parse_checkpoint(parse_note(read_text(folder / "checkpoint")).text).size
    trusted, led_to = list(keys), []
    for raw in _entries(folder, size):
        if KEY_ROTATED.encode() not in raw:
            continue
        event = parse_entry(raw)
        if event["event_type"] == KEY_ROTATED:
            trusted = rotate(trusted, event["body"])
            led_to.append(trusted[-1])
    return led_to


class _LedgerCheck:
    def __init__(self, folder: Path, size: int, *, trusted: list[Key], notes: list[str]) -> None:
        self._folder = folder
        self._size = size
        self._trusted = trusted
        self._edge = RightEdge()
        self._bundle: list[bytes] = []
        self._partial = _partial_files(folder)
        self._ids: set[str] = set()
        self._report = Report()
        self._pending: dict[int, set[str]] = {}
        for raw in notes:
            claimed = parse_checkpoint(parse_note(raw).text)
            if claimed.size > size:
                raise VerificationError(
                    f"a checkpoint covers {claimed.size} entries, the ledger has only {size}"
                )
            self._pending.setdefault(claimed.size, set()).add(raw)

    def run(self, receipts: Sequence[Receipt]) -> Report:
        given = GivenReceipts(receipts)
        self._compare_checkpoints()
        for index, raw in enumerate(_entries(self._folder, self._size)):
            given.take(index, raw, self._take(index, raw))  # step 9
        self._report.superseded = given.finish()
        self._report.replaced = given.replaced()
        self._compare_partial_tiles()
        self._report.key = ", ".join(map(str, self._trusted))
        return self._report

    def _take(self, index: int, raw: bytes) -> dict[str, Any]:
        try:
            event = parse_entry(raw)  # step 1
            self._note(index, event)
            if event["event_type"] == KEY_ROTATED:
                self._trusted = rotate(self._trusted, event["body"])
        except VerificationError as error:
            raise VerificationError(f"entry {index}: {error}") from error
        for tile in self._edge.append(leaf_hash(raw)):
            self._compare_tile(tile.level, tile.index, tile.hashes)
        if index % TILE == 0:
            self._bundle = []
        self._bundle.append(raw)
        self._compare_superseded()
        self._compare_checkpoints()
        return event

    def _note(self, index: int, event: dict[str, Any]) -> None:
        report, recorded = self._report, event["recorded_time"]
        if event["id"] in self._ids:
            raise VerificationError(f"its id {event['id']!r} was used before")
        if recorded < report.recorded_to:
            raise VerificationError(f"recorded at {recorded}, before {report.recorded_to}")
        if event["prev_ref"] is not None and not 0 <= event["prev_ref"] < index:
            raise VerificationError(f"it refers to {event['prev_ref']}, which is not before it")
        self._ids.add(event["id"])
        report.recorded_from = report.recorded_from or recorded
        report.recorded_to = recorded
        kind = event["event_type"]
        report.event_types[kind] = report.event_types.get(kind, 0) + 1
        about = event["valid_time"]
        is_gated = kind in BEFORE_GATE and about is not None
        if is_gated and instant_of(about) - instant_of(recorded) <= GATE:
            report.after_gate.append(index)

    def _compare_checkpoints(self) -> None:  # steps 3 and 4
        for raw in self._pending.pop(self._edge.size, ()):
            checkpoint = open_checkpoint(raw, keys=self._trusted)
            root = self._edge.root()
            if checkpoint.root != root:
                raise VerificationError(
                    f"the first {checkpoint.size} entries are not those of a signed checkpoint"
                )
            self._report.checkpoints += 1
            self._report.origin, self._report.root = checkpoint.origin, root.hex()
            self._report.size = checkpoint.size

    def _compare_partial_tiles(self) -> None:
        for level, hashes in enumerate(self._edge.levels):
            if hashes:
                self._compare_tile(level, self._edge.size // TILE ** (level + 1), hashes)

    def _compare_superseded(self) -> None:  # step 2
        """Check the tiles that were published unfinished, as they were at this size."""
        for path, level, width in self._partial.pop(self._edge.size, ()):
            if level is not None:
                self._compare_hashes(path, self._edge.levels[level])
            elif self._read_bundle(path, width) != self._bundle:
                raise VerificationError(f"{path} holds other entries than the ledger")

    def _read_bundle(self, path: str, width: int) -> list[bytes]:
        return parse_bundle(read_bytes(self._folder / path), width=width, what=path)

    def _compare_tile(self, level: int, index: int, hashes: Sequence[bytes]) -> None:  # step 2
        self._compare_hashes(tile_path(str(level), index, width=len(hashes)), hashes)

    def _compare_hashes(self, path: str, hashes: Sequence[bytes]) -> None:
        if read_bytes(self._folder / path) != b"".join(hashes):
            raise VerificationError(f"{path} holds other hashes than the entries give")


def tile_path(level: str, index: int, *, width: int) -> str:
    """Return where a tile lies; ``level`` is a number or ``entries``."""
    name = f"{index % 1000:03d}"
    while index := index // 1000:
        name = f"x{index % 1000:03d}/{name}"
    return f"tile/{level}/{name}" + ("" if width == TILE else f".p/{width}")


def _partial_files(folder: Path) -> dict[int, list[tuple[str, int | None, int]]]:
    """Return the unfinished tiles there are, by the size of the tree that they are of.

    Each has its path, its level (None for entries) and its width. Other files say nothing.
    """
    found: dict[int, list[tuple[str, int | None, int]]] = {}
    for file in sorted((folder / "tile").glob("**/*.p/*")):
        path = file.relative_to(folder).as_posix()
        if (named := _PARTIAL.fullmatch(path)) is None:
            continue
        level = None if named["level"] == "entries" else int(named["level"])
        index, width = int(named["index"].replace("/", "").replace("x", "")), int(named["width"])
        if 0 < width < TILE:
            size = (index * TILE + width) * TILE ** (level or 0)
            found.setdefault(size, []).append((path, level, width))
    return found


def _entries(folder: Path, size: int) -> Iterator[bytes]:
    for first in range(0, size, TILE):
        width = min(TILE, size - first)
        path = tile_path("entries", first // TILE, width=width)
        yield from parse_bundle(read_bytes(folder / path), width=width, what=path)


def read_entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what the entries of a ledger folder say, without checking it.

    Raises:
        VerificationError: A file is missing or malformed.
    """
    size = parse_checkpoint(parse_note(read_text(folder / "checkpoint")).text).size
    yield from map(parse_entry, _entries(folder, size))


def parse_bundle(raw: bytes, *, width: int, what: str) -> list[bytes]:
    """Return the entries of a bundle of ``width`` entries.

    Raises:
        VerificationError: It holds more or fewer.
    """
    entries, at = [], 0
    while at + 2 <= len(raw):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        entries.append(raw[at + 2 : end])
        at = end
    if at != len(raw) or len(entries) != width:
        raise VerificationError(f"{what} does not hold exactly {width} entries")
    return entries
