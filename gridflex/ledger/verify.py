"""Verify a GridFlex ledger, or receipts from it, offline.

    python verify.py LEDGER_FOLDER receipt.json --key KEY

This file stands alone: it needs Python 3.11 and the package ``cryptography``, no other part of
GridFlex, no database and no network. KEY is the ledger's verifier key
(``name+id+base64``) or a file that holds it; get it from the operator by a way you trust, never
from the folder you are checking.

Checked in a ledger folder (C2SP tlog-tiles, RFC 6962):

1. every entry is canonical JSON (RFC 8785) with the agreed fields, a new id, and a recording
   time that is no earlier than the entry before;
2. the hash tiles are those of the entries;
3. each checkpoint is signed by the key in force at its size (`key.rotated` entries, signed by
   both keys, change it) and has the root of the entries it covers, so each extends the last;
4. so has every checkpoint you kept (``--since``) and every receipt's: a ledger that was cut,
   rewritten or forked after it cannot pass;
5. with ``--witness``, the newest checkpoint carries that witness's cosignature.

Checked in a receipt: 6. its entry is in the tree of its checkpoint; 7. the checkpoint is signed;
8. its totals follow from its half-hours, to the last digit. With the ledger folder also: 9. the
entries it rests on are those it names.

NOT checked: that what was recorded is true (a meter can lie before it is logged); that everything
was recorded; that another copy shown to somebody else is the same (compare checkpoints, or ask for
witnesses); RFC 3161 timestamps (``openssl ts -verify`` does, docs/ledger.md); payloads
kept outside the ledger, of which it holds only a salted hash. Recording times are the operator's
word; a timestamp or a witness bounds them from outside.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, Inexact, localcontext
from pathlib import Path
from types import NoneType
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EVENT_SCHEMA: Final = "gridflex-event/1"
RECEIPT_SCHEMA: Final = "gridflex-receipt/1"
EVENT_FIELDS: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("schema", "id", "event_type", "tenant", "recorded_time"), (str,)),
    **dict.fromkeys(("site", "subject", "sp", "valid_time"), (str, NoneType)),
    "payload_sha256": (str, NoneType),
    "prev_ref": (int, NoneType),
    "body": (dict,),
}
ENTRY_MAX_BYTES: Final = 65_535
TILE: Final = 256
SIGNATURES_MAX: Final = 64
SAFE_INTEGER: Final = 2**53 - 1
ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
BEFORE_GATE: Final = frozenset({"wman.submitted", "sev.submitted", "ecvn.submitted"})
GATE: Final = timedelta(hours=1)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_SIGNATURE_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")
_COUNT: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class VerificationError(Exception):
    """What was checked does not hold; the only failure this module raises on purpose."""


# --- Merkle tree (RFC 6962 section 2.1, RFC 9162 section 2.1) ---


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes: Sequence[bytes]) -> bytes:
    """Return the root over hashes of equal height; the last may be of a smaller tree."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf is at ``index`` of the tree of ``size`` with this root.

    Raises:
        VerificationError: It is not shown to be.

    Source:
        RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise VerificationError(f"index {index} is not in a tree of {size}")
    fn, sn, r = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise VerificationError(f"the inclusion proof of {index} in {size} is too long")
        if fn & 1 or fn == sn:
            r = node_hash(sibling, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise VerificationError(f"the inclusion proof of {index} in {size} is too short")
    if r != root:
        raise VerificationError(f"entry {index} is not in the tree of {size} with this root")


def verify_consistency(  # noqa: C901 - the steps of the RFC, in its order
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``new_size`` begins with the tree of ``old_size``.

    Raises:
        VerificationError: It is not shown to.

    Source:
        RFC 9162, section 2.1.4.2.
    """
    if not 0 <= old_size <= new_size:
        raise VerificationError(f"the tree shrank from {old_size} to {new_size} entries")
    if old_size in {0, new_size}:
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected or (new_size == 0 and new_root != EMPTY_ROOT):
            raise VerificationError(f"the trees of {old_size} and {new_size} do not agree")
        return
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    if not path:
        raise VerificationError("the consistency proof is empty")
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            raise VerificationError("the consistency proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if sn or fr != old_root or sr != new_root:
        raise VerificationError(f"the tree of {new_size} does not begin with that of {old_size}")


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile that will not change any more.

    Args:
        level: 0 holds leaves, each higher one the roots of full tiles below.
        index: Within its level.
        hashes: 256 of them.
        root: Of the subtree they span; one hash of the tile above.
    """

    level: int
    index: int
    hashes: tuple[bytes, ...]
    root: bytes


@dataclass(slots=True)
class RightEdge:
    """The unfinished tiles of a tree, one per level: all that growing it needs.

    Args:
        levels: Hashes in the partial tile of each level, level 0 first.
        size: How many leaves the whole tree has.
    """

    levels: list[list[bytes]] = field(default_factory=lambda: [[]])
    size: int = 0

    def append(self, leaf: bytes) -> list[FullTile]:
        """Add a leaf and return the tiles it filled, lowest first."""
        self.levels[0].append(leaf)
        self.size += 1
        if len(self.levels[0]) < TILE:
            return []
        return self._close_tiles()

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        below: list[bytes] = []
        for level in self.levels:
            hashes = level + below
            below = [tree_hash(hashes)] if hashes else []
        return tree_hash(below)

    def _close_tiles(self) -> list[FullTile]:
        filled = []
        level = 0
        while len(self.levels[level]) == TILE:
            hashes = tuple(self.levels[level])
            index = self.size // TILE ** (level + 1) - 1
            filled.append(FullTile(level, index, hashes, tree_hash(hashes)))
            self.levels[level] = []
            level += 1
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(filled[-1].root)
        return filled


# --- Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature) ---


@dataclass(frozen=True, slots=True)
class Key:
    """A key that may sign notes, as its text form says.

    Args:
        name: Whose.
        kind: Signature type: 0x01 a log's, 0x04 a witness's cosignature.
        public: 32 bytes.
    """

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """First four bytes of the hash of name, kind and key."""
        material = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(material).digest()[:4]

    def __str__(self) -> str:
        body = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{body}"

    def verify(self, signature: bytes, *, text: str) -> None:
        """Check a signature over the text of a note.

        Raises:
            VerificationError: It is not by this key.
        """
        message = text.encode()
        if self.kind == COSIGNATURE:
            moment, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = f"cosignature/v1\ntime {moment}\n".encode() + message
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise VerificationError(f"the signature of {self.name} is not valid") from error


def parse_key(text: str) -> Key:
    """Return the key that ``name+id+base64`` names.

    Raises:
        VerificationError: It is not such a text, or the id does not belong to the key.
    """
    parts = text.strip().split("+", 2)
    raw = _base64(parts[2], what="a verifier key") if len(parts) == 3 else b""  # noqa: PLR2004
    if len(raw) != 33 or raw[0] not in {ED25519, COSIGNATURE}:  # noqa: PLR2004 - type and key
        raise VerificationError(f"{text!r} is no verifier key; valid is name+id+base64")
    key = Key(parts[0], raw[0], raw[1:])
    if not re.fullmatch(r"[^\s+]+", key.name) or key.key_id.hex() != parts[1]:
        raise VerificationError(f"the name or id in verifier key {text!r} is not its own")
    return key


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it, not yet verified.

    Args:
        text: Ends in a newline.
        signatures: Name, key id and signature of each.
    """

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


def parse_note(raw: str) -> Note:
    """Split a note.

    Raises:
        VerificationError: It is no signed note.
    """
    text, blank, below = raw.rpartition("\n\n")
    lines = below.split("\n")
    if not blank or not text or lines.pop() != "" or not 1 <= len(lines) <= SIGNATURES_MAX:
        raise VerificationError("not a signed note: text, blank line and signatures expected")
    if any(ord(letter) < 0x20 and letter != "\n" for letter in raw):  # noqa: PLR2004
        raise VerificationError("a signed note holds no control characters")
    found = []
    for line in lines:
        match = _SIGNATURE_LINE.fullmatch(line)
        if not match:
            raise VerificationError(f"not a signature line: {line!r}")
        blob = _base64(match[2], what="a signature")
        found.append((match[1], blob[:4], blob[4:]))
    return Note(text + "\n", tuple(found))


def open_note(raw: str, *, keys: Iterable[Key]) -> str:
    """Return the text of a note that a trusted key has signed.

    Signatures of unknown keys are passed over; one of a known key that fails spoils the note.

    Raises:
        VerificationError: No trusted key signed it, or a trusted key's signature is false.
    """
    note = parse_note(raw)
    trusted = {(key.name, key.key_id): key for key in keys}
    known = [(trusted[(n, i)], s) for n, i, s in note.signatures if (n, i) in trusted]
    if not known:
        names = ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _ in note.signatures)
        raise VerificationError(f"no trusted key signed this note; signed by {names}")
    for key, signature in known:
        key.verify(signature, text=note.text)
    return note.text


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself.

    Args:
        origin: Which log.
        size: How many entries.
        root: Merkle root over them.
    """

    origin: str
    size: int
    root: bytes


def parse_checkpoint(text: str) -> Checkpoint:
    """Return what the text of a note says as a checkpoint; further lines are not read.

    Raises:
        VerificationError: It is none.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() != "" or not all(lines) or not _COUNT.fullmatch(lines[1]):  # noqa: PLR2004
        raise VerificationError("not a checkpoint: origin, size and root hash expected")
    root = _base64(lines[2], what="a root hash")
    if len(root) != hashlib.sha256().digest_size:
        raise VerificationError(f"a root hash has 32 bytes, not {len(root)}")
    return Checkpoint(lines[0], int(lines[1]), root)


def open_checkpoint(raw: str, *, keys: Iterable[Key]) -> Checkpoint:
    """Return a checkpoint that the log it names has signed with a trusted key.

    Raises:
        VerificationError: As `open_note`, or a key signed for another log's name.
    """
    origin = raw.split("\n", 1)[0]
    return parse_checkpoint(open_note(raw, keys=[key for key in keys if key.name == origin]))


def rotation_text(old: str, new: str) -> str:
    """Return what both keys sign when ``new`` takes over from ``old``."""
    return f"gridflex-key-rotation/1\n{old}\n{new}\n"


def rotate(trusted: Sequence[Key], body: Any) -> list[Key]:  # noqa: ANN401 - parsed JSON
    """Return the keys trusted after a ``key.rotated`` entry.

    Raises:
        VerificationError: The old key is not trusted, or a signature is false.
    """
    old, new = parse_key(_text(body, "old")), parse_key(_text(body, "new"))
    if old not in trusted:
        raise VerificationError(f"key {old} hands over without being trusted")
    text = rotation_text(str(old), str(new))
    old.verify(_base64(_text(body, "signed_by_old"), what="a signature"), text=text)
    new.verify(_base64(_text(body, "signed_by_new"), what="a signature"), text=text)
    return [key for key in trusted if key not in {old, new}] + [new]


# --- Entries (RFC 8785 without fractions: amounts are strings) ---


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the RFC 8785 form of a JSON value that holds no fractional number.

    Raises:
        VerificationError: It holds one, or an integer that JSON cannot carry exactly.
    """
    try:
        return json.dumps(_ordered(value), separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise VerificationError("text holds half a surrogate pair") from error
    except RecursionError as error:
        raise VerificationError("an entry is nested too deeply") from error


def _ordered(value: Any) -> Any:  # noqa: ANN401
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) <= SAFE_INTEGER:
        return value
    if isinstance(value, list):
        return [_ordered(one) for one in value]
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: str(key).encode("utf-16-be", "surrogatepass"))
        return {str(key): _ordered(value[key]) for key in keys}
    raise VerificationError(f"an entry holds only text, whole numbers and lists, not {value!r}")


def parse_entry(raw: bytes) -> dict[str, Any]:
    """Return the event that an entry is.

    Raises:
        VerificationError: It is not canonical, or a field is missing, unknown or malformed.
    """
    if len(raw) > ENTRY_MAX_BYTES:
        raise VerificationError(f"an entry has at most {ENTRY_MAX_BYTES} bytes, not {len(raw)}")
    event = _json(raw, what="an entry")
    if not isinstance(event, dict) or canonical_json(event) != raw:
        raise VerificationError("an entry is not canonical JSON")
    if event.keys() != EVENT_FIELDS.keys() or event["schema"] != EVENT_SCHEMA:
        raise VerificationError(f"an entry has other fields than those of {EVENT_SCHEMA}")
    for name, kinds in EVENT_FIELDS.items():
        if type(event[name]) not in kinds:
            raise VerificationError(f"{name} of an entry is malformed: {event[name]!r:.60}")
    for name in ("recorded_time", "valid_time"):
        if event[name] is not None:
            _instant(event[name])
    return event


def _instant(text: str) -> datetime:
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise VerificationError(f"{text!r} is no instant in UTC to the microsecond")


# --- A receipt ---


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that holds on its own.

    Args:
        subject: What it is about, such as a job.
        index: Of its entry in the ledger.
        checkpoint: That covers it, as signed.
        evidence: Index and leaf hash of the entries it rests on.
    """

    subject: str
    index: int
    checkpoint: str
    evidence: tuple[tuple[int, str], ...]


def verify_receipt(raw: str | bytes, *, keys: Iterable[Key]) -> Receipt:
    """Check a receipt by itself: steps 6 to 8.

    Raises:
        VerificationError: A step fails.
    """
    receipt = _json(raw, what="the receipt")
    if not isinstance(receipt, dict) or receipt.get("schema") != RECEIPT_SCHEMA:
        raise VerificationError(f"not a receipt; its schema would be {RECEIPT_SCHEMA}")
    index, proof = receipt.get("index"), receipt.get("inclusion")
    if type(index) is not int or not isinstance(proof, list):
        raise VerificationError("a receipt has an index and an inclusion proof")
    entry = canonical_json(receipt.get("entry"))
    event = parse_entry(entry)
    checkpoint = open_checkpoint(_text(receipt, "checkpoint"), keys=keys)  # step 7
    verify_inclusion(  # step 6
        leaf_hash(entry),
        index=index,
        size=checkpoint.size,
        proof=[_base64(one, what="a proof hash") for one in proof],
        root=checkpoint.root,
    )
    if event["event_type"] != "receipt.issued":
        raise VerificationError(f"entry {index} is {event['event_type']}, not a receipt")
    try:
        verify_figures(event["body"])  # step 8
        evidence = tuple(
            (int(e["index"]), str(e["leaf_sha256"])) for e in event["body"]["evidence"]
        )
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise VerificationError(f"the receipt is malformed: {error!r}") from error
    return Receipt(str(event["subject"]), index, receipt["checkpoint"], evidence)


def verify_figures(body: Any) -> None:  # noqa: ANN401 - parsed JSON
    """Check that the totals of a receipt follow from its half-hours (docs/ledger.md).

    Raises:
        VerificationError: One does not.
    """
    figures = body["figures"]
    for name, expected in totals(body["half_hours"]).items():
        stated = figures[name]
        value = None if stated is None else Decimal(stated["value"])
        if value != expected:
            raise VerificationError(f"{name} is stated as {value}, the half-hours give {expected}")


def totals(half_hours: Sequence[Any]) -> dict[str, Decimal | None]:
    """Return what the half-hours of a receipt add up to, exactly.

    A total over marginal intensity is None where a half-hour has none.
    """
    with localcontext(prec=200) as exact:
        exact.traps[Inexact] = True
        used = [Decimal(row["used_kwh"]) for row in half_hours]
        run_now = [Decimal(row["run_now_kwh"]) for row in half_hours]
        change = [kwh - before for kwh, before in zip(used, run_now, strict=True)]

        def weighted(kwh: list[Decimal], factor: str) -> Decimal | None:
            factors = [row[factor] for row in half_hours]
            if None in factors:
                return None
            products = (k * Decimal(f) for k, f in zip(kwh, factors, strict=True))
            return sum(products, Decimal(0))

        def cost(kwh: list[Decimal]) -> Decimal:
            prices = [Decimal(row["price_gbp_per_mwh"]) for row in half_hours]
            products = (k * p for k, p in zip(kwh, prices, strict=True))
            return sum(products, Decimal(0)).scaleb(-3)

        return {
            "used_kwh": sum(used, Decimal(0)),
            "run_now_kwh": sum(run_now, Decimal(0)),
            "energy_change_kwh": sum(change, Decimal(0)),
            "location_based_gco2": weighted(used, "average_gco2_per_kwh"),
            "average_change_gco2": weighted(change, "average_gco2_per_kwh"),
            "marginal_change_gco2": weighted(change, "marginal_gco2_per_kwh"),
            "cost_gbp": cost(used),
            "run_now_cost_gbp": cost(run_now),
            "saved_gbp": cost(run_now) - cost(used),
        }


# --- A ledger folder ---


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
    newest = _read_text(folder / "checkpoint")
    size = parse_checkpoint(parse_note(newest).text).size
    history = sorted((folder / "checkpoints").glob("*"))
    notes = [newest, *(_read_text(path) for path in history if path.suffix != ".tsr")]
    issued = list(receipts)
    check = _LedgerCheck(
        folder, size, trusted=list(keys), notes=[*notes, *since, *(r.checkpoint for r in issued)]
    )
    report = check.run(evidence={e: r.subject for r in issued for e in r.evidence})
    for witness in witnesses:  # step 5
        open_note(newest, keys=[witness])
    return report


class _LedgerCheck:
    def __init__(self, folder: Path, size: int, *, trusted: list[Key], notes: list[str]) -> None:
        self._folder = folder
        self._size = size
        self._trusted = trusted
        self._edge = RightEdge()
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

    def run(self, *, evidence: dict[tuple[int, str], str]) -> Report:
        named: dict[int, list[tuple[str, str]]] = {}
        for (index, leaf), subject in evidence.items():
            named.setdefault(index, []).append((leaf, subject))
        self._compare_checkpoints()
        for index, raw in enumerate(_entries(self._folder, self._size)):
            self._take(index, raw)
            for leaf, subject in named.pop(index, ()):  # step 9
                if leaf_hash(raw).hex() != leaf:
                    raise VerificationError(f"{subject} rests on another entry {index} than this")
        if named:
            raise VerificationError(f"receipts rest on entries {sorted(named)}, which are missing")
        self._compare_partial_tiles()
        self._report.key = ", ".join(map(str, self._trusted))
        return self._report

    def _take(self, index: int, raw: bytes) -> None:
        try:
            event = parse_entry(raw)  # step 1
            self._note(index, event)
            if event["event_type"] == "key.rotated":
                self._trusted = rotate(self._trusted, event["body"])
        except VerificationError as error:
            raise VerificationError(f"entry {index}: {error}") from error
        for tile in self._edge.append(leaf_hash(raw)):
            self._compare_tile(tile.level, tile.index, tile.hashes)
        self._compare_checkpoints()

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
        if is_gated and _instant(recorded) >= _instant(about) - GATE:
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

    def _compare_tile(self, level: int, index: int, hashes: Sequence[bytes]) -> None:  # step 2
        path = tile_path(str(level), index, width=len(hashes))
        if _read(self._folder / path) != b"".join(hashes):
            raise VerificationError(f"{path} holds other hashes than the entries give")


def tile_path(level: str, index: int, *, width: int) -> str:
    """Return where a tile lies; ``level`` is a number or ``entries``."""
    name = f"{index % 1000:03d}"
    while index := index // 1000:
        name = f"x{index % 1000:03d}/{name}"
    return f"tile/{level}/{name}" + ("" if width == TILE else f".p/{width}")


def _entries(folder: Path, size: int) -> Iterator[bytes]:
    for first in range(0, size, TILE):
        width = min(TILE, size - first)
        path = tile_path("entries", first // TILE, width=width)
        yield from parse_bundle(_read(folder / path), width=width, what=path)


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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VerificationError(f"{path}: cannot be read: {error.strerror}") from error


def _read_text(path: Path) -> str:
    try:
        return _read(path).decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"{path}: is not text") from error


def _json(raw: str | bytes, *, what: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{what} is not JSON: {error}") from error


def _text(value: Any, name: str) -> str:  # noqa: ANN401 - parsed JSON
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str) or not found:
        raise VerificationError(f"{name} must be text, got {found!r}")
    return found


def _base64(text: Any, *, what: str) -> bytes:  # noqa: ANN401 - parsed JSON
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise VerificationError(f"{what} is not base64: {text!r:.60}") from error
    if base64.b64encode(raw).decode() != text:
        raise VerificationError(f"{what} is not canonical base64: {text!r:.60}")
    return raw


# --- Command line ---


def verify_paths(
    paths: Iterable[Path], *, keys: list[Key], since: Iterable[Path], witnesses: list[Key]
) -> dict[str, Any]:
    """Check ledger folders and receipts together and return what was found, as JSON.

    Raises:
        VerificationError: A step fails; the message begins with the path.
    """
    given = list(paths)
    found: dict[str, Any] = {"receipts": [], "ledgers": []}
    receipts = []
    for path in (one for one in given if not one.is_dir()):
        with _about(path):
            receipts.append(verify_receipt(_read(path), keys=keys))
        found["receipts"].append({"path": str(path), **asdict(receipts[-1])})
    kept = [_read_text(path) for path in since]
    for path in (one for one in given if one.is_dir()):
        with _about(path):
            report = verify_ledger(
                path, keys=keys, since=kept, receipts=receipts, witnesses=witnesses
            )
        found["ledgers"].append({"path": str(path), **asdict(report)})
    return found


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from error


def read_key(text: str) -> Key:
    """Return the key that a text, or the file it names, holds.

    Raises:
        VerificationError: Neither does.
    """
    is_file = "+" not in text or Path(text).is_file()
    return parse_key(_read_text(Path(text)) if is_file else text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if all holds, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="ledger folders and receipts")
    parser.add_argument("--key", action="append", required=True, help="trusted verifier key")
    parser.add_argument("--since", action="append", type=Path, default=[], help="old checkpoint")
    parser.add_argument("--witness", action="append", default=[], help="key of a witness")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    try:
        found = verify_paths(
            given.paths,
            keys=[read_key(one) for one in given.key],
            since=given.since,
            witnesses=[read_key(one) for one in given.witness],
        )
    except VerificationError as error:
        sys.stdout.write(
            json.dumps({"verified": False, "problem": str(error)})
            if given.json
            else f"NOT VERIFIED: {error}"
        )
        sys.stdout.write("\n")
        return 1
    sys.stdout.write(json.dumps({"verified": True} | found) if given.json else summary(found))
    sys.stdout.write("\n")
    return 0


def summary(found: dict[str, Any]) -> str:
    """Return what `verify_paths` found, for a person."""
    lines = [
        f"VERIFIED {one['path']}: receipt of {one['subject']}, entry {one['index']}"
        for one in found["receipts"]
    ]
    for one in found["ledgers"]:
        lines.append(
            f"VERIFIED {one['path']}: {one['size']} entries of {one['origin']}, recorded "
            f"{one['recorded_from'] or '-'} to {one['recorded_to'] or '-'}, "
            f"{one['checkpoints']} checkpoints, root {one['root']}"
        )
        if one["after_gate"]:
            lines.append(f"  note: recorded after gate closure: entries {one['after_gate']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
