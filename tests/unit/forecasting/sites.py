"""Small invented sites: a level that lingers, a daily rhythm, a queue."""

import numpy as np

from gridflex.forecasting.history import Array, History, Input
from tests.unit.forecasting.invented import START, lingering

TARGET = "running_gpus"
DAY = 48


def lingering_site(days: int, *, seed: int = 0) -> History:
    """A site whose demand drifts slowly around 100 GPUs."""
    return site(100 + 25 * lingering(days * DAY, memory=40, seed=seed))


def rhythmic_site(days: int, *, seed: int = 0) -> History:
    """A site with the same busy afternoons every day, and some noise."""
    hours = np.arange(days * DAY) % DAY / 2
    noise = np.random.default_rng(seed).standard_normal(days * DAY)
    return site(100 + 40 * np.sin(2 * np.pi * hours / 24) + 4 * noise)


def site(values: Array, **more: Input) -> History:
    """A site with this demand."""
    return History(START, TARGET, {TARGET: Input.outturn(values), **more})
