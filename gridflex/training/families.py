"""The kinds of forecasters that are trained, and the settings that are tried for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Final

from ray import tune

from gridflex.errors import ContractError
from gridflex.forecasting import models
from gridflex.forecasting.forecaster import Forecaster

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of forecaster.

    Args:
        name: As in `gridflex.forecasting.models`.
        make: Returns an unfitted one with some settings.
        space: Setting to what Ray Tune may try for it; none is tried once, as it is.
        uses_gpu: Whether a GPU makes it faster.
    """

    name: str
    make: Callable[[Settings], Forecaster]
    space: Mapping[str, Any] = field(default_factory=dict)
    uses_gpu: bool = False


BASELINES: Final = ("persistence", "last-week", "climatology")
"""Always compared, never promoted: they are what the usual level is made of."""


DEMAND: Final = "demand"
"""Of GPUs at a site, the one kind for that."""


def _plain(name: str) -> Family:
    return Family(name, lambda _settings: models.kind(name)())


def _set(name: str, **space: Any) -> Family:  # noqa: ANN401 - Tune's
    return Family(name, lambda settings: models.kind(name)(**settings), space)


def _lstm(settings: Settings) -> Forecaster:
    network = import_module("gridflex.forecasting.lstm_network")  # imports PyTorch
    return models.kind("lstm")(settings=network.LstmSettings(**settings))


FAMILIES: Final[Mapping[str, Family]] = {
    **{name: _plain(name) for name in (*BASELINES, "prophet", "ensemble", DEMAND)},
    "lightgbm": _set(
        "lightgbm", trees=tune.choice([150, 250, 400, 600]), every=tune.choice([7, 11, 23])
    ),
    "lstm": Family(
        "lstm",
        _lstm,
        {
            "hidden": tune.choice([32, 64, 96]),
            "dropout": tune.uniform(0.2, 0.6),
            "rate": tune.loguniform(1e-3, 6e-3),
        },
        uses_gpu=True,
    ),
}
"""By name."""


def trainable() -> tuple[str, ...]:
    """Return the names of all families that can forecast the grid and become its champion."""
    return tuple(name for name in FAMILIES if name in models.CHAMPIONS)


def family(name: str, *, may_use_gpu: bool = True) -> Family:
    """Return the family of that name.

    Args:
        name: Of the family.
        may_use_gpu: Whether it may take a GPU if that makes it faster.

    Raises:
        ContractError: There is none.
    """
    try:
        found = FAMILIES[name]
    except KeyError:
        raise ContractError(f"model {name!r} is not one of {', '.join(sorted(FAMILIES))}") from None
    return found if may_use_gpu else replace(found, uses_gpu=False)
