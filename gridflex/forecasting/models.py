"""Every kind of forecaster by its name, to make one and to read a stored one back."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, Protocol

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.forecaster import Forecaster

KINDS: Final = {
    "persistence": "gridflex.forecasting.baselines:Persistence",
    "last-week": "gridflex.forecasting.baselines:LastWeek",
    "climatology": "gridflex.forecasting.baselines:Climatology",
    "lightgbm": "gridflex.forecasting.lightgbm:LightGbm",
    "ensemble": "gridflex.forecasting.ensemble:Ensemble",
    "demand": "gridflex.forecasting.demand:Demand",
    "prophet": "gridflex.forecasting.prophet:ProphetForecaster",
    "lstm": "gridflex.forecasting.lstm:LstmForecaster",
}
"""Kind to module and class. Heavy libraries are imported only when their kind is asked for."""

CHAMPIONS: Final = ("prophet", "ensemble", "lightgbm", "lstm")
"""Kinds that are trained to forecast the grid and can become its champion."""


class Kind(Protocol):
    """A class of forecasters."""

    def __call__(self, **settings: Any) -> Forecaster:  # noqa: ANN401 - those of the kind
        """Return an unfitted forecaster with its usual settings, or others."""
        ...

    def restore(self, artefact: Artefact) -> Forecaster:
        """Return the forecaster that was dumped."""
        ...


def kind(name: str) -> Kind:
    """Return the class of that name.

    Raises:
        ContractError: There is none.
    """
    try:
        module, attribute = KINDS[name].split(":")
    except KeyError:
        raise ContractError(f"forecaster {name!r} is not one of {sorted(KINDS)}") from None
    found: Kind = getattr(import_module(module), attribute)
    return found


def load(stored: bytes) -> Forecaster:
    """Read back what `Forecaster.dump` returned.

    Raises:
        ContractError: The bytes are damaged, or of a kind that does not exist.
    """
    artefact = Artefact.read(stored)
    try:
        return kind(artefact.kind).restore(artefact)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ContractError(f"stored {artefact.kind} forecaster is damaged: {error!r}") from error
