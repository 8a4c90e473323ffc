"""The sandbox tells what was known at the clock's time, and nothing of what comes after."""

from dataclasses import fields, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.desk import AuctionSource, Desk
from gridflex.sandbox.grid.faults import Faults, Provider
from gridflex.sandbox.grid.world import World
from tests.unit.grid.replay import Payload, at, hh
from tests.unit.grid.sandbox import Sandbox, SetClock, small_world

ELEXON = "/bmrs/api/v1"
AGILE = "/v1/products/AGILE-23-12-06/electricity-tariffs/E-1R-AGILE-23-12-06-C/standard-unit-rates/"
DAYS = "settlementDateFrom=2024-04-02&settlementDateTo=2024-04-02"
OUTTURNS = [
    pytest.param(f"{ELEXON}/balancing/pricing/market-index?from=2024-04-02T00:00Z&to=2024-04-03T00:00Z",
                 id="market index"),
    pytest.param(f"{ELEXON}/balancing/settlement/system-prices/2024-04-02", id="system price"),
    pytest.param(f"{ELEXON}/demand/outturn?{DAYS}", id="demand"),
    pytest.param(f"{ELEXON}/datasets/FUELHH?{DAYS}", id="fuel mix"),
]  # fmt: skip


@pytest.mark.parametrize("path", OUTTURNS)
@pytest.mark.parametrize(
    ("now", "newest"),
    [
        pytest.param("2024-04-02T10:19:59Z", "2024-04-02T09:00:00Z", id="not published yet"),
        pytest.param("2024-04-02T10:20:00Z", "2024-04-02T09:30:00Z", id="published"),
    ],
)
async def test_elexon_tells_a_half_hour_twenty_minutes_after_it_ended(
    path: str, now: str, newest: str
) -> None:
    rows = (await Sandbox(small_world(), now).body(path))["data"]

    assert max(row["startTime"] for row in rows) == newest


@pytest.mark.parametrize(
    ("now", "actual"),
    [
        pytest.param("2024-04-02T09:59Z", None, id="still running"),
        pytest.param("2024-04-02T10:00Z", "09:00", id="repeats the value before"),
        pytest.param("2024-04-02T10:04Z", "09:00", id="repeats it for five minutes"),
        pytest.param("2024-04-02T10:05Z", "09:30", id="estimated"),
        pytest.param("2024-04-02T10:34Z", "09:30", id="still estimated"),
        pytest.param("2024-04-02T10:35Z", "10:00", id="what is meant by the early label"),
        pytest.param("2024-04-03T10:00Z", "10:00", id="for good"),
    ],
)
async def test_the_actual_of_half_past_nine_comes_in_steps(now: str, actual: str | None) -> None:
    box = Sandbox(small_world(), now)

    (row,) = (await box.body("/intensity/2024-04-02T09:31Z"))["data"]

    assert row["from"] == "2024-04-02T09:30Z"
    meant = hh(f"2024-04-02T{actual}Z") if actual else None
    expected = box.world.at(box.world.intensity_gco2_per_kwh, meant) if meant else None
    assert row["intensity"]["actual"] == expected


async def test_now_is_the_half_hour_that_is_over() -> None:
    (row,) = (await Sandbox(small_world(), "2024-04-02T10:10Z").body("/intensity"))["data"]

    assert row["from"] == "2024-04-02T09:30Z"


async def test_a_forecast_reaches_48_hours_and_no_further() -> None:
    box = Sandbox(small_world(), "2024-04-02T10:10Z")

    rows = (await box.body("/intensity/2024-04-02T10:01Z/2024-04-08T10:00Z"))["data"]

    assert rows[-1]["from"] == "2024-04-04T10:00Z"
    assert all(row["intensity"]["actual"] is None for row in rows)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        pytest.param("2024-04-02T15:09Z", "2024-04-02T21:30:00Z", id="summer, before the auction"),
        pytest.param("2024-04-02T15:10Z", "2024-04-03T21:30:00Z", id="summer, after it"),
        pytest.param("2024-03-28T16:09Z", "2024-03-28T22:30:00Z", id="winter, before the auction"),
        pytest.param("2024-03-28T16:10Z", "2024-03-29T22:30:00Z", id="winter, after it"),
        pytest.param("2024-03-30T16:10Z", "2024-03-31T21:30:00Z", id="clocks go forward tomorrow"),
    ],
)
async def test_prices_to_eleven_tomorrow_night_are_out_at_ten_past_four(
    now: str, last: str
) -> None:
    page = await Sandbox(small_world(), now).body(AGILE)

    assert page["results"][0]["valid_from"] == last


async def test_a_product_has_no_rates_of_before_it_was_on_offer() -> None:
    box = Sandbox(small_world("2023-12-01T00:00Z"), "2023-12-08T12:00Z")

    page = await box.body(AGILE, period_from="2023-12-05T00:00Z", page_size="1500")

    assert page["results"][-1]["valid_from"] == "2023-12-06T00:00:00Z"


def other_future(world: World, *, after: datetime, shift: float = 40.0) -> World:
    """The same world up to an instant, and another one from the running half-hour on."""
    at_or_later = np.arange(len(world)) >= world.start.until(HalfHour.containing(after))
    change = np.where(at_or_later, shift, 0.0)
    arrays = {
        field.name: getattr(world, field.name) + change
        for field in fields(world)
        if isinstance(getattr(world, field.name), np.ndarray)
    }
    fuels = {fuel: values + change for fuel, values in world.fuels_mw.items()}
    return replace(world, fuels_mw=fuels, **arrays)


NOW = "2024-04-02T10:25Z"
TOLD = [
    *OUTTURNS,
    "/intensity",
    "/intensity/2024-04-01T08:00Z/2024-04-02T10:00Z",
    "/intensity/stats/2024-04-01T08:00Z/2024-04-02T10:00Z",
    "/generation",
    "/generation/2024-04-01T08:00Z/2024-04-03T08:00Z",
    "/v1/products/",
    "/_sandbox",
]


@pytest.mark.parametrize("path", TOLD)
async def test_what_was_told_does_not_depend_on_the_future(path: str) -> None:
    world = small_world()

    one = await Sandbox(world, NOW).body(path)
    other = await Sandbox(other_future(world, after=at(NOW)), NOW).body(path)

    assert one == other


async def test_the_mix_beside_a_regional_forecast_is_of_a_day_that_is_over() -> None:
    world = small_world()
    path = "/regional/intensity/2024-04-02T10:01Z/fw48h/postcode/RG10"

    one = (await Sandbox(world, NOW).body(path))["data"]["data"]
    other = (await Sandbox(other_future(world, after=at(NOW)), NOW).body(path))["data"]["data"]

    assert [row["generationmix"] for row in one] == [row["generationmix"] for row in other]
    assert one[0]["intensity"] != other[0]["intensity"]


async def test_day_ahead_prices_do_not_depend_on_what_is_not_auctioned_yet() -> None:
    world = small_world()
    auctioned_to = at("2024-04-02T22:00Z")

    one = await Sandbox(world, NOW).body(AGILE)
    other = await Sandbox(other_future(world, after=auctioned_to), NOW).body(AGILE)
    changed = await Sandbox(other_future(world, after=at(NOW)), NOW).body(AGILE)

    assert one == other
    assert one != changed


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/intensity/2024-04-02T10:01Z/fw48h", "forecast"),
        (f"{ELEXON}/forecast/demand/day-ahead/history?publishTime=2024-04-02T10:25Z",
         "nationalDemand"),
        (f"{ELEXON}/forecast/generation/wind/history?publishTime=2024-04-02T10:25Z", "generation"),
    ],
)  # fmt: skip
async def test_a_forecast_knows_the_future_only_through_the_error_model(
    path: str, field: str
) -> None:
    """Another future moves a forecast by just as much: the errors do not look at it."""
    world = small_world()
    later = at("2024-04-02T11:00Z")

    one = numbers(await Sandbox(world, NOW).body(path), field, later)
    other = numbers(await Sandbox(other_future(world, after=later), NOW).body(path), field, later)

    assert one.size > 48
    assert np.abs(other - one - 40).max() <= 1  # rounded on both sides


def numbers(body: Payload, field: str, since: datetime) -> np.ndarray:
    rows = body["data"]
    starts = [at(row.get("startTime") or row["from"]) for row in rows]
    told = [row["intensity"][field] if "intensity" in row else row[field] for row in rows]
    return np.array([value for value, start in zip(told, starts, strict=True) if start >= since])


@pytest.mark.parametrize("what", ["demand/day-ahead", "generation/wind"])
async def test_a_vintage_is_the_same_whenever_it_is_asked_for(what: str) -> None:
    box = Sandbox(small_world(), NOW)
    path = f"{ELEXON}/forecast/{what}/history"

    then = await box.body(path, publishTime="2024-04-02T10:25Z")
    box.set("2024-04-03T18:00Z")
    later = await box.body(path, publishTime="2024-04-02T10:25Z")
    newer = await box.body(path, publishTime="2024-04-03T18:00Z")

    assert then == later
    assert {row["publishTime"] for row in newer["data"]} != {
        row["publishTime"] for row in then["data"]
    }


@pytest.mark.parametrize(
    ("what", "published"),
    [
        ("demand/day-ahead", "2024-04-02T10:15:00Z"),
        ("generation/wind", "2024-04-02T08:30:00Z"),
    ],
)
async def test_nothing_is_told_of_a_publication_to_come(what: str, published: str) -> None:
    box = Sandbox(small_world(), NOW)

    for asked in ("2024-04-02T10:25Z", "2024-04-04T00:00Z"):
        rows = (await box.body(f"{ELEXON}/forecast/{what}/history", publishTime=asked))["data"]
        assert {row["publishTime"] for row in rows} == {published}
        assert min(row["startTime"] for row in rows) >= published


async def test_demand_is_forecast_to_the_end_of_tomorrow_in_london() -> None:
    box = Sandbox(small_world(), "2024-03-30T12:00Z")

    rows = (await box.body(
        f"{ELEXON}/forecast/demand/day-ahead/history", publishTime="2024-03-30T12:00Z"
    ))["data"]  # fmt: skip

    assert rows[-1]["startTime"] == "2024-03-31T22:30:00Z"
    assert (rows[-1]["settlementDate"], rows[-1]["settlementPeriod"]) == ("2024-03-31", 46)


CHANGES = [
    pytest.param("2024-03-31", 46, "2024-03-31T00:00:00Z", "2024-03-31T22:30:00Z", id="forward"),
    pytest.param("2024-10-27", 50, "2024-10-26T23:00:00Z", "2024-10-27T23:30:00Z", id="back"),
]


@pytest.mark.parametrize(("day", "periods", "first", "last"), CHANGES)
async def test_a_settlement_day_follows_the_clock_in_london(
    day: str, periods: int, first: str, last: str
) -> None:
    start = (datetime.fromisoformat(day) - timedelta(days=7)).strftime("%Y-%m-%dT00:00Z")
    box = Sandbox(small_world(start), f"{day}T23:59Z")
    box.clock.instant += timedelta(days=1)

    prices = (await box.body(f"{ELEXON}/balancing/settlement/system-prices/{day}"))["data"]
    (final,) = (await box.body(f"{ELEXON}/balancing/settlement/system-prices/{day}/{periods}"))[
        "data"
    ]
    intensity = (await box.body(f"/intensity/date/{day}"))["data"]

    assert [row["settlementPeriod"] for row in prices] == list(range(1, periods + 1))
    assert (prices[0]["startTime"], prices[-1]["startTime"]) == (first, last)
    assert final == prices[-1]
    assert len(intensity) == periods
    assert intensity[0]["from"] == first.replace(":00Z", "Z")


@pytest.mark.parametrize(
    ("day", "half_hours"), [("2024-03-31", 46), ("2024-07-01", 48), ("2024-10-27", 50)]
)
async def test_a_day_of_agile_rates_is_as_long_as_the_day(day: str, half_hours: int) -> None:
    start = (datetime.fromisoformat(day) - timedelta(days=7)).strftime("%Y-%m-%dT00:00Z")
    box = Sandbox(small_world(start), f"{day}T20:00Z")
    eve = (datetime.fromisoformat(day) - timedelta(days=1)).strftime("%Y-%m-%d")

    page = await box.body(AGILE.replace("AGILE-23-12-06", product_of(day)),
                          period_from=f"{eve}T23:00", period_to=f"{day}T23:00")  # fmt: skip

    assert page["count"] == half_hours


def product_of(day: str) -> str:
    return "AGILE-24-10-01" if day >= "2024-10-01" else "AGILE-23-12-06"


async def test_an_order_to_be_stale_holds_the_time_still_for_one_provider() -> None:
    box = Sandbox(small_world(), "2024-04-02T10:25Z")
    await box.order("stale", provider="elexon")
    box.set("2024-04-02T16:00Z")

    prices = (await box.body(f"{ELEXON}/balancing/settlement/system-prices/2024-04-02"))["data"]
    (intensity,) = (await box.body("/intensity"))["data"]
    await box.order("none", provider="elexon")
    again = (await box.body(f"{ELEXON}/balancing/settlement/system-prices/2024-04-02"))["data"]

    assert prices[-1]["startTime"] == "2024-04-02T09:30:00Z"
    assert intensity["from"] == "2024-04-02T15:30Z"
    assert again[-1]["startTime"] == "2024-04-02T15:00:00Z"


@pytest.mark.parametrize(
    ("now", "source", "is_known"),
    [
        pytest.param("2024-04-02T09:09:59Z", AuctionSource.EXCHANGE, False, id="not told yet"),
        pytest.param("2024-04-02T09:10:00Z", AuctionSource.EXCHANGE, True, id="at the exchange"),
        pytest.param("2024-04-02T09:10:00Z", AuctionSource.OCTOPUS, False, id="not at Octopus"),
    ],
)
def test_a_desk_tells_tomorrows_price_when_its_source_does(
    now: str, source: AuctionSource, is_known: bool
) -> None:
    desk = Desk(small_world(), SetClock(at(now)), Faults(), Provider.OCTOPUS)

    price = desk.day_ahead_price(hh("2024-04-03T12:00Z"), source=source)

    assert np.isfinite(price) == is_known
