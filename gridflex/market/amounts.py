"""Amounts of money, energy and power that come from outside."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

MOST: Final = Decimal(10_000_000)
"""No price, volume or capacity of a half-hour is so large."""

PLACES: Final = 20
"""Decimals that are taken: with those of `MOST` as many digits as a `Decimal` adds up exactly."""

_PLAIN: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_VALID: Final = f"a number from -{MOST} to {MOST}, with at most {PLACES} decimals"


def amount(said: object) -> Decimal:
    """Return an amount as it was said, exactly.

    Args:
        said: A number, or text in the digits 0 to 9; `Decimal` alone would also take those of other
            scripts, ``1_000`` and exponents that no sum survives.

    Raises:
        ValueError: It is none, is too large or has too many decimals.
    """
    is_number = isinstance(said, int | float | Decimal) and not isinstance(said, bool)
    text = str(said) if is_number else said
    if not isinstance(text, str) or not _PLAIN.fullmatch(text.strip()):
        raise ValueError(f"valid is {_VALID}")
    value = Decimal(text)
    exponent = value.as_tuple().exponent
    if abs(value) > MOST or not isinstance(exponent, int) or exponent < -PLACES:
        raise ValueError(f"valid is {_VALID}")
    return value


Amount = Annotated[Decimal, BeforeValidator(amount), Field(ge=-MOST, le=MOST)]
"""An amount of an API call."""
