"""The hourly auction as Nord Pool's data portal tells it."""

import pickle
from datetime import date, datetime, timedelta

import httpx
import numpy as np
import pytest

from gridflex.adapters.grid.nord_pool import NordPool
from gridflex.adapters.grid.series import PartlyToldError
from gridflex.adapters.http import EmptyAnswerError, NotServedError
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour, auction_half_hours
from gridflex.signals import Kind, Signal
from tests.unit.grid.replay import Payload, at, fetcher, hh

TODAY = date(2026, 1, 15)
NOW = at("2026-01-15T10:20Z")
NOTHING = httpx.Response(204)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def results(day: date, *, first: float, **fields: Payload) -> Payload:
    """A day whose price rises by 1 GBP/MWh with each hour."""
    half_hours = list(auction_half_hours(day))
    return {
        "deliveryDateCET": f"{day}",
        "version": 2,
        "updatedAt": f"{day - timedelta(days=1)}T09:57:10.7711584Z",
        "deliveryAreas": ["UK"],
        "market": "N2EX_DayAhead",
        "multiAreaEntries": [
            hour(start, first + place) for place, start in enumerate(half_hours[::2])
        ],
        "currency": "GBP",
        "exchangeRate": 1,
        "areaStates": [{"state": "Final", "areas": ["UK"]}],
        **fields,
    }


def hour(start: HalfHour, price: float | None, *, area: str = "UK", half_hours: int = 2) -> Payload:
    return {
        "deliveryStart": stamp(start.start),
        "deliveryEnd": stamp((start + half_hours).start),
        "entryPerArea": {area: price},
    }


class Portal:
    """Answers each day of delivery with its payload, and any other without content."""

    def __init__(self, **days: Payload) -> None:
        self.days = days
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/DayAheadPrices"
        self.asked.append(dict(request.url.params))
        payload = self.days.get(request.url.params["date"], NOTHING)
        return payload if isinstance(payload, httpx.Response) else httpx.Response(200, json=payload)

    @property
    def api(self) -> NordPool:
        return NordPool(fetcher(self))


async def test_todays_and_tomorrows_prices_fill_two_half_hours_each() -> None:
    tomorrow = TODAY + timedelta(days=1)
    days = {
        f"{TODAY}": results(TODAY, first=50),
        f"{tomorrow}": results(tomorrow, first=-10, updatedAt="2026-01-15T09:58:00.1234567Z"),
    }
    portal = Portal(**days)

    series = await portal.api.day_ahead_price(now=NOW)

    assert (series.signal, series.kind, series.source) == (
        Signal.PRICE, Kind.FORECAST, "nord-pool/n2ex",
    )  # fmt: skip
    assert (series.start, series.end) == (hh("2026-01-14T23:00Z"), hh("2026-01-16T23:00Z"))
    np.testing.assert_array_equal(series.values[:4], [50, 50, 51, 51])
    np.testing.assert_array_equal(series.values[48:52], [-10, -10, -9, -9])
    assert series.issued_at == at("2026-01-15T09:58:00.123456Z")
    assert series.available_at == NOW
    assert portal.asked == [
        {"date": day, "market": "N2EX_DayAhead", "deliveryArea": "UK", "currency": "GBP"}
        for day in days
    ]


@pytest.mark.parametrize("nothing", [NOTHING, httpx.Response(200, text=" ")], ids=["204", "empty"])
async def test_results_that_are_not_out_yet_are_no_failure(nothing: httpx.Response) -> None:
    days = {f"{TODAY}": results(TODAY, first=50), "2026-01-16": nothing}

    series = await Portal(**days).api.day_ahead_price(now=at("2026-01-15T09:40Z"))

    assert series.end == hh("2026-01-15T23:00Z")


async def test_results_dated_after_now_are_not_out_yet() -> None:
    tomorrow = results(date(2026, 1, 16), first=10, updatedAt="2026-01-15T10:20:01Z")
    days = {f"{TODAY}": results(TODAY, first=50), "2026-01-16": tomorrow}

    series = await Portal(**days).api.day_ahead_price(now=NOW)

    assert series.end == hh("2026-01-15T23:00Z")


async def test_nothing_about_the_running_day_is_a_failure() -> None:
    days = {"2026-01-16": results(date(2026, 1, 16), first=10)}

    with pytest.raises(SourceError, match=r"date=2026-01-15.*the answer is empty"):
        await Portal(**days).api.day_ahead_price(now=NOW)


@pytest.mark.parametrize(
    ("tomorrow", "reason"),
    [
        pytest.param(httpx.Response(400, text="no"), "date=2026-01-16.*HTTP 400", id="an error"),
        pytest.param(httpx.Response(200, text="<html>"), "16.*is not JSON", id="no JSON"),
        pytest.param({"error": "down"}, "2026-01-16.*down", id="its own error"),
        pytest.param(
            results(date(2026, 1, 16), first=70_000), "70000 is outside", id="implausible"
        ),
    ],
)
async def test_todays_prices_are_kept_where_tomorrows_cannot_be_had(
    tomorrow: Payload, reason: str
) -> None:
    days = {f"{TODAY}": results(TODAY, first=50), "2026-01-16": tomorrow}

    with pytest.raises(PartlyToldError, match=reason) as failed:
        await Portal(**days).api.day_ahead_price(now=NOW)

    told = failed.value.told
    assert (told.start, told.end) == (hh("2026-01-14T23:00Z"), hh("2026-01-15T23:00Z"))
    assert pickle.loads(pickle.dumps(failed.value)).args == failed.value.args  # noqa: S301 - ours


@pytest.mark.parametrize(
    ("today", "reason"),
    [
        pytest.param(NOTHING, "date=2026-01-15.*the answer is empty", id="nothing"),
        pytest.param(httpx.Response(404, text="no"), "date=2026-01-15.*HTTP 404", id="an error"),
        pytest.param(httpx.Response(502, text="no"), "15.*HTTP 502", id="a failure"),
        pytest.param(httpx.Response(200, text="<html>"), "15.*is not JSON", id="no JSON"),
        pytest.param(results(TODAY, first=70_000), "70000 is outside", id="implausible"),
    ],
)
async def test_tomorrows_prices_are_kept_where_todays_cannot_be_had(
    today: Payload, reason: str
) -> None:
    days = {f"{TODAY}": today, "2026-01-16": results(date(2026, 1, 16), first=10)}

    with pytest.raises(PartlyToldError, match=reason) as failed:
        await Portal(**days).api.day_ahead_price(now=NOW)

    told = failed.value.told
    assert (told.start, told.end) == (hh("2026-01-15T23:00Z"), hh("2026-01-16T23:00Z"))


async def test_where_neither_day_can_be_had_todays_failure_is_told() -> None:
    days = {f"{TODAY}": httpx.Response(404), "2026-01-16": httpx.Response(400)}

    with pytest.raises(SourceError, match=r"date=2026-01-15.*HTTP 404") as failed:
        await Portal(**days).api.day_ahead_price(now=NOW)

    assert not isinstance(failed.value, PartlyToldError)


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_an_exchange_that_turns_us_away_is_not_asked_for_tomorrow(status: int) -> None:
    portal = Portal(**{f"{TODAY}": httpx.Response(status)})

    with pytest.raises(NotServedError, match=f"HTTP {status}"):
        await portal.api.day_ahead_price(now=NOW)

    assert {asked["date"] for asked in portal.asked} == {f"{TODAY}"}


async def test_an_exchange_that_cannot_be_reached_is_not_asked_for_tomorrow() -> None:
    asked = []

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["date"])
        raise httpx.ConnectError("refused")

    with pytest.raises(NotServedError, match="refused"):
        await NordPool(fetcher(away)).day_ahead_price(now=NOW)

    assert set(asked) == {f"{TODAY}"}


async def test_an_hour_told_twice_alike_is_told_once() -> None:
    day = results(TODAY, first=50)
    day["multiAreaEntries"].append(day["multiAreaEntries"][0])

    series = await Portal(**{f"{TODAY}": day}).api.results_of(TODAY, now=NOW)

    assert len(series) == 48


@pytest.mark.parametrize(
    ("now", "day"),
    [
        pytest.param("2026-01-15T22:59Z", "2026-01-15", id="before eleven"),
        pytest.param("2026-01-15T23:00Z", "2026-01-16", id="from eleven on"),
        pytest.param("2026-07-15T21:59Z", "2026-07-15", id="before eleven in summer"),
        pytest.param("2026-07-15T22:00Z", "2026-07-16", id="from eleven on in summer"),
    ],
)
async def test_the_running_day_ends_at_eleven_in_the_evening(now: str, day: str) -> None:
    portal = Portal(**{day: results(date.fromisoformat(day), first=50)})

    await portal.api.day_ahead_price(now=at(now))

    assert portal.asked[0]["date"] == day


@pytest.mark.parametrize(
    ("day", "half_hours"),
    [
        pytest.param(date(2026, 3, 29), 46, id="clocks go forward"),
        pytest.param(date(2026, 10, 25), 50, id="clocks go back"),
    ],
)
async def test_a_day_of_a_clock_change_has_all_its_hours(day: date, half_hours: int) -> None:
    portal = Portal(**{f"{day}": results(day, first=50)})

    series = await portal.api.results_of(day, now=at(f"{day}T12:00Z"))

    assert len(series) == half_hours
    assert series.values[-1] == 50 + half_hours / 2 - 1


async def test_a_price_that_is_missing_is_a_gap() -> None:
    day = results(TODAY, first=50)
    day["multiAreaEntries"][1] = hour(hh("2026-01-15T00:00Z"), None)

    series = await Portal(**{f"{TODAY}": day}).api.results_of(TODAY, now=NOW)

    np.testing.assert_array_equal(series.values[:6], [50, 50, np.nan, np.nan, 52, 52])


async def test_a_day_that_is_not_to_be_had_is_told_apart_from_a_failure() -> None:
    with pytest.raises(EmptyAnswerError, match="date=2025-06-01"):
        await Portal().api.results_of(date(2025, 6, 1), now=NOW)


EIGHT = hh("2026-01-15T08:00Z")
BEFORE_YEAR_1 = "0001-01-01T00:00+05:00"
WRONG = [
    pytest.param({"currency": "EUR"}, "currency is EUR; valid is GBP", id="currency"),
    pytest.param({"market": "DayAhead"}, "market is DayAhead; valid is N2EX_DayAhead", id="market"),
    pytest.param({"deliveryDateCET": "2026-01-14"}, "2026-01-14; valid is 2026-01-15", id="day"),
    pytest.param({"updatedAt": "2026-01-14T09:57:10"}, "updatedAt", id="no time zone"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 70.0, area="NO2")]},
                 r"multiAreaEntries.0.entryPerArea: has \['NO2'\], no UK", id="area"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 70_000.0)]},
                 "70000 is outside -1000 to 10000", id="unit"),
    pytest.param({"multiAreaEntries": [hour(EIGHT - 48, 70.0)]},
                 "2026-01-14T08:00Z to 2026-01-14T09:00Z is no time within 2026-01-15", id="place"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 70.0, half_hours=-2)]},
                 "is no time within", id="backwards"),
    pytest.param({"multiAreaEntries": [hour(hh("2026-01-15T22:30Z"), 70.0)]},
                 "2026-01-15T22:30Z to 2026-01-15T23:30Z is no time within", id="over the end"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 1.0) | {"deliveryEnd": "9999-12-30T23:30Z"}]},
                 "2026-01-15T08:00Z to 9999-12-30T23:30Z is no time within", id="without end"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 1.0) | {"deliveryStart": "0001-01-02T00:00Z"}]},
                 "is no time within", id="without beginning"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 1.0) | {"deliveryStart": BEFORE_YEAR_1}]},
                 "multiAreaEntries.0.deliveryStart", id="before all time"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 1.0) | {"deliveryEnd": "2026-01-15T08:15Z"}]},
                 "multiAreaEntries.0.deliveryEnd", id="quarter of an hour"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 70.0), hour(EIGHT, 71.0)]},
                 "multiAreaEntries.1: 2026-01-15T08:00Z costs 71.0, and 70.0 in", id="told twice"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 70.0), hour(EIGHT + 1, 71.0)]},
                 "multiAreaEntries.1: 2026-01-15T08:30Z costs 71.0, and 70.0 in", id="overlapping"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, 70.0), hour(EIGHT, None)]},
                 "multiAreaEntries.1: 2026-01-15T08:00Z costs None, and 70.0 in", id="withdrawn"),
    pytest.param({"multiAreaEntries": [hour(EIGHT, None) | {"entryPerArea": {"UK": True}}]},
                 "multiAreaEntries.0.entryPerArea.UK", id="true is no price"),
    pytest.param({"multiAreaEntries": None}, "multiAreaEntries", id="no list"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "says"), WRONG)
async def test_what_is_not_the_gb_auction_is_refused_by_name(fields: Payload, says: str) -> None:
    portal = Portal(**{f"{TODAY}": results(TODAY, first=50, **fields)})

    with pytest.raises(ContractError, match=says):
        await portal.api.results_of(TODAY, now=NOW)


async def test_a_day_without_any_hour_says_nothing() -> None:
    portal = Portal(**{f"{TODAY}": results(TODAY, first=50, multiAreaEntries=[])})

    with pytest.raises(SourceError, match="nord-pool/n2ex: the answer has no values"):
        await portal.api.results_of(TODAY, now=NOW)
