"""The share of the clairvoyant saving that is kept with forecasts known at the time, GB 2024.

Jobs of 6, 24 and 48 hours that may be paused, with 24, 48 and 168 hours of slack, on hourly
carbon intensity (Electricity Maps, direct). `captured_saving` takes any forecast; here it gets the
national forecast as its documented error model draws it, corrected by how wrong it was last.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

import numpy as np
from captured_saving import ForecastAt, Row, captured_saving, threshold_saving
from corrected import Corrected
from numpy.typing import NDArray
from planner_instances import gb_2024
from results_file import Figure

from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS
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


def near_known() -> Corrected:
    """Return a forecast that is right for the provider's 48 h: what it loses lies beyond."""
    series = hourly_2024()
    truth = np.full((series.size, NEAR_HOURS + 1), np.nan)
    for hour in range(series.size):
        known = series[hour : hour + NEAR_HOURS + 1]
        truth[hour, : known.size] = known
    return Corrected(series, truth, periods_a_day=HOURS_A_DAY)


def corrected_2024(*, seed: int = SEED) -> Corrected:
    """Return the provider's forecast of 2024 with errors of one seed, corrected."""
    series = hourly_2024()
    return Corrected(series, provider(series, seed=seed), periods_a_day=HOURS_A_DAY)


def profile(now: int, length: int) -> Array:
    """Return the 28-day profile with a fading level, sure of itself."""
    series = hourly_2024()
    past = series[now + 1 - 28 * HOURS_A_DAY : now + 1].reshape(28, HOURS_A_DAY)
    usual = past.mean(axis=0)
    level = series[now] - usual[-1]
    fading = level * 0.97 ** (2 * np.arange(1, length))
    ahead = np.concatenate([[series[now]], np.resize(usual, length - 1) + fading])
    return np.repeat(ahead[:, None], len(LEVELS), axis=1)


def shares(forecast_at: ForecastAt, *, is_patient: bool = True) -> Mapping[Row, float]:
    """Return the share of each row of the table with any forecast of the hours of 2024, %."""
    return captured_saving(
        ROWS,
        forecast_at,
        series=hourly_2024(),
        first=FIRST,
        every=EVERY,
        near=NEAR_HOURS,
        is_patient=is_patient,
    )


def mean_of(found: Mapping[Row, float]) -> float:
    """Return the mean over rows."""
    return float(np.mean(list(found.values())))


def captured_figures() -> list[Figure]:
    """Return the mean share with the provider's forecast, row by row and beside simpler ways."""
    ours = shares(corrected_2024().at)
    plain = threshold_saving(
        ROWS, series=hourly_2024(), first=FIRST, every=EVERY, past=28 * HOURS_A_DAY
    )
    near = shares(near_known().at)
    other_seed = corrected_2024(seed=SEED + 1).at
    return [
        Figure(
            "captured_gb2024_mean_pct",
            mean_of(ours),
            "%",
            ">= 90",
            {
                "the same errors, doubt left out": mean_of(
                    shares(corrected_2024().at, is_patient=False)
                ),
                "errors of another seed": mean_of(shares(other_seed)),
                "the same, doubt left out": mean_of(shares(other_seed, is_patient=False)),
                "28-day profile with a fading level": mean_of(shares(profile)),
                "run below the 28-day mean": mean_of(plain),
                **{f"{row.work} h + {row.slack} h": share for row, share in ours.items()},
                **{f"{row.work} h + {row.slack} h, 48 h known": near[row] for row in ROWS},
            },
            "share of the clairvoyant carbon saving, GB 2024 hourly (Electricity Maps direct), "
            "provider's forecast with documented errors, corrected by the newest; an arrival every "
            f"{EVERY} h; peers: other ways, ours row by row, and if the next 48 h were known: "
            "what that adds is lost to the forecast's error, the rest lies beyond",
        )
    ]
