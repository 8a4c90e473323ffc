"""How near the last rung of the ladder is: the usual level against its two parts.

``python bench/usual_level.py`` forecasts two days from every 37th half-hour of 2022-23 by the
mean of 28 days, by yesterday, and by the mean of both, and scores them on the recorded series
in ``GRIDFLEX_SHARED``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results_file import Figure, publish
from rich.progress import track

from gridflex.forecasting.naive import climatology, persistence, usual_level
from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.recorded import TABLE, read_world
from gridflex.sandbox.grid.world import Values, World
from gridflex.signals import NATIONAL, Kind, Series, Signal

FIRST, LAST = (
    HalfHour(datetime(2022, 1, 1, tzinfo=UTC)),
    HalfHour(datetime(2023, 12, 30, tzinfo=UTC)),
)
STEP, DAY = 37, 48
FORECASTS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "usual level": usual_level,
    "mean of 28 days": climatology,
    "yesterday": persistence,
}


def main() -> None:
    """Score and publish."""
    folder = Path(os.environ.get("GRIDFLEX_SHARED", "../shared")) / "data" / "grid"
    if not (folder / TABLE).exists():
        sys.exit(f"no recorded series at {folder / TABLE}; set GRIDFLEX_SHARED")
    world = read_world(folder)
    publish(
        "usual_level",
        [
            *figures(
                "intensity",
                "gCO2/kWh",
                history(world, Signal.INTENSITY, world.intensity_gco2_per_kwh),
            ),
            *figures("price", "GBP/MWh", history(world, Signal.PRICE, world.mid_gbp_per_mwh)),
        ],
    )


def history(world: World, signal: Signal, values: Values) -> Series:
    """Return a recorded series as the agent knows it."""
    return Series(
        signal=signal,
        kind=Kind.OUTTURN,
        source=TABLE,
        origin=world.origin,
        region=NATIONAL,
        start=world.start,
        values=values,
        issued_at=world.end.start,
        available_at=world.end.start,
    )


def figures(name: str, unit: str, truth: Series) -> list[Figure]:
    """Return the mean absolute errors of the first day and of the second."""
    starts = [FIRST + i for i in range(0, FIRST.until(LAST), STEP)]
    errors = {forecast: np.zeros((len(starts), 2)) for forecast in FORECASTS}
    for row, start in enumerate(track(starts, name)):
        told = truth.window(start, 2 * DAY)
        for forecast, make in FORECASTS.items():
            missed = np.abs(make(truth, start=start, half_hours=2 * DAY) - told)
            errors[forecast][row] = np.nanmean(missed[:DAY]), np.nanmean(missed[DAY:])
    means = {forecast: missed.mean(axis=0) for forecast, missed in errors.items()}
    return [
        Figure(
            f"{name}_mean_abs_error_day_{day + 1}",
            float(means["usual level"][day]),
            unit,
            None,
            {peer: float(means[peer][day]) for peer in ("mean of 28 days", "yesterday")},
            f"recorded GB 2022-23, {len(starts)} starts",
        )
        for day in range(2)
    ]


if __name__ == "__main__":
    main()
