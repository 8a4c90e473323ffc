"""The sequence-to-sequence network behind `gridflex.forecasting.lstm`.

An LSTM reads the last week of all inputs; a second one, started from its state, reads what is
known of each half-hour ahead and writes quantiles of the target. Both read and write patches of
a few half-hours, which makes nine days short enough to train on a laptop. Every input is scaled
by its own last week, so a break in level does no harm; what is not known is zero with a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gridflex.errors import ContractError
from gridflex.quantiles import LEVELS, MEDIAN

DAY: Final = 48
WEEK: Final = 7 * DAY
_FLOOR: Final = 0.05
"""Of an input's usual spread: a quieter week is scaled no further up."""
_FAR_STATEMENT: Final = 6.0
"""Scaled values beyond this are squeezed: a price spike must not drown the rest of its week."""


@dataclass(frozen=True, slots=True)
class LstmSettings:
    """What shapes the network and its training.

    Args:
        past: Half-hours read before the issue time; a whole number of weeks.
        ahead: Half-hours forecast; a multiple of ``patch``.
        patch: Half-hours read and written at a time.
        hidden: Size of the LSTM's state.
        dropout: Of the week's context and of the state before the last layer.
        hide: How often training hides an input of a window: a dead feed must be nothing new, and no
            week may be known by its numbers.
        rate: Largest learning rate.
        batch: Windows a step.
        windows: Windows an epoch, drawn anew from all issue times.
        epochs: At most.
        patience: Epochs without a better loss on the held-back tail before training ends.
        tail_fraction: Of the history, held back at its end.
        far_weight: Weight of a half-hour beyond 48 h in the loss, against 1 before.
        seed: Of everything random.
    """

    past: int = WEEK
    ahead: int = 432
    patch: int = 4
    hidden: int = 64
    dropout: float = 0.5
    hide: float = 0.3
    rate: float = 3e-3
    batch: int = 128
    windows: int = 6_144
    epochs: int = 5
    patience: int = 3
    tail_fraction: float = 0.12
    far_weight: float = 0.15
    seed: int = 7

    def __post_init__(self) -> None:
        if self.past <= 0 or self.past % WEEK:
            raise ContractError(f"past must be whole weeks of {WEEK} half-hours, got {self.past}")
        if self.ahead <= 0 or self.ahead % self.patch or self.past % self.patch:
            raise ContractError(
                f"patch must divide past and ahead, got {self.patch}, {self.past}, {self.ahead}"
            )

    @property
    def least(self) -> int:
        """Half-hours of history below which there is nothing to train on and to hold back."""
        return 2 * self.past + 4 * self.ahead


class LstmNetwork(nn.Module):
    """From inputs as known at an issue time to quantiles of the target.

    ``shifts``, shape ``(ahead, Q)``, moves the scaled quantiles to where the held-back tail wants
    them.

    Args:
        ahead_inputs: Indices of the inputs that are known ahead, in part at least.
        means: Shape ``(C,)``, the level of each input in training.
        spreads: Shape ``(C,)``, its standard deviation in training.
        almanac_columns: How many the almanac has.
        settings: Sizes.
    """

    means: Tensor
    spreads: Tensor
    shifts: Tensor

    def __init__(
        self,
        *,
        ahead_inputs: tuple[int, ...],
        means: Tensor,
        spreads: Tensor,
        almanac_columns: int,
        settings: LstmSettings,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.almanac_columns = almanac_columns
        self.ahead_inputs = ahead_inputs
        self.register_buffer("means", means)
        self.register_buffer("spreads", spreads)
        self.register_buffer("shifts", torch.zeros(settings.ahead, len(LEVELS)))
        inputs, patch, hidden = means.numel(), settings.patch, settings.hidden
        read = inputs * (patch + 1) + almanac_columns
        told = (len(ahead_inputs) + 3) * patch + len(ahead_inputs) + almanac_columns + 2
        self.context = nn.Sequential(
            nn.Dropout(settings.dropout), nn.Linear(4 * inputs, hidden), nn.Tanh()
        )
        self.encoder = nn.LSTM(read, hidden, batch_first=True)
        self.decoder = nn.LSTM(told + hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.write = nn.Linear(hidden + told, patch * len(LEVELS))

    def forward(self, past: Tensor, ahead: Tensor, almanac: Tensor) -> tuple[Tensor, Tensor]:
        """Return scaled quantiles ``(B, H, Q)`` and the level and spread ``(B, 2)`` to undo it.

        Args:
            past: Shape ``(B, C, past)``, the target first; NaN is unknown.
            ahead: Shape ``(B, C, ahead)``.
            almanac: Shape ``(B, past + ahead, K)``.
        """
        level, spread = self._scale(past)
        read, is_read = _squeezed(past, level, spread)
        told, is_told = _squeezed(ahead, level, spread)
        context = self.context(self._context(read, is_read, level, spread))
        days = self._patched(almanac.transpose(1, 2)).mean(dim=2).transpose(1, 2)
        steps = self.settings.past // self.settings.patch
        seen = torch.cat([self._flat(read), self._share(is_read), days[:, :steps]], dim=2)
        _, state = self.encoder(seen)
        known = torch.cat(
            [
                self._flat(told[:, self.ahead_inputs]),
                self._share(is_told[:, self.ahead_inputs]),
                self._flat(self._habits(read[:, 0], is_read[:, 0])),
                days[:, steps:],
                self._lead(told),
            ],
            dim=2,
        )
        along = context[:, None].expand(-1, known.shape[1], -1)
        hidden, _ = self.decoder(torch.cat([known, along], dim=2), state)
        raw = self.write(torch.cat([self.dropout(hidden), known], dim=2))
        return _in_order(raw.reshape(raw.shape[0], -1, len(LEVELS))), torch.cat(
            [level[:, 0], spread[:, 0]], dim=1
        )

    def quantiles(self, past: Tensor, ahead: Tensor, almanac: Tensor) -> Tensor:
        """Return quantiles ``(B, H, Q)`` in the unit of the target."""
        scaled, scale = self.forward(past, ahead, almanac)
        in_order = (scaled + self.shifts).sort(dim=-1).values
        return in_order * scale[:, 1, None, None] + scale[:, 0, None, None]

    def _scale(self, past: Tensor) -> tuple[Tensor, Tensor]:
        known = torch.isfinite(past)
        count = known.sum(dim=2, keepdim=True)
        filled = torch.where(known, past, 0.0)
        enough = count >= DAY // 2
        means, spreads = self.means[:, None], self.spreads[:, None]
        level = torch.where(enough, filled.sum(dim=2, keepdim=True) / count.clamp(min=1), means)
        error = torch.where(known, past - level, 0.0).square().sum(dim=2, keepdim=True)
        spread = torch.where(enough, (error / count.clamp(min=1)).sqrt(), spreads)
        return level, torch.maximum(spread, _FLOOR * spreads)

    def _context(self, read: Tensor, known: Tensor, level: Tensor, spread: Tensor) -> Tensor:
        """The week against the usual level and spread, how much is known, and its last hours."""
        position = ((level - self.means[:, None]) / self.spreads[:, None]).clamp(-4, 4)
        width = (spread / self.spreads[:, None]).log().clamp(-4, 4)
        share = known.float().mean(dim=2, keepdim=True)
        last = read[:, :, -2 * self.settings.patch :].mean(dim=2, keepdim=True)
        return torch.cat([position, width, share, last], dim=1).squeeze(2)

    def _habits(self, target: Tensor, known: Tensor) -> Tensor:
        """Yesterday, the same day last week and the usual day, repeated over what is ahead."""
        days = target.reshape(target.shape[0], -1, DAY)
        count = known.reshape(days.shape).sum(dim=1)
        usual = days.sum(dim=1) / count.clamp(min=1)
        ahead = torch.arange(self.settings.ahead, device=target.device)
        yesterday, last_week = target[:, -DAY:], target[:, -WEEK:]
        return torch.stack(
            [yesterday[:, ahead % DAY], last_week[:, ahead % WEEK], usual[:, ahead % DAY]], dim=1
        )

    def _lead(self, told: Tensor) -> Tensor:
        steps = self.settings.ahead // self.settings.patch
        lead = torch.arange(steps, device=told.device) * self.settings.patch / DAY
        both = torch.stack([lead / 9, torch.exp(-2 * lead)], dim=1)
        return both[None].expand(told.shape[0], -1, -1)

    def _patched(self, values: Tensor) -> Tensor:
        """From ``(B, C, T)`` to ``(B, C, patch, T / patch)``."""
        batch, inputs, _ = values.shape
        return values.reshape(batch, inputs, -1, self.settings.patch).transpose(2, 3)

    def _flat(self, values: Tensor) -> Tensor:
        """From ``(B, C, T)`` to ``(B, T / patch, C * patch)``."""
        return self._patched(values).flatten(1, 2).transpose(1, 2)

    def _share(self, known: Tensor) -> Tensor:
        """How much of each patch is known: ``(B, T / patch, C)``."""
        return self._patched(known.float()).mean(dim=2).transpose(1, 2)


def _squeezed(values: Tensor, level: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    known = torch.isfinite(values)
    scaled = torch.where(known, (values - level) / spread, 0.0)
    return _FAR_STATEMENT * torch.tanh(scaled / _FAR_STATEMENT), known


def _in_order(raw: Tensor) -> Tensor:
    """The median as written, and every other level a positive step further out."""
    median = raw[..., MEDIAN : MEDIAN + 1]
    above = median + softplus(raw[..., MEDIAN + 1 :]).cumsum(dim=-1)
    below = median - softplus(raw[..., :MEDIAN]).flip(-1).cumsum(dim=-1).flip(-1)
    return torch.cat([below, median, above], dim=-1)
