"""Ray Tune over the settings of one family: asynchronous halving, and resumable."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

from gridflex.errors import ContractError, SourceError
from gridflex.training.families import Family
from gridflex.training.trial import FOLDS, MAE, PINBALL

ADDRESS_VARIABLE: Final = "RAY_ADDRESS"
SAVED_EVERY_S: Final = 1
"""How much of a search can be lost when it is killed; by default Tune saves after 10 s or more."""

_TUNE: Final = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(SAVED_EVERY_S),
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    Args:
        settings: The best of those that were scored on most stretches; none, which takes the
            usual ones, where time was up before any was.
        trials: How many settings were tried.
        stopped_early: How many of them were given up before the last stretch.
        failed: How many of them raised.
        mae: Mean absolute error of the best, over the stretches; NaN where time was up.
        pinball: Mean pinball loss of the best.
    """

    settings: Mapping[str, Any]
    trials: int
    stopped_early: int
    failed: int
    mae: float
    pinball: float


SEED: Final = 1
"""The same contest draws the same settings."""


class _Progress(tune.Callback):
    """Tells whoever listens whenever a trial has done a stretch, or has ended before the last.

    Tune stores it with the search; the listener, a thing of this process, is the class's.
    """

    listener: ClassVar[Callable[[int], None]] = staticmethod(lambda _steps: None)

    def __init__(self, stretches: int) -> None:
        self._stretches = stretches
        self._done: dict[str, int] = {}

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        result: dict[str, Any],
        **_info: object,
    ) -> None:
        self._count(trial, int(result[FOLDS]))

    def on_trial_complete(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        **_info: object,
    ) -> None:
        self._count(trial, self._stretches)

    def on_trial_error(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        **_info: object,
    ) -> None:
        self._count(trial, self._stretches)

    def _count(self, trial: Trial, done: int) -> None:
        type(self).listener(done - self._done.get(trial.trial_id, 0))
        self._done[trial.trial_id] = done


@contextmanager
def connected() -> Iterator[None]:
    """Use the cluster that ``RAY_ADDRESS`` names, as in a Ray job, else one of our own."""
    if ray.is_initialized():
        yield
        return
    given = os.environ.get(ADDRESS_VARIABLE)
    options: dict[str, Any] = {"include_dashboard": False} if given is None else {}
    try:
        ray.init(given or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SourceError(f"Ray at {given or 'this machine'}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True, slots=True)
class Contest:
    """What is searched.

    Args:
        name: Of the family.
        space: Setting to what Tune may try for it; none is tried once, as it is.
        trial: Scores settings on one stretch after another and reports after each.
        stretches: How many there are.
        gpus: What one trial takes.
    """

    name: str
    space: Mapping[str, Any]
    trial: Callable[[Mapping[str, Any]], None]
    stretches: int
    gpus: int = 0


def search(
    contest: Contest,
    *,
    samples: int,
    budget_s: float,
    folder: Path,
    resume: bool,
    advance: Callable[[int], None],
) -> Found:
    """Return the best settings of a family.

    Args:
        contest: What is tried.
        samples: How many settings to try; one if there is nothing to set.
        budget_s: Wall time after which no trial goes on.
        folder: Where Tune keeps its state.
        resume: Go on with what an interrupted search left in ``folder``.
        advance: Told of every stretch that is done or given up.

    Raises:
        ContractError: Every trial failed; says why the first one did.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _TUNE.items()})
    _Progress.listener = staticmethod(advance)
    run = tune.RunConfig(
        name=contest.name,
        storage_path=str(folder),
        verbose=0,
        callbacks=[_Progress(contest.stretches)],
    )
    trainable = tune.with_resources(contest.trial, {"cpu": 1, "gpu": contest.gpus})
    path = folder / contest.name
    if resume and _is_saved(path):
        tuner = tune.Tuner.restore(str(path), trainable, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=dict(contest.space),
            tune_config=tune.TuneConfig(
                search_alg=BasicVariantGenerator(random_state=SEED),
                metric=PINBALL,
                mode="min",
                num_samples=samples if contest.space else 1,
                max_concurrent_trials=_at_once(),
                time_budget_s=budget_s,
                scheduler=_halving(contest.stretches),
            ),
            run_config=run,
        )
    return _found(tuner.fit(), stretches=contest.stretches, name=contest.name)


def _is_saved(path: Path) -> bool:
    """Whether Tune has saved more than what was asked: without it, it would try one setting."""
    return tune.Tuner.can_restore(str(path)) and any(path.glob("experiment_state-*.json"))


def _halving(stretches: int) -> ASHAScheduler:
    """After each stretch the better half goes on."""
    return ASHAScheduler(
        time_attr=FOLDS, max_t=max(stretches, 2), grace_period=1, reduction_factor=2
    )


def gpus_of(family: Family) -> int:
    """Return how many GPUs one fit takes on this cluster."""
    return 1 if family.uses_gpu and _resource("GPU") >= 1 else 0


def _at_once() -> int:
    """One CPU each, and one left for those who are not here to train."""
    return max(1, int(_resource("CPU")) - 1)


def _resource(name: str) -> float:
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    return there.get(name, 0.0)


def _each(results: tune.ResultGrid) -> Iterator[tune.Result]:
    return (results[place] for place in range(len(results)))


def _found(results: tune.ResultGrid, *, stretches: int, name: str) -> Found:
    scored = [result for result in _each(results) if result.metrics and FOLDS in result.metrics]
    if not scored and results.errors:
        why = str(results.errors[0]).strip().splitlines()[-1]
        raise ContractError(f"{name}: no settings could be scored: {why}")
    if not scored:  # there was no time; its usual settings may still be the best of all
        return Found({}, len(results), len(results), 0, math.nan, math.nan)
    metrics = [dict(result.metrics or {}) for result in scored]
    furthest = max(one[FOLDS] for one in metrics)
    best = min((m for m in metrics if m[FOLDS] == furthest), key=lambda one: float(one[PINBALL]))
    return Found(
        settings=best["config"],
        trials=len(results),
        stopped_early=sum(one[FOLDS] < stretches for one in metrics),
        failed=len(results.errors),
        mae=float(best[MAE]),
        pinball=float(best[PINBALL]),
    )
