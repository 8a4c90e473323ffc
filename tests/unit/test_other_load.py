"""How many GPUs are left to work that nobody steers, over a store in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pytest

from gridflex.agents.other_load import FORECAST, OBSERVED, OtherLoad
from gridflex.forecasting.forecaster import QuantileForecast
from gridflex.forecasting.history import Array
from gridflex.forecasting.other_load import room
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS
from gridflex.signals import Kind, Origin, Series, Signal
from tests.unit.grid.replay import hh

START = hh("2026-07-01T12:30Z")
NOW = START.start - timedelta(minutes=20)
AFTERNOONS = np.where((np.arange(48) >= 6) & (np.arange(48) < 14), 6.0, 1.0)


class Shelf:
    """Keeps series in a list; implements `gridflex.agents.other_load.Observations`."""

    def __init__(self, past: Array | None = None) -> None:
        self.kept: list[Series] = []
        if past is not None:
            self.kept.append(observed(past))

    async def save_series(self, series: Sequence[Series]) -> None:
        self.kept += series

    async def outturn(
        self,
        signal: Signal,
        *,
        region: str,
        source: str,
        start: HalfHour,
        half_hours: int,
        known_at: datetime,
    ) -> Series | None:
        values = np.full(half_hours, np.nan)
        for one in self.kept:
            named = (one.signal, one.region, one.source, one.kind)
            if named == (signal, region, source, Kind.OUTTURN) and one.available_at <= known_at:
                told = one.window(start, half_hours)
                values = np.where(np.isfinite(told), told, values)
        return observed(values, start) if np.isfinite(values).any() else None


def observed(values: Array, start: HalfHour | None = None) -> Series:
    return Series(
        signal=Signal.OTHER_GPUS,
        kind=Kind.OUTTURN,
        source=OBSERVED,
        origin=Origin.LIVE,
        region="london",
        start=start or START - values.size,
        values=values,
        issued_at=NOW,
        available_at=NOW,
    )


async def left(shelf: Shelf, *, busy: int | None = 1, level: float = 0.9) -> Array:
    load = OtherLoad(shelf, level=level)
    return await load.room("london", busy=busy, now=NOW, start=START, half_hours=48)


async def test_without_a_past_what_is_busy_stays_busy_for_four_hours() -> None:
    found = await left(Shelf(), busy=5)

    np.testing.assert_array_equal(found, [5.0] * 8 + [0.0] * 40)


async def test_what_is_seen_is_kept() -> None:
    shelf = Shelf()

    await left(shelf, busy=5)

    (seen,) = shelf.kept
    assert (seen.signal, seen.region, seen.start) == (Signal.OTHER_GPUS, "london", START - 1)
    assert seen.values.tolist() == [5.0]


async def test_a_site_that_cannot_be_asked_and_was_never_seen_leaves_nothing() -> None:
    shelf = Shelf()

    np.testing.assert_array_equal(await left(shelf, busy=None), np.zeros(48))
    assert shelf.kept == []


async def test_a_load_that_never_changes_is_left_its_room_for_good() -> None:
    found = await left(Shelf(np.full(10 * 48, 4.0)), busy=4)

    np.testing.assert_array_equal(found, np.full(48, 4.0))


async def test_busy_afternoons_are_left_free_before_they_begin() -> None:
    shelf = Shelf(np.tile(AFTERNOONS, 14))

    found = await left(shelf)

    assert (found[20:24] >= 6).all()  # 22:30, when the afternoon of the invented site begins


async def test_a_load_that_is_seldom_there_is_left_no_room_while_it_is_away() -> None:
    past = np.zeros(20 * 48)
    past[100:130], past[700:720] = 2.0, 5.0

    found = await left(Shelf(past), busy=0)

    np.testing.assert_array_equal(found, np.zeros(48))


async def test_more_certainty_leaves_more_room() -> None:
    noise = np.random.default_rng(0).integers(0, 4, size=14 * 48)
    shelf = Shelf(np.tile(AFTERNOONS, 14) + noise)

    half, safe = [(await left(shelf, level=level)).sum() for level in (0.5, 0.95)]

    assert half < safe


async def test_the_forecast_is_kept_for_the_archive_with_its_bands() -> None:
    shelf = Shelf(np.tile(AFTERNOONS, 14))

    await left(shelf)

    said = shelf.kept[-1]
    assert (said.kind, said.source, said.start) == (Kind.FORECAST, FORECAST, START)
    assert (said.issued_at, said.available_at) == (NOW, NOW)
    assert said.quantiles is not None
    assert said.quantiles.shape == (48, len(LEVELS))


async def test_one_forecast_in_each_half_hour_is_kept() -> None:
    shelf = Shelf(np.tile(AFTERNOONS, 14))
    load = OtherLoad(shelf)

    for minutes in (10, 20, 40):
        now = HalfHour.containing(NOW).start + timedelta(minutes=minutes)
        start = HalfHour.containing(now) + 1
        await load.room("london", busy=1, now=now, start=start, half_hours=48)

    said = [one.start for one in shelf.kept if one.kind is Kind.FORECAST]
    assert said == [START, START + 1]


async def test_a_site_that_does_not_answer_is_forecast_from_its_past() -> None:
    found = await left(Shelf(np.tile(AFTERNOONS, 14)), busy=None)

    assert (found[8:12] >= 6).all()


@pytest.mark.parametrize(("level", "gpus"), [(0.5, 4.0), (0.9, 6.0), (0.6, 5.0)])
def test_room_is_in_whole_gpus(level: float, gpus: float) -> None:
    row = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]])
    forecast = QuantileForecast("other_gpus", "demand", START, row)

    assert room(forecast, level=level).tolist() == [gpus]
