"""The verifier's command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gridflex.ledger.verify
from gridflex.ledger.verify.folder import keys_handed_over, verify_ledger
from gridflex.ledger.verify.notes import Key, parse_key
from gridflex.ledger.verify.reading import VerificationError, read_bytes, read_text
from gridflex.ledger.verify.receipts import verify_receipt


def verify_paths(
    paths: Iterable[Path], *, keys: list[Key], since: Iterable[Path], witnesses: list[Key]
) -> dict[str, Any]:
    """Check ledger folders and receipts together and return what was found, as JSON.

    Raises:
        VerificationError: A step fails; the message begins with the path.
    """
    given = list(paths)
    folders, files = ([p for p in given if p.is_dir() is is_dir] for is_dir in (True, False))
    found: dict[str, Any] = {"receipts": [], "ledgers": []}
    receipts, signers = [], list(keys)
    for path in folders if files else ():
        with _about(path):  # which of them was in force is checked with the ledger
            signers += keys_handed_over(path, keys=keys)
    for path in files:
        with _about(path):
            receipts.append(verify_receipt(read_bytes(path), keys=signers))
        found["receipts"].append({"path": str(path), **asdict(receipts[-1])})
    kept = [read_text(path) for path in since]
    for path in folders:
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
    return parse_key(read_text(Path(text)) if is_file else text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if all holds, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="verify",
        description=gridflex.ledger.verify.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
        lines += [
            f"  note: receipt {old} was followed by entry {new}, which counts"
            for old, new in one["superseded"].items()
        ]
        lines += [
            f"  note: settlement {old}, on which a receipt rests, was replaced by entry {new}"
            for old, new in one["replaced"].items()
        ]
    return "\n".join(lines)
