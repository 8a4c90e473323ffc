"""A forecaster around the sequence-to-sequence LSTM: anything half-hourly, with all its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Final

import numpy as np
import torch

from gridflex.errors import ContractError
from gridflex.forecasting.almanac import almanac
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.checks import learnable
from gridflex.forecasting.forecaster import QuantileForecast
from gridflex.forecasting.history import Array, Knowledge
from gridflex.forecasting.lstm_network import LstmNetwork, LstmSettings
from gridflex.forecasting.lstm_training import train
from gridflex.forecasting.sequences import Sequences, layers

NAME: Final = "lstm"


class LstmForecaster:
    """Quantiles by an LSTM that reads all inputs, and of those known ahead what is known.

    Args:
        settings: Sizes and steps.
        accelerator: As Lightning calls it: ``auto`` takes a GPU where there is one.
        on_epoch: Told the number of each epoch of a fit, from 1, and its loss on the held-back
            tail in units of the last week's spread.
    """

    def __init__(
        self,
        settings: LstmSettings | None = None,
        *,
        accelerator: str = "auto",
        on_epoch: Callable[[int, float], None] | None = None,
    ) -> None:
        self._settings = settings or LstmSettings()
        self._accelerator = accelerator
        self._on_epoch = on_epoch
        self._names: tuple[str, ...] = ()
        self._network: LstmNetwork | None = None

    @property
    def name(self) -> str:
        """``lstm``."""
        return NAME

    def fit(self, known: Knowledge) -> None:
        """Train on everything said by the issue time; see `Forecaster.fit`."""
        learnable(known)
        sequences = prepare(known, ahead=self._settings.ahead)
        fitted = train(
            sequences, self._settings, accelerator=self._accelerator, on_epoch=self._on_epoch
        )
        self._names, self._network = sequences.names, fitted.network

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        """Forecast up to ``settings.ahead`` half-hours; see `Forecaster.predict`.

        An input that is missing altogether counts as unknown; with no target in the last week
        the forecast falls back on the level it had in training.
        """
        network = self._fitted(known.target)
        past, ahead = network.settings.past, network.settings.ahead
        if not 0 < half_hours <= ahead:
            raise ContractError(f"{NAME}: forecasts 1 to {ahead} half-hours, not {half_hours}")
        told = np.stack([self._window(known, name) for name in self._names])[None]
        days = almanac(known.issued - past, past + ahead)[None]
        with torch.no_grad():
            quantiles = network.quantiles(
                torch.from_numpy(told[..., :past].astype(np.float32)),
                torch.from_numpy(told[..., past:].astype(np.float32)),
                torch.from_numpy(days.astype(np.float32)),
            )
        values = np.sort(quantiles[0, :half_hours].numpy().astype(np.float64), axis=1)
        return QuantileForecast(known.target, NAME, known.issued, values)

    def dump(self) -> bytes:
        """Return weights and settings; no code is pickled."""
        network = self._fitted(*self._names[:1])
        state = {
            "names": list(self._names),
            "settings": asdict(network.settings),
            "ahead_inputs": list(network.ahead_inputs),
            "almanac_columns": network.almanac_columns,
        }
        return Artefact(NAME, state, {n: v.numpy() for n, v in network.state_dict().items()}).dump()

    @classmethod
    def restore(cls, artefact: Artefact) -> LstmForecaster:
        """Return the forecaster that was dumped."""
        state = artefact.state
        weights = {name: torch.from_numpy(array) for name, array in artefact.arrays.items()}
        settings = LstmSettings(**state["settings"])
        network = LstmNetwork(
            ahead_inputs=tuple(state["ahead_inputs"]),
            means=weights["means"],
            spreads=weights["spreads"],
            almanac_columns=state["almanac_columns"],
            settings=settings,
        )
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise ContractError(f"{NAME}: weights do not fit the settings: {error}") from error
        restored = cls(settings)
        restored._names, restored._network = tuple(state["names"]), network.eval()
        return restored

    def _window(self, known: Knowledge, name: str) -> Array:
        past, ahead = self._settings.past, self._settings.ahead
        if name not in known.names:
            return np.full(past + ahead, np.nan)
        return known.window(name, -past, past + ahead)

    def _fitted(self, target: str = "") -> LstmNetwork:
        if self._network is None:
            raise ContractError(f"{NAME}: was not fitted")
        if target != self._names[0]:
            raise ContractError(f"{NAME}: was fitted for {self._names[0]}, not for {target}")
        return self._network


def prepare(known: Knowledge, *, ahead: int) -> Sequences:
    """Return everything said by the issue time as arrays that reach ``ahead`` further."""
    issued = known.half_hours_of_history
    names = (known.target, *(name for name in known.names if name != known.target))
    told = [layers(known.said(name), issued + ahead) for name in names]
    return Sequences(
        names=names,
        input_of=np.repeat(np.arange(len(names)), [len(values) for values, _ in told]),
        values=np.concatenate([values for values, _ in told]),
        delays=np.concatenate([delays for _, delays in told]),
        almanac=almanac(known.issued - issued, issued + ahead).astype(np.float32),
        issued=issued,
    )
