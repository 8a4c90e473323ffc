"""Half-hours: the unit of time in which GridFlex forecasts, schedules and settles.

A half-hour is known by its start, in UTC. Settlement dates and period numbers follow the
clock in Great Britain, so a day has 46, 48 or 50 of them; they exist only at the edges,
where a market message needs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gridflex.errors import ContractError

HALF_HOUR: Final = timedelta(minutes=30)
LONDON: Final = ZoneInfo("Europe/London")
_LAST_HOUR: Final = 23
_EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""A day is left on either side, so that every zone can tell what lies between."""


@dataclass(frozen=True, slots=True, order=True)
class HalfHour:
    """The half-open interval ``[start, start + 30 min)``.

    Args:
        start: Aware datetime on the hour or half-hour, at no offset from UTC; kept in UTC.

    Raises:
        ContractError: ``start`` is naive, not UTC, or off the grid.
    """

    start: datetime

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta(0):
            raise ContractError(f"half-hour must start in UTC, got {self.start.isoformat()}")
        if self.start.minute % 30 or self.start.second or self.start.microsecond:
            raise ContractError(f"half-hour must start at :00 or :30, got {self.start.isoformat()}")
        if self.start.tzinfo is not UTC:  # London in winter would count wrongly into summer
            object.__setattr__(self, "start", self.start.astimezone(UTC))

    @classmethod
    def containing(cls, moment: datetime) -> HalfHour:
        """Return the half-hour in which an aware ``moment`` falls.

        Raises:
            ContractError: ``moment`` is naive, or `in_utc` refuses it.
        """
        if moment.utcoffset() is None:
            raise ContractError(f"a moment needs a time zone, got {moment.isoformat()}")
        try:
            utc = in_utc(moment)
        except ValueError as error:
            raise ContractError(f"{moment.isoformat()} is not valid; {error}") from error
        return cls(utc.replace(minute=utc.minute // 30 * 30, second=0, microsecond=0))

    @classmethod
    def parse(cls, text: str) -> HalfHour:
        """Return the half-hour that starts at an RFC 3339 instant, as `str` writes it.

        Raises:
            ContractError: It is no such instant, none at which a half-hour starts, or `in_utc`
                refuses it.
        """
        try:
            half_hour = cls(datetime.fromisoformat(text))
        except (ValueError, TypeError) as error:
            raise ContractError(f"{text!r} is no half-hour; valid is 2026-07-01T12:30Z") from error
        return cls.containing(half_hour.start)

    @classmethod
    def at_or_after(cls, moment: datetime) -> HalfHour:
        """Return the first half-hour that starts no earlier than an aware ``moment``."""
        floor = cls.containing(moment)
        return floor if floor.start == moment else floor + 1

    @classmethod
    def from_settlement(cls, day: date, period: int) -> HalfHour:
        """Return the half-hour that GB settlement calls ``period`` of ``day``.

        Args:
            day: Settlement date, by the clock in London.
            period: Settlement period, from 1; 46, 48 or 50 is the last of the day.

        Raises:
            ContractError: ``day`` has no such period.

        Source:
            Elexon glossary, "Settlement Period"; Balancing and Settlement Code, Annex X-2.
        """
        if not 1 <= period <= periods_in(day):
            raise ContractError(f"{day} has {periods_in(day)} settlement periods, not {period}")
        return cls(_midnight_utc(day) + (period - 1) * HALF_HOUR)

    @property
    def end(self) -> datetime:
        """The first instant after this half-hour."""
        return self.start + HALF_HOUR

    @property
    def settlement(self) -> tuple[date, int]:
        """Settlement date and period number (from 1) of this half-hour."""
        day = self.start.astimezone(LONDON).date()
        return day, (self.start - _midnight_utc(day)) // HALF_HOUR + 1

    def until(self, later: HalfHour) -> int:
        """Return how many half-hours lie from this one to ``later``; negative if it is earlier."""
        return (later.start - self.start) // HALF_HOUR

    def span(self, half_hours: int) -> Iterator[HalfHour]:
        """Yield ``half_hours`` consecutive half-hours, this one first."""
        return (self + i for i in range(half_hours))

    def __add__(self, half_hours: int) -> HalfHour:
        return HalfHour(self.start + half_hours * HALF_HOUR)

    def __sub__(self, half_hours: int) -> HalfHour:
        return self + -half_hours

    def __str__(self) -> str:
        return self.start.strftime("%Y-%m-%dT%H:%MZ")


def in_utc(moment: datetime) -> datetime:
    """Return an instant from outside in UTC.

    Raises:
        ValueError: It is naive, or less than a day from an end of the calendar; says what is valid.
    """
    if moment.utcoffset() is None or not _EARLIEST <= moment < _LATEST:
        raise ValueError(
            "valid is an instant with its time zone, from 0001-01-02 to 9999-12-30 in UTC"
        )
    return moment.astimezone(UTC)


def periods_in(day: date) -> int:
    """Return how many settlement periods ``day`` has: 46, 48 or 50.

    Raises:
        ContractError: No day comes after it.
    """
    if day == date.max:
        raise ContractError(f"day {day} is not valid; valid are days before it")
    return (_midnight_utc(day + timedelta(days=1)) - _midnight_utc(day)) // HALF_HOUR


def auction_day(half_hour: HalfHour) -> date:
    """Return the day in which the day-ahead auction delivers a half-hour.

    It is a day by the clock in central Europe: from 23:00 to 23:00 in London.
    """
    delivery = half_hour.start.astimezone(LONDON)
    return delivery.date() + timedelta(days=1 if delivery.hour == _LAST_HOUR else 0)


def auction_half_hours(day: date) -> Iterator[HalfHour]:
    """Yield the 46, 48 or 50 half-hours that the auction of ``day`` delivers."""
    return (HalfHour.from_settlement(day, 1) - 2).span(periods_in(day))


def half_hours_needed(duration: timedelta) -> int:
    """Return the fewest whole half-hours that hold ``duration``; 0 for nothing."""
    return -(-duration // HALF_HOUR)


def _midnight_utc(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=LONDON).astimezone(UTC)
