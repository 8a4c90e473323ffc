"""A small PyTorch Lightning training job that can be paused, on CPU or GPU.

It keeps the contract of examples/README.md with Lightning's own `ModelCheckpoint`, which saves
after every epoch and, when Lightning turns SIGTERM into an exception, in the middle of one. The
batches are resumable too, so no batch is learned from twice.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

EXIT_STOPPED: Final = 128 + signal.SIGTERM
FEATURES: Final = 16
EXAMPLES: Final = 2_048
BATCH_SIZE: Final = 64


class Waves(nn.Module):
    """Two hidden layers that learn a sum of sines."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map shape ``(batch, FEATURES)`` to shape ``(batch, 1)``."""
        answer: Tensor = self.layers(inputs)
        return answer


class Regression(pl.LightningModule):
    """Least squares with Adam."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Waves()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        """Return the loss of one batch."""
        inputs, target = batch
        loss = nn.functional.mse_loss(self.model(inputs), target)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser, whose moments Lightning keeps in the checkpoint."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


class Batches:
    """A seeded data set in an order of its own for every epoch, which knows where it stands.

    Lightning saves and restores any loader that has ``state_dict`` and ``load_state_dict``.

    Args:
        seed: Seed of the data set and of its orders.
        epoch_seconds: Least wall time of an epoch, spread over its batches.
    """

    def __init__(self, seed: int, *, epoch_seconds: float) -> None:
        rng = torch.Generator().manual_seed(seed)
        self._inputs = torch.randn(EXAMPLES, FEATURES, generator=rng)
        weights = torch.randn(FEATURES, 4, generator=rng) / 4
        self._targets = torch.sin(self._inputs @ weights).sum(dim=1, keepdim=True)
        self._seed = seed
        self._batch_seconds = epoch_seconds / len(self)
        self._epoch = 0
        self._given = 0

    def __len__(self) -> int:
        return EXAMPLES // BATCH_SIZE

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(EXAMPLES, generator=rng).view(len(self), BATCH_SIZE)
        while self._given < len(self):
            chosen = order[self._given]
            self._given += 1
            ends = time.monotonic() + self._batch_seconds
            yield self._inputs[chosen], self._targets[chosen]
            time.sleep(max(0.0, ends - time.monotonic()))

    @property
    def sampler(self) -> Batches:
        """Itself: Lightning calls ``sampler.set_epoch`` before every epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the one that goes on."""
        if epoch != self._epoch:
            self._epoch, self._given = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Return the place in the data."""
        return {"epoch": self._epoch, "given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a place in the data."""
        self._epoch, self._given = state["epoch"], state["given"]


class Progress(Callback):
    """One line per epoch, flushed: a job's log is followed while it runs."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say where training starts."""
        device = pl_module.device
        say(f"starts at epoch {trainer.current_epoch}, step {trainer.global_step}, on {device}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Say how the epoch went."""
        loss = float(trainer.callback_metrics["loss"])
        finished = trainer.current_epoch + 1
        say(f"epoch {finished}/{trainer.max_epochs} loss={loss:.4f} steps={trainer.global_step}")


def build_trainer(folder: Path, *, epochs: int, accelerator: str) -> pl.Trainer:
    """Return a trainer that keeps its newest state in ``folder/last.ckpt``."""
    checkpoint = ModelCheckpoint(
        dirpath=folder, filename="newest", save_last=True, save_on_exception=True,
        enable_version_counter=False, save_on_train_epoch_end=True,
    )  # fmt: skip
    return pl.Trainer(
        max_epochs=epochs, accelerator=accelerator, devices=1, callbacks=[checkpoint, Progress()],
        logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    )  # fmt: skip


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def parse_arguments() -> argparse.Namespace:
    """Return the options; what GridFlex sets in the environment is their default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="passes over the data")
    parser.add_argument("--epoch-seconds", type=float, default=0.0, help="least time of an epoch")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or gpu")
    parser.add_argument("--seed", type=int, default=1, help="of the data and of the first weights")
    folder = os.environ.get("GRIDFLEX_CHECKPOINT_DIR", "checkpoints")
    resume = os.environ.get("GRIDFLEX_RESUME") == "1"
    parser.add_argument("--checkpoint-dir", default=folder, help="else GRIDFLEX_CHECKPOINT_DIR")
    parser.add_argument(
        "--resume", action="store_true", default=resume, help="or GRIDFLEX_RESUME=1"
    )
    return parser.parse_args()


def main() -> int:
    """Train; return 0 when done, 143 when stopped."""
    options = parse_arguments()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    folder = Path(options.checkpoint_dir.removeprefix("file://")).absolute()
    newest = folder / "last.ckpt"
    if not options.resume:
        newest.unlink(missing_ok=True)
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    pl.seed_everything(options.seed, verbose=False)
    model = Regression()
    batches: Any = Batches(options.seed, epoch_seconds=options.epoch_seconds)
    trainer = build_trainer(folder, epochs=options.epochs, accelerator=options.accelerator)
    try:
        trainer.fit(model, batches, ckpt_path=str(newest) if newest.exists() else None)
    except SIGTERMException:
        say(f"stopped, saved at step {trainer.global_step}")
        return EXIT_STOPPED
    say(f"done: {trainer.current_epoch} epochs, {trainer.global_step} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
