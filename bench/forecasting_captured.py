"""What our own forecasts save of what perfect foresight would, beside simple policies, GB 2024.

The table is that of `captured`: jobs of 6, 24 and 48 hours that may be paused, with 24, 48 and 168
hours of slack. Own forecasts are of the published national intensity, so all policies are played
on its hourly means; a provider's quality is its documented error model, as in `captured`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from captured import EVERY, FIRST, HOURS_A_DAY, NEAR_HOURS, ROWS, corrected_2024, mean_of, shares
from captured_saving import Row, captured_saving, threshold_saving
from results_file import Figure
from rich.progress import track

from gridflex.forecasting.forecaster import Forecaster
from gridflex.forecasting.history import Array, History
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS

LONGEST = max(row.work + row.slack for row in ROWS)
WEEKS = 4
FADING = 0.97**2
"""Of the present distance from the usual level, what is left after an hour."""


def captured_figures(model: Forecaster, history: History, *, start: HalfHour) -> list[Figure]:
    """Return the shares kept with own forecasts and with those of the provider's quality, %.

    Args:
        model: Fitted on what was known at ``start``.
        history: Of national intensity.
        start: Midnight of 1 January 2024.
    """
    series = hourly(history, start)
    ahead = own_forecasts(model, history, start, hours=series.size)
    own = played(series, lambda now, length: ahead[now, :length])
    unsure = played(series, lambda now, length: ahead[now, :length], is_patient=False)
    simple = {
        "run below the 28-day mean": threshold_saving(
            ROWS, series=series, first=FIRST, every=EVERY, past=28 * HOURS_A_DAY
        ),
        "plan once, yesterday repeated": planned_once(series, yesterday(series)),
        "plan once, 28-day profile": planned_once(series, profile(series)),
        "plan hourly, 28-day profile": played(series, certain(profile(series)), is_patient=False),
    }
    best = {row: max(found[row] for found in simple.values()) for row in ROWS}
    by_row = {f"{row.work} h + {row.slack} h": own[row] for row in ROWS}
    gains = {row: own[row] - best[row] for row in ROWS}
    data = (
        "recorded GB 2024, hourly means of the published intensity, fitted on 2020-23; share of "
        f"the clairvoyant saving, an arrival every {EVERY} h"
    )
    means = {name: mean_of(found) for name, found in simple.items()}
    quality = shares(corrected_2024().at)
    return [
        Figure(
            "captured_own_mean_pct",
            mean_of(own),
            "%",
            ">= 80",
            {**means, f"{model.name}, doubt left out": mean_of(unsure), **by_row},
            data,
        ),
        Figure(
            "captured_own_min_gain_points",
            min(gains.values()),
            "points",
            ">= 5",
            {f"{row.work} h + {row.slack} h": gain for row, gain in gains.items()},
            f"{data}; above the best simple policy of each row",
        ),
        Figure(
            "captured_provider_quality_mean_pct",
            mean_of(quality),
            "%",
            ">= 90",
            {
                "doubt left out": mean_of(shares(corrected_2024().at, is_patient=False)),
                **{f"{row.work} h + {row.slack} h": share for row, share in quality.items()},
            },
            "GB 2024 hourly (Electricity Maps direct), simulated provider forecast (seed 1), "
            "corrected by its newest errors",
        ),
    ]


def hourly(history: History, start: HalfHour) -> Array:
    """Return the hours of 2024, gCO2/kWh; a missing one is interpolated."""
    halves = history.outturn(start, 366 * 48)
    hours = halves.reshape(-1, 2).mean(axis=1)
    known = np.isfinite(hours)
    return np.asarray(np.interp(np.arange(hours.size), np.flatnonzero(known), hours[known]))


def own_forecasts(model: Forecaster, history: History, start: HalfHour, *, hours: int) -> Array:
    """Return shape ``(hours, LONGEST, len(LEVELS))``, each made when its first hour began."""
    told = np.full((hours, LONGEST, len(LEVELS)), np.nan, dtype=np.float32)
    for now in track(range(FIRST, hours), f"{model.name} every hour"):
        known = history.known_at(start + 2 * now)
        told[now] = model.predict(known, 2 * LONGEST).values.reshape(LONGEST, 2, -1).mean(axis=1)
    return told.astype(np.float64)


def played(
    series: Array, forecast_at: Callable[[int, int], Array], *, is_patient: bool = True
) -> Mapping[Row, float]:
    """Return the share of each row when every hour decides anew."""
    return captured_saving(
        ROWS,
        forecast_at,
        series=series,
        first=FIRST,
        every=EVERY,
        near=NEAR_HOURS,
        is_patient=is_patient,
    )


def planned_once(series: Array, expected: Callable[[int], Array]) -> Mapping[Row, float]:
    """Return the share of each row when the hours are chosen at arrival and kept to, %."""
    return {row: _planned_once(series, expected, row) for row in ROWS}


def _planned_once(series: Array, expected: Callable[[int], Array], row: Row) -> float:
    window = row.work + row.slack
    starts = range(FIRST, series.size - window, EVERY)
    spent = at_once = best = 0.0
    for start in starts:
        values = series[start : start + window]
        chosen = np.argsort(expected(start)[:window], kind="stable")[: row.work]
        spent += float(values[chosen].sum())
        at_once += float(values[: row.work].sum())
        best += float(np.sort(values)[: row.work].sum())
    return 100 * (at_once - spent) / (at_once - best)


def yesterday(series: Array) -> Callable[[int], Array]:
    """Return what the last day tells of the next ``LONGEST`` hours, repeated."""
    return lambda now: np.resize(series[now - HOURS_A_DAY : now], LONGEST)


def profile(series: Array) -> Callable[[int], Array]:
    """Return the usual hours of four weeks, with the present distance from them fading."""

    @cache
    def expected(now: int) -> Array:
        usual = series[now - WEEKS * 7 * HOURS_A_DAY : now].reshape(-1, HOURS_A_DAY).mean(axis=0)
        ahead = np.resize(usual, LONGEST)
        distance = series[now - 1] - usual[-1]
        return np.asarray(ahead + distance * FADING ** np.arange(1, LONGEST + 1))

    return expected


def certain(expected: Callable[[int], Array]) -> Callable[[int, int], Array]:
    """Return a forecast that is sure of itself."""
    return lambda now, length: np.repeat(expected(now)[:length, None], len(LEVELS), axis=1)
