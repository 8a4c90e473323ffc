"""Elexon Insights as it really answers."""

import json
from datetime import date, timedelta

import numpy as np
import pytest

from gridflex.adapters.grid.elexon import Elexon
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour, periods_in
from gridflex.signals import Kind, Signal
from tests.shared import shared_data
from tests.unit.grid.replay import Payload, Replay, at, fetcher, hh

NOW = at("2026-07-02T12:00Z")
START = hh("2026-06-30T23:00Z")


def settled(start: HalfHour, **fields: Payload) -> Payload:
    day, period = start.settlement
    return {
        "startTime": start.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settlementDate": str(day),
        "settlementPeriod": period,
        **fields,
    }


def mid(start: HalfHour, *, price: float, volume: float, provider: str = "APXMIDP") -> Payload:
    return settled(start, dataProvider=provider, price=price, volume=volume, quality="new field")


def answer(rows: list[Payload], metadata: Payload = None) -> Payload:
    return {"metadata": metadata, "data": rows}


async def test_only_the_real_index_provider_counts() -> None:
    rows = [
        mid(START + 1, price=81.5, volume=900.0),
        mid(START + 1, price=0.0, volume=0.0, provider="N2EXMIDP"),
        mid(START, price=-12.25, volume=700.0),
        mid(START, price=0.0, volume=0.0, provider="N2EXMIDP"),
    ]
    replay = Replay({"/balancing/pricing/market-index": answer(rows)})

    series = await Elexon(fetcher(replay)).market_index(start=START, end=START + 2, now=NOW)

    np.testing.assert_array_equal(series.values, [-12.25, 81.5])
    assert (series.start, series.signal, series.kind) == (START, Signal.PRICE, Kind.OUTTURN)
    assert replay.asked[0].params["dataProviders"] == "APXMIDP"
    assert replay.asked[0].params["to"] == "2026-06-30T23:30Z"


async def test_an_index_without_trade_is_unknown_but_a_price_of_zero_with_trade_is_zero() -> None:
    rows = [
        mid(START, price=5.0, volume=1.0),
        mid(START + 1, price=0.0, volume=0.0),
        mid(START + 2, price=0.0, volume=3.0),
    ]

    series = await Elexon(fetcher(Replay({"/": answer(rows)}))).market_index(
        start=START, end=START + 3, now=NOW
    )

    np.testing.assert_array_equal(series.values, [5.0, np.nan, 0.0])


async def test_a_long_range_is_asked_for_week_by_week() -> None:
    replay = Replay({"/": answer([mid(START, price=5.0, volume=1.0)])})

    await Elexon(fetcher(replay)).market_index(start=START, end=START + 48 * 10, now=NOW)

    assert [(url.params["from"], url.params["to"]) for url in replay.asked] == [
        ("2026-06-30T23:00Z", "2026-07-07T22:30Z"),
        ("2026-07-07T23:00Z", "2026-07-10T22:30Z"),
    ]


async def test_a_start_that_is_an_hour_late_all_summer_is_refused() -> None:
    late = {**mid(START, price=5.0, volume=1.0), "startTime": "2026-07-01T00:00:00Z"}

    with pytest.raises(ContractError, match="is not settlement period 1 of 2026-07-01"):
        await Elexon(fetcher(Replay({"/": answer([late])}))).market_index(
            start=START, end=START + 4, now=NOW
        )


@pytest.mark.parametrize(
    ("day", "count"),
    [
        pytest.param(date(2026, 3, 29), 46, id="clocks go forward"),
        pytest.param(date(2026, 10, 25), 50, id="clocks go back"),
    ],
)
async def test_a_day_of_a_clock_change_is_read_whole(day: date, count: int) -> None:
    first = HalfHour.from_settlement(day, 1)
    rows = [settled(h, systemSellPrice=float(i)) for i, h in enumerate(first.span(count))]
    replay = Replay({f"/balancing/settlement/system-prices/{day}": answer(rows)})

    series = await Elexon(fetcher(replay)).system_price(start=first, end=first + count, now=NOW)

    assert periods_in(day) == count
    np.testing.assert_array_equal(series.values, np.arange(count))


async def test_system_prices_are_asked_for_by_the_local_day() -> None:
    rows = [settled(START + 2, systemSellPrice=4.0)]
    replay = Replay({"/": answer(rows)})

    await Elexon(fetcher(replay)).system_price(
        start=hh("2026-06-30T22:30Z"), end=hh("2026-07-01T12:00Z"), now=NOW
    )

    assert [url.path[-10:] for url in replay.asked] == ["2026-06-30", "2026-07-01"]


async def test_a_demand_forecast_carries_the_time_it_was_published() -> None:
    rows = [
        settled(
            START + i,
            publishTime=stamp,
            boundary=boundary,
            nationalDemand=demand,
            transmissionSystemDemand=1,
        )
        for i, (stamp, boundary, demand) in enumerate(
            [
                ("2026-06-30T21:45:00Z", "N", 21_000),
                ("2026-06-30T22:15:00Z", "N", 21_500),
                ("2026-06-30T22:15:00Z", "B1", 2_000),
            ]
        )
    ]
    replay = Replay({"/forecast/demand/day-ahead/history": answer(rows)})

    series = await Elexon(fetcher(replay)).demand_forecast(
        published_by=at("2026-06-30T22:20Z"), now=NOW
    )

    np.testing.assert_array_equal(series.values, [21_000, 21_500])
    assert series.issued_at == at("2026-06-30T22:15Z")
    assert series.available_at == NOW
    assert replay.asked[0].params["publishTime"] == "2026-06-30T22:20:00Z"


async def test_a_forecast_published_after_the_instant_asked_for_is_refused() -> None:
    rows = [settled(START, publishTime="2026-06-30T22:45:00Z", nationalDemand=1)]

    with pytest.raises(SourceError, match=r"publishTime 2026-06-30 22:45:00.* is after"):
        await Elexon(fetcher(Replay({"/": answer(rows)}))).demand_forecast(
            published_by=at("2026-06-30T22:20Z"), now=NOW
        )


async def test_an_hourly_wind_forecast_fills_both_half_hours() -> None:
    rows = [
        {
            "publishTime": "2026-06-30T19:30:00Z",
            "startTime": f"2026-07-01T0{h}:00:00Z",
            "generation": g,
        }
        for h, g in ((1, 6_000), (0, 5_000))
    ]
    replay = Replay({"/forecast/generation/wind/history": answer(rows)})

    series = await Elexon(fetcher(replay)).wind_forecast(
        published_by=at("2026-06-30T22:00Z"), now=NOW
    )

    assert series.start == hh("2026-07-01T00:00Z")
    np.testing.assert_array_equal(series.values, [5_000, 5_000, 6_000, 6_000])


async def test_a_forecast_of_which_one_row_is_years_away_is_refused() -> None:
    rows = [
        {"publishTime": "2026-06-30T19:30:00Z", "startTime": f"{day}T00:00:00Z", "generation": 1}
        for day in ("2026-07-01", "9026-07-01")
    ]
    replay = Replay({"/forecast/generation/wind/history": answer(rows)})

    with pytest.raises(ContractError, match="spans 2026-07-01T00:00Z to 9026-07-01T00:30Z"):
        await Elexon(fetcher(replay)).wind_forecast(published_by=at("2026-06-30T22:00Z"), now=NOW)


async def test_demand_and_wind_outturns_are_asked_for_by_settlement_date() -> None:
    replay = Replay(
        {
            "/demand/outturn": answer(
                [
                    settled(START, initialDemandOutturn=20_000),
                    settled(START + 1, initialDemandOutturn=None),
                    settled(START + 2, initialDemandOutturn=20_200),
                ]
            ),
            "/datasets/FUELHH": answer(
                [
                    settled(START, fuelType="WIND", generation=7_000),
                    settled(START, fuelType="CCGT", generation=9_000),
                ]
            ),
        }
    )
    elexon = Elexon(fetcher(replay))

    demand = await elexon.demand_outturn(start=START, end=START + 3, now=NOW)
    wind = await elexon.wind_outturn(start=START, end=START + 3, now=NOW)

    np.testing.assert_array_equal(demand.values, [20_000, np.nan, 20_200])
    np.testing.assert_array_equal(wind.values, [7_000])
    assert replay.asked[0].params["settlementDateFrom"] == "2026-07-01"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        pytest.param({"price": "n/a"}, "data.0.price: 'n/a'", id="not a number"),
        pytest.param({"settlementPeriod": 49}, "has 48 settlement periods, not 49", id="period"),
        pytest.param({"startTime": "yesterday"}, "data.0.startTime: 'yesterday'", id="time"),
        pytest.param({"price": 123_456.0}, "123456 is outside", id="implausible"),
    ],
)
async def test_a_malformed_row_is_refused_by_name(row: Payload, says: str) -> None:
    broken = {**mid(START, price=5.0, volume=1.0), **row}

    with pytest.raises(ContractError, match=says):
        await Elexon(fetcher(Replay({"/": answer([broken])}))).market_index(
            start=START, end=START + 1, now=NOW
        )


async def test_nothing_published_yet_is_a_failure_of_the_source() -> None:
    elexon = Elexon(fetcher(Replay({"/": answer([])})))

    with pytest.raises(SourceError, match="no values"):
        await elexon.market_index(start=START, end=START + 1, now=NOW)
    with pytest.raises(SourceError, match="nothing had been published"):
        await elexon.wind_forecast(published_by=NOW, now=NOW)


def fixture(name: str) -> Payload:
    return json.loads(shared_data("grid", "fixtures", name).read_text())


async def test_the_recorded_market_index_is_read_without_the_zero_provider() -> None:
    replay = Replay({"/": fixture("elexon_market_index_2026-08.json")})

    series = await Elexon(fetcher(replay)).market_index(
        start=hh("2026-08-02T00:00Z"), end=hh("2026-08-05T00:30Z"), now=at("2026-08-05T02:00Z")
    )

    assert len(series) == 145
    assert series.values[-1] == 123.34
    assert np.isfinite(series.values).all()


@pytest.mark.parametrize(
    ("name", "day", "count"),
    [
        pytest.param("elexon_system_prices_2026-08-08.json", date(2026, 8, 8), 48, id="summer"),
        pytest.param(
            "elexon_system_prices_clock_change.json", date(2026, 3, 29), 46, id="46 periods"
        ),
    ],
)
async def test_recorded_system_prices_agree_with_their_settlement_periods(
    name: str, day: date, count: int
) -> None:
    first = HalfHour.from_settlement(day, 1)

    series = await Elexon(fetcher(Replay({"/": fixture(name)}))).system_price(
        start=first, end=first + count, now=first.start + timedelta(days=2)
    )

    assert (series.start, len(series)) == (first, count)
    assert np.isfinite(series.values).sum() == 4


async def test_a_recorded_latest_answer_is_no_vintage() -> None:
    replay = Replay({"/": fixture("elexon_demand_dayahead_latest_2024-03-25_week.json")})

    with pytest.raises(SourceError, match="is after"):
        await Elexon(fetcher(replay)).demand_forecast(
            published_by=at("2024-03-25T00:00Z"), now=at("2024-04-01T00:00Z")
        )


@pytest.mark.parametrize("name", ["elexon_fuelhh.json", "elexon_fuelhh_clock_change.json"])
async def test_recorded_fuel_answers_are_read_for_wind(name: str) -> None:
    body = fixture(name)
    rows = [row for row in body["data"] if row["fuelType"] == "WIND"]
    starts = sorted(hh(row["startTime"]) for row in rows)

    series = await Elexon(fetcher(Replay({"/": body}))).wind_outturn(
        start=starts[0], end=starts[-1] + 1, now=NOW
    )

    assert series.start == starts[0]
    assert np.isfinite(series.values).sum() == len(rows)
