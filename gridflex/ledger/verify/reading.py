"""Untrusted bytes and text: what is malformed is a `VerificationError`, never a crash."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any, Final, NoReturn

SAFE_INTEGER: Final = 2**53 - 1
SAFE_DIGITS: Final = len("-9007199254740991")


class VerificationError(Exception):
    """What was checked does not hold; the only failure the verifier raises on purpose."""


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise VerificationError(f"{path}: cannot be read: {error.strerror}") from error


def read_text(path: Path) -> str:
    """Return the text of a file."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"{path}: is not text") from error


def parse_json(raw: str | bytes, *, what: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that JSON without fractions says; its text is whole Unicode."""
    try:
        text = (raw.encode() if isinstance(raw, str) else raw).decode()
        value = _STRICT.decode(text)
        if "\\u" in text:
            _UNESCAPED.encode(value).encode()  # refuses half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{what} is not JSON: {error}") from error
    return value


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text} is no whole number; amounts are text")


def _whole(text: str) -> int:
    if len(text) <= SAFE_DIGITS and abs(number := int(text)) <= SAFE_INTEGER:
        return number
    raise ValueError(f"{text:.20} is beyond what JSON carries exactly")


_STRICT: Final = json.JSONDecoder(
    parse_float=_no_fraction, parse_int=_whole, parse_constant=_no_fraction
)

_UNESCAPED: Final = json.JSONEncoder(ensure_ascii=False)


def text_of(value: Any, name: str) -> str:  # noqa: ANN401 - parsed JSON
    """Return the text that an object holds under a name."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str) or not found:
        raise VerificationError(f"{name} must be text, got {found!r}")
    return found


def bytes_of(text: Any, *, what: str) -> bytes:  # noqa: ANN401 - parsed JSON
    """Return the bytes that canonical base64 says."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise VerificationError(f"{what} is not base64: {text!r:.60}") from error
    if base64.b64encode(raw).decode() != text:
        raise VerificationError(f"{what} is not canonical base64: {text!r:.60}")
    return raw
