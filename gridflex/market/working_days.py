"""Working days of England and Wales, and the instants that market deadlines fall on.

The list of bank holidays is data with a version: a settlement that is run again must use the
calendar it was run with first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib.metadata import version
from typing import Final

import holidays

from gridflex.errors import ContractError
from gridflex.halfhour import LONDON, HalfHour, periods_in

GATE_CLOSURE_LEAD: Final = timedelta(hours=1)
"""Balancing and Settlement Code, Annex X-1: one hour before the Settlement Period."""

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2200
"""Days outside are mistakes, and calendar arithmetic ends somewhere."""

DAY: Final = timedelta(days=1)
YEARS_AROUND: Final = 4 * 365 * DAY
_SATURDAY: Final = 5
_ORDINARY_DAY: Final = 48


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """Which days are working days, over a stated range.

    Args:
        version: Where the list comes from, for the record.
        first: First day the list covers.
        last: Last day the list covers.
        bank_holidays: England and Wales bank holidays in that range.
    """

    version: str
    first: date
    last: date
    bank_holidays: frozenset[date]

    def is_working(self, day: date) -> bool:
        """Return whether ``day`` is Monday to Friday and not a bank holiday.

        Raises:
            ContractError: The list does not cover ``day``.
        """
        if not self.first <= day <= self.last:
            raise ContractError(
                f"calendar {self.version} covers {self.first} to {self.last}, not {day}"
            )
        return day.weekday() < _SATURDAY and day not in self.bank_holidays

    def after(self, day: date, *, working_days: int) -> date:
        """Return the day that lies ``working_days`` working days after ``day``.

        Args:
            day: From here; need not be a working day.
            working_days: At least 1.
        """
        left = working_days
        while left:
            day += DAY
            left -= self.is_working(day)
        return day


def calendar_around(day: date) -> WorkingCalendar:
    """Return the calendar of England and Wales for four years before and after a day."""
    _check_year(day)
    return england_and_wales(day - YEARS_AROUND, day + YEARS_AROUND)


def _check_year(day: date) -> None:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ContractError(f"day {day} is not valid; valid is {FIRST_YEAR} to {LAST_YEAR}")


def england_and_wales(first: date, last: date) -> WorkingCalendar:
    """Return the calendar of the ``holidays`` package for a range of days."""
    listed = holidays.country_holidays(
        "GB", subdiv="ENG", years=range(first.year, last.year + 1), language="en_GB"
    )
    return WorkingCalendar(
        version=f"holidays {version('holidays')} GB-ENG",
        first=first,
        last=last,
        bank_holidays=frozenset(day for day in listed if first <= day <= last),
    )


def is_clock_change(day: date) -> bool:
    """Return whether the clocks change in Great Britain on ``day``."""
    return periods_in(day) != _ORDINARY_DAY


def gate_closure(half_hour: HalfHour) -> datetime:
    """Return the UTC instant from which nothing about ``half_hour`` may change."""
    return half_hour.start - GATE_CLOSURE_LEAD


def end_of_day(day: date) -> datetime:
    """Return the UTC instant at which ``day`` ends by the clock in London."""
    return datetime.combine(day + DAY, time(), tzinfo=LONDON).astimezone(UTC)


def first_and_last_of(first: date, last: date) -> tuple[HalfHour, HalfHour]:
    """Return the first half-hour of settlement day ``first`` and the last one of ``last``.

    Raises:
        ContractError: ``last`` is before ``first``.
    """
    if last < first:
        raise ContractError(f"last {last} is not valid; valid is {first}, the first, or later")
    return half_hours_of(first)[0], half_hours_of(last)[-1]


def half_hours_of(day: date) -> tuple[HalfHour, ...]:
    """Return the 46, 48 or 50 half-hours of a settlement day."""
    _check_year(day)
    return tuple(HalfHour.from_settlement(day, 1).span(periods_in(day)))
