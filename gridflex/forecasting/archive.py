"""Which stored statements of the grid providers are inputs of a forecast, and under what name.

The names are those of the recorded histories, so that a forecaster trained on one finds the
same inputs in the other; what the archive does not have, it does not have to learn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from gridflex.forecasting.history import History
from gridflex.signals import NATIONAL, Kind, Origin, Signal

OWN: Final = "gridflex/"
"""What the source of every forecast of our own begins with; the model's name follows."""


@dataclass(frozen=True, slots=True)
class Archived:
    """One source that the grid agent collects.

    Args:
        signal: What it is about.
        kind: Forecast or outturn.
        source: Provider and product.
        region: Region or site that it is about.
        rather: Source that counts instead where it speaks; None if there is none.
    """

    signal: Signal
    kind: Kind
    source: str
    region: str = NATIONAL
    rather: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ArchivedHistory:
    """What an archive knows.

    Args:
        history: All inputs of which it has anything.
        origin: What they rest on, at the weakest.
    """

    history: History
    origin: Origin


INPUTS: Final[Mapping[str, Archived]] = {
    Signal.INTENSITY: Archived(Signal.INTENSITY, Kind.OUTTURN, "carbon-intensity/actual"),
    Signal.PRICE: Archived(Signal.PRICE, Kind.OUTTURN, "elexon/mid"),
    "system_price_gbp_per_mwh": Archived(Signal.SYSTEM_PRICE, Kind.OUTTURN, "elexon/system-price"),
    "demand_mw": Archived(Signal.DEMAND, Kind.OUTTURN, "elexon/indo"),
    "wind_mw": Archived(Signal.WIND, Kind.OUTTURN, "elexon/fuelhh-wind"),
    "day_ahead_gbp_per_mwh": Archived(
        Signal.PRICE, Kind.FORECAST, "octopus/agile-derived", rather="nord-pool/n2ex"
    ),
    "demand_forecast_mw": Archived(Signal.DEMAND, Kind.FORECAST, "elexon/ndf"),
    "wind_forecast_mw": Archived(Signal.WIND, Kind.FORECAST, "elexon/windfor"),
    "provider_intensity_gco2_per_kwh": Archived(
        Signal.INTENSITY, Kind.FORECAST, "carbon-intensity/fw48h"
    ),
}
"""Name of an input, ending in its unit, to where the archive has it."""


def as_served(history: History) -> History:
    """Return a history without what the grid agent does not collect.

    A forecaster must not learn to lean on inputs that it will never get.
    """
    served = {name: told for name, told in history.inputs.items() if name in INPUTS}
    return replace(history, inputs=served)
