"""``/v1/forecasts``: how good the issued forecasts have been, and which models make ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel

from gridflex.forecasting.lineage import Decision, Standing, TrainedModel, standing_of
from gridflex.forecasting.skill import MOST_DAYS, SCORED, Rank, Scored, SkillRow
from gridflex.halfhour import HalfHour
from gridflex.serve.clock import Clock
from gridflex.signals import Origin, Signal

Days = Annotated[
    int,
    Query(ge=1, le=MOST_DAYS, description=f"How far back issue times go, days, 1 to {MOST_DAYS}."),
]
OneSignal = Annotated[Scored, Query(description=f"What was forecast: {', '.join(Scored)}.")]


class Archive(Protocol):
    """What was said of the grid, and when."""

    async def skill(self, signal: Signal, *, now: datetime, days: int) -> Sequence[SkillRow]:
        """Return the skill board of one signal over the last days."""
        ...


class Ranks(Protocol):
    """Where it is kept whose forecast goes first."""

    async def newest(self, signal: Signal, *, now: datetime) -> Rank | None:
        """Return what was decided last by ``now``."""
        ...


class Models(Protocol):
    """Where trained forecasters are kept."""

    async def all(self, target: str | None = None) -> Sequence[TrainedModel]:
        """Return every model, or those of one target, the newest first."""
        ...

    async def decisions(self, target: str) -> Sequence[Decision]:
        """Return every decision about one target's models, the oldest first."""
        ...


class SourceSkill(BaseModel):
    """How wrong one source was in one group of lead times; errors in the unit of the signal.

    Attributes:
        source: Provider and product, ``gridflex/…`` for ours, ``persistence`` or ``climatology``.
        lead: Group of lead times, such as ``6-12h``.
        count: Pairs of issue time and half-hour scored: those that every source spoke of.
        half_hours: Different half-hours among them.
        count_alone: Pairs that this source spoke of, whatever the others did.
        mae: Mean absolute error; null where nothing is scored, like all below.
        rmse: Root mean square error.
        bias: Mean of forecast less outturn.
        pinball: Mean pinball loss; null where the source does not say how sure it is.
        coverage_fraction: Per cent of a band to the part of outturns inside it.
        served_pinball: Mean pinball loss of the bands that plans were made with, over the pairs
            for which there was one; null where there never was.
        served_coverage_fraction: Of these, as above.
    """

    source: str
    lead: str
    count: int
    half_hours: int
    count_alone: int
    mae: float | None
    rmse: float | None
    bias: float | None
    pinball: float | None
    coverage_fraction: dict[int, float]
    served_pinball: float | None
    served_coverage_fraction: dict[int, float]


class SkillBoard(BaseModel):
    """Every source of one signal on the same half-hours.

    Attributes:
        now: GridFlex time of the answer.
        signal: What was forecast, with its unit.
        days: How far back issue times go.
        own_first: Groups of leads in which our own forecast goes before the providers', as the
            grid agent last found.
        own_source: Whose forecast that is; null if none was ranked.
        rows: Nearest leads first.
    """

    now: datetime
    signal: Signal
    days: int
    own_first: list[str]
    own_source: str | None
    rows: list[SourceSkill]


class Model(BaseModel):
    """One trained forecaster.

    Attributes:
        id: Its number.
        target: What it forecasts, with its unit.
        model: Kind of forecaster.
        standing: ``champion``, ``challenger`` or ``retired``.
        settings: What it was made with.
        window_start: First half-hour it learnt from.
        window_end: First half-hour after those.
        origin: What the data rested on.
        code_version: Release, and digest of the forecasting code.
        metrics: Its figures on the rolling backtest.
        trained_at: GridFlex time.
        artefact_url: Where its state is.
        artefact_sha256: Digest of its state.
    """

    id: int
    target: str
    model: str
    standing: Standing
    settings: dict[str, Any]
    window_start: datetime
    window_end: datetime
    origin: Origin
    code_version: str
    metrics: dict[str, float]
    trained_at: datetime
    artefact_url: str
    artefact_sha256: str


class ModelList(BaseModel):
    """Trained forecasters, the newest first.

    Attributes:
        models: They.
    """

    models: list[Model]


def create_forecasts_router(
    archive: Archive, ranks: Ranks, models: Models, clock: Clock
) -> APIRouter:
    """Return the paths below ``/forecasts``.

    Args:
        archive: Issued forecasts and outturns.
        ranks: Whose forecast goes first.
        models: Trained forecasters.
        clock: GridFlex time.
    """
    api = APIRouter(prefix="/forecasts", tags=["forecasts"])
    boards: dict[tuple[Signal, int], tuple[HalfHour, Sequence[SkillRow]]] = {}

    @api.get("/skill")
    async def skill(days: Days = 14, signal: OneSignal = Scored.INTENSITY) -> SkillBoard:
        """How good every source's forecasts have been.

        Ours and the providers' archived forecasts against what came, on the same half-hours, by
        how far ahead they were; in the unit of the signal. Made once a half-hour.
        """
        now, wanted = clock.now(), SCORED[signal]
        running = HalfHour.containing(now)
        made, rows = boards.get((wanted, days), (None, ()))
        if made != running:
            rows = await archive.skill(wanted, now=now, days=days)
            boards[wanted, days] = running, rows
        rank = await ranks.newest(wanted, now=now)
        return SkillBoard(
            now=now,
            signal=wanted,
            days=days,
            own_first=list(rank.leads) if rank else [],
            own_source=rank.source if rank else None,
            rows=[SourceSkill.model_validate(row, from_attributes=True) for row in rows],
        )

    @api.get("/models")
    async def trained() -> ModelList:
        """List trained forecasters, the newest first.

        What each learnt from, its figures on the backtest, and whether it is the one that
        forecasts.
        """
        found = await models.all()
        targets = {one.training.target for one in found}
        decided = {target: await models.decisions(target) for target in targets}
        return ModelList(
            models=[_model(one, standing_of(one.id, decided[one.training.target])) for one in found]
        )

    return api


def _model(one: TrainedModel, standing: Standing) -> Model:
    training = one.training
    return Model(
        id=one.id,
        target=training.target,
        model=training.model,
        standing=standing,
        settings=dict(training.settings),
        window_start=training.window_start.start,
        window_end=training.window_end.start,
        origin=training.origin,
        code_version=training.code_version,
        metrics=dict(training.metrics),
        trained_at=training.trained_at,
        artefact_url=one.artefact.url,
        artefact_sha256=one.artefact.sha256,
    )
