"""Instants that come from outside."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour, in_utc

_DATE: Final = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}")


def no_unix_time(said: object) -> object:
    """Return what was said of a day or an instant, unless it is a number.

    Raises:
        ValueError: It is one, or text that begins with no date; nobody can tell its unit.
    """
    if isinstance(said, int | float) or (isinstance(said, str) and not _DATE.match(said)):
        raise ValueError("no date; valid is RFC 3339, such as 2026-07-01T12:30:00Z or 2026-07-01")
    return said


Instant = Annotated[AwareDatetime, BeforeValidator(no_unix_time), AfterValidator(in_utc)]
"""An aware instant, kept in UTC; a number, or one that cannot be told in UTC, is refused."""


def _start_of_half_hour(text: str) -> str:
    try:
        return str(HalfHour.parse(text))
    except ContractError as error:
        raise ValueError(str(error)) from error


HalfHourStart = Annotated[str, AfterValidator(_start_of_half_hour)]
"""The start of a half-hour as `HalfHour.parse` reads it; anything else is refused."""
