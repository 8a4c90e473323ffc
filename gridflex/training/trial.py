"""One trial: some settings, fitted and scored on one stretch of the past after another.

After each stretch the trial reports its mean so far, so that settings that are worse than the
others are given up early, and leaves the scores behind, so that an interrupted trial goes on
where it was.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from ray import tune

from gridflex.forecasting.backtest import Score, backtest, rolling_origins
from gridflex.forecasting.forecaster import NEAR_HALF_HOURS, Forecaster
from gridflex.forecasting.history import History
from gridflex.halfhour import HalfHour
from gridflex.training.families import Family

FOLDS: Final = "folds"
MAE: Final = "mae"
PINBALL: Final = "pinball"
"""Names under which a trial reports; `PINBALL` is what is minimised: it judges the whole band."""

Part = TypeVar("Part")

_SCORES: Final = "scores.json"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the past that a forecaster has not seen when it is scored on it.

    Args:
        start: First issue time, and end of what may be learnt from.
        end: First half-hour after the last issue time.
    """

    start: HalfHour
    end: HalfHour


def fitted_and_scored(
    forecaster: Forecaster, history: History, stretch: Stretch
) -> tuple[Score, float, float]:
    """Return how a forecaster does on a stretch, from what was known when it began.

    Returns:
        Score of the first 48 h, seconds to fit, and milliseconds for one forecast.
    """
    began = time.monotonic()
    forecaster.fit(history.known_at(stretch.start))
    fit_s = time.monotonic() - began
    score, predict_ms = scored(forecaster, history, stretch)
    return score, fit_s, predict_ms


def scored(forecaster: Forecaster, history: History, stretch: Stretch) -> tuple[Score, float]:
    """Return how a fitted forecaster does on a stretch, and milliseconds for one forecast."""
    origins = rolling_origins(stretch.start, stretch.end)
    began = time.monotonic()
    made = backtest(forecaster, history, origins, half_hours=NEAR_HALF_HOURS)
    return made.score(), 1000 * (time.monotonic() - began) / len(origins)


def run_trial(
    settings: Mapping[str, Any], *, family: Family, history: History, stretches: Sequence[Stretch]
) -> None:
    """Score settings on every stretch, as Ray Tune calls it."""

    def on(stretch: Stretch) -> dict[str, float]:
        score, _, _ = fitted_and_scored(family.make(settings), history, stretch)
        return {MAE: score.mae, PINBALL: score.pinball}

    report_each(stretches, on)


def report_each(parts: Sequence[Part], score: Callable[[Part], dict[str, float]]) -> None:
    """Score one part after another, reporting the means so far; go on where a trial was left."""
    scores = _left_behind()
    for part in parts[len(scores) :]:
        scores.append(score(part))
        means = {name: sum(one[name] for one in scores) / len(scores) for name in (MAE, PINBALL)}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, _SCORES).write_text(json.dumps(scores))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({**means, FOLDS: len(scores)}, checkpoint=checkpoint)


def _left_behind() -> list[dict[str, float]]:
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        found: list[dict[str, float]] = json.loads(Path(folder, _SCORES).read_text())
    return found
