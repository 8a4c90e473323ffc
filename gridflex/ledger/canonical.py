"""One byte form for what is logged, hashed and compared: JSON as RFC 8785 says.

The stand-alone verifier brings its own form of the part that entries use, without fractions.
"""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from gridflex.errors import ContractError


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the canonical bytes of a JSON value.

    Raises:
        ContractError: It has no such form: not JSON, not finite, an integer beyond 2^53 - 1 or
            text that is not Unicode.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise ContractError(f"no canonical JSON: {error}") from error


def digest(payload: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def without_fractions(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value with every fractional number as text, as entries hold them."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: without_fractions(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_fractions(one) for one in value]
    return value
