"""Settlement days as requests and settings name them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from gridflex.instants import no_unix_time

FIRST: Final = date(1901, 1, 1)
LAST: Final = date(2100, 12, 31)
"""Look-backs, look-aheads and calendars around any day between them are days as well."""

SettlementDay = Annotated[date, BeforeValidator(no_unix_time), Field(ge=FIRST, le=LAST)]
