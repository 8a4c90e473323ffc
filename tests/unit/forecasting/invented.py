"""Small invented histories: a daily cycle, weather that lingers, a price that follows it."""

import numpy as np

from gridflex.forecasting.history import Array, History, Input
from gridflex.halfhour import HalfHour
from tests.unit.grid.replay import hh

START = hh("2024-03-01T00:00Z")
INTENSITY = "intensity_gco2_per_kwh"
PRICE = "price_gbp_per_mwh"
DAY_AHEAD = "day_ahead_gbp_per_mwh"


def lingering(count: int, *, memory: float, seed: int) -> Array:
    """Noise of unit variance that forgets over ``memory`` half-hours."""
    white = np.random.default_rng(seed).standard_normal(count)
    keep = np.exp(-1 / memory)
    out = np.empty(count)
    level = 0.0
    for i in range(count):
        level = keep * level + np.sqrt(1 - keep**2) * white[i]
        out[i] = level
    return out


def grid(days: int, *, target: str = INTENSITY, start: HalfHour = START, seed: int = 0) -> History:
    """A grid whose wind sets intensity and price; the auction is known a day ahead."""
    count = days * 48
    hours = np.arange(count) / 2
    cycle = np.sin(2 * np.pi * hours / 24)
    wind = lingering(count, memory=60, seed=seed)
    noise = np.random.default_rng(seed + 1)
    intensity = 160 + 30 * cycle - 40 * wind + 3 * noise.standard_normal(count)
    day_ahead = 80 + 20 * cycle - 25 * wind
    about = np.arange(count)
    published = ((about + 2) // 48 - 1) * 48 + 33  # 16:30 the day before, for 23:00 to 23:00
    return History(
        start,
        target,
        {
            INTENSITY: Input.outturn(np.clip(intensity, 1, None), delay=1),
            PRICE: Input.outturn(day_ahead + 5 * noise.standard_normal(count), delay=1),
            DAY_AHEAD: Input(about, published, day_ahead),
            "wind_mw": Input.outturn(8000 + 3000 * wind, delay=1),
        },
    )
