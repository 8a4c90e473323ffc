"""The forecasts that always exist: the usual level of a half-hour, and yesterday's value.

They need nothing but recent outturns, so they are the last step of the ladder and the
baseline every better forecast is measured against.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gridflex.halfhour import LONDON, HalfHour

CLIMATOLOGY_DAYS: Final = 28
"""Long enough to average out the weather, short enough to follow the season."""

_HALF_HOURS_A_DAY: Final = 48
_TRIES: Final = 28


class Outturns(Protocol):
    """Past values of one quantity, such as a `gridflex.signals.Series`."""

    def window(self, start: HalfHour, half_hours: int) -> NDArray[np.float64]:
        """Return shape ``(half_hours,)`` from ``start``; NaN where nothing is known."""
        ...


def climatology(
    history: Outturns, *, start: HalfHour, half_hours: int, days: int = CLIMATOLOGY_DAYS
) -> NDArray[np.float64]:
    """Return the mean of the last ``days`` days at each half-hour's place in the local day.

    The place is the clock time in London, so the morning stays the morning across a clock
    change; the hour that a change repeats or skips is averaged with what carries its label.

    Args:
        history: Outturns; those that start at or after ``start`` are not used.
        start: Half-hour of index 0 of the result.
        half_hours: Length of the result.
        days: How far back from ``start`` to look.

    Returns:
        Shape ``(half_hours,)`` in the unit of ``history``; NaN where that time of day never
        occurred with a value.
    """
    past = history.window(start - days * _HALF_HOURS_A_DAY, days * _HALF_HOURS_A_DAY)
    places = _places(start - past.size, past.size)
    known = np.isfinite(past)
    count = np.bincount(places[known], minlength=_HALF_HOURS_A_DAY)
    total = np.bincount(places[known], weights=past[known], minlength=_HALF_HOURS_A_DAY)
    usual = np.full(_HALF_HOURS_A_DAY, np.nan)
    np.divide(total, count, out=usual, where=count > 0)
    return usual[_places(start, half_hours)]


def persistence(history: Outturns, *, start: HalfHour, half_hours: int) -> NDArray[np.float64]:
    """Return for each half-hour the newest outturn at the same clock time on an earlier day.

    Up to 24 h ahead that is yesterday's value; further ahead the same day is repeated.

    Args:
        history: Outturns; those that start at or after ``start`` are not used.
        start: Half-hour of index 0 of the result.
        half_hours: Length of the result.

    Returns:
        Shape ``(half_hours,)`` in the unit of ``history``; NaN where that value is unknown.
    """
    return np.array([_yesterday(history, h, start=start) for h in start.span(half_hours)])


def same_clock(
    history: Outturns, *, start: HalfHour, half_hours: int, days: int = 1
) -> NDArray[np.float64]:
    """Return for each half-hour the newest known outturn ``days`` earlier, or twice that, or more.

    Like `persistence`, but what is not known yet or lies in a gap is taken from further back,
    up to 28 steps.

    Args:
        history: Outturns; those that start at or after ``start`` are not used.
        start: Half-hour of index 0 of the result.
        half_hours: Length of the result.
        days: Length of a step: 1 for yesterday, 7 for last week.

    Returns:
        Shape ``(half_hours,)`` in the unit of ``history``; NaN where nothing is known.
    """
    return np.array([_newest(history, h, start=start, days=days) for h in start.span(half_hours)])


def usual_level(history: Outturns, *, start: HalfHour, half_hours: int) -> NDArray[np.float64]:
    """Return the mean of climatology and persistence, or the one that is known.

    Over 2022-23 the mean of the two was nearer to GB intensity and price than either, on the
    first day and on the second (``docs/grid.md``).

    Args:
        history: Outturns; those that start at or after ``start`` are not used.
        start: Half-hour of index 0 of the result.
        half_hours: Length of the result.

    Returns:
        Shape ``(half_hours,)`` in the unit of ``history``; NaN where neither is known.
    """
    usual = climatology(history, start=start, half_hours=half_hours)
    yesterday = persistence(history, start=start, half_hours=half_hours)
    return np.where(
        np.isnan(usual), yesterday, np.where(np.isnan(yesterday), usual, (usual + yesterday) / 2)
    )


def _yesterday(history: Outturns, target: HalfHour, *, start: HalfHour) -> float:
    same = _days_earlier(target, start.until(target) // _HALF_HOURS_A_DAY + 1)
    if same >= start:  # the clock change made that day an hour shorter
        same = _days_earlier(same, 1)
    return float(history.window(same, 1)[0])


def _newest(history: Outturns, target: HalfHour, *, start: HalfHour, days: int) -> float:
    first = start.until(target) // (_HALF_HOURS_A_DAY * days) + 1
    for step in range(first, first + _TRIES):
        same = _days_earlier(target, step * days)
        if same < start:  # a clock change can make the first step an hour too short
            value = float(history.window(same, 1)[0])
            if np.isfinite(value):
                return value
    return np.nan


def _days_earlier(half_hour: HalfHour, days: int) -> HalfHour:
    local = half_hour.start.astimezone(LONDON)
    return HalfHour.containing(local - timedelta(days=days))


@lru_cache(maxsize=64)
def _places(start: HalfHour, half_hours: int) -> NDArray[np.intp]:
    """The places in the local day; asked for again and again within a half-hour."""
    clocks = (half_hour.start.astimezone(LONDON) for half_hour in start.span(half_hours))
    places = np.array([clock.hour * 2 + clock.minute // 30 for clock in clocks], dtype=np.intp)
    places.flags.writeable = False
    return places
