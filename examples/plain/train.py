"""Logistic regression by stochastic gradient descent, in plain Python, that can be paused.

It keeps the contract of examples/README.md: state goes to GRIDFLEX_CHECKPOINT_DIR after every
epoch and on SIGTERM or SIGINT, and GRIDFLEX_RESUME=1 goes on from there. Whatever happens, the
final model is the one an uninterrupted run makes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

BATCHES_PER_EPOCH: Final = 20
LOOK_UP_EVERY_S: Final = 0.05

Example = tuple[list[float], float]


@dataclass(frozen=True, slots=True)
class Options:
    """What determines the model, and how long the training takes.

    Args:
        epochs: Passes over the data set.
        epoch_seconds: Least wall time of an epoch; it waits once its work is done.
        checkpoint_every: Epochs between two checkpoints.
        examples: Size of the generated data set.
        features: Numbers in each example.
        rate: Learning rate.
        seed: Seed of the data set and of the order in which it is seen.
    """

    epochs: int = 10
    epoch_seconds: float = 1.0
    checkpoint_every: int = 1
    examples: int = 1_000
    features: int = 8
    rate: float = 0.1
    seed: int = 1

    def task(self) -> dict[str, float]:
        """Return what must be the same for a checkpoint to be of use."""
        return {name: getattr(self, name) for name in ("examples", "features", "rate", "seed")}


@dataclass(slots=True)
class State:
    """Everything a later attempt needs.

    Args:
        task: The `Options.task` it belongs to.
        weights: One per feature, then the bias.
        batches: Batches learned from since the first epoch began.
        redone: Batches learned from twice because a stop came before they were saved.
        attempts: How often training was started.
    """

    task: dict[str, float]
    weights: list[float]
    batches: int = 0
    redone: int = 0
    attempts: int = 0

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.batches // BATCHES_PER_EPOCH


class Checkpoint:
    """The state on disk: replaced in one step, so that it is always whole."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"
        self._reached = folder / "reached"
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: State) -> None:
        """Write the state such that even a power cut leaves this one or the one before."""
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def load(self) -> State | None:
        """Return the saved state, or None if there is none."""
        return State(**json.loads(self._path.read_text())) if self._path.exists() else None

    def forget(self) -> None:
        """Drop what an earlier job left in the folder."""
        self._path.unlink(missing_ok=True)
        self._reached.unlink(missing_ok=True)

    def note_reached(self, batches: int) -> None:
        """Remember how far training got, so that a resumed run knows what it does again."""
        temporary = self._reached.with_suffix(".tmp")
        temporary.write_text(str(batches))
        temporary.replace(self._reached)

    def reached(self) -> int:
        """Return how far any earlier attempt got, saved or not."""
        return int(self._reached.read_text()) if self._reached.exists() else 0


@dataclass(slots=True)
class Stop:
    """Whether someone asked for an end."""

    signal: int = 0

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as a request to save and leave."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.signal = number

    def wait_until(self, moment: float) -> None:
        """Sleep until a monotonic ``moment`` or until asked to stop."""
        while not self.signal and (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_UP_EVERY_S))


@dataclass(slots=True)
class Training:
    """One attempt: learns from batch after batch until done or stopped."""

    options: Options
    checkpoint: Checkpoint
    stop: Stop
    state: State
    already_reached: int = 0
    data: list[Example] = field(init=False)

    def __post_init__(self) -> None:
        self.data = make_data(self.options)

    def run(self) -> bool:
        """Return whether all epochs are finished; a stop saves first."""
        last_saved = self.state.epoch
        while self.state.epoch < self.options.epochs:
            if not self._finish_epoch():
                self.checkpoint.save(self.state)
                return False
            finished = self.state.epoch == self.options.epochs
            if finished or self.state.epoch - last_saved >= self.options.checkpoint_every:
                self.checkpoint.save(self.state)
                last_saved = self.state.epoch
            self._report()
        return True

    def _finish_epoch(self) -> bool:
        order = list(range(len(self.data)))
        random.Random(f"{self.options.seed}/{self.state.epoch}").shuffle(order)  # noqa: S311
        for batch in range(self.state.batches % BATCHES_PER_EPOCH, BATCHES_PER_EPOCH):
            if self.stop.signal:
                return False
            ends = time.monotonic() + self.options.epoch_seconds / BATCHES_PER_EPOCH
            self._learn([self.data[index] for index in order[batch::BATCHES_PER_EPOCH]])
            self.stop.wait_until(ends)
        return True

    def _learn(self, batch: list[Example]) -> None:
        weights = self.state.weights
        for inputs, label in batch:
            step = self.options.rate * (label - probability(weights, inputs))
            for index, value in enumerate(inputs):
                weights[index] += step * value
            weights[-1] += step
        self.state.redone += self.state.batches < self.already_reached
        self.state.batches += 1
        if self.state.batches > self.already_reached:
            self.checkpoint.note_reached(self.state.batches)

    def _report(self) -> None:
        loss, accuracy = quality(self.state.weights, self.data)
        say(
            f"epoch {self.state.epoch}/{self.options.epochs} loss={loss:.4f} "
            f"accuracy={accuracy:.3f} redone={self.state.redone}/{self.state.batches} batches"
        )


def make_data(options: Options) -> list[Example]:
    """Return a data set that a straight plane separates but for some noise."""
    rng = random.Random(options.seed)  # noqa: S311 - a data set, no secret
    plane = [rng.gauss(0, 1) for _ in range(options.features)]
    data: list[Example] = []
    for _ in range(options.examples):
        inputs = [rng.gauss(0, 1) for _ in range(options.features)]
        score = sum(w * x for w, x in zip(plane, inputs, strict=True)) + rng.gauss(0, 0.5)
        data.append((inputs, float(score > 0)))
    return data


def probability(weights: list[float], inputs: list[float]) -> float:
    """Return how likely the model holds the label 1 to be."""
    score = weights[-1] + sum(w * x for w, x in zip(weights, inputs, strict=False))
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, score))))


def quality(weights: list[float], data: list[Example]) -> tuple[float, float]:
    """Return the mean log loss and the share of right answers."""
    loss, right = 0.0, 0
    for inputs, label in data:
        likely = probability(weights, inputs)
        loss -= math.log(likely if label else 1 - likely)
        right += (likely > 0.5) == bool(label)  # noqa: PLR2004 - the more likely label
    return loss / len(data), right / len(data)


def starting_state(options: Options, checkpoint: Checkpoint, *, resume: bool) -> State:
    """Return the saved state where there is one to resume, else a new one."""
    if not resume:
        checkpoint.forget()
    saved = checkpoint.load()
    if saved is None:
        return State(task=options.task(), weights=[0.0] * (options.features + 1))
    if saved.task != options.task():
        sys.exit(f"the checkpoint is of another task: {saved.task}, not {options.task()}")
    return saved


def parse_arguments() -> tuple[Options, Path, bool]:
    """Return the options, the checkpoint folder and whether to resume."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in fields(Options):
        flag = f"--{option.name.replace('_', '-')}"
        default = getattr(Options(), option.name)
        parser.add_argument(flag, type=type(default), default=default, help=f"default {default}")
    folder = os.environ.get("GRIDFLEX_CHECKPOINT_DIR", "checkpoints")
    resume = os.environ.get("GRIDFLEX_RESUME") == "1"
    parser.add_argument("--checkpoint-dir", default=folder, help="else GRIDFLEX_CHECKPOINT_DIR")
    parser.add_argument(
        "--resume", action="store_true", default=resume, help="or GRIDFLEX_RESUME=1"
    )
    given = vars(parser.parse_args())
    folder, resume = given.pop("checkpoint_dir"), given.pop("resume")
    return Options(**given), Path(folder.removeprefix("file://")), resume


def say(text: str) -> None:
    """Print a line at once: a job's log is followed while it runs."""
    print(text, flush=True)


def main() -> int:
    """Train; return 0 when done, 128 plus the signal's number when stopped."""
    options, folder, resume = parse_arguments()
    stop = Stop()
    stop.listen()
    checkpoint = Checkpoint(folder)
    state = starting_state(options, checkpoint, resume=resume)
    state.attempts += 1
    reached = checkpoint.reached()
    say(
        f"attempt {state.attempts} starts at epoch {state.epoch}/{options.epochs}, "
        f"batch {state.batches}; {max(0, reached - state.batches)} batches to do again"
    )
    done = Training(options, checkpoint, stop, state, already_reached=reached).run()
    if not done:
        say(f"stopped by {signal.Signals(stop.signal).name}, saved at batch {state.batches}")
        return 128 + stop.signal
    model = hashlib.sha256(json.dumps(state.weights).encode()).hexdigest()[:16]
    say(f"done at attempt {state.attempts}, {state.redone} batches redone, model {model}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
