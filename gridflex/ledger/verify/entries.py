"""Entries: canonical JSON (RFC 8785) with the agreed fields.

Entries hold no fractional number: amounts are text, so that a reader in any language sees the
same digits, and the canonical form is short enough to be checked without a library.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from types import NoneType
from typing import Any, Final

from gridflex.ledger.verify.reading import SAFE_INTEGER, VerificationError, parse_json

EVENT_SCHEMA: Final = "gridflex-event/1"
EVENT_FIELDS: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("schema", "id", "event_type", "tenant", "recorded_time"), (str,)),
    **dict.fromkeys(("site", "subject", "sp", "valid_time"), (str, NoneType)),
    "payload_sha256": (str, NoneType),
    "prev_ref": (int, NoneType),
    "body": (dict,),
}
ENTRY_MAX_BYTES: Final = 65_535
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_SORTED: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the RFC 8785 form of a JSON value that holds no fractional number.

    Raises:
        VerificationError: It holds one, or an integer that JSON cannot carry exactly.
    """
    try:
        return _COMPACT.encode(_ordered(value)).encode()
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
        return {key: _ordered(value[key]) for key in _sorted_keys(value)}
    raise VerificationError(f"an entry holds only text, whole numbers and lists, not {value!r}")


def _sorted_keys(value: dict[Any, Any]) -> list[str]:
    """Return the keys by their UTF-16 units; by code point is the same where all are ASCII."""
    try:
        if "".join(value).isascii():
            return sorted(value)
    except TypeError as error:
        raise VerificationError(f"the keys of an entry are text, got {list(value)!r}") from error
    return sorted(value, key=lambda key: str(key).encode("utf-16-be", "surrogatepass"))


def parse_entry(raw: bytes) -> dict[str, Any]:
    """Return the event that an entry is.

    Raises:
        VerificationError: It is not canonical, or a field is missing, unknown or malformed.
    """
    if len(raw) > ENTRY_MAX_BYTES:
        raise VerificationError(f"an entry has at most {ENTRY_MAX_BYTES} bytes, not {len(raw)}")
    event = parse_json(raw, what="an entry")
    if not isinstance(event, dict) or not _is_canonical(event, raw):
        raise VerificationError("an entry is not canonical JSON")
    check_fields(event)
    return event


def check_fields(event: dict[str, Any]) -> None:
    """Check that an event has the agreed fields.

    Raises:
        VerificationError: A field is missing, unknown or malformed.
    """
    if event.keys() != EVENT_FIELDS.keys() or event["schema"] != EVENT_SCHEMA:
        raise VerificationError(f"an entry has other fields than those of {EVENT_SCHEMA}")
    for name, kinds in EVENT_FIELDS.items():
        if type(event[name]) not in kinds:
            raise VerificationError(f"{name} of an entry is malformed: {event[name]!r:.60}")
    for name in ("recorded_time", "valid_time"):
        if event[name] is not None:
            instant_of(event[name])


def _is_canonical(event: dict[str, Any], raw: bytes) -> bool:
    if not raw.isascii():
        return canonical_json(event) == raw
    try:  # by code point or by UTF-16 unit, ASCII keys have the same order
        return _SORTED.encode(event).encode() == raw
    except RecursionError as error:
        raise VerificationError("an entry is nested too deeply") from error


def instant_of(text: str) -> datetime:
    """Return the instant that a text of an entry says."""
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise VerificationError(f"{text!r} is no instant in UTC to the microsecond")
