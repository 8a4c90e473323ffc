"""Instants that come from outside."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour, in_utc

Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""An aware instant, kept in UTC; one that cannot be told in UTC is refused."""


def _start_of_half_hour(text: str) -> str:
    try:
        return str(HalfHour.parse(text))
    except ContractError as error:
        raise ValueError(str(error)) from error


HalfHourStart = Annotated[str, AfterValidator(_start_of_half_hour)]
"""The start of a half-hour as `HalfHour.parse` reads it; anything else is refused."""
