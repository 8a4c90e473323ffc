"""The share of the clairvoyant saving that is kept with forecasts known at the time, GB 2024.

Jobs of 6, 24 and 48 hours that may be paused, with 24, 48 and 168 hours of slack, on hourly
carbon intensity (Electricity Maps, direct). `captured_saving` takes any forecast; here it gets the
national forecast as its documented error model draws it, corrected by how wrong it was last.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import numpy as np
from numpy.typing import NDArray
from planner_instances import gb_2024

from gridflex.forecasting.corrected import Corrected
from gridflex.forecasting.forecaster import LEVELS
from gridflex.halfhour import HalfHour
from gridflex.planning.captured import Row
from gridflex.sandbox.grid.vintages import carbon_errors

Array = NDArray[np.float64]

ROWS = tuple(Row(work, slack) for work in (6, 24, 48) for slack in (24, 48, 168))
HOURS_A_DAY = 24
FIRST = 28 * HOURS_A_DAY
EVERY = 13
NEAR_HOURS = 48
SEED = 1
YEAR = HalfHour(datetime(2024, 1, 1, tzinfo=UTC))


@cache
def hourly_2024() -> Array:
    """Return the hours of 2024, gCO2/kWh."""
    return gb_2024()["ci_direct_gco2_per_kwh"].to_numpy(dtype=float)


def provider(series: Array, *, seed: int = SEED, start: HalfHour = YEAR) -> Array:
    """Return shape ``(T, 49)``: what the provider says in each hour of it and the next 48.

    Args:
        series: Hourly outturns.
        seed: Of the errors.
        start: Of the series.
    """
    model, half_hours = carbon_errors(seed), 2 * NEAR_HOURS + 1
    said = np.full((series.size, NEAR_HOURS + 1), np.nan)
    for hour in range(series.size):
        issued = start + 2 * hour
        errors = model.errors(issued=issued, start=issued, half_hours=half_hours)[::2]
        known = series[hour : hour + NEAR_HOURS + 1]
        said[hour, : known.size] = np.maximum(known + errors[: known.size], 0.0)
    return said


@cache
def corrected_2024() -> Corrected:
    """Return the corrected provider forecast of 2024."""
    series = hourly_2024()
    return Corrected(series, provider(series), periods_a_day=HOURS_A_DAY)


def profile(now: int, length: int) -> Array:
    """Return the 28-day profile with a fading level, sure of itself."""
    series = hourly_2024()
    past = series[now + 1 - 28 * HOURS_A_DAY : now + 1].reshape(28, HOURS_A_DAY)
    usual = past.mean(axis=0)
    level = series[now] - usual[-1]
    fading = level * 0.97 ** (2 * np.arange(1, length))
    ahead = np.concatenate([[series[now]], np.resize(usual, length - 1) + fading])
    return np.repeat(ahead[:, None], len(LEVELS), axis=1)
