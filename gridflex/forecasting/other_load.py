"""Room for work that GridFlex does not steer: GPUs that a plan must leave free.

What is busy with such work is observed at every plan and forecast from those observations; the
plan leaves free what demand stays below with a chosen chance. Until a week has been observed,
what is busy now is taken to stay busy for a few hours.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.demand import LEAST_DAYS, Demand
from gridflex.forecasting.demand_features import DAY
from gridflex.forecasting.forecaster import Forecaster, QuantileForecast
from gridflex.forecasting.history import Array, History, Input, Knowledge
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS
from gridflex.signals import Signal

SAFE_LEVEL: Final = 0.9
"""Nine half-hours in ten need no more room than is left."""

REMEMBERED_HALF_HOURS: Final = 60 * DAY
REFIT_HALF_HOURS: Final = DAY

_NONE_GPUS: Final = 0.1

AS_NOW_HALF_HOURS: Final = 8
"""Up to 4 h ahead yesterday's load predicts worse than the present one (cluster traces, 0.04-0.33
nMAE)."""


def known_load(observed: Array, start: HalfHour) -> Knowledge:
    """Return what is known when ``start`` begins.

    Args:
        observed: GPUs busy in the half-hours before ``start``, NaN where nobody looked.
        start: The first half-hour ahead.
    """
    inputs = {Signal.OTHER_GPUS.value: Input.outturn(observed)}
    history = History(start - observed.size, Signal.OTHER_GPUS.value, inputs)
    return history.known_at(start)


def as_now(busy: int, half_hours: int) -> Array:
    """Return the room to leave where nothing else is known: what is busy now, for a few hours."""
    room = np.zeros(half_hours)
    room[:AS_NOW_HALF_HOURS] = busy
    return room


def steady(known: Knowledge, half_hours: int) -> Array | None:
    """Return the room for a load that was the same all of the last week and more, if it was."""
    recent = known.window(known.target, -LEAST_DAYS * DAY, LEAST_DAYS * DAY)
    told = recent[np.isfinite(recent)]
    is_steady = told.size >= recent.size / 2 and np.ptp(told) == 0
    return np.full(half_hours, told[0]) if is_steady else None


def fitted(known: Knowledge) -> Forecaster | None:
    """Return a forecaster of the load, or None where too little is known to learn from."""
    model = Demand()
    try:
        model.fit(known)
    except ContractError:
        return None
    return model


def room(forecast: QuantileForecast, *, level: float) -> Array:
    """Return whole GPUs that the load stays within with chance ``level``.

    Between the levels of the forecast the room is interpolated; less than a tenth of a GPU is
    within what a forecast can tell, and is none.
    """
    needed = [np.interp(level, LEVELS, row) for row in forecast.values]
    return np.ceil(np.array(needed) - _NONE_GPUS)
