"""One training from the command line: where its data come from, and where the winner goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from gridflex.adapters.clock import Clock
from gridflex.adapters.database import connect, embedded_as_before, ensure_database
from gridflex.adapters.forecasting.history import ForecastHistory
from gridflex.adapters.forecasting.model_store import ModelStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.cli.past import archived_past, observed_past, recorded_past, used_part, used_runs
from gridflex.errors import ContractError, GridFlexError
from gridflex.faults import faults_text
from gridflex.forecasting.archive import ArchivedHistory
from gridflex.forecasting.checks import check_same_level, level_before
from gridflex.forecasting.history import History
from gridflex.forecasting.lineage import Act, Decision, TrainedModel, Training
from gridflex.forecasting.past_runs import RUN_TIMES
from gridflex.halfhour import HalfHour
from gridflex.settings import Settings
from gridflex.signals import Origin, Signal

if TYPE_CHECKING:
    from gridflex.training.tournament import Outcome, Progress, Reigning

REQUEST: Final = "request.json"
OUTCOME: Final = "outcome.json"
LEVEL: Final = "level"
"""Metric of a model: the usual size of its target in the last weeks it learnt from."""

MOST_RUNS: Final = 20_000
"""Jobs that ended last, from which run times are learnt."""

Answer = TypeVar("Answer")


class Target(StrEnum):
    """What forecasters are trained for."""

    CARBON = "carbon"
    PRICE = "price"
    DEMAND = "demand"
    DURATION = "duration"


STORED_AS: Final = {
    Target.CARBON: Signal.INTENSITY.value,
    Target.PRICE: Signal.PRICE.value,
    Target.DEMAND: Signal.OTHER_GPUS.value,
    Target.DURATION: RUN_TIMES,
}
"""Under which target models are kept; the name of the site follows where there is one."""


def stored_as(target: Target, *, site: str | None) -> str:
    """Return under which target models are kept.

    Raises:
        ContractError: Demand is that of a site, and everything else of none.
    """
    if target is Target.DEMAND and site is None:
        raise ContractError("--target demand needs --site: the name of the site whose GPUs it is")
    if target is not Target.DEMAND and site is not None:
        raise ContractError(f"--site {site!r} goes with --target demand only, not with {target}")
    return STORED_AS[target] if site is None else f"{STORED_AS[target]}:{site}"


class Request(BaseModel, frozen=True):
    """What was asked for, so that an interrupted training goes on with the same.

    Attributes:
        target: What to forecast.
        site: Of demand; None otherwise.
        models: Families to search.
        samples: Settings to try for each.
        budget_s: Wall time for the searches.
        days: Length of the part that is held back, and of each stretch.
        stretches: Parts of the past on which settings are chosen.
        recorded: Whether recorded series are learnt from, rather than the archive.
        since: First half-hour that is learnt from; None for the first there is.
        until: First half-hour that is not used.
        gpu: Whether a GPU may be used where there is one.
    """

    target: Target
    site: str | None
    models: tuple[str, ...]
    samples: int
    budget_s: float
    days: int
    stretches: int
    recorded: bool
    since: datetime | None
    until: datetime
    gpu: bool = True


@dataclass(frozen=True, slots=True)
class Stores:
    """What training reads and writes."""

    models: ModelStore
    archive: ForecastHistory
    jobs: JobStore


def with_stores(settings: Settings, act: Callable[[Stores], Awaitable[Answer]]) -> Answer:
    """Return what ``act`` does with the stores of these settings.

    An embedded database that did not run is started for it and ended again.
    """

    async def acted() -> Answer:
        url = await asyncio.to_thread(ensure_database, settings)
        engine = connect(url)
        try:
            models = ModelStore(engine, url=settings.model_url)
            return await act(Stores(models, ForecastHistory(engine), JobStore(engine)))
        finally:
            await engine.dispose()

    with embedded_as_before(settings):
        return asyncio.run(acted())


def interrupted(folder: Path) -> tuple[Path, Request]:
    """Return the last training below ``folder`` that came to no end, and what was asked of it.

    Raises:
        ContractError: There is none.
    """
    begun = [path.parent for path in sorted(folder.glob(f"*/{REQUEST}"), reverse=True)]
    place = next((path for path in begun if not (path / OUTCOME).exists()), None)
    if place is None:
        raise ContractError(f"no training was interrupted in {folder}; leave --resume out")
    asked = place / REQUEST
    try:
        return place, Request.model_validate_json(asked.read_text())
    except ValidationError as error:
        raise ContractError(f"{asked}: {faults_text(error, whole='this')}") from error


def shown(model: TrainedModel) -> dict[str, Any]:
    """Return a model's lineage as JSON."""
    training = model.training
    return {
        "id": model.id,
        "target": str(training.target),
        "model": training.model,
        "settings": dict(training.settings),
        "window_start": str(training.window_start),
        "window_end": str(training.window_end),
        "origin": training.origin.value,
        "code_version": training.code_version,
        "metrics": dict(training.metrics),
        "trained_at": training.trained_at.isoformat(),
        "artefact_url": model.artefact.url,
        "artefact_sha256": model.artefact.sha256,
    }


async def promote(
    stores: Stores, model: TrainedModel, *, over: int | None, reason: str, now: datetime
) -> Decision | None:
    """Make a model the champion of its target; None where it is that already."""
    figures = model.training.metrics
    target = model.training.target
    decision = Decision(target, Act.PROMOTE, model.id, reason, now, figures)
    return decision if await stores.models.decide(decision, over=over) else None


def train(
    settings: Settings,
    request: Request,
    place: Path,
    *,
    resume: bool,
    may_promote: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Train, keep the winner, and make it the champion if it is better; return what to show.

    Args:
        settings: Where data and models are.
        request: What to train.
        place: Where the state of the training is.
        resume: Whether to go on with what is there.
        may_promote: Whether the winner may become the champion.
        progress: Is told how far it is.

    Raises:
        ContractError: There is too little to learn from, or it cannot be right.
        SourceError: Data, database or Ray cannot be reached.
    """
    clock = Clock(settings.clock)
    target = stored_as(request.target, site=request.site)
    reigning = with_stores(settings, lambda stores: _reigning(stores, target))
    hold = _hold_on_runs if request.target is Target.DURATION else _hold_on_history
    held = hold(
        settings, request, _Course(place, resume=resume, reigning=reigning, progress=progress)
    )
    outcome = held.outcome
    is_promoted = outcome.is_better and may_promote
    model = with_stores(
        settings,
        lambda stores: _kept(
            stores,
            _training(held, target, clock.now()),
            outcome,
            over=reigning.model.id if reigning else None,
            may_promote=may_promote,
        ),
    )
    role = "is the champion from now on" if is_promoted else "is kept as a challenger"
    answer = {
        "target": target,
        "until": str(held.end),
        "origin": held.origin.value,
        "rows": [asdict(row) for row in outcome.rows],
        "model": shown(model),
        "promoted": is_promoted,
        "reason": outcome.reason,
        "verdict": f"{model.name} {role}: {outcome.reason}",
    }
    (place / OUTCOME).write_text(json.dumps(answer))
    return answer


@dataclass(frozen=True, slots=True)
class _Course:
    """Under what circumstances a training runs."""

    place: Path
    resume: bool
    reigning: Reigning | None
    progress: Progress

    def begin(self, request: Request) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        (self.place / REQUEST).write_text(request.model_dump_json())


@dataclass(frozen=True, slots=True)
class _Held:
    """What a training came to, and what it rested on."""

    outcome: Outcome
    start: HalfHour
    end: HalfHour
    origin: Origin
    level: float | None = None


def _hold_on_history(settings: Settings, request: Request, course: _Course) -> _Held:
    from gridflex.training.families import family  # noqa: PLC0415 - imports Ray
    from gridflex.training.search import connected  # noqa: PLC0415
    from gridflex.training.tournament import begun_at, cut, hold, known_by  # noqa: PLC0415

    for name in request.models:
        family(name)
    archived = _past(settings, request, now=Clock(settings.clock).now())
    history = archived.history
    start, end = used_part(
        history,
        since=request.since,
        until=request.until,
        days=request.days,
        stretches=request.stretches,
    )
    if start > history.start:
        history = begun_at(history, start)
    history = known_by(history, end)
    plan = cut(history, end, days=request.days, stretches=request.stretches)
    _check_against(course.reigning, history, archived.origin)
    level = level_before(history, end)
    course.begin(request)
    with connected():
        outcome = hold(
            history,
            plan,
            names=request.models,
            samples=request.samples,
            budget_s=request.budget_s,
            folder=course.place,
            resume=course.resume,
            reigning=course.reigning,
            progress=course.progress,
            may_use_gpu=request.gpu,
        )
    return _Held(outcome, history.start, end, archived.origin, level)


def _check_against(reigning: Reigning | None, history: History, origin: Origin) -> None:
    """Refuse what lies a factor from what the champion learnt from, of the same grid."""
    if reigning is None:
        return
    learnt = reigning.model.training
    if (learnt.origin is Origin.SIMULATED) is (origin is Origin.SIMULATED):
        check_same_level(history, learnt.window_end, learnt.metrics.get(LEVEL))


def _hold_on_runs(settings: Settings, request: Request, course: _Course) -> _Held:
    from gridflex.training.durations import hold_on_runs, learnable_runs  # noqa: PLC0415
    from gridflex.training.search import connected  # noqa: PLC0415

    if request.recorded:
        raise ContractError("--recorded has no run times; they are learnt from the jobs that ended")
    found = with_stores(settings, lambda stores: stores.jobs.past_runs(most=MOST_RUNS))
    runs = learnable_runs(used_runs(found, since=request.since, until=request.until))
    course.begin(request)
    with connected():
        outcome = hold_on_runs(
            runs,
            samples=request.samples,
            budget_s=request.budget_s,
            folder=course.place,
            resume=course.resume,
            reigning=course.reigning,
            progress=course.progress,
        )
    start, last = (HalfHour.containing(run.ended_at) for run in (runs[0], runs[-1]))
    return _Held(outcome, start, last + 1, Origin.LIVE)


def _past(settings: Settings, request: Request, *, now: datetime) -> ArchivedHistory:
    target, site = STORED_AS[request.target], request.site
    if site is not None:
        return with_stores(settings, lambda stores: observed_past(stores.archive, site, now=now))
    if request.recorded:
        return recorded_past(target)
    return with_stores(settings, lambda stores: archived_past(stores.archive, target, now=now))


async def _reigning(stores: Stores, target: str) -> Reigning | None:
    from gridflex.training.tournament import Reigning  # noqa: PLC0415 - imports Ray

    standing = await stores.models.champions(target)
    if not standing:
        return None
    try:
        return Reigning(standing[0], await stores.models.read(standing[0]))
    except GridFlexError as error:
        return Reigning(standing[0], None, str(error))


def _training(held: _Held, target: str, now: datetime) -> Training:
    from gridflex.training.version import code_version  # noqa: PLC0415

    return Training(
        target=target,
        model=held.outcome.winner.name,
        settings=held.outcome.winner.settings,
        window_start=held.start,
        window_end=held.end,
        origin=held.origin,
        code_version=code_version(),
        metrics={**held.outcome.winner.figures, **_level(held.level)},
        trained_at=now,
    )


def _level(level: float | None) -> dict[str, float]:
    return {} if level is None else {LEVEL: level}


async def _kept(
    stores: Stores, training: Training, outcome: Outcome, *, over: int | None, may_promote: bool
) -> TrainedModel:
    model = await stores.models.add(training, outcome.state)
    if outcome.is_better and may_promote:
        now = training.trained_at
        await promote(stores, model, over=over, reason=outcome.reason, now=now)
    return model
