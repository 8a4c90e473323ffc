"""Instants that come from outside."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

from gridflex.halfhour import in_utc

Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""An aware instant, kept in UTC; one that cannot be told in UTC is refused."""
