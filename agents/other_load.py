"""Observes and forecasts, for the orchestration engine, the work that GridFlex does not steer."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import numpy as np

from gridflex.agents.observations import Observations
from gridflex.forecasting.forecaster import Forecaster, QuantileForecast
from gridflex.forecasting.history import Array
from gridflex.forecasting.other_load import (
    REFIT_HALF_HOURS,
    REMEMBERED_HALF_HOURS,
    SAFE_LEVEL,
    as_now,
    fitted,
    known_load,
    room,
    steady,
)
from gridflex.halfhour import HalfHour
from gridflex.signals import Kind, Origin, Series, Signal

OBSERVED: Final = "gridflex/observed"
FORECAST: Final = "gridflex/demand"


class OtherLoad:
    """Says how many GPUs of a site a plan must leave to others.

    Fitted models are kept for a day; they can be had again from the observations at any time.
    Of its forecasts the first in each half-hour is stored.

    Args:
        store: Where observations and forecasts are kept.
        level: Chance with which the others shall find room.
    """

    def __init__(self, store: Observations, *, level: float = SAFE_LEVEL) -> None:
        self._store = store
        self._level = level
        self._models: dict[str, tuple[HalfHour, Forecaster | None]] = {}
        self._kept: dict[str, HalfHour] = {}

    async def room(
        self, site: str, *, busy: int | None, now: datetime, start: HalfHour, half_hours: int
    ) -> Array:
        """Return the GPUs to leave free from ``start`` on, shape ``(half_hours,)``.

        Args:
            site: Its name.
            busy: GPUs that others use now; None where the site could not be asked.
            now: GridFlex time, in the half-hour before ``start``.
            start: First half-hour of the plan.
            half_hours: How far it looks.

        Raises:
            SourceError: The database cannot be reached.
        """
        if busy is not None:
            await self._store.save_series([_observation(site, busy, now)])
        seen = await self._store.outturn(
            Signal.OTHER_GPUS,
            region=site,
            source=OBSERVED,
            start=start - REMEMBERED_HALF_HOURS,
            half_hours=REMEMBERED_HALF_HOURS,
            known_at=now,
        )
        if seen is None:
            return as_now(busy or 0, half_hours)
        known = known_load(seen.values, start)
        same = steady(known, half_hours)
        if same is not None:
            return same
        model = await self._model(site, seen.values, start)
        if model is None:
            return as_now(busy or 0, half_hours)
        forecast = await asyncio.to_thread(model.predict, known, half_hours)
        if self._kept.get(site) != start:
            await self._store.save_series([_issued(site, forecast, now)])
            self._kept[site] = start
        return room(forecast, level=self._level)

    async def _model(self, site: str, observed: Array, start: HalfHour) -> Forecaster | None:
        fitted_at, model = self._models.get(site, (None, None))
        if fitted_at is None or fitted_at.until(start) >= REFIT_HALF_HOURS:
            model = await asyncio.to_thread(fitted, known_load(observed, start))
            self._models[site] = (start, model)
        return model


def _observation(site: str, busy: int, now: datetime) -> Series:
    return Series(
        signal=Signal.OTHER_GPUS,
        kind=Kind.OUTTURN,
        source=OBSERVED,
        origin=Origin.LIVE,
        region=site,
        start=HalfHour.containing(now),
        values=np.array([float(busy)]),
        issued_at=now,
        available_at=now,
    )


def _issued(site: str, forecast: QuantileForecast, now: datetime) -> Series:
    """Return the forecast for the archive; it knows what was observed until now."""
    return Series(
        signal=Signal.OTHER_GPUS,
        kind=Kind.FORECAST,
        source=FORECAST,
        origin=Origin.COMPUTED,
        region=site,
        start=forecast.start,
        values=forecast.median,
        issued_at=now,
        available_at=now,
        quantiles=forecast.values,
    )
