"""Meter readings as they come in: a CSV file, or the body of an API call.

A CSV has a header and one row per meter and half-hour. The half-hour is given either as
``start_utc`` or as ``settlement_date`` with ``settlement_period``, which differ on the two days
on which the clocks change; both may be present and must then agree.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from io import StringIO
from typing import Final

from pydantic import BaseModel, Field, field_validator

from gridflex.checked_values import Rows
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour, in_utc
from gridflex.instants import Instant
from gridflex.market.amounts import PLACES, Amount, amount
from gridflex.market.columns import refuse_twice
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import Msid
from gridflex.market.volumes import ZERO

MAX_KWH: Final = Decimal(1_000_000)
"""Two gigawatts over a half-hour: anything above is a wrong unit."""

_STARTS: Final = "a half-hour's start, at :00 or :30"
_REQUIRED: Final = frozenset({"meter", "import_kwh"})
_KNOWN: Final = _REQUIRED | {
    *("start_utc", "settlement_date", "settlement_period"),
    *("export_kwh", "evidence", "substituted"),
}


class ReadingIn(BaseModel, extra="forbid", frozen=True):
    """One half-hour in an API call.

    Attributes:
        start_utc: Start of the half-hour.
        import_kwh: Taken from the grid.
        export_kwh: Given to the grid.
        evidence: What kind of meter.
        is_substituted: Whether the data collector replaced a missing value.
    """

    start_utc: Instant
    import_kwh: Amount = Field(ge=0, le=MAX_KWH)
    export_kwh: Amount = Field(default=ZERO, ge=0, le=MAX_KWH)
    evidence: Evidence = Evidence.SETTLEMENT
    is_substituted: bool = False

    @field_validator("start_utc")
    @classmethod
    def _starts(cls, start: datetime) -> datetime:
        if HalfHour.containing(start).start != start:
            raise ValueError(f"no half-hour starts then; valid is {_STARTS}")
        return start


class ReadingsIn(BaseModel, extra="forbid", frozen=True):
    """Readings of one meter in an API call.

    Attributes:
        meter: Import id of the pair.
        readings: In any order.
    """

    meter: str = Field(pattern=r"^[0-9]{13}$")
    readings: Rows[ReadingIn] = Field(min_length=1, max_length=20_000)

    def received(self, at: datetime) -> tuple[Reading, ...]:
        """Return the domain's readings, received at the instant ``at``."""
        return tuple(
            Reading(
                meter=Msid(self.meter),
                half_hour=HalfHour(one.start_utc),
                import_kwh=one.import_kwh,
                export_kwh=one.export_kwh,
                evidence=one.evidence,
                is_substituted=one.is_substituted,
                received_at=at,
            )
            for one in self.readings
        )


def read_csv(text: str, *, received_at: datetime) -> Iterator[Reading]:
    """Yield the readings of a CSV file.

    Columns: ``meter``, ``import_kwh``, and ``start_utc`` or ``settlement_date`` with
    ``settlement_period``; optional ``export_kwh`` (0), ``evidence`` (``settlement``) and
    ``substituted`` (``true`` or ``false``).

    Args:
        text: The file; a byte-order mark is skipped.
        received_at: When it arrived; aware UTC.

    Raises:
        ContractError: A column is missing, unknown or there twice, or a value of a row is not
            valid; the message names row and column.
    """
    try:
        yield from _read(csv.DictReader(StringIO(text.removeprefix("\ufeff"))), received_at)
    except csv.Error as error:
        limit = csv.field_size_limit()
        raise ContractError(
            f"meter CSV: a field is not valid ({error}); valid are at most {limit} characters"
        ) from error


def _read(rows: csv.DictReader[str], received_at: datetime) -> Iterator[Reading]:
    header = rows.fieldnames or ()
    columns = set(header)
    refuse_twice(header, what="meter CSV")
    if not columns >= _REQUIRED or not columns <= _KNOWN:
        raise ContractError(
            f"meter CSV has columns {', '.join(sorted(columns)) or 'none'}; it needs "
            f"{', '.join(sorted(_REQUIRED))} and may have {', '.join(sorted(_KNOWN - _REQUIRED))}"
        )
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ContractError(f"meter CSV line {number}: expected {len(columns)} values")
        yield _Row(number, row).reading(received_at)


class _Row:
    def __init__(self, number: int, values: dict[str, str]) -> None:
        self._number = number
        self._values = {column: value.strip() for column, value in values.items()}

    def reading(self, received_at: datetime) -> Reading:
        return Reading(
            meter=self._meter(),
            half_hour=self._half_hour(),
            import_kwh=self._kwh("import_kwh"),
            export_kwh=self._kwh("export_kwh"),
            evidence=self._evidence(),
            is_substituted=self._substituted(),
            received_at=received_at,
        )

    def _meter(self) -> Msid:
        meter = self._values["meter"]
        if len(meter) != 13 or not (meter.isascii() and meter.isdigit()):  # noqa: PLR2004 - an MPAN core
            raise self._wrong("meter", valid="13 digits")
        return Msid(meter)

    def _half_hour(self) -> HalfHour:
        settled, started = self._settled(), self._started()
        if settled is None and started is None:
            raise self._wrong("start_utc", valid="given, or settlement_date with its period")
        if settled is not None and started is not None and settled != started:
            raise self._wrong("start_utc", valid=f"{settled}, which the settlement period says")
        return started or settled  # type: ignore[return-value]  # one is not None

    def _started(self) -> HalfHour | None:
        text = self._values.get("start_utc", "")
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise self._wrong("start_utc", valid="ISO 8601 such as 2026-07-01T12:00Z") from error
        if moment.tzinfo is None:
            raise self._wrong("start_utc", valid="a time with its zone")
        try:
            return HalfHour(in_utc(moment))
        except (ContractError, ValueError) as error:
            raise self._wrong("start_utc", valid=_STARTS) from error

    def _settled(self) -> HalfHour | None:
        day, period = (self._values.get(f"settlement_{part}", "") for part in ("date", "period"))
        if not day and not period:
            return None
        if not (period.isascii() and period.isdigit()):
            raise self._wrong("settlement_period", valid="a number from 1, of its day")
        try:
            return HalfHour.from_settlement(date.fromisoformat(day), int(period))
        except (ValueError, OverflowError) as error:
            raise self._wrong("settlement_date", valid="YYYY-MM-DD with a period") from error
        except ContractError as error:
            raise self._wrong("settlement_period", valid=f"one of its day: {error}") from error

    def _kwh(self, column: str) -> Decimal:
        text = self._values.get(column) or "0"
        valid = f"kWh from 0 to {MAX_KWH}, with at most {PLACES} decimals"
        if column in _REQUIRED and not self._values[column]:
            raise self._wrong(column, valid=valid)
        try:
            value = amount(text)
        except ValueError as error:
            raise self._wrong(column, valid=valid) from error
        if not 0 <= value <= MAX_KWH:
            raise self._wrong(column, valid=valid)
        return value

    def _evidence(self) -> Evidence:
        text = self._values.get("evidence") or Evidence.SETTLEMENT
        try:
            return Evidence(text)
        except ValueError as error:
            raise self._wrong("evidence", valid="one of " + ", ".join(Evidence)) from error

    def _substituted(self) -> bool:
        text = (self._values.get("substituted") or "false").lower()
        if text not in {"true", "false"}:
            raise self._wrong("substituted", valid="true or false")
        return text == "true"

    def _wrong(self, column: str, *, valid: str) -> ContractError:
        value = self._values.get(column)
        return ContractError(
            f"meter CSV line {self._number}: {column} {value!r} is not valid; valid is {valid}"
        )
