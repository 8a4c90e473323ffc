"""How run times are learnt best: settings are searched on the runs that ended, each told before.

Run times are learnt from every run that ends, so nothing is fitted here; what is chosen is how many
runs of each kind are remembered and how soon a kind speaks for itself. Every run is forecast from
those that ended before it, and the last part of the runs is held back for the comparison. Errors
are in natural logarithms of seconds: 0.1 is about a tenth of the run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
from ray import tune

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.history import Array
from gridflex.forecasting.past_runs import PastRun
from gridflex.forecasting.run_times import ALL, KEPT_RUNS, PRIOR_RUNS, Kind, RunTimes, kinds_of
from gridflex.run_time import RUN_TIME_LEVELS
from gridflex.training.search import Contest, search
from gridflex.training.tournament import CHAMPION, Outcome, Progress, Reigning, Row, verdict
from gridflex.training.trial import MAE, PINBALL, report_each

NAME: Final = "run-times"
PARTS: Final = 4
"""The runs in order of time: two parts to choose settings on, after a first to begin with, and
one to compare."""

LEAST_RUNS: Final = 80

DEFAULTS: Final[Mapping[str, Any]] = {"kept": KEPT_RUNS, "prior_runs": PRIOR_RUNS}
_SPACE: Final = {
    "kept": tune.choice([16, 32, 64, 128, 256]),
    "prior_runs": tune.loguniform(0.1, 10.0),
}

Kinds = Callable[[PastRun], tuple[Kind, ...]]


def hold_on_runs(
    past: Sequence[PastRun],
    *,
    samples: int,
    budget_s: float,
    folder: Path,
    resume: bool,
    reigning: Reigning | None,
    progress: Progress,
) -> Outcome:
    """Search, compare and choose; Ray must be connected.

    Args:
        past: Jobs that have ended, in any order.
        samples: Settings to try.
        budget_s: Wall time for the search.
        folder: Where Tune keeps its state.
        resume: Go on with what an interrupted search left there.
        reigning: The champion; None if there is none.
        progress: Is told how far it is.

    Raises:
        ContractError: Too few runs have ended, or all took as long.
    """
    runs = learnable_runs(past)
    edges = [len(runs) * part // PARTS for part in range(PARTS + 1)]
    chosen_on = [(edges[part], edges[part + 1]) for part in range(1, PARTS - 1)]
    shared = ray.put(runs)

    def trial(settings: Mapping[str, Any]) -> None:
        told = ray.get(shared)

        def on(part: tuple[int, int]) -> dict[str, float]:
            figures = score_runs(told, settings, first=part[0], after=part[1])
            return {name: figures[name] for name in (MAE, PINBALL)}

        report_each(chosen_on, on)

    progress.begin(f"{NAME}: settings", samples * len(chosen_on))
    found = search(
        Contest(NAME, _SPACE, trial, len(chosen_on)),
        samples=samples,
        budget_s=budget_s,
        folder=folder,
        resume=resume,
        advance=progress.advance,
    )
    note = f"{found.trials} settings tried, {found.stopped_early} given up early"
    entries = [
        (Row(NAME, found.settings, note=note), of_run),
        (Row("defaults", DEFAULTS, note="what counts without a champion"), of_run),
        (Row("all jobs alike", DEFAULTS, note="baseline"), lambda _run: (ALL,)),
    ]
    if reigning is not None:
        entries.append((Row(CHAMPION, reigning.model.training.settings), of_run))
    progress.begin("comparison", len(entries))
    rows = []
    for entry, kinds in entries:
        figures = score_runs(runs, entry.settings, first=edges[-2], after=edges[-1], kinds=kinds)
        rows.append(replace(entry, figures=figures))
        progress.advance()
    ranked = sorted(rows, key=lambda row: row.figures[PINBALL])
    is_better, reason = verdict(rows[0], ranked, reigning)
    return Outcome(tuple(ranked), rows[0], state_of(found.settings), is_better, reason)


def learnable_runs(past: Sequence[PastRun]) -> list[PastRun]:
    """Return the runs that succeeded, the oldest end first.

    Raises:
        ContractError: They are too few, or all took as long.
    """
    runs = sorted(
        (run for run in past if run.has_succeeded and run.run_time.total_seconds() > 0),
        key=lambda run: run.ended_at,
    )
    if len(runs) < LEAST_RUNS:
        raise ContractError(f"{len(runs)} runs have succeeded, {LEAST_RUNS} are needed")
    if len({run.run_time for run in runs}) == 1:
        raise ContractError(f"all {len(runs)} runs took {runs[0].run_time}: nothing to learn")
    return runs


def of_run(run: PastRun) -> tuple[Kind, ...]:
    """Return the kinds that a run belongs to."""
    return kinds_of(entrypoint=run.entrypoint, team=run.team, gpus=run.gpus)


def score_runs(
    runs: Sequence[PastRun],
    settings: Mapping[str, Any],
    *,
    first: int,
    after: int,
    kinds: Kinds = of_run,
) -> dict[str, float]:
    """Return how wrong the run times of some runs were told by those that ended before.

    Args:
        runs: In order of their ends.
        settings: Of `RunTimes`.
        first: Index of the first run that is scored.
        after: Index of the run after the last.
        kinds: To which kinds a run belongs.
    """
    learned = RunTimes(**settings)
    told, truth = [], []
    for index, run in enumerate(runs[:after]):
        if index >= first:
            expected = learned.of(kinds(run))
            if expected is not None:
                told.append(np.log(expected.quantiles_s))
                truth.append(np.log(run.run_time.total_seconds()))
        learned.note(kinds(run), run.run_time.total_seconds())
    return _figures(np.array(told), np.array(truth))


def state_of(settings: Mapping[str, Any]) -> bytes:
    """Return what is kept of the winner."""
    return Artefact(NAME, dict(settings)).dump()


def _figures(told: Array, truth: Array) -> dict[str, float]:
    levels = np.array(RUN_TIME_LEVELS)
    short = truth[:, None] - told
    error = -short[:, RUN_TIME_LEVELS.index(0.5)]
    low, high = (told[:, RUN_TIME_LEVELS.index(level)] for level in (0.05, 0.95))
    return {
        MAE: float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "bias": float(error.mean()),
        PINBALL: float(np.maximum(levels * short, (levels - 1) * short).mean()),
        "cover_90_fraction": float(((low <= truth) & (truth <= high)).mean()),
    }
