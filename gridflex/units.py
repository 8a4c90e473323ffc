"""The only place where one unit becomes another.

Canonical units: power kW, energy kWh, carbon intensity gCO2/kWh, emissions gCO2,
price GBP/MWh, money GBP. A name carries its unit as a suffix, here and everywhere else.

Signs: a job's power and energy are positive when consumed; flexibility is positive when
consumption is reduced against the baseline.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

KWH_PER_MWH: Final = 1_000.0
GRAMS_PER_KG: Final = 1_000.0
HOURS_PER_HALF_HOUR: Final = 0.5
SECONDS_PER_HOUR: Final = 3_600.0
KG_PER_TONNE: Final = 1_000.0

MOST_PRICE_GBP: Final = 1e6
"""That a tonne or a GPU-hour may be said to cost, far beyond any that was ever paid."""

TEN_PENCE: Final = Decimal("0.1")
MOST_PLACES: Final = 6
"""To which a receipt is worked out."""

Number = TypeVar("Number", float, NDArray[np.float64])


def energy_kwh(power_kw: Number) -> Number:
    """Return the energy that a steady ``power_kw`` uses in one half-hour."""
    return power_kw * HOURS_PER_HALF_HOUR


def energy_over_kwh(power_kw: float, duration: timedelta) -> float:
    """Return the energy that a steady ``power_kw`` uses in ``duration``."""
    return power_kw * hours(duration)


def emissions_gco2(energy_kwh: Number, intensity_gco2_per_kwh: Number) -> Number:
    """Return the emissions of ``energy_kwh`` at a given carbon intensity."""
    return energy_kwh * intensity_gco2_per_kwh


def cost_gbp(energy_kwh: Number, price_gbp_per_mwh: Number) -> Number:
    """Return the cost of ``energy_kwh`` at a wholesale price."""
    return energy_kwh * price_gbp_per_mwh / KWH_PER_MWH


def carbon_price_gbp_per_mwh(intensity_gco2_per_kwh: Number, gbp_per_tco2: float) -> Number:
    """Return what emitting at this intensity costs per MWh when a tonne costs ``gbp_per_tco2``.

    1 gCO2/kWh is 1 kg/MWh.
    """
    return intensity_gco2_per_kwh * gbp_per_tco2 / KG_PER_TONNE


def gbp_text(amount: float | Decimal) -> str:
    """Return an amount in GBP as it is printed: pence, and below ten of them two digits.

    >>> gbp_text(1234.5), gbp_text(0.05), gbp_text(Decimal("-0.00421")), gbp_text(0)
    ('1,234.50', '0.050', '-0.0042', '0.00')
    """
    size = abs(Decimal(str(amount)))
    if not size or size >= TEN_PENCE:
        return f"{amount:,.2f}"
    places = min(1 - size.adjusted(), MOST_PLACES)
    return f"{amount:,.{places}f}"


def kg(grams: float) -> float:
    """Return ``grams`` in kg."""
    return grams / GRAMS_PER_KG


def hours(duration: timedelta) -> float:
    """Return ``duration`` in hours."""
    return duration.total_seconds() / SECONDS_PER_HOUR
