"""Series and raw responses in PostgreSQL: nothing overwritten, nothing known too early."""

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.grid.store import GridStore
from gridflex.halfhour import HalfHour
from gridflex.signals import Kind, Known, Origin, Series, Signal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
START = HalfHour(NOON)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(engine: AsyncEngine) -> GridStore:
    return GridStore(engine)


def series(
    values: Sequence[float],
    *,
    at: datetime = NOON,
    kind: Kind = Kind.OUTTURN,
    source: str = "elexon/mid",
    origin: Origin = Origin.LIVE,
) -> Series:
    return Series(
        signal=Signal.PRICE, kind=kind, source=source, origin=origin, region="GB", start=START,
        values=np.array(values, dtype=np.float64), issued_at=at, available_at=at,
    )  # fmt: skip


async def outturn(store: GridStore, *, known_at: datetime, half_hours: int = 3) -> Series | None:
    return await store.outturn(
        Signal.PRICE, region="GB", source="elexon/mid", start=START, half_hours=half_hours,
        known_at=known_at,
    )  # fmt: skip


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        found: int = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608 - a name of ours
    return found


async def test_a_revised_outturn_is_a_new_row_and_the_old_one_can_still_be_read(
    store: GridStore,
) -> None:
    await store.save_series([series([50.0, 60.0])])
    await store.save_series([series([55.0, 60.0], at=NOON + HOUR)])

    then = await outturn(store, known_at=NOON + HOUR - timedelta(seconds=1))
    later = await outturn(store, known_at=NOON + HOUR)

    assert then is not None
    assert later is not None
    np.testing.assert_array_equal(then.values, [50, 60, np.nan])
    np.testing.assert_array_equal(later.values, [55, 60, np.nan])
    assert (then.available_at, later.available_at) == (NOON, NOON + HOUR)
    assert await outturn(store, known_at=NOON - HOUR) is None


async def test_only_what_is_new_or_has_changed_is_stored(
    store: GridStore, engine: AsyncEngine
) -> None:
    await store.save_series([series([50.0, np.nan])])
    await store.save_series([series([50.0, np.nan])])
    await store.save_series([series([50.0, 60.0], at=NOON + HOUR)])

    assert await count(engine, "observation") == 2


async def test_who_stores_at_once_or_late_what_another_has_stored_changes_nothing(
    store: GridStore, engine: AsyncEngine
) -> None:
    told = [series([50.0] * 40, at=NOON + timedelta(seconds=second)) for second in range(6)]

    await asyncio.gather(*(store.save_series([one]) for one in told))
    await store.save_series([series([50.0] * 40, at=NOON - HOUR)])

    assert await count(engine, "observation") == 40


async def test_an_outturn_is_only_as_real_as_its_least_real_value(store: GridStore) -> None:
    await store.save_series(
        [series([50.0, np.nan]), series([np.nan, 60.0], origin=Origin.RECORDED)]
    )

    found = await outturn(store, known_at=NOON)

    assert found is not None
    assert found.origin is Origin.RECORDED


async def test_the_newest_forecast_of_each_source_is_that_known_by_then(store: GridStore) -> None:
    await store.save_series(
        [
            series([1.0], kind=Kind.FORECAST, source="a"),
            series([2.0], kind=Kind.FORECAST, source="a", at=NOON + HOUR),
            series([3.0], kind=Kind.FORECAST, source="b", at=NOON + 2 * HOUR),
        ]
    )

    async def known(at: datetime) -> list[tuple[str, float]]:
        found = await store.series_known_at(Signal.PRICE, region="GB", now=at)
        return [(one.source, float(one.values[0])) for one in found]

    assert await known(NOON - HOUR) == []
    assert await known(NOON) == [("a", 1.0)]
    assert await known(NOON + 3 * HOUR) == [("b", 3.0), ("a", 2.0)]


async def test_a_forecast_is_kept_whole_and_once(store: GridStore, engine: AsyncEngine) -> None:
    forecast = series([1.0, np.nan, 3.0], kind=Kind.FORECAST, source="a")

    await store.save_series([forecast, forecast])
    (found,) = await store.series_known_at(Signal.PRICE, region="GB", now=NOON)

    assert await count(engine, "forecast") == 1
    np.testing.assert_array_equal(found.values, [1, np.nan, 3])
    assert found.quantiles is None


async def test_a_forecast_keeps_its_quantiles(store: GridStore) -> None:
    rows = np.array([np.arange(7.0), np.full(7, np.nan), np.arange(7.0) + 0.125])
    sure = series([1.0, np.nan, 3.0], kind=Kind.FORECAST, source="a")

    await store.save_series([replace(sure, quantiles=rows)])
    (found,) = await store.series_known_at(Signal.PRICE, region="GB", now=NOON)

    assert found.quantiles is not None
    np.testing.assert_array_equal(found.quantiles, rows)


async def test_the_newest_of_a_source_says_how_far_and_how_fresh(store: GridStore) -> None:
    await store.save_series([series([50.0, 60.0]), series([1.0] * 4, kind=Kind.FORECAST)])

    async def newest(kind: Kind, source: str = "elexon/mid") -> Known | None:
        return await store.newest(Signal.PRICE, kind=kind, region="GB", source=source)

    assert await newest(Kind.OUTTURN) == Known(last=START + 1, available_at=NOON)
    assert await newest(Kind.FORECAST) == Known(last=START + 3, available_at=NOON)
    assert await newest(Kind.OUTTURN, "elexon/other") is None


async def test_a_raw_response_is_kept_as_it_came(store: GridStore, engine: AsyncEngine) -> None:
    await store.keep("octopus", url="http://x/y?z=1", status=500, body=b"down", fetched_at=NOON)

    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM raw_response"))).mappings().one()
    assert (row["provider"], row["url"], row["status"]) == ("octopus", "http://x/y?z=1", 500)
    assert gzip.decompress(row["body_gzip"]) == b"down"
    assert row["fetched_at"] == NOON
