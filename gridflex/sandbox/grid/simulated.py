"""A seeded GB grid for machines without recorded data: plausible, and said to be simulated.

Demand follows the clock in London, the season and the week; wind comes and goes over days;
the sun follows the time of year under passing cloud; gas and imports fill what is left. Price
rises with the output of gas and falls below zero when there is more wind and sun than use. The
levels are chosen to look like GB in 2023-24 (docs/grid.md) and prove nothing about it.
"""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Final

import numpy as np
import pandas as pd

from gridflex.errors import ContractError
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.sandbox.grid.world import Values, World
from gridflex.signals import Origin

YEARS: Final = 3
FIRST_YEAR: Final = MINYEAR + 1
LAST_YEAR: Final = MAXYEAR - YEARS + 1
_GAS_G: Final = 394.0
_BIOMASS_G: Final = 120.0
_OTHER_G: Final = 300.0
_IMPORTS_G: Final = 180.0
"""gCO2/kWh by fuel as in the API's own factors; imports as a mean of their countries."""

_LATITUDE_RAD: Final = np.radians(52.5)


def simulate_world(around: datetime, *, seed: int) -> World:
    """Return the year before ``around``'s, that year and the next.

    Args:
        around: Any instant; the same year and seed give the same world.
        seed: Which of the possible years.

    Raises:
        ContractError: The calendar does not hold those years.
    """
    year = around.astimezone(UTC).year
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ContractError(
            f"the clock says {around.isoformat(timespec='minutes')}, which is not valid for a "
            f"simulated grid; valid are the years {FIRST_YEAR} to {LAST_YEAR}"
        )
    start = HalfHour(datetime(year - 1, 1, 1, tzinfo=UTC))
    size = start.until(HalfHour(datetime(year - 1 + YEARS, 1, 1, tzinfo=UTC)))
    rng = np.random.default_rng([seed, year])
    stamps = pd.date_range(start.start, periods=size, freq=HALF_HOUR)
    season = np.cos(2 * np.pi * (stamps.day_of_year.to_numpy() - 20) / 365.25)
    use = _use_mw(stamps, season, rng)
    solar = _solar_mw(stamps, rng)
    wind, embedded_wind = _wind_mw(season, rng)
    return _dispatch(
        start, use=use, solar=solar, wind=wind, embedded_wind=embedded_wind, season=season, rng=rng
    )


def _dispatch(
    start: HalfHour,
    *,
    use: Values,
    solar: Values,
    wind: Values,
    embedded_wind: Values,
    season: Values,
    rng: np.random.Generator,
) -> World:
    size = use.size
    nuclear = 4_600 + 500 * season + 150 * _memory(rng, size, hours=400)
    biomass = np.clip(1_900 + 300 * season + 300 * _memory(rng, size, hours=60), 300, None)
    hydro = np.clip(400 + 250 * season + 120 * _memory(rng, size, hours=100), 50, None)
    other = np.full(size, 250.0)
    needed = use - solar - wind - embedded_wind - nuclear - biomass - hydro - other
    imports = np.clip(
        0.30 * (needed - 9_000) + 2_900 + 900 * _memory(rng, size, hours=30), -5_000, 8_000
    )
    left = needed - imports
    must_run = 1_300.0
    spilled = np.clip(must_run - left, 0.0, None)
    gas = np.maximum(left, must_run)
    wind = np.clip(wind - spilled, 500.0, None)
    day_ahead = _hourly(_price(gas, spilled, season=season, rng=rng))
    mid = day_ahead + 14 * _memory(rng, size, hours=3) + rng.normal(0, 6, size)
    niv = 180 * _memory(rng, size, hours=2)
    system = mid + 0.09 * niv + np.sign(niv) * np.clip(rng.exponential(14, size) - 8, 0, None)
    carbon = (
        _GAS_G * gas
        + _BIOMASS_G * biomass
        + _OTHER_G * other
        + _IMPORTS_G * np.clip(imports, 0, None)
    )
    total = gas + biomass + other + nuclear + hydro + wind + solar + embedded_wind
    demand = use - solar - embedded_wind
    none = np.zeros(size)
    return World(
        origin=Origin.SIMULATED,
        start=start,
        intensity_gco2_per_kwh=carbon / (total + np.clip(imports, 0, None)),
        day_ahead_gbp_per_mwh=day_ahead,
        mid_gbp_per_mwh=np.round(mid, 2),
        mid_volume_mwh=np.clip(900 + 300 * _memory(rng, size, hours=6), 50, None),
        system_gbp_per_mwh=np.round(system, 2),
        niv_mwh=niv,
        demand_mw=np.round(demand),
        transmission_demand_mw=np.round(demand + 600 + np.clip(-imports, 0, None)),
        embedded_wind_mw=np.round(embedded_wind),
        embedded_solar_mw=np.round(solar),
        net_import_mw=np.round(imports),
        fuels_mw={
            "CCGT": np.round(gas),
            "OCGT": none,
            "COAL": none,
            "NUCLEAR": np.round(nuclear),
            "WIND": np.round(wind),
            "BIOMASS": np.round(biomass),
            "NPSHYD": np.round(hydro),
            "PS": none,
            "OTHER": other,
        },
    )


def _use_mw(stamps: pd.DatetimeIndex, season: Values, rng: np.random.Generator) -> Values:
    """Demand before embedded generation."""
    local = stamps.tz_convert("Europe/London")
    hour = local.hour.to_numpy() + local.minute.to_numpy() / 60
    night = -5_500 * np.exp(-0.5 * ((((hour - 4) + 12) % 24 - 12) / 2.6) ** 2)
    morning = 1_500 * np.exp(-0.5 * ((hour - 9) / 2.5) ** 2)
    evening = (4_000 + 1_500 * season) * np.exp(-0.5 * ((hour - 18) / 2.2) ** 2)
    weekend = np.where(local.day_of_week.to_numpy() >= 5, 0.92, 1.0)  # noqa: PLR2004 - Saturday
    level = 30_500 + 4_200 * season + 900 * _memory(rng, len(stamps), hours=72)
    return np.asarray((level + night + morning + evening) * weekend)


def _solar_mw(stamps: pd.DatetimeIndex, rng: np.random.Generator) -> Values:
    day = stamps.day_of_year.to_numpy()
    hour = stamps.hour.to_numpy() + stamps.minute.to_numpy() / 60 + 0.25
    declination = np.radians(-23.44 * np.cos(2 * np.pi * (day + 10) / 365.25))
    height = np.sin(_LATITUDE_RAD) * np.sin(declination) + np.cos(_LATITUDE_RAD) * np.cos(
        declination
    ) * np.cos((hour - 12) * np.pi / 12)
    clear = np.clip(0.62 + 0.25 * _memory(rng, len(stamps), hours=9), 0.12, 1.0)
    return np.asarray(13_500 * np.clip(height, 0, None) ** 1.15 * clear)


def _wind_mw(season: Values, rng: np.random.Generator) -> tuple[Values, Values]:
    """Transmission-connected and embedded wind, driven by the same weather."""
    size = season.size
    weather = 1.15 * _memory(rng, size, hours=48) + 0.25 * _memory(rng, size, hours=4)
    load = 0.92 / (1 + np.exp(-(weather - 0.85 + 0.45 * season)))
    return 22_500 * load, 6_500 * load


def _price(gas: Values, spilled: Values, *, season: Values, rng: np.random.Generator) -> Values:
    """GBP/MWh: the fuel of the marginal plant, scarcity, and payment to use what is spilled."""
    size = gas.size
    fuel = 92 * np.exp(0.16 * _memory(rng, size, hours=1_500) + 0.05 * season)
    stack = fuel * (0.55 + 0.042 * gas / 1_000)
    scarcity = 60 * np.clip((gas - 19_000) / 5_000, 0, None) ** 2
    glut = np.where(spilled > 0, 0.6 * stack + 0.005 * spilled, 0.0)
    return np.asarray(stack + scarcity - glut + 14 * _memory(rng, size, hours=10))


def _hourly(values: Values) -> Values:
    return np.asarray(np.round(np.repeat(values.reshape(-1, 2).mean(axis=1), 2), 2))


def _memory(rng: np.random.Generator, size: int, *, hours: float) -> Values:
    """Noise of unit variance that forgets over ``hours``."""
    keep = np.exp(-1 / (2 * hours))
    steps: Values = rng.standard_normal(size) * np.sqrt(1 - keep**2)
    steps[0] /= np.sqrt(1 - keep**2)
    state = 0.0
    for i in range(size):
        state = keep * state + steps[i]
        steps[i] = state
    return steps
