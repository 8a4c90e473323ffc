"""By what a meter's energy counts in the energy account: losses, as they hold from a half-hour.

A line loss factor scales what is metered to the grid supply point and depends on site, voltage
and time of day; the transmission loss multiplier of a unit is published for each half-hour and
changes from run to run. Both are data. Where none is given, both are 1.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from io import StringIO
from itertools import pairwise
from typing import Any, Final, Protocol

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.columns import refuse_twice

LEAST: Final = Decimal("0.5")
MOST: Final = Decimal(2)
"""A factor beyond these is taken for a percentage or a slip."""

COLUMNS: Final = ("start", "line_loss_factor", "transmission_multiplier")


@dataclass(frozen=True, slots=True)
class LossFactors:
    """Losses of one unit in one half-hour.

    Args:
        line: Scales the meter to the grid supply point.
        transmission: Scales the unit's deviation to the energy account.

    Raises:
        ContractError: One of them is not a factor near 1.
    """

    line: Decimal = Decimal(1)
    transmission: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        named = zip(COLUMNS[1:], (self.line, self.transmission), strict=True)
        for name, value in named:
            if not value.is_finite() or not LEAST <= value <= MOST:
                raise ContractError(f"{name} {value} is not valid; valid is {LEAST} to {MOST}")


class LossSource(Protocol):
    """Where losses come from: `Losses`, or `gridflex.adapters.market.loss_file.LossFile`."""

    def read(self) -> None:
        """Take in what is said now; until the next time it stays the same. May block."""
        ...

    def at(self, half_hour: HalfHour) -> LossFactors:
        """Return those of a half-hour.

        Raises:
            ContractError: They are not known, or cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses over time; each holds until the next begins.

    Args:
        rows: By the half-hour from which they hold; none means no losses at any time.

    Raises:
        ContractError: Two begin in the same half-hour, or they are out of order.
    """

    rows: Sequence[tuple[HalfHour, LossFactors]] = ()

    def __post_init__(self) -> None:
        for (earlier, _), (later, _) in pairwise(self.rows):
            if later <= earlier:
                raise ContractError(f"losses: the row from {later} comes after that from {earlier}")

    def read(self) -> None:
        """Rows say the same at any time."""

    def at(self, half_hour: HalfHour) -> LossFactors:
        """Return those of a half-hour.

        Raises:
            ContractError: Losses are given, but only from a later half-hour on.
        """
        if not self.rows:
            return LossFactors()
        place = bisect_right([start for start, _ in self.rows], half_hour)
        if not place:
            raise ContractError(
                f"losses: nothing is in force in {half_hour}; known is from {self.rows[0][0]} on"
            )
        return self.rows[place - 1][1]


NO_LOSSES: Final = Losses()


def read_losses(text: str) -> Losses:
    """Return losses written as CSV.

    Args:
        text: With the columns ``start`` (a settlement day, or a half-hour in UTC),
            ``line_loss_factor`` and ``transmission_multiplier``; an empty factor is 1.

    Raises:
        ContractError: A column is missing or there twice, there is no row, or a value is not
            valid; the message names the line.
    """
    reader = csv.DictReader(StringIO(text))
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ContractError(
                f"losses: column {', '.join(missing)} is missing; valid are {', '.join(COLUMNS)}"
            )
        refuse_twice(reader.fieldnames or (), what="losses")
        losses = losses_of(_row(reader.line_num, fields) for fields in reader)
    except csv.Error as error:
        raise ContractError(f"losses, line {reader.reader.line_num}: {error}") from error
    if not losses.rows:
        raise ContractError("losses: there is no row below the header; valid is at least one")
    return losses


def losses_of(rows: Iterable[tuple[HalfHour, LossFactors]]) -> Losses:
    """Return losses from rows in any order."""
    return Losses(tuple(sorted(rows, key=lambda row: row[0])))


def start_of(text: str) -> HalfHour:
    """Return the first half-hour of a settlement day, or the half-hour that is named.

    Raises:
        ContractError: It is neither.
    """
    try:
        return HalfHour.from_settlement(date.fromisoformat(text), 1)
    except ValueError:
        return HalfHour.parse(text)


def _row(line: int, fields: Mapping[str | None, Any]) -> tuple[HalfHour, LossFactors]:
    if None in fields or None in fields.values():
        raise ContractError(
            f"losses, line {line}: there are {'more' if None in fields else 'fewer'} values than "
            "columns; valid is one each, with a decimal point"
        )
    start, *factors = (fields[name].strip() for name in COLUMNS)
    try:
        return start_of(start), LossFactors(*(Decimal(one or "1") for one in factors))
    except InvalidOperation as error:
        raise ContractError(f"losses, line {line}: {' '.join(factors)} are not numbers") from error
    except ContractError as error:
        raise ContractError(f"losses, line {line}: {error}") from error
