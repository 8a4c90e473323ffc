"""What really happened, half-hour by half-hour: the truth behind the sandbox's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.signals import Origin

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Outturns of GB; every array has shape ``(T,)`` and NaN where nothing is known.

    Args:
        origin: Recorded or simulated.
        start: Half-hour of index 0.
        intensity_gco2_per_kwh: Average operational intensity.
        day_ahead_gbp_per_mwh: Auction price; known from the afternoon before.
        mid_gbp_per_mwh: Market index price.
        mid_volume_mwh: Traded volume behind it.
        system_gbp_per_mwh: Imbalance price.
        niv_mwh: Net imbalance volume; positive when the system is short.
        demand_mw: National demand, net of embedded generation.
        transmission_demand_mw: With station load, pumping and exports.
        embedded_wind_mw: Not in ``fuels_mw``.
        embedded_solar_mw: Not in ``fuels_mw``.
        net_import_mw: Positive when GB imports.
        fuels_mw: Elexon fuel type, without interconnectors, to output.

    Raises:
        ContractError: The arrays are not of one length.
    """

    origin: Origin
    start: HalfHour
    intensity_gco2_per_kwh: Values
    day_ahead_gbp_per_mwh: Values
    mid_gbp_per_mwh: Values
    mid_volume_mwh: Values
    system_gbp_per_mwh: Values
    niv_mwh: Values
    demand_mw: Values
    transmission_demand_mw: Values
    embedded_wind_mw: Values
    embedded_solar_mw: Values
    net_import_mw: Values
    fuels_mw: Mapping[str, Values]

    def __post_init__(self) -> None:
        arrays = [getattr(self, field.name) for field in fields(self)]
        sizes = {a.size for a in arrays if isinstance(a, np.ndarray)}
        sizes |= {a.size for a in self.fuels_mw.values()}
        if len(sizes) != 1:
            raise ContractError(f"a world needs arrays of one length, got {sorted(sizes)}")

    def __len__(self) -> int:
        return int(self.intensity_gco2_per_kwh.size)

    @property
    def end(self) -> HalfHour:
        """The first half-hour after the last one known."""
        return self.start + len(self)

    def window(self, values: Values, start: HalfHour, half_hours: int) -> Values:
        """Return shape ``(half_hours,)`` of one of the arrays; NaN outside the world."""
        out = np.full(half_hours, np.nan)
        offset = self.start.until(start)
        first, last = max(0, -offset), min(half_hours, len(self) - offset)
        if first < last:
            out[first:last] = values[offset + first : offset + last]
        return out

    def at(self, values: Values, half_hour: HalfHour) -> float:
        """Return one value of one of the arrays; NaN outside the world."""
        return float(self.window(values, half_hour, 1)[0])

    def shares(self, half_hour: HalfHour) -> dict[str, float]:
        """Return fuel to its share (0 to 1) as the Carbon Intensity API groups fuels.

        Empty where generation is not known.
        """
        fuel = {name: self.at(values, half_hour) for name, values in self.fuels_mw.items()}
        groups = {
            "biomass": fuel["BIOMASS"],
            "coal": fuel["COAL"],
            "imports": self.at(self.net_import_mw, half_hour),
            "gas": fuel["CCGT"] + fuel["OCGT"],
            "nuclear": fuel["NUCLEAR"],
            "other": fuel["OTHER"],
            "hydro": fuel["NPSHYD"] + max(fuel["PS"], 0.0),
            "solar": self.at(self.embedded_solar_mw, half_hour),
            "wind": fuel["WIND"] + self.at(self.embedded_wind_mw, half_hour),
        }
        positive = {name: max(value, 0.0) for name, value in groups.items()}
        total = sum(positive.values())
        if not np.isfinite(total) or total <= 0:
            return {}
        return {name: value / total for name, value in positive.items()}
