"""How the past is cut, and when a winner takes the champion's place; nothing here needs Ray."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import ray
from ray.exceptions import WorkerCrashedError

from gridflex.errors import ContractError
from gridflex.forecasting.baselines import Persistence
from gridflex.forecasting.history import History, Input, Knowledge
from gridflex.forecasting.lineage import Artefact, TrainedModel, Training
from gridflex.signals import Origin
from gridflex.training.families import Family
from gridflex.training.tournament import (
    Reigning,
    Row,
    _contest,
    _defence,
    _row,
    begun_at,
    cut,
    known_by,
    verdict,
)
from gridflex.training.trial import Stretch
from tests.unit.forecasting.invented import INTENSITY, START, grid

END = START + 84 * 48
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_the_newest_part_is_held_back_and_settings_are_chosen_before_it() -> None:
    plan = cut(grid(84), END, days=14, stretches=2)

    assert plan.held_back == Stretch(END - 14 * 48, END)
    assert plan.stretches == (
        Stretch(END - 42 * 48, END - 28 * 48),
        Stretch(END - 28 * 48, END - 14 * 48),
    )


@pytest.mark.parametrize(
    ("days", "named"),
    [
        pytest.param(
            28,
            r"the history begins at 2024-03-01T00:00Z, and 3 stretches.*: take fewer "
            r"\(--stretches\) or shorter ones \(--days\)$",
            id="none",
        ),
        pytest.param(20, "24.0 days are known at 2024-03-25T00:00Z, 28 are needed", id="little"),
    ],
)
def test_too_little_before_the_first_stretch_is_said_before_anything_is_trained(
    days: int, named: str
) -> None:
    with pytest.raises(ContractError, match=named):
        cut(grid(84), END, days=days, stretches=2)


def test_what_became_known_later_does_not_exist() -> None:
    told = Input(np.array([0, 1, 1]), np.array([1, 2, 4]), np.array([10.0, 20, 30]))

    then = known_by(History(START, INTENSITY, {INTENSITY: told}), START + 3)

    assert then.inputs[INTENSITY].values.tolist() == [10, 20]
    assert then.outturn(START, 2).tolist() == [10, 20]


def test_what_lies_before_the_start_does_not_exist_and_the_rest_is_as_it_was() -> None:
    told = Input(np.array([0, 5, 6]), np.array([4, 3, 8]), np.array([10.0, 50, 60]))

    later = begun_at(History(START, INTENSITY, {INTENSITY: told}), START + 4)

    assert later.start == START + 4
    for issued in (START + 4, START + 7, START + 8):
        told_then = later.known_at(issued).window(INTENSITY, -8, 16)
        before = History(START, INTENSITY, {INTENSITY: told}).known_at(issued)
        expected = before.window(INTENSITY, -8, 16)
        expected[: max(0, issued.until(START + 4) + 8)] = np.nan
        np.testing.assert_array_equal(told_then, expected)


def row(name: str, pinball: float) -> Row:
    return Row(name, figures={"pinball": pinball})


def reigning() -> Reigning:
    training = Training(
        target=INTENSITY, model="lightgbm", settings={}, window_start=START, window_end=END,
        origin=Origin.LIVE, code_version="1", metrics={}, trained_at=NOON,
    )  # fmt: skip
    return Reigning(TrainedModel(1, training, Artefact("memory://x", "0" * 64, 1)), None, "gone")


@pytest.mark.parametrize(
    ("others", "champion", "wins", "why"),
    [
        pytest.param([], None, True, "there was no champion", id="the first"),
        pytest.param([row("champion", 6)], reigning(), True, "the champion's 6.000", id="better"),
        pytest.param(
            [row("champion", 5)], reigning(), False, "champion has a pinball loss of", id="as good"
        ),
        pytest.param(
            [row("climatology", 4)], None, False, "climatology has a pinball loss of", id="baseline"
        ),
        pytest.param([row("lstm", 5.5)], reigning(), True, "could not be used", id="unusable"),
    ],
)
def test_the_winner_must_beat_the_champion_and_every_baseline(
    others: list[Row], champion: Reigning | None, wins: bool, why: str
) -> None:
    winner = row("lightgbm", 5)
    ranked = sorted([winner, *others], key=lambda one: one.figures["pinball"])

    is_better, reason = verdict(winner, ranked, champion)

    assert is_better is wins
    assert why in reason


class Broken(Persistence):
    """Fails as libraries do."""

    def fit(self, known: Knowledge) -> None:
        raise np.linalg.LinAlgError(f"singular matrix at {known.issued}")


def test_a_family_that_breaks_is_named_and_stops_nobody() -> None:
    broken = Family("broken", lambda _settings: Broken())

    found = _contest(broken, Row("broken"), grid(84), Stretch(END - 14 * 48, END))

    assert found.figures == {}
    assert found.note.startswith("LinAlgError: singular matrix at 2024-05-10T")


def test_a_champion_that_breaks_is_named_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = Persistence()
    fitted.fit(grid(84).known_at(END - 14 * 48))
    shapes = "operands could not be broadcast together"

    def fails(*_: object) -> None:
        raise ValueError(shapes)

    monkeypatch.setattr(Persistence, "predict", fails)
    champion = replace(reigning(), state=fitted.dump())

    found = _defence(champion, grid(84), Stretch(END - 14 * 48, END))

    assert found.figures == {}
    assert found.note == f"{champion.model.name}: ValueError: {shapes}"


def test_a_contestant_whose_process_is_killed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: object) -> None:
        raise WorkerCrashedError

    monkeypatch.setattr(ray, "get", killed)

    found = _row(ray.ObjectRef.nil(), Row("lstm", {"hidden": 8}))

    assert (found.name, found.settings, found.figures) == ("lstm", {"hidden": 8}, {})
    assert found.note.startswith("WorkerCrashedError: The worker died unexpectedly")
