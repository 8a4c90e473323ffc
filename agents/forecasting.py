"""Forecasts of our own: the champion of each signal says, once each half-hour, what it expects.

A champion that cannot be read, or that cannot forecast, costs nothing but itself: the champion
before it takes its place, then nobody, and the report says why. The providers' forecasts and the
usual level are there all the while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np

from gridflex.agents.grid import OwnLeads, never_first
from gridflex.errors import ContractError, GridFlexError
from gridflex.forecasting import models
from gridflex.forecasting.archive import OWN, ArchivedHistory
from gridflex.forecasting.backtest import LEAD_GROUPS
from gridflex.forecasting.forecaster import (
    FAR_HALF_HOURS,
    NEAR_HALF_HOURS,
    Forecaster,
    QuantileForecast,
)
from gridflex.forecasting.history import Knowledge
from gridflex.forecasting.lineage import TrainedModel
from gridflex.forecasting.skill import Rank, SkillRow, preferred
from gridflex.halfhour import HalfHour
from gridflex.settings import ForecastSettings
from gridflex.signals import BOUNDS, NATIONAL, Kind, Series, Signal

log = logging.getLogger(__name__)

SIGNALS: Final = (Signal.INTENSITY, Signal.PRICE)
"""What plans are made from."""

SERVED_DAYS: Final = 112
"""How far back a forecast looks: `lightgbm` sixteen weeks, the others less."""

VINTAGES_EVERY: Final = timedelta(hours=2)
"""Of what the providers forecast before, one vintage in so long is looked at."""

RANK_EVERY: Final = timedelta(hours=6)


class Models(Protocol):
    """Where trained forecasters are kept."""

    async def champions(self, target: str) -> Sequence[TrainedModel]:
        """Return the champions of one target that still count, the present one first."""
        ...

    async def read(self, model: TrainedModel) -> bytes:
        """Return the fitted state of a model, if it is still what was stored."""
        ...


class Archive(Protocol):
    """What was said of the grid, and when."""

    async def read(
        self, target: str, *, since: HalfHour, now: datetime, every: timedelta
    ) -> ArchivedHistory:
        """Return what was known at ``now`` of everything from ``since`` on."""
        ...

    async def skill(self, signal: Signal, *, now: datetime, days: int) -> Sequence[SkillRow]:
        """Return the skill board of one signal over the last days."""
        ...


class Issues(Protocol):
    """Where issued forecasts are kept."""

    async def save_series(self, series: Sequence[Series]) -> None:
        """Keep them."""
        ...


class Ranks(Protocol):
    """Where it is kept whose forecast goes first."""

    async def newest(self, signal: Signal, *, now: datetime) -> Rank | None:
        """Return what was decided last by ``now``."""
        ...

    async def add(self, rank: Rank) -> None:
        """Keep a decision."""
        ...


@dataclass(frozen=True, slots=True)
class OwnReport:
    """How our own forecasts of one signal stand.

    Args:
        source: Whose forecast was issued last; empty if there is no champion that can.
        degraded: Why the champion did not make it; empty if it did, or there is none.
    """

    source: str = ""
    degraded: str = ""


class OwnForecasts:
    """Issues forecasts with the champions, and ranks them by measured skill.

    Args:
        models: Trained forecasters.
        archive: What they forecast from.
        issues: Where forecasts go.
        ranks: Where it is kept which of them go first.
        skill_days: Over how many days skill is measured.
        signals: What to forecast.
    """

    def __init__(
        self,
        *,
        models: Models,
        archive: Archive,
        issues: Issues,
        ranks: Ranks,
        skill_days: int,
        signals: Sequence[Signal] = SIGNALS,
    ) -> None:
        self._models = models
        self._archive = archive
        self._issues = issues
        self._ranks = ranks
        self._skill_days = skill_days
        self._issued: dict[Signal, HalfHour] = {}
        self._loaded: dict[Signal, tuple[int, Forecaster]] = {}
        self._reports = dict.fromkeys(signals, OwnReport())

    async def tick(self, now: datetime) -> dict[Signal, OwnReport]:
        """Forecast what was not forecast in this half-hour yet.

        Args:
            now: GridFlex time.

        Raises:
            SourceError: The database cannot be reached; a model never raises.
        """
        running = HalfHour.containing(now)
        for signal in self._reports:
            if self._issued.get(signal) != running:
                self._reports[signal] = await self._forecast(signal, now)
                self._issued[signal] = running
        return dict(self._reports)

    async def _forecast(self, signal: Signal, now: datetime) -> OwnReport:
        champions = await self._models.champions(signal)
        if not champions:
            return OwnReport()
        running = HalfHour.containing(now)
        archived = await self._archive.read(
            signal, since=running - SERVED_DAYS * 48, now=now, every=VINTAGES_EVERY
        )
        known = archived.history.known_at(running)
        failures = []
        for model in champions:
            try:
                name, made = await self._made_by(model, known, signal)
                series = _series(made, signal, archived, now, name=name)
            except GridFlexError as error:
                failures.append(str(error))
            except Exception as error:  # a model must not stop the agent
                log.exception("%s is broken", model.name)
                failures.append(f"{model.name}: {type(error).__name__}: {error}")
            else:
                if made.model != name:  # an ensemble says who of it is missing
                    failures.append(f"{model.name} is only {made.model}")
                await self._issues.save_series([series])
                await self._rank(signal, series.source, now)
                return OwnReport(series.source, "; ".join(failures))
        log.warning("no own forecast of %s: %s", signal, failures)
        return OwnReport("", "; ".join(failures))

    async def _made_by(
        self, model: TrainedModel, known: Knowledge, signal: Signal
    ) -> tuple[str, QuantileForecast]:
        state = await self._models.read(model)  # each time: a state that was changed is not used
        loaded, forecaster = self._loaded.get(signal, (None, None))
        if forecaster is None or loaded != model.id:
            forecaster = await asyncio.to_thread(models.load, state)
            self._loaded[signal] = (model.id, forecaster)
        return forecaster.name, await asyncio.to_thread(furthest, forecaster, known)

    async def _rank(self, signal: Signal, source: str, now: datetime) -> None:
        last = await self._ranks.newest(signal, now=now)
        if last is not None and last.source == source and now - last.at < RANK_EVERY:
            return
        board = await self._archive.skill(signal, now=now, days=self._skill_days)
        leads = tuple(preferred(board, source=source))
        await self._ranks.add(Rank(signal, source, leads, at=now, board=tuple(board)))


class MeasuredLeads:
    """Lets our own forecast go first where the skill board says that it is better.

    Args:
        ranks: Where that is kept.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    async def __call__(self, signal: Signal, *, source: str, now: datetime) -> Sequence[str]:
        """See `gridflex.agents.grid.OwnLeads`."""
        rank = await self._ranks.newest(signal, now=now)
        return rank.leads if rank is not None and rank.source == source else ()


async def always_first(signal: Signal, *, source: str, now: datetime) -> Sequence[str]:  # noqa: ARG001
    """Let our own forecast go first wherever it says something."""
    return tuple(LEAD_GROUPS)


def own_leads(settings: ForecastSettings, ranks: Ranks) -> OwnLeads:
    """Return where our own forecast goes first by the settings."""
    if settings.rank == "measured":
        return MeasuredLeads(ranks)
    return always_first if settings.rank == "first" else never_first


def furthest(forecaster: Forecaster, known: Knowledge) -> QuantileForecast:
    """Return the forecast of nine days, or of the two that a forecaster reaches at least.

    Raises:
        ContractError: It cannot forecast.
    """
    try:
        return forecaster.predict(known, FAR_HALF_HOURS)
    except ContractError:
        return forecaster.predict(known, NEAR_HALF_HOURS)


def _series(
    made: QuantileForecast,
    signal: Signal,
    archived: ArchivedHistory,
    now: datetime,
    *,
    name: str,
) -> Series:
    quantiles = np.clip(made.values, *BOUNDS[signal])
    return Series(
        signal=signal,
        kind=Kind.FORECAST,
        source=f"{OWN}{name}",
        origin=archived.origin,
        region=NATIONAL,
        start=made.start,
        values=np.clip(made.median, *BOUNDS[signal]),
        issued_at=now,
        available_at=now,
        quantiles=quantiles,
    )
