"""How the LSTM is trained: pinball loss, and a held-back tail that stops and calibrates it.

Needs only NumPy, PyTorch and Lightning, so it trains on a machine that has nothing else.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from gridflex.errors import ContractError
from gridflex.forecasting.conformal import LEAD_EDGES
from gridflex.forecasting.forecaster import NEAR_HALF_HOURS
from gridflex.forecasting.lstm_network import DAY, LstmNetwork, LstmSettings
from gridflex.forecasting.sequences import Sequences
from gridflex.quantiles import LEVELS, MEDIAN

_RARELY_AHEAD: Final = 0.01
"""Share of values known ahead below which an input counts as known afterwards only."""

_STEP: Final = 7
"""Half-hours between the issue times on which the tail is scored; odd, so all clock times occur."""

_TALKATIVE: Final = ("utilities.rank_zero", "accelerators.cuda", "trainer.setup")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network.

    Args:
        network: With the weights of its best epoch.
        losses: Loss on the held-back tail after each epoch, in units of the last week's spread.
        device: Where it was trained, such as ``cpu`` or ``cuda:0``.
    """

    network: LstmNetwork
    losses: tuple[float, ...]
    device: str


class _Training(lightning.LightningModule):
    """The network with its data on the same device, and its loss."""

    network: LstmNetwork
    values: Tensor
    known_from: Tensor
    almanac: Tensor
    truth: Tensor
    weight: Tensor
    levels: Tensor

    def __init__(self, network: LstmNetwork, sequences: Sequences, *, train_end: int) -> None:
        super().__init__()
        self.network = network
        self._settings = network.settings
        self._train_end = train_end
        self._hide = torch.Generator().manual_seed(self._settings.seed)
        self.input_of = sequences.input_of.tolist()
        for name, array in (
            ("values", torch.from_numpy(sequences.values)),
            (
                "known_from",
                torch.from_numpy(sequences.delays.astype(np.int64)) + torch.arange(len(sequences)),
            ),
            ("almanac", torch.from_numpy(sequences.almanac)),
            ("truth", torch.from_numpy(sequences.truth)),
        ):
            self.register_buffer(name, array, persistent=False)
        lead = torch.arange(self._settings.ahead)
        weight = torch.where(lead < NEAR_HALF_HOURS, 1.0, self._settings.far_weight)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("levels", torch.tensor(LEVELS), persistent=False)

    def window(self, issues: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return past, ahead and almanac as known at each issue time, and the half-hours ahead."""
        past, ahead = self._settings.past, self._settings.ahead
        about = issues[:, None] + torch.arange(-past, ahead, device=issues.device)
        known = self.known_from[:, about] <= issues[:, None]
        told = torch.where(known, self.values[:, about], torch.nan)
        out = told.new_full((self.network.means.numel(), *about.shape), torch.nan)
        for layer, index in enumerate(self.input_of):
            out[index] = torch.where(torch.isfinite(told[layer]), told[layer], out[index])
        out = out.transpose(0, 1)
        return out[..., :past], out[..., past:], self.almanac[about], about[:, past:]

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        """Return the loss of a batch of issue times, of the half-hours before the tail only."""
        past, ahead, almanac, about = self.window(batch[0])
        hidden = torch.rand(past.shape[:2], generator=self._hide) < self._settings.hide
        hidden = hidden.to(past.device)[..., None]
        past, ahead = past.masked_fill(hidden, torch.nan), ahead.masked_fill(hidden, torch.nan)
        truth = self.truth[about].masked_fill(about >= self._train_end, torch.nan)
        return self._loss(self.network.forward(past, ahead, almanac), truth)

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        """Log the loss of a batch of issue times in the tail."""
        past, ahead, almanac, about = self.window(batch[0])
        loss = self._loss(self.network.forward(past, ahead, almanac), self.truth[about])
        self.log("loss", loss, batch_size=len(batch[0]))

    def errors(self, issues: Tensor) -> Tensor:
        """Return scaled outturn less scaled quantiles, ``(B, H, Q)``; NaN where unknown."""
        past, ahead, almanac, about = self.window(issues)
        scaled, scale = self.network.forward(past, ahead, almanac)
        return ((self.truth[about] - scale[:, :1]) / scale[:, 1:])[..., None] - scaled

    def _loss(self, forecast: tuple[Tensor, Tensor], truth: Tensor) -> Tensor:
        scaled, scale = forecast
        known = torch.isfinite(truth)
        aim = torch.where(known, (truth - scale[:, :1]) / scale[:, 1:], 0.0)
        error = aim[..., None] - scaled
        pinball = torch.maximum(self.levels * error, (self.levels - 1) * error).mean(dim=-1)
        weight = self.weight * known
        return (pinball * weight).sum() / weight.sum().clamp(min=1.0)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW whose rate rises for a tenth of the steps and then falls to nothing."""
        optimiser = torch.optim.AdamW(self.parameters(), lr=self._settings.rate, weight_decay=1e-2)
        steps = max(2, int(self.trainer.estimated_stepping_batches))
        rate = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self._settings.rate, total_steps=steps, pct_start=0.1
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


class _Best(Callback):
    """Keeps the weights of the best epoch, and tells of every one."""

    def __init__(self, network: LstmNetwork, on_epoch: Callable[[int, float], None] | None) -> None:
        self._network = network
        self.losses: list[float] = []
        self.weights: dict[str, Tensor] = {}
        self._on_epoch = on_epoch

    def on_validation_end(
        self, trainer: lightning.Trainer, _module: lightning.LightningModule
    ) -> None:
        """Compare this epoch with the best so far."""
        loss = float(trainer.callback_metrics["loss"])
        if loss < min(self.losses, default=float("inf")):
            state = self._network.state_dict()
            self.weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        self.losses.append(loss)
        if self._on_epoch is not None:
            self._on_epoch(len(self.losses), loss)


def train(
    sequences: Sequences,
    settings: LstmSettings,
    *,
    accelerator: str = "auto",
    on_epoch: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Return a network trained on all issue times but those of the held-back tail.

    Args:
        sequences: Everything said by its ``issued``; the target is the first input.
        settings: Sizes and steps.
        accelerator: As Lightning calls it: ``auto`` takes a GPU where there is one.
        on_epoch: Told the number of each epoch, from 1, and its loss on the tail.

    Raises:
        ContractError: There is too little history.
    """
    if sequences.issued < settings.least:
        raise ContractError(
            f"lstm: {sequences.issued} half-hours of history, at least {settings.least} are needed"
        )
    with _quiet(), torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return _train(sequences, settings, accelerator=accelerator, on_epoch=on_epoch)


def _train(
    sequences: Sequences,
    settings: LstmSettings,
    *,
    accelerator: str,
    on_epoch: Callable[[int, float], None] | None,
) -> Fitted:
    tail = max(2 * settings.ahead, int(settings.tail_fraction * sequences.issued))
    train_end = sequences.issued - tail
    module = _Training(_network(sequences, settings), sequences, train_end=train_end)
    best = _Best(module.network, on_epoch)
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=settings.epochs,
        gradient_clip_val=1.0,
        callbacks=[best, EarlyStopping("loss", patience=settings.patience)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    device = str(trainer.strategy.root_device)
    issues = TensorDataset(torch.arange(settings.past, train_end - DAY))
    drawn = RandomSampler(
        issues,
        num_samples=min(settings.windows, len(issues)),
        generator=torch.Generator().manual_seed(settings.seed),
    )
    tail_issues = torch.arange(train_end, sequences.issued - settings.ahead, _STEP)
    trainer.fit(
        module,
        DataLoader(issues, settings.batch, sampler=drawn),
        DataLoader(TensorDataset(tail_issues), settings.batch),
    )
    if not best.weights:
        raise ContractError("lstm: training gave no finite loss")
    module.network.load_state_dict(best.weights)
    module.cpu().eval()
    module.network.shifts = _shifts(module, torch.split(tail_issues, settings.batch))
    return Fitted(module.network, tuple(best.losses), device)


@torch.no_grad()
def _shifts(module: _Training, issues: Iterable[Tensor]) -> Tensor:
    """Return what each quantile but the median lacks to be one in the tail, by group of leads."""
    errors = torch.cat([module.errors(batch) for batch in issues]).numpy()
    shifts = np.zeros(errors.shape[1:], dtype=np.float32)
    for first, after in pairwise(LEAD_EDGES):
        of_group = errors[:, first:after].reshape(-1, len(LEVELS))
        of_group = of_group[np.isfinite(of_group[:, MEDIAN])]
        if len(of_group):
            for place, level in enumerate(LEVELS):
                shifts[first:after, place] = np.quantile(of_group[:, place], level)
    shifts[:, MEDIAN] = 0.0
    return torch.from_numpy(shifts)


def _network(sequences: Sequences, settings: LstmSettings) -> LstmNetwork:
    told = [sequences.input_of == index for index in range(len(sequences.names))]
    past = [sequences.values[layers, : sequences.issued] for layers in told]
    known = [values[np.isfinite(values)] for values in past]
    ahead = [
        index
        for index, layers in enumerate(told)
        if index and (sequences.delays[layers] <= 0).mean() > _RARELY_AHEAD
    ]
    spreads = [float(values.std()) if values.size else 0.0 for values in known]
    return LstmNetwork(
        ahead_inputs=tuple(ahead),
        means=torch.tensor([float(values.mean()) if values.size else 0.0 for values in known]),
        spreads=torch.tensor([spread if spread > 0 else 1.0 for spread in spreads]),
        almanac_columns=sequences.almanac.shape[1],
        settings=settings,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's tips on hardware and workers out of the log."""
    loggers = [logging.getLogger(f"pytorch_lightning.{part}") for part in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
