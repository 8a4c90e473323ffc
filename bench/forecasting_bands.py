"""Bands as the grid agent serves them: each forecast with those of its model's newest errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridflex.forecasting.backtest import Backtest
from gridflex.forecasting.doubt import LEARNT_DAYS, Doubts, doubted, learnt
from gridflex.forecasting.history import Array
from gridflex.forecasting.skill import Said
from gridflex.halfhour import HalfHour
from gridflex.quantiles import MEDIAN
from gridflex.signals import BOUNDS, NATIONAL, Kind, Origin, Series, Signal

KNOWN_AFTER = 2
"""Half-hours from its start after which every outturn is known."""


def as_banded(told: Backtest) -> Backtest:
    """Return a backtest with the bands that its errors gave it at the time.

    Each forecast is given those of the sixty days before, as far as outturns were known when it
    was made; before there is a week of them it keeps its own.
    """
    return replace(told, values=np.array([_banded(told, at) for at in range(len(told.origins))]))


def _banded(told: Backtest, at: int) -> Array:
    now = told.origins[at]
    own = _series(told, at)
    past = [
        place
        for place, origin in enumerate(told.origins[:at])
        if origin.until(now) <= LEARNT_DAYS * 48
    ]
    if not past:
        return told.values[at]
    origins = [told.origins[place] for place in past]
    said = Said(told.model, told.values[past][..., MEDIAN], told.values[past])
    outturns = np.array([_known(told, place, now) for place in past])
    found = learnt(said, origins, outturns)
    doubts = Doubts(own.signal, now.start, {} if found is None else {told.model: found})
    return doubted(own, doubts).window_quantiles(now, len(own))


def _known(told: Backtest, place: int, now: HalfHour) -> Array:
    """What had come by ``now`` of the half-hours that an earlier forecast spoke of."""
    ends = np.arange(told.outturns.shape[1]) + KNOWN_AFTER
    is_known = ends <= told.origins[place].until(now)
    return np.asarray(np.where(is_known, told.outturns[place], np.nan))


def _series(told: Backtest, at: int) -> Series:
    """What the grid agent would store: nothing that the signal cannot be."""
    issued, signal = told.origins[at].start, Signal(told.target)
    possible = np.clip(told.values[at], *BOUNDS[signal])
    return Series(
        signal=signal,
        kind=Kind.FORECAST,
        source=told.model,
        origin=Origin.RECORDED,
        region=NATIONAL,
        start=told.origins[at],
        values=possible[:, MEDIAN],
        issued_at=issued,
        available_at=issued,
        quantiles=possible,
    )
