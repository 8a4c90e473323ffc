"""What is known of any half-hour without measuring: its place in the day, the week and the year.

By the clock in London, so that the morning stays the morning across a clock change.
"""

from __future__ import annotations

from typing import Final

import holidays
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridflex.halfhour import HALF_HOUR, LONDON, HalfHour

ALMANAC: Final = (
    "day_sine",
    "day_cosine",
    "half_day_sine",
    "half_day_cosine",
    "week_sine",
    "week_cosine",
    "year_sine",
    "year_cosine",
    "day_off",
)
"""Columns of `almanac`; all lie between -1 and 1."""

_DAYS_A_WEEK: Final = 7
_DAYS_A_YEAR: Final = 365.2425
_SATURDAY: Final = 5


def almanac(start: HalfHour, half_hours: int) -> NDArray[np.float64]:
    """Return shape ``(half_hours, len(ALMANAC))``; a day off is a weekend or a bank holiday."""
    local = local_times(start, half_hours)
    day = (local.hour.to_numpy() + local.minute.to_numpy() / 60) / 24
    week = (local.day_of_week.to_numpy() + day) / _DAYS_A_WEEK
    year = (local.day_of_year.to_numpy() + day) / _DAYS_A_YEAR
    turns = (day, 2 * day, week, year)
    circles = [turn for part in turns for turn in (_sine(part), _cosine(part))]
    return np.column_stack([*circles, days_off(local)])


def local_times(start: HalfHour, half_hours: int) -> pd.DatetimeIndex:
    """Return the London time at which each half-hour starts."""
    return pd.date_range(start.start, periods=half_hours, freq=HALF_HOUR).tz_convert(LONDON)


def days_off(local: pd.DatetimeIndex) -> NDArray[np.float64]:
    """Return shape ``(T,)``, 1 on weekends and on bank holidays of England and Wales, else 0."""
    if len(local) == 0:
        return np.zeros(0)
    years = range(local[0].year, local[-1].year + 1)
    listed = pd.DatetimeIndex(sorted(holidays.country_holidays("GB", subdiv="ENG", years=years)))
    off = (local.day_of_week >= _SATURDAY) | local.tz_localize(None).normalize().isin(listed)
    return np.asarray(off, dtype=np.float64)


def _sine(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sin(2 * np.pi * turns))


def _cosine(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cos(2 * np.pi * turns))
