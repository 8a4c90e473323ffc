"""A training is killed in the middle of its search, and another process sees it to its end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from gridflex.cli.training import OUTCOME
from gridflex.forecasting.history import Array
from gridflex.forecasting.lineage import Standing
from gridflex.settings import Settings
from gridflex.settings_files import write_settings
from gridflex.signals import Signal
from tests.ray import small_lightgbm
from tests.ray.test_training import END, known, outturns, train
from tests.shared import ROOT

pytestmark = pytest.mark.long

SEARCH = ("--days", "5", "--stretches", "2", "--samples", "1", "--models", "small")

TRIAL = "ray::ImplicitFunc.train"
"""What Ray calls the process of a trial."""


@pytest.fixture
def settings() -> Iterator[Settings]:
    with known(outturns(Signal.PRICE, _weekly_price())) as made:
        yield made


def _weekly_price() -> Array:
    """Cheaper at weekends, with noise: the mean of a month is wrong, last week only noisy."""
    half_hours = np.arange(64 * 48)
    first = END - half_hours.size
    weekend = (half_hours // 48 + first.start.weekday()) % 7 >= 5
    noise = 10 * np.random.default_rng(0).standard_normal(half_hours.size)
    return np.asarray(100 + 20 * np.sin(half_hours * np.pi / 24) - 40 * weekend + noise)


def test_a_killed_training_goes_on_and_promotes_once(settings: Settings) -> None:
    folder = settings.state_path / "training" / "price"
    with _training(settings, *SEARCH, held=30) as first:
        done = _when_one_setting_is_done(first, folder)
        rays = _of_ray(psutil.Process(first.pid))
        first.kill()
    assert first.returncode == -signal.SIGKILL
    assert _all_end(rays)
    (place,) = folder.iterdir()
    assert not (place / OUTCOME).exists()

    with _training(settings, "--resume", "--json") as again:
        printed, said = again.communicate(timeout=120)

    assert again.returncode == 0, said
    answer = json.loads(printed)
    rows = {row["name"]: row for row in answer["rows"]}
    assert rows["small"]["note"].startswith("2 settings tried")
    now_done = _checkpoints(folder)
    assert {path: now_done[path] for path in done} == done
    assert len({path.parents[1] for path in now_done}) == 2
    assert (list(folder.iterdir()), (place / OUTCOME).exists()) == ([place], True)
    assert answer["promoted"] is True, answer["rows"]
    (made,) = train(settings, "ls")["models"]
    assert (made["id"], made["model"], made["standing"]) == (
        answer["model"]["id"], "small", Standing.CHAMPION,
    )  # fmt: skip
    assert (made["settings"], made["window_end"]) == (rows["small"]["settings"], str(END))
    assert made["artefact_sha256"] in made["artefact_url"]


def _training(settings: Settings, *asked: str, held: int | None = None) -> subprocess.Popen[str]:
    """Start a training that has a Ray of its own; the fit of ``held`` trees does not end."""
    config = ("--config", str(write_settings(settings)))
    command = ("train", "forecaster", "--target", "price", *asked, *config)
    return subprocess.Popen(
        [sys.executable, "-m", small_lightgbm.__name__, *command], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), small_lightgbm.HELD: str(held)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _when_one_setting_is_done(training: subprocess.Popen[str], folder: Path) -> dict[Path, int]:
    """Wait until Tune has stored that a setting is done; return what was scored until then."""
    end = time.monotonic() + 90
    while time.monotonic() < end and training.poll() is None:
        if any("TERMINATED" in one.read_text() for one in folder.rglob("experiment_state-*.json")):
            return _checkpoints(folder)
        time.sleep(0.05)
    training.kill()
    raise AssertionError(training.communicate())


def _checkpoints(folder: Path) -> dict[Path, int]:
    """When each trial left what it had scored."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("checkpoint_*/scores.json")}


def _of_ray(training: psutil.Process) -> list[psutil.Process]:
    """Return what holds a Ray's CPUs and memory: its servers and the processes of trials."""
    names = {one: one.name() for one in training.children(recursive=True)}
    assert {"raylet", "gcs_server", TRIAL} <= set(names.values())
    return [one for one, name in names.items() if name in {"raylet", "gcs_server", TRIAL}]


def _all_end(started: Sequence[psutil.Process]) -> bool:
    """Whether they end by themselves; one that nobody has waited for has ended."""
    end = time.monotonic() + 30
    while any(map(_runs, started)):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
