"""Ray Tune really searches, and what it finds goes through PostgreSQL to the champion."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune
from typer.testing import CliRunner

from gridflex.adapters import database
from gridflex.adapters.grid.store import GridStore
from gridflex.agents.other_load import OBSERVED
from gridflex.cli.root import app as command_line
from gridflex.cli.training import OUTCOME, Stores, with_stores
from gridflex.errors import ContractError
from gridflex.forecasting import models
from gridflex.forecasting.archive import INPUTS
from gridflex.forecasting.history import Array
from gridflex.forecasting.lineage import Standing
from gridflex.jobs import JobId
from gridflex.lifecycle import JobRequest, Outcome
from gridflex.settings import Settings
from gridflex.settings_files import load_settings, write_settings
from gridflex.signals import Kind, Origin, Series, Signal
from gridflex.training import families
from gridflex.training.durations import hold_on_runs
from gridflex.training.families import BASELINES, Family
from gridflex.training.search import connected
from tests.unit.forecasting.invented import INTENSITY, PRICE, START, grid
from tests.unit.forecasting.sites import rhythmic_site
from tests.unit.forecasting.test_durations import two_commands
from tests.unit.lifecycles import FLEXIBLE

DAYS, OBSERVED_DAYS = 130, 40
END = START + DAYS * 48


@contextmanager
def known(*series: Series) -> Iterator[Settings]:
    """Yield settings with a database of their own that holds some series, on the day after."""
    with ExitStack() as stack:
        state = Path(tempfile.mkdtemp(prefix="gridflex-train-"))
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        clock = {"origin": END.start.isoformat(), "origin_wall": "2020-01-01T00:00:00Z"}
        made = load_settings(flags={"state_dir": str(state), "clock": {**clock, "speed": 1e-9}})
        stack.callback(database.stop_embedded, made)
        _save(made, series)
        yield made


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Four months of an invented grid."""
    with known(outturns(Signal.INTENSITY, _intensity())) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def small_cluster() -> Iterator[None]:
    """One Ray for all trainings of this module."""
    with connected():
        yield


def _intensity() -> Array:
    return grid(DAYS, target=INTENSITY).outturn(START, DAYS * 48)


def outturns(signal: Signal, values: Array) -> Series:
    """The last half-hours of the archive, as their provider said them."""
    return Series(
        signal=signal, kind=Kind.OUTTURN, source=INPUTS[signal].source,
        origin=Origin.SIMULATED, region="GB", start=END - values.size, values=values,
        issued_at=END.start, available_at=END.start,
    )  # fmt: skip


def _save(settings: Settings, series: Sequence[Series]) -> None:
    async def save(_stores: object) -> None:
        engine = database.connect(database.ensure_database(settings))
        await GridStore(engine).save_series(series)
        await engine.dispose()

    with_stores(settings, save)


def train(settings: Settings, *arguments: str) -> dict[str, Any]:
    config = ["--config", str(write_settings(settings)), "--json"]
    done = CliRunner().invoke(command_line, ["train", *arguments, *config])
    if done.exception is not None:
        raise done.exception
    answer: dict[str, Any] = json.loads(done.output)
    return answer


CARBON = ("forecaster", "--target", "carbon")
SMALL = (*CARBON, "--days", "7", "--stretches", "2", "--samples", "1")


def test_tune_finds_the_best_settings_and_an_interrupted_search_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tune.grid_search(["persistence", "climatology", "last-week", "no such rule"])
    rule = Family("rule", lambda chosen: models.kind(chosen["rule"])(), {"rule": rules})
    monkeypatch.setattr(families, "FAMILIES", {**families.FAMILIES, "rule": rule})

    first = train(settings, *SMALL, "--models", "rule")

    rows = {row["name"]: row for row in first["rows"]}
    assert set(rows) == {"rule", "persistence", "last-week", "climatology"}
    maes = {name: row["figures"]["mae"] for name, row in rows.items()}
    chosen = rows["rule"]["settings"]["rule"]
    assert chosen in {"persistence", "climatology", "last-week"}
    assert maes["rule"] == pytest.approx(maes[chosen])
    assert rows["rule"]["note"].startswith("4 settings tried")
    assert rows["rule"]["note"].endswith("1 failed")
    assert first["promoted"] is False
    assert "has a pinball loss of" in first["reason"]
    assert first["model"]["origin"] == "simulated"
    listed = train(settings, "ls")["models"][0]
    assert (listed["standing"], listed["model"]) == (Standing.CHALLENGER, "rule")

    outcome = max((settings.state_path / "training" / "carbon").glob(f"*/{OUTCOME}"))
    outcome.unlink()
    again = train(settings, *SMALL, "--resume")

    assert {row["name"]: row["settings"] for row in again["rows"]} == {
        name: row["settings"] for name, row in rows.items()
    }
    assert again["model"]["artefact_sha256"] == first["model"]["artefact_sha256"]
    with pytest.raises(ContractError, match="no training was interrupted"):
        train(settings, *SMALL, "--resume")


class Unseen:
    """Progress that nobody looks at."""

    def begin(self, what: str, steps: int) -> None:
        self.steps = steps
        self.what = what

    def advance(self, steps: int = 1) -> None:
        self.steps -= steps


def test_tune_finds_how_run_times_are_learnt_best(tmp_path: Path) -> None:
    outcome = hold_on_runs(
        two_commands(120), samples=3, budget_s=60, folder=tmp_path, resume=False, reigning=None,
        progress=Unseen(),
    )  # fmt: skip

    figures = {row.name: row.figures for row in outcome.rows}
    assert set(figures) == {"run-times", "defaults", "all jobs alike"}
    assert figures["run-times"]["mae"] < figures["all jobs alike"]["mae"] / 3
    assert set(outcome.winner.settings) == {"kept", "prior_runs"}
    assert outcome.winner.note.startswith("3 settings tried")
    assert outcome.is_better is (figures["run-times"]["pinball"] < figures["defaults"]["pinball"])


def test_demand_of_a_site_is_learnt_from_what_was_observed_there(settings: Settings) -> None:
    values = rhythmic_site(OBSERVED_DAYS).outturn(START, OBSERVED_DAYS * 48)
    _observe(settings, "london", values)
    demand = ("forecaster", "--target", "demand", "--days", "3", "--stretches", "1")

    answer = train(settings, *demand, "--site", "london", "--samples", "1")

    losses = {row["name"]: row["figures"]["pinball"] for row in answer["rows"]}
    assert answer["target"] == "other_gpus:london"
    assert answer["promoted"] is (losses["demand"] < min(losses[name] for name in BASELINES))
    with pytest.raises(ContractError, match="nobody looked yet how many GPUs others use at slough"):
        train(settings, *demand, "--site", "slough")
    with pytest.raises(ContractError, match="demand needs --site"):
        train(settings, *demand)


def _observe(settings: Settings, site: str, values: Array) -> None:
    """Store GPUs that others use at a site, each seen when its half-hour began."""
    first = END - values.size
    seen = [
        Series(
            signal=Signal.OTHER_GPUS, kind=Kind.OUTTURN, source=OBSERVED, origin=Origin.SIMULATED,
            region=site, start=first + index, values=values[index : index + 1],
            issued_at=(first + index).start, available_at=(first + index).start,
        )
        for index in range(values.size)
    ]  # fmt: skip
    _save(settings, seen)


def test_too_little_history_is_said_before_anything_starts(settings: Settings) -> None:
    with pytest.raises(ContractError, match=r"days are known at .*, 28 are needed"):
        train(settings, *CARBON, "--days", "35", "--stretches", "2")


def test_a_target_of_which_nothing_is_stored_is_named(settings: Settings) -> None:
    with pytest.raises(ContractError, match="the archive has no outturn of price_gbp_per_mwh yet"):
        train(settings, "forecaster", "--target", "price")


def test_a_model_that_does_not_exist_is_named(settings: Settings) -> None:
    with pytest.raises(ContractError, match="model 'crystal-ball' is not one of"):
        train(settings, *SMALL, "--models", "crystal-ball")


def test_a_price_is_learnt_promoted_by_hand_and_rolled_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = Family("rule", lambda _chosen: models.kind("climatology")())
    monkeypatch.setattr(families, "FAMILIES", {**families.FAMILIES, "rule": rule})
    values = grid(50, target=PRICE).outturn(START, 50 * 48)
    _save(settings, [outturns(Signal.PRICE, values)])

    price = ("--target", "price")
    answer = train(
        settings, "forecaster", *price, *("--days", "5", "--stretches", "1", "--models", "rule")
    )
    promoted = train(settings, "promote", str(answer["model"]["id"]), "--reason", "to see")
    reigning = train(settings, "ls")["models"][0]
    back = train(settings, "rollback", *price)

    assert (answer["target"], answer["promoted"]) == ("price_gbp_per_mwh", False)
    assert "climatology has a pinball loss" in answer["reason"]
    assert promoted["champion"] == answer["model"]["id"]
    assert (reigning["standing"], reigning["metrics"]["level"]) == (
        Standing.CHAMPION, pytest.approx(float(np.median(np.abs(values[-28 * 48 :]))))
    )  # fmt: skip
    assert back["champion"] is None
    assert train(settings, "ls")["models"][0]["standing"] == Standing.RETIRED


def test_run_times_are_learnt_from_the_jobs_that_ended(settings: Settings) -> None:
    duration = ("forecaster", "--target", "duration", "--samples", "2")
    with pytest.raises(ContractError, match="0 runs have succeeded, 80 are needed"):
        train(settings, *duration)
    _end_jobs(settings, count=88)

    answer = train(settings, *duration)

    losses = {row["name"]: row["figures"]["pinball"] for row in answer["rows"]}
    assert answer["target"] == "run_time_s"
    assert answer["promoted"] is (losses["run-times"] < losses["defaults"])
    assert losses["run-times"] < losses["all jobs alike"] / 2


def _end_jobs(settings: Settings, *, count: int) -> None:
    """Let two commands run, one for ten minutes, the other for a hundred."""

    async def ended(stores: Stores) -> None:
        for number in range(count):
            job_id, begun = JobId(f"past-{number}"), (START + number).start
            request = JobRequest(f"python {'ab'[number % 2]}.py")
            await stores.jobs.add(job_id, request, FLEXIBLE, submitted_at=begun)
            await stores.jobs.decide_attempt(job_id, site="london", at=begun)
            await stores.jobs.attempt_started(job_id, 1, at=begun, driver={})
            run_time = timedelta(minutes=(10 if number % 2 else 100) * (1 + number % 5 / 50))
            await stores.jobs.attempt_ended(
                job_id, 1, outcome=Outcome.SUCCEEDED, at=begun + run_time, driver={}
            )

    with_stores(settings, ended)


def test_a_past_in_another_unit_than_the_champions_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = Family("rule", lambda _chosen: models.kind("last-week")())
    monkeypatch.setattr(families, "FAMILIES", {**families.FAMILIES, "rule": rule})
    before = train(settings, *SMALL, "--models", "rule")
    train(settings, "promote", str(before["model"]["id"]))
    doubled = outturns(Signal.INTENSITY, 2.2046 * _intensity())
    later = END.start + timedelta(milliseconds=50)
    _save(settings, [replace(doubled, available_at=later)])

    with pytest.raises(ContractError, match=r"champion learnt from them .* in another unit"):
        train(settings, *SMALL, "--models", "rule")
