"""The archive as forecasters and the skill board see it: what was said, and since when."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.forecasting.doubt_store import DoubtStore
from gridflex.adapters.forecasting.history import ForecastHistory
from gridflex.adapters.grid.past_store import PastStore
from gridflex.adapters.grid.store import GridStore
from gridflex.errors import ContractError
from gridflex.forecasting.conformal import LEAD_EDGES, Bands
from gridflex.forecasting.doubt import Doubt, Doubts
from gridflex.forecasting.history import Array
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS
from gridflex.signals import Kind, Origin, Series, Signal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
START = HalfHour(NOON)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NAN = np.nan


@pytest.fixture
def store(engine: AsyncEngine) -> GridStore:
    return GridStore(engine)


@pytest.fixture
def past(engine: AsyncEngine) -> PastStore:
    return PastStore(engine)


@pytest.fixture
def archive(engine: AsyncEngine) -> ForecastHistory:
    return ForecastHistory(engine)


def outturn(values: Sequence[float], *, at: datetime, start: HalfHour = START) -> Series:
    return Series(
        signal=Signal.PRICE, kind=Kind.OUTTURN, source="elexon/mid", origin=Origin.RECORDED,
        region="GB", start=start, values=np.array(values, dtype=np.float64), issued_at=at,
        available_at=at,
    )  # fmt: skip


def forecast(
    values: Sequence[float], *, at: datetime, source: str = "octopus/agile-derived"
) -> Series:
    return replace(
        outturn(values, at=at, start=HalfHour.containing(at)), kind=Kind.FORECAST, source=source
    )


async def known(
    archive: ForecastHistory, name: str, *, at: HalfHour, now: datetime, count: int = 4
) -> Array:
    """What was known of the half-hours from noon on at ``at``, by the history read at ``now``."""
    read = await archive.read(Signal.PRICE, since=START, now=now, every=HOUR)
    return read.history.known_at(at).window(name, at.until(START), count)


async def test_an_outturn_counts_from_when_it_is_published_and_a_revision_from_when_it_came(
    store: GridStore, archive: ForecastHistory
) -> None:
    await store.save_series([outturn([50, 51], at=NOON + 10 * HOUR)])
    await store.save_series([outturn([60, 51], at=NOON + 12 * HOUR)])

    async def price(at: HalfHour) -> Array:
        return await known(archive, Signal.PRICE, at=at, now=NOON + 24 * HOUR, count=2)

    np.testing.assert_array_equal(await price(START + 1), [NAN, NAN])
    np.testing.assert_array_equal(await price(START + 2), [50, NAN])
    np.testing.assert_array_equal(await price(START + 23), [50, 51])
    np.testing.assert_array_equal(await price(START + 24), [60, 51])


async def test_nothing_is_known_before_it_came_except_that_the_running_half_hour_has_it_all(
    store: GridStore, archive: ForecastHistory
) -> None:
    came = NOON + 40 * MINUTE
    await store.save_series([forecast([70.0] * 4, at=came)])

    later = await known(archive, "day_ahead_gbp_per_mwh", at=START + 1, now=NOON + 2 * HOUR)
    at_once = await known(archive, "day_ahead_gbp_per_mwh", at=START + 1, now=came + MINUTE)
    before = await archive.read(Signal.PRICE, since=START, now=came - MINUTE, every=HOUR)

    np.testing.assert_array_equal(later, [NAN] * 4)
    np.testing.assert_array_equal(at_once, [NAN, 70, 70, 70])
    assert "day_ahead_gbp_per_mwh" not in before.history.inputs


async def test_one_forecast_of_each_span_is_read_and_always_the_newest(
    store: GridStore, archive: ForecastHistory
) -> None:
    issued = [NOON + minutes * MINUTE for minutes in (0, 15, 30, 90, 105)]
    await store.save_series(
        [forecast([number] * 4, at=at) for number, at in enumerate(issued, start=1)]
    )

    read = await archive.read(Signal.PRICE, since=START, now=NOON + 2 * HOUR, every=HOUR)

    told = read.history.inputs["day_ahead_gbp_per_mwh"]
    assert sorted(set(told.values.tolist())) == [3, 5]


async def test_the_exchanges_own_price_counts_where_it_is_known_and_the_recovered_one_elsewhere(
    store: GridStore, archive: ForecastHistory
) -> None:
    recovered = forecast([50.0, 51, 52, 53], at=NOON)
    exchange = forecast([60.0, NAN, 62], at=NOON + HOUR, source="nord-pool/n2ex")
    later = forecast([70.0, 71], at=NOON + 2 * HOUR)
    await store.save_series([recovered, exchange, later])

    async def price(at: HalfHour) -> Array:
        return await known(archive, "day_ahead_gbp_per_mwh", at=at, now=NOON + 3 * HOUR, count=6)

    np.testing.assert_array_equal(await price(START + 1), [50, 51, 52, 53, NAN, NAN])
    np.testing.assert_array_equal(await price(START + 2), [50, 51, 60, 53, 62, NAN])
    np.testing.assert_array_equal(await price(START + 4), [50, 51, 60, 53, 62, 71])


async def test_a_forecast_of_the_past_counts_from_when_it_was_published(
    store: GridStore, archive: ForecastHistory, past: PastStore
) -> None:
    """The later of when it was due and when it was issued, whenever it was asked for."""
    fetched = NOON + 48 * HOUR
    said = forecast([50.0] * 8, at=fetched)
    in_time = replace(said, start=START, issued_at=NOON + 15 * MINUTE)
    late = replace(said, start=START, values=np.full(8, 60.0), issued_at=NOON + 100 * MINUTE)
    await past.save(in_time, due=NOON + 30 * MINUTE)
    await past.save(late, due=NOON + 60 * MINUTE)
    await store.save_series([forecast([70.0], at=NOON + 2 * HOUR)])

    async def price(at: HalfHour, now: datetime = fetched) -> Array:
        return await known(archive, "day_ahead_gbp_per_mwh", at=at, now=now, count=6)

    np.testing.assert_array_equal(await price(START), [NAN] * 6)
    np.testing.assert_array_equal(await price(START + 1), [50] * 6)
    np.testing.assert_array_equal(await price(START + 3), [50] * 6)
    np.testing.assert_array_equal(await price(START + 4), [60, 60, 60, 60, 70, 60])
    np.testing.assert_array_equal(
        await price(START + 4, fetched - MINUTE), [NAN, NAN, NAN, NAN, 70, NAN]
    )


async def test_what_is_kept_of_the_past_is_kept_once_and_is_not_missing(
    store: GridStore, archive: ForecastHistory, past: PastStore
) -> None:
    said = replace(forecast([50.0], at=NOON + 48 * HOUR), start=START, issued_at=NOON)
    first = await past.save(said, due=NOON)
    second = await past.save(replace(said, values=np.array([90.0])), due=NOON)
    await store.save_series([forecast([1.0], at=NOON + 5 * HOUR)])

    due = {NOON + hours * HOUR: NOON + hours * HOUR for hours in range(6)}
    missing = await past.missing(Signal.PRICE, source=said.source, due=due)
    others = await past.missing(Signal.PRICE, source="nord-pool/n2ex", due=due)

    assert (first, second) == (True, False)
    assert [(moment - NOON) // HOUR for moment in missing] == [3, 2, 1]
    assert list(others) == list(due)[::-1]
    (value,) = await known(
        archive, "day_ahead_gbp_per_mwh", at=START + 1, now=NOON + 50 * HOUR, count=1
    )
    assert value == 50


async def test_what_was_had_in_time_counts_only_if_it_reaches_as_far(
    store: GridStore, past: PastStore
) -> None:
    said = forecast([50.0] * 4, at=NOON)
    await store.save_series([said])

    async def missing(until: datetime) -> Sequence[datetime]:
        return await past.missing(Signal.PRICE, source=said.source, due={NOON: until})

    assert list(await missing(said.end.start)) == []
    assert list(await missing((said.end + 1).start)) == [NOON]


async def test_the_past_is_neither_served_nor_scored(
    store: GridStore, archive: ForecastHistory, past: PastStore
) -> None:
    now = NOON + 24 * HOUR
    await store.save_series([outturn([10.0] * 48, at=now)])
    for hours in range(24):
        due = NOON + hours * HOUR
        said = replace(forecast([13.0] * 12, at=now), start=HalfHour(due), issued_at=due)
        await past.save(said, due=due)

    served = await store.series_known_at(Signal.PRICE, region="GB", now=now)
    board = await archive.skill(Signal.PRICE, now=now, days=1)
    doubts = await archive.doubts(Signal.PRICE, now=now)

    assert (list(served), list(board)) == ([], [])
    assert doubts.of == {}


async def test_a_history_is_only_as_real_as_its_least_real_source(
    store: GridStore, archive: ForecastHistory
) -> None:
    simulated = replace(forecast([1.0], at=NOON), origin=Origin.SIMULATED)
    await store.save_series([outturn([50], at=NOON + HOUR), simulated])

    read = await archive.read(Signal.PRICE, since=START, now=NOON + 2 * HOUR, every=HOUR)

    assert read.origin is Origin.SIMULATED


async def test_an_empty_archive_has_a_target_of_which_nothing_is_known(
    archive: ForecastHistory,
) -> None:
    assert np.isnan(await known(archive, Signal.PRICE, at=START, now=NOON)).all()


async def test_the_board_holds_every_source_to_what_it_had_said(
    store: GridStore, archive: ForecastHistory
) -> None:
    now = NOON + 24 * HOUR
    await store.save_series([outturn([10.0] * 28 * 48, at=now, start=START - 27 * 48)])
    for hours in range(24):
        at = NOON + hours * HOUR
        sure = np.array([[5.0, 6, 8, 12, 14, 15, 16]] * 12)
        await store.save_series(
            [
                forecast([13.0] * 12, at=at),
                replace(forecast([12.0] * 12, at=at, source="gridflex/m"), quantiles=sure),
            ]
        )

    rows = {row.source: row for row in await archive.skill(Signal.PRICE, now=now, days=1)}

    assert list(rows) == ["gridflex/m", "octopus/agile-derived", "persistence", "climatology"]
    assert {row.lead for row in rows.values()} == {"0-6h"}
    assert rows["octopus/agile-derived"].mae == 3
    assert (rows["gridflex/m"].mae, rows["gridflex/m"].bias) == (2, 2)
    assert rows["gridflex/m"].coverage_fraction == {50: 1, 80: 1, 90: 1}
    assert (rows["persistence"].mae, rows["persistence"].pinball) == (0, None)
    assert len({row.count for row in rows.values()}) == 1
    assert rows["gridflex/m"].half_hours == 48


async def test_the_board_scores_the_band_that_plans_were_made_with(
    store: GridStore, archive: ForecastHistory, engine: AsyncEngine
) -> None:
    now, source = NOON + 24 * HOUR, "octopus/agile-derived"
    await store.save_series([outturn([10.0] * 48, at=now)])
    await store.save_series(
        [forecast([13.0] * 2, at=NOON + hours * HOUR, source=source) for hours in range(24)]
    )
    doubts = DoubtStore(engine)
    for hours, half in ((-30, 1.0), (-1, 2.0), (12, 4.0)):
        offsets = half * np.tile(np.linspace(-1, 1, len(LEVELS)), (len(LEAD_EDGES) - 1, 1))
        found = Doubt(source, Bands(offsets), is_relative=False, half_hours=400)
        await doubts.add(Doubts(Signal.PRICE, NOON + hours * HOUR, {source: found}))

    rows = {row.source: row for row in await archive.skill(Signal.PRICE, now=now, days=1)}
    counted = await doubts.between(Signal.PRICE, since=NOON, now=NOON + 11 * HOUR)

    assert [one.at for one in counted] == [NOON - HOUR]
    assert rows[source].coverage_fraction == {}
    assert rows[source].served_coverage_fraction[90] == pytest.approx(0.5, abs=0.06)


async def test_the_board_of_an_empty_archive_is_empty_and_of_a_mix_there_is_none(
    archive: ForecastHistory,
) -> None:
    assert await archive.skill(Signal.INTENSITY, now=NOON, days=14) == []
    with pytest.raises(ContractError, match="no outturns of generation_share_fraction"):
        await archive.skill(Signal.GENERATION_SHARE, now=NOON, days=14)
