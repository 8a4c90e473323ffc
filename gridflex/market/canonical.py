"""One byte form for what is logged and compared: sorted keys, no spaces, text as UTF-8.

Amounts are strings and nothing is a float, so that this is the canonical form of RFC 8785
wherever keys are ASCII, which ours are.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from gridflex.errors import ContractError


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the bytes of a JSON value.

    Raises:
        ContractError: It holds a float, or a key that is not ASCII.
    """
    _check(value)
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest(payload: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return sha256(payload).hexdigest()


def _check(value: object) -> None:
    if isinstance(value, float):
        raise ContractError(f"an exact record holds no float, got {value!r}")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ContractError(f"a key of a record is ASCII text, got {key!r}")
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)
