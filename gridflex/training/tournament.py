"""From a history to a champion: settings are searched, families compared, the best one fitted.

The end of the history is held back. Settings are chosen on stretches before it; then each family
with its best settings, the baselines and the champion forecast it, all fitted before it begins
and scored on the same half-hours. The winner is fitted again on everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import ray
from ray.exceptions import RayError

from gridflex.errors import ContractError, GridFlexError
from gridflex.forecasting import models
from gridflex.forecasting.backtest import Score
from gridflex.forecasting.checks import learnable
from gridflex.forecasting.history import History, Input
from gridflex.forecasting.lineage import TrainedModel
from gridflex.halfhour import HalfHour
from gridflex.training.families import BASELINES, Family, family
from gridflex.training.search import Contest, Found, gpus_of, search
from gridflex.training.trial import Stretch, fitted_and_scored, run_trial, scored

CHAMPION: Final = "champion"
RIVALS: Final = frozenset({CHAMPION, *BASELINES, "defaults", "all jobs alike"})
"""Whom a winner must beat."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the past is cut.

    Args:
        stretches: On which settings are chosen, in order of time.
        held_back: On which families are compared.
    """

    stretches: tuple[Stretch, ...]
    held_back: Stretch


@dataclass(frozen=True, slots=True, eq=False)
class Reigning:
    """The champion as it is stored.

    Args:
        model: Its lineage.
        state: Its fitted state; None if it could not be read.
        problem: Why it could not.
    """

    model: TrainedModel
    state: bytes | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """How one contestant did on the part that was held back.

    Args:
        name: Family, baseline, or ``champion``.
        settings: What it was made with.
        figures: Name to value: ``mae``, ``rmse``, ``pinball``, ``bias`` in the target's unit,
            ``cover_50_fraction`` and so on, ``fit_s``, ``predict_ms``.
        note: What to know about it.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a tournament came to.

    Args:
        rows: Every contestant, the best first; those that failed last, with the reason.
        winner: The best contestant that can be promoted; its figures are its metrics.
        state: The winner, fitted on everything.
        is_better: Whether it beats the champion and every baseline.
        reason: Why it does or does not.
    """

    rows: tuple[Row, ...]
    winner: Row
    state: bytes
    is_better: bool
    reason: str


class Progress(Protocol):
    """Is told how far a tournament is."""

    def begin(self, what: str, steps: int) -> None:
        """A part begins."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Steps of the part are done."""
        ...


def cut(history: History, end: HalfHour, *, days: int, stretches: int) -> Plan:
    """Return how to cut the past before ``end``.

    Args:
        history: What is learnt from.
        end: First half-hour that is not used.
        days: Length of the part that is held back, and of each stretch before it.
        stretches: How many of those there are.

    Raises:
        ContractError: Before the first stretch there is too little to learn from.
    """
    back = [end - (number + 1) * days * 48 for number in range(stretches + 1)]
    parts = [Stretch(start, start + days * 48) for start in reversed(back)]
    first = parts[0].start
    if history.start.until(first) <= 0:
        raise ContractError(
            f"{history.target}: the history begins at {history.start}, and {stretches + 1} "
            f"stretches of {days} days before {end} begin at {first}: take fewer (--stretches) or "
            "shorter ones (--days)"
        )
    learnable(history.known_at(first))
    return Plan(tuple(parts[:-1]), parts[-1])


def begun_at(history: History, start: HalfHour) -> History:
    """Return a history without all that is about half-hours before ``start``."""
    offset = history.start.until(start)
    inputs = {
        name: Input.of([(told.about - offset, told.known_from - offset, told.values)])
        for name, told in history.inputs.items()
    }
    return History(start, history.target, inputs)


def known_by(history: History, end: HalfHour) -> History:
    """Return a history without all that became known after half-hour ``end`` began."""
    last = history.start.until(end)
    inputs = {}
    for name, told in history.inputs.items():
        known = told.known_from <= last
        inputs[name] = Input(told.about[known], told.known_from[known], told.values[known])
    return replace(history, inputs=inputs)


def hold(
    history: History,
    plan: Plan,
    *,
    names: Sequence[str],
    samples: int,
    budget_s: float,
    folder: Path,
    resume: bool,
    reigning: Reigning | None,
    progress: Progress,
    may_use_gpu: bool = True,
) -> Outcome:
    """Search, compare and fit; Ray must be connected.

    Args:
        history: What is learnt from; nothing from the end of the held-back part on is used.
        plan: How the past is cut.
        names: Families to search.
        samples: Settings to try for each.
        budget_s: Wall time for the searches together.
        folder: Where Tune keeps its state.
        resume: Go on with what an interrupted tournament left there.
        reigning: The champion; None if there is none.
        progress: Is told how far it is.
        may_use_gpu: Whether fits may take a GPU where there is one.

    Raises:
        ContractError: No family could be fitted.
    """
    make = partial(family, may_use_gpu=may_use_gpu)
    families = [make(name) for name in names]
    shared = ray.put(history)
    found: dict[str, Found] = {}
    failed: list[Row] = []
    for place, one in enumerate(families):
        tries = samples if one.space else 1
        progress.begin(f"{one.name}: settings", tries * len(plan.stretches))
        try:
            found[one.name] = search(
                _contest_of(one, shared, plan.stretches),
                samples=samples,
                budget_s=budget_s / (len(families) - place),
                folder=folder,
                resume=resume,
                advance=progress.advance,
            )
        except ContractError as error:
            failed.append(Row(one.name, note=str(error)))
    if not found:
        raise ContractError("; ".join(row.note for row in failed))
    rows = _compared(shared, plan.held_back, found, reigning, progress=progress, make=make)
    ranked = sorted((row for row in rows if row.figures), key=lambda row: row.figures["pinball"])
    failed += [row for row in rows if not row.figures]
    winner = next((row for row in ranked if row.name in found), None)
    if winner is None:
        raise ContractError("; ".join(row.note for row in failed))
    is_better, reason = verdict(winner, ranked, reigning)
    progress.begin(f"{winner.name}: fit on everything", 1)
    end = plan.held_back.end
    state: bytes = ray.get(_on_ray(_fitted, make(winner.name), winner.settings, shared, end))
    progress.advance()
    return Outcome((*ranked, *failed), winner, state, is_better, reason)


def verdict(winner: Row, ranked: Sequence[Row], reigning: Reigning | None) -> tuple[bool, str]:
    """Return whether a winner takes the champion's place, and why.

    It must have a smaller pinball loss than the champion, which then judges bands and medians
    at once, and than every baseline.

    Args:
        winner: The best that can be promoted.
        ranked: Everyone that was scored, the best first.
        reigning: The champion; None if there is none.
    """
    loss = winner.figures["pinball"]
    for rival in ranked:
        if rival.name in RIVALS and rival.figures["pinball"] <= loss:
            against = rival.figures["pinball"]
            return False, f"{rival.name} has a pinball loss of {against:.3f}, it has {loss:.3f}"
    champion = next((row for row in ranked if row.name == CHAMPION), None)
    if champion is not None:
        against = champion.figures["pinball"]
        return True, f"pinball loss {loss:.3f}, the champion's {against:.3f}"
    if reigning is not None:
        return True, f"pinball loss {loss:.3f}; the champion could not be used"
    return True, f"pinball loss {loss:.3f}, and there was no champion"


def _contest_of(
    one: Family, history: ray.ObjectRef[History], stretches: Sequence[Stretch]
) -> Contest:
    def trial(settings: Mapping[str, Any]) -> None:
        run_trial(settings, family=one, history=ray.get(history), stretches=stretches)

    return Contest(one.name, one.space, trial, len(stretches), gpus_of(one))


def _compared(
    history: ray.ObjectRef[History],
    held_back: Stretch,
    found: Mapping[str, Found],
    reigning: Reigning | None,
    *,
    progress: Progress,
    make: Callable[[str], Family],
) -> list[Row]:
    entries = [
        Row(name, found[name].settings if name in found else {}, note=_note(found.get(name)))
        for name in dict.fromkeys((*found, *BASELINES))
    ]
    contests = {
        _on_ray(_contest, make(entry.name), entry, history, held_back): entry for entry in entries
    }
    if reigning is not None:
        entry = Row(CHAMPION, reigning.model.training.settings)
        contests[_reigning_contest(history, held_back, reigning, make)] = entry
    progress.begin("comparison", len(contests))
    waiting, rows = list(contests), []
    while waiting:
        done, waiting = ray.wait(waiting)
        rows += [_row(one, contests[one]) for one in done]
        progress.advance(len(done))
    return rows


def _row(done: ray.ObjectRef[Any], entry: Row) -> Row:
    """Return what a contest came to; one whose process was killed has only the reason."""
    try:
        row: Row = ray.get(done)
    except RayError as error:
        return replace(entry, note=_said(error))
    return row


def _note(found: Found | None) -> str:
    if found is None:
        return "baseline"
    failed = f", {found.failed} failed" if found.failed else ""
    return f"{found.trials} settings tried, {found.stopped_early} given up early{failed}"


def _on_ray(run: Callable[..., Any], one: Family, *args: Any) -> ray.ObjectRef[Any]:  # noqa: ANN401
    """Run what fits one forecaster where there is a CPU, and a GPU if it helps."""
    remote = ray.remote(run).options(num_cpus=1, num_gpus=gpus_of(one))
    reference: ray.ObjectRef[Any] = remote.remote(one, *args)
    return reference


def _reigning_contest(
    history: ray.ObjectRef[History],
    held_back: Stretch,
    reigning: Reigning,
    make: Callable[[str], Family],
) -> ray.ObjectRef[Any]:
    """Let the champion forecast as it is, or as it was made if it has seen the answers."""
    training = reigning.model.training
    if training.window_end > held_back.start:
        again = f"{reigning.model.name}, fitted again: it has seen part of what was held back"
        entry = Row(CHAMPION, training.settings, note=again)
        return _on_ray(_contest, make(training.model), entry, history, held_back)
    reference: ray.ObjectRef[Any] = (
        ray.remote(_defence).options(num_cpus=1).remote(reigning, history, held_back)
    )
    return reference


def _contest(one: Family, entry: Row, history: History, held_back: Stretch) -> Row:
    try:
        score, fit_s, predict_ms = fitted_and_scored(one.make(entry.settings), history, held_back)
    except Exception as error:  # noqa: BLE001 - a contestant must not stop the others
        return replace(entry, note=_said(error))
    return replace(entry, figures={**_figures(score), "fit_s": fit_s, "predict_ms": predict_ms})


def _defence(reigning: Reigning, history: History, held_back: Stretch) -> Row:
    name = reigning.model.name
    entry = Row(CHAMPION, reigning.model.training.settings, note=f"{name}, as it is")
    if reigning.state is None:
        return replace(entry, note=reigning.problem)
    try:
        score, predict_ms = scored(models.load(reigning.state), history, held_back)
    except Exception as error:  # noqa: BLE001 - a contestant must not stop the others
        return replace(entry, note=f"{name}: {_said(error)}")
    return replace(entry, figures={**_figures(score), "predict_ms": predict_ms})


def _said(error: Exception) -> str:
    """Return what a person reads: our own errors are sentences, those of libraries get a name."""
    return str(error) if isinstance(error, GridFlexError) else f"{type(error).__name__}: {error}"


def _figures(score: Score) -> dict[str, float]:
    covered = {f"cover_{band}_fraction": part for band, part in score.coverage_fraction.items()}
    return {name: getattr(score, name) for name in ("mae", "rmse", "bias", "pinball")} | covered


def _fitted(one: Family, settings: Mapping[str, Any], history: History, end: HalfHour) -> bytes:
    forecaster = one.make(settings)
    forecaster.fit(history.known_at(end))
    return forecaster.dump()
