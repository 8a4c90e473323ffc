"""Tables on a shared half-hour grid: the one shape in which quantities and prices travel.

Columns are declared with their unit and the role that may write them; row ``n`` is the
half-hour ``start + n``. An empty cell is left out.

Source:
    OpenADR 3.1 intervals, as the Digital Energy Grid uses them (BecknTimeSeries v1.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from gridflex.beckn.wire.context import Instant, zulu
from gridflex.beckn.wire.entities import Wire
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.halfhour import HalfHour

STEP: Final = "PT30M"
LONGEST: Final = 62 * 48
MOST_COLUMNS: Final = 64
CELLS_PER_VALUE: Final = 20
"""Beyond one column of the longest table; so that a small message makes no huge table."""

REPORT: Final = "REPORT_PAYLOAD_DESCRIPTOR"
EVENT: Final = "EVENT_PAYLOAD_DESCRIPTOR"

BUYER: Final = "buyer"
SELLER: Final = "seller"
"""Roles of a contract, and who gives a column."""

Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        name: Payload type, such as ``PRICE``.
        unit: As OpenADR writes it, such as ``KWH``.
        values: One per half-hour; None where there is none.
        by: `SELLER` or `BUYER`; None for a report.
    """

    name: str
    unit: str
    values: tuple[float | None, ...]
    by: str | None = None

    @property
    def total(self) -> float:
        """Sum of what there is."""
        return sum(value for value in self.values if value is not None)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns on one grid.

    Args:
        start: First half-hour.
        columns: All of the same length, by name.
    """

    start: HalfHour
    columns: Mapping[str, Column]

    @classmethod
    def of(cls, start: HalfHour, *columns: Column) -> Table:
        """Return a table of some columns."""
        lengths = {len(column.values) for column in columns}
        if len(lengths) != 1:
            raise ContractError(f"columns of a table have different lengths: {sorted(lengths)}")
        return cls(start, {column.name: column for column in columns})

    @property
    def half_hours(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())).values)

    @property
    def end(self) -> HalfHour:
        """The first half-hour after the table."""
        return self.start + self.half_hours

    def column(self, name: str) -> Column:
        """Return a column.

        Raises:
            BecknError: There is none of this name.
        """
        if name not in self.columns:
            raise BecknError(
                Code.SCH_ATTRIBUTE_PACK_INVALID,
                f"the table has no column {name}; it has {', '.join(self.columns)}",
            )
        return self.columns[name]

    def at(self, name: str, half_hour: HalfHour) -> float:
        """Return a cell; 0 where it is empty or outside the table."""
        index = self.start.until(half_hour)
        values = self.column(name).values
        return (values[index] or 0.0) if 0 <= index < len(values) else 0.0

    def has(self, name: str, half_hour: HalfHour) -> bool:
        """Return whether a cell is there and filled."""
        index = self.start.until(half_hour)
        values = self.columns[name].values if name in self.columns else ()
        return 0 <= index < len(values) and values[index] is not None

    def to_wire(self) -> dict[str, Any]:
        """Return the three members that every table has."""
        return {
            "intervalPeriod": {"start": zulu(self.start.start), "duration": STEP},
            "payloadDescriptors": [_descriptor(column) for column in self.columns.values()],
            "intervals": [
                {"id": row, "payloads": payloads}
                for row in range(self.half_hours)
                if (payloads := self._payloads(row))
            ],
        }

    def _payloads(self, row: int) -> list[dict[str, Any]]:
        return [
            {"type": column.name, "values": [value]}
            for column in self.columns.values()
            if (value := column.values[row]) is not None
        ]


class _Period(Wire):
    start: Instant
    duration: Literal["PT30M"]


class _Descriptor(Wire, extra="allow"):
    object_type: Literal["EVENT_PAYLOAD_DESCRIPTOR", "REPORT_PAYLOAD_DESCRIPTOR"]
    payload_type: str
    units: str | None = None
    inserted_by: str | None = None


class _Payload(Wire):
    type: str
    values: Annotated[list[Number], Field(min_length=1, max_length=1)]


class _Interval(Wire):
    id: int = Field(ge=0, lt=LONGEST)
    payloads: list[_Payload]


class _Grid(Wire, extra="ignore"):
    interval_period: _Period
    payload_descriptors: Annotated[list[_Descriptor], Field(min_length=1, max_length=MOST_COLUMNS)]
    intervals: Annotated[list[_Interval], Field(min_length=1, max_length=LONGEST)]


def read_table(values: Mapping[str, Any]) -> Table:
    """Return the table in an attributes object; its other members are not looked at.

    Raises:
        BecknError: It has no table, one on another grid, or a column that is not declared.
    """
    try:
        grid = _Grid.model_validate(values)
        start = HalfHour(grid.interval_period.start)
    except ValidationError as error:
        raise _invalid(faults_text(error, whole="table", most=1)) from error
    except BecknError:
        raise
    except ContractError as error:
        raise _invalid(str(error)) from error
    cells = _cells(grid)
    return Table(
        start,
        {
            one.payload_type: Column(
                one.payload_type,
                one.units or "",
                tuple(cells[one.payload_type]),
                one.inserted_by,
            )
            for one in grid.payload_descriptors
        },
    )


def _cells(grid: _Grid) -> dict[str, list[float | None]]:
    rows = max(one.id for one in grid.intervals) + 1
    filled = sum(len(one.payloads) for one in grid.intervals)
    if rows * len(grid.payload_descriptors) > LONGEST + CELLS_PER_VALUE * filled:
        raise _invalid(f"{filled} values in {rows} rows; the table is all but empty")
    cells: dict[str, list[float | None]] = {
        one.payload_type: [None] * rows for one in grid.payload_descriptors
    }
    for interval in grid.intervals:
        for payload in interval.payloads:
            if payload.type not in cells:
                raise _invalid(f"payload {payload.type} is not declared in payloadDescriptors")
            if cells[payload.type][interval.id] is not None:
                raise _invalid(f"interval {interval.id} has {payload.type} twice")
            cells[payload.type][interval.id] = payload.values[0]
    return cells


def _descriptor(column: Column) -> dict[str, Any]:
    kind = REPORT if column.by is None else EVENT
    values = {"objectType": kind, "payloadType": column.name, "units": column.unit}
    if column.by is None:
        return values | {"readingType": "DIRECT_READ"}
    return values | {"insertedBy": column.by}


def _invalid(reason: str) -> BecknError:
    return BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, f"table: {reason}")
