"""From the archive of a provider's forecasts to the band that plans are made with."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.forecasting.doubt_store import DoubtStore
from gridflex.adapters.forecasting.history import ForecastHistory
from gridflex.adapters.grid.store import GridStore
from gridflex.agents.doubts import LearntDoubts, StoredDoubts
from gridflex.agents.grid import Grid
from gridflex.forecasting.doubt import LEARNT_DAYS, LEARNT_EVERY
from gridflex.halfhour import HalfHour
from gridflex.signals import Band, Kind, Origin, Series, Signal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW = HalfHour(NOON)
PROVIDER, OUTTURN = "carbon-intensity/fw48h", "carbon-intensity/actual"
DAYS, OFF = 20, 7.0
"""Every forecast was too high by this, in gCO2/kWh, or too low."""


def series(
    values: list[float], *, start: HalfHour, at: datetime, signal: Signal, kind: Kind, source: str
) -> Series:
    return Series(
        signal=signal, kind=kind, source=source, origin=Origin.SIMULATED, region="GB", start=start,
        values=np.array(values), issued_at=at, available_at=at,
    )  # fmt: skip


def said(value: float, *, at: HalfHour) -> Series:
    return series(
        [value] * 96, start=at, at=at.start, signal=Signal.INTENSITY, kind=Kind.FORECAST,
        source=PROVIDER,
    )  # fmt: skip


@pytest.fixture
async def store(engine: AsyncEngine) -> GridStore:
    """Twenty days of forecasts and of what came, which was always 200."""
    kept = GridStore(engine)
    count = DAYS * 48
    came = series(
        [200.0] * count, start=NOW - count, at=NOON, signal=Signal.INTENSITY, kind=Kind.OUTTURN,
        source=OUTTURN,
    )  # fmt: skip
    price = series(
        [50.0] * 96, start=NOW, at=NOON, signal=Signal.PRICE, kind=Kind.FORECAST,
        source="octopus/agile-derived",
    )  # fmt: skip
    origins = [NOW - back for back in range(LEARNT_DAYS * 48, 0, -LEARNT_EVERY)]
    told = [
        said(200.0 + OFF * (-1) ** place, at=at)
        for place, at in enumerate(origins)
        if at.until(NOW) <= count
    ]
    await kept.save_series([came, price, *told, said(300.0, at=NOW)])
    return kept


async def test_a_provider_gets_the_band_of_its_archived_errors(
    store: GridStore, engine: AsyncEngine
) -> None:
    doubts = DoubtStore(engine)
    grid = Grid([], store=store, doubting=StoredDoubts(doubts))
    learning = LearntDoubts(archive=ForecastHistory(engine), store=doubts)

    before, _ = await grid.outlook(NOON, start=NOW, half_hours=96)
    new = await learning.tick(NOON)
    intensity, price = await grid.outlook(NOON, start=NOW, half_hours=96)

    assert set(before.bands) == {Band.ASSUMED}
    assert {one.signal: list(one.of) for one in new} == {
        Signal.INTENSITY: [PROVIDER], Signal.PRICE: [],
    }  # fmt: skip
    assert set(intensity.bands) == {Band.MEASURED}
    np.testing.assert_allclose(intensity.quantiles[:, 0], 300 - OFF)
    np.testing.assert_allclose(intensity.quantiles[:, -1], 300 + OFF)
    assert set(price.bands) == {Band.NONE}
    assert await learning.tick(NOON + timedelta(hours=5)) == []
    assert len(await learning.tick(NOON + timedelta(hours=6))) == 2
    assert await doubts.newest(Signal.INTENSITY, now=NOON - timedelta(seconds=1)) is None


async def test_what_came_later_teaches_nothing(store: GridStore, engine: AsyncEngine) -> None:
    archive = ForecastHistory(engine)
    before = await archive.doubts(Signal.INTENSITY, now=NOON)
    later = series(
        [900.0] * 400, start=NOW - 350, at=NOON + timedelta(minutes=1), signal=Signal.INTENSITY,
        kind=Kind.OUTTURN, source=OUTTURN,
    )  # fmt: skip
    await store.save_series([later])

    again = await archive.doubts(Signal.INTENSITY, now=NOON)

    offsets = before.of[PROVIDER].bands.offsets
    np.testing.assert_array_equal(offsets, again.of[PROVIDER].bands.offsets)


async def test_what_was_learnt_cannot_be_changed(store: GridStore, engine: AsyncEngine) -> None:
    assert store
    await LearntDoubts(archive=ForecastHistory(engine), store=DoubtStore(engine)).tick(NOON)

    async with engine.connect() as connection:
        with pytest.raises(DBAPIError, match="append-only"):
            await connection.execute(text("UPDATE forecast_doubt SET doubts = '[]'"))
