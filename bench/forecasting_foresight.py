"""Histories told more than anyone could know: they show which knowledge the errors come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridflex.forecasting.history import History, Input

_TWO_DAYS: Final = 96
_AFTERNOON: Final = 33
"""Half-hours from midnight until the auction's prices of the next day are out."""

_AUCTION: Final = "day_ahead_gbp_per_mwh"


def told_more(history: History) -> Mapping[str, History]:
    """Return the history with what came known ahead, by what that is.

    Never to forecast with: every one of them looks into the future.
    """
    return {
        "tomorrows_price_told_at_midnight": _sooner(history, _AFTERNOON, _AUCTION),
        "price_told_two_days_ahead": _sooner(history, _TWO_DAYS, _AUCTION),
        "wind_told_two_days_ahead": _sooner(history, _TWO_DAYS, "wind_mw"),
    }


def _sooner(history: History, half_hours: int, name: str) -> History:
    """Return the history with all that is said of one input known earlier."""
    said = history.inputs[name]
    earlier = Input(said.about, (said.known_from - half_hours).clip(min=0), said.values)
    return History(history.start, history.target, {**history.inputs, name: earlier})
