"""The example jobs keep their contract: stopped at any moment, resumed, and the same in the end."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAIN = EXAMPLES / "plain" / "train.py"
INTO_THE_EPOCH_S = 0.3
LIGHTNING = EXAMPLES / "lightning" / "train.py"


@dataclass
class Attempt:
    """One run of an example to its end, or to a signal after a given line."""

    code: int
    log: str

    @property
    def epochs(self) -> list[int]:
        """The epochs it finished, by its own lines."""
        return [int(number) for number in re.findall(r"^epoch (\d+)/", self.log, re.MULTILINE)]


def run(
    script: Path,
    folder: Path,
    *options: str,
    resume: bool = False,
    stop_after: str = "",
    by: int = 0,
) -> Attempt:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRIDFLEX_")}
    environment["GRIDFLEX_CHECKPOINT_DIR"] = str(folder)
    if resume:
        environment["GRIDFLEX_RESUME"] = "1"
    with subprocess.Popen(
        [sys.executable, str(script), *options], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if by and line.startswith(stop_after):
                time.sleep(INTO_THE_EPOCH_S)
                process.send_signal(by)
                by = 0
    return Attempt(process.returncode, "".join(lines))


def plain_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return state


def plain_weights_without_a_stop(folder: Path) -> list[float]:
    run(PLAIN, folder, "--epochs", "5", "--epoch-seconds", "0")
    weights: list[float] = plain_state(folder)["weights"]
    return weights


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, id="SIGINT"),
    ],
)
def test_a_stopped_plain_job_goes_on_without_doing_anything_twice(
    number: int, code: int, tmp_path: Path
) -> None:
    options = ("--epochs", "5", "--epoch-seconds", "1")

    first = run(PLAIN, tmp_path / "a", *options, stop_after="epoch 2", by=number)
    second = run(PLAIN, tmp_path / "a", *options[:3], "0", resume=True)

    assert (first.code, second.code) == (code, 0)
    assert first.epochs + second.epochs == [1, 2, 3, 4, 5]
    assert plain_state(tmp_path / "a")["redone"] == 0
    assert plain_state(tmp_path / "a")["weights"] == plain_weights_without_a_stop(tmp_path / "b")


def test_a_killed_plain_job_keeps_its_finished_epochs_and_owns_up_to_the_rest(
    tmp_path: Path,
) -> None:
    options = ("--epochs", "5", "--checkpoint-every", "2")

    first = run(PLAIN, tmp_path / "a", *options, "--epoch-seconds", "1.5",
                stop_after="epoch 3", by=signal.SIGKILL)  # fmt: skip
    second = run(PLAIN, tmp_path / "a", *options, "--epoch-seconds", "0", resume=True)

    assert first.code == -signal.SIGKILL
    assert first.epochs == [1, 2, 3]
    assert second.epochs == [3, 4, 5]
    assert 20 <= plain_state(tmp_path / "a")["redone"] < 40
    assert plain_state(tmp_path / "a")["weights"] == plain_weights_without_a_stop(tmp_path / "b")


def test_a_plain_job_that_is_not_resumed_starts_afresh(tmp_path: Path) -> None:
    run(PLAIN, tmp_path, "--epochs", "3", "--epoch-seconds", "0")

    again = run(PLAIN, tmp_path, "--epochs", "3", "--epoch-seconds", "0")

    assert again.epochs == [1, 2, 3]
    assert plain_state(tmp_path)["attempts"] == 1


def test_a_plain_job_resumed_before_its_first_checkpoint_starts_at_the_beginning(
    tmp_path: Path,
) -> None:
    only = run(PLAIN, tmp_path, "--epochs", "2", "--epoch-seconds", "0", resume=True)

    assert only.epochs == [1, 2]


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    run(PLAIN, tmp_path, "--epochs", "1", "--epoch-seconds", "0")

    other = run(PLAIN, tmp_path, "--epochs", "1", "--seed", "2", resume=True)

    assert other.code == 1
    assert "another task" in other.log


def test_a_plain_epoch_takes_the_time_it_is_given(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(PLAIN, tmp_path, "--epochs", "1", "--epoch-seconds", "1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.epochs == [1]
    assert cpu_s < 0.5


def test_a_lightning_job_stopped_within_and_after_an_epoch_repeats_no_step(tmp_path: Path) -> None:
    stopped, whole = tmp_path / "a", tmp_path / "b"
    options = ("--epochs", "3", "--epoch-seconds", "2")

    within = run(LIGHTNING, stopped, *options, stop_after="starts", by=signal.SIGTERM)
    after = run(LIGHTNING, stopped, *options, resume=True, stop_after="epoch 1", by=signal.SIGINT)
    rest = run(LIGHTNING, stopped, *options[:2], resume=True)
    run(LIGHTNING, whole, *options[:2])

    log = within.log + after.log + rest.log
    saved = re.findall(r"saved at step (\d+)", log)
    resumed = re.findall(r"starts at epoch \d, step (\d+)", log)[1:]
    assert (within.code, after.code, rest.code) == (143, 143, 0), log
    assert within.epochs + after.epochs + rest.epochs == [1, 2, 3]
    assert 0 < int(saved[0]) < 32 <= int(saved[1]) < 64
    assert resumed == saved
    assert same_model(stopped / "last.ckpt", whole / "last.ckpt")


def same_model(one: Path, other: Path) -> bool:
    models = [torch.load(path, map_location="cpu", weights_only=True) for path in (one, other)]
    weights = [model["state_dict"] for model in models]
    return all(torch.allclose(weights[0][name], weights[1][name]) for name in weights[0])
