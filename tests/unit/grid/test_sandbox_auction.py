"""The auction itself, told by the exchange in the morning: sandbox, feed and what is made of it."""

from datetime import date

import numpy as np
import pytest

from gridflex.halfhour import HalfHour, auction_half_hours
from gridflex.running import launch
from gridflex.running.up import with_sandbox
from gridflex.settings import GridSettings, Settings
from gridflex.signals import Origin, Rung
from tests.unit.grid.replay import Payload, hh
from tests.unit.grid.sandbox import WITH_NORD_POOL, Sandbox, small_world
from tests.unit.grid.test_sandbox_providers import FAULTS, Run
from tests.unit.grid.test_sandbox_shapes import leaves

ASKED = {"market": "N2EX_DayAhead", "deliveryArea": "UK", "currency": "GBP"}
SOURCE = "nord-pool/n2ex"
AGILE = "octopus/agile-derived"


async def told(box: Sandbox, day: str) -> Payload:
    return await box.body("/api/DayAheadPrices", date=day, **ASKED)


def run(now: str) -> Run:
    return Run(Sandbox(small_world(), now), WITH_NORD_POOL)


async def test_an_answer_has_the_fields_of_the_portals() -> None:
    body = await told(Sandbox(small_world(), "2024-04-02T12:00Z"), "2024-04-03")

    assert dict(leaves(body)) == {
        ".deliveryDateCET": "day",
        ".version": "int",
        ".updatedAt": "text",
        ".deliveryAreas[]": "text",
        ".market": "text",
        ".multiAreaEntries[].deliveryStart": "second",
        ".multiAreaEntries[].deliveryEnd": "second",
        ".multiAreaEntries[].entryPerArea.UK": "float",
        ".blockPriceAggregates[].blockName": "text",
        ".blockPriceAggregates[].deliveryStart": "second",
        ".blockPriceAggregates[].deliveryEnd": "second",
        ".blockPriceAggregates[].averagePricePerArea.UK.average": "float",
        ".blockPriceAggregates[].averagePricePerArea.UK.min": "float",
        ".blockPriceAggregates[].averagePricePerArea.UK.max": "float",
        ".currency": "text",
        ".exchangeRate": "int",
        ".areaStates[].state": "text",
        ".areaStates[].areas[]": "text",
        ".areaAverages[].areaCode": "text",
        ".areaAverages[].price": "float",
    }
    assert body["updatedAt"] == "2024-04-02T09:10:00.0000000Z"


@pytest.mark.parametrize(
    ("day", "hours"), [("2024-03-31", 23), ("2024-04-02", 24), ("2024-10-27", 25)]
)
async def test_a_day_has_its_hours_from_eleven_to_eleven_in_london(day: str, hours: int) -> None:
    start = "2024-10-20T00:00Z" if day > "2024-10" else "2024-03-25T00:00Z"
    box = Sandbox(small_world(start), f"{day}T12:00Z")

    rows = (await told(box, day))["multiAreaEntries"]

    first, *_, last = auction_half_hours(date.fromisoformat(day))
    assert len(rows) == hours
    assert HalfHour.parse(rows[0]["deliveryStart"]) == first
    assert HalfHour.parse(rows[-1]["deliveryEnd"]) == last + 1


@pytest.mark.parametrize(
    ("now", "day", "status"),
    [
        pytest.param("2024-04-02T09:09Z", "2024-04-03", 204, id="before the results"),
        pytest.param("2024-04-02T09:10Z", "2024-04-03", 200, id="when they are out"),
        pytest.param("2024-04-02T23:00Z", "2024-04-04", 204, id="two days ahead"),
        pytest.param("2024-04-02T12:00Z", "2024-03-01", 204, id="before the recording"),
    ],
)
async def test_results_are_told_from_ten_past_ten_the_day_before(
    now: str, day: str, status: int
) -> None:
    answer = await Sandbox(small_world(), now).get("/api/DayAheadPrices", date=day, **ASKED)

    assert (answer.status_code, answer.content == b"") == (status, status == 204)


@pytest.mark.parametrize("wrong", [{"market": "DayAhead"}, {"deliveryArea": "NO2"}])
async def test_other_markets_are_not_served(wrong: dict[str, str]) -> None:
    box = Sandbox(small_world(), "2024-04-02T12:00Z")

    answer = await box.get("/api/DayAheadPrices", **{"date": "2024-04-02", **ASKED, **wrong})

    assert answer.status_code == 400
    assert next(iter(wrong.values())) in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("day", "status"),
    [
        ("0001-01-01", 400),
        ("1847-12-31", 400),
        ("1848-01-01", 204),
        ("9999-12-30", 204),
        ("9999-12-31", 400),
    ],
)
async def test_days_at_the_ends_of_time_are_answered(day: str, status: int) -> None:
    box = Sandbox(small_world(), "2024-04-02T12:00Z")

    assert (await box.get("/api/DayAheadPrices", date=day, **ASKED)).status_code == status


async def test_tomorrows_price_is_known_in_the_morning_and_goes_before_the_recovered_one() -> None:
    one = run("2024-04-02T09:25Z")
    start = HalfHour.containing(one.box.now)

    report = await one.tick()
    series = one.kept(SOURCE)
    _, price = await one.grid.outlook(one.box.now, start=start, half_hours=96)

    world = one.box.world
    prices = world.window(world.day_ahead_gbp_per_mwh, series.start, len(series))
    assert report.degraded == ()
    assert (series.start, series.end) == (hh("2024-04-01T22:00Z"), hh("2024-04-03T22:00Z"))
    np.testing.assert_allclose(series.values[::2], prices.reshape(-1, 2).mean(axis=1))
    assert (series.origin, one.kept(AGILE).end) == (Origin.RECORDED, hh("2024-04-02T22:00Z"))
    ahead = start.until(series.end)
    assert set(price.sources[:ahead]) == {SOURCE}
    assert set(price.sources[ahead:]) == {"climatology"}


async def test_where_the_exchange_says_nothing_the_recovered_price_is_used() -> None:
    one = run("2024-04-02T15:25Z")
    await one.fail("empty", "nord-pool")
    start = HalfHour.containing(one.box.now)

    await one.tick()
    _, price = await one.grid.outlook(one.box.now, start=start, half_hours=24)

    assert set(price.sources) == {AGILE}
    assert set(price.rungs) == {Rung.FRESH}


async def test_the_exchanges_price_stays_first_on_a_day_on_which_it_tells_nothing_more() -> None:
    one = run("2024-04-02T09:25Z")
    await one.tick()
    await one.fail("error", "nord-pool")
    one.box.set("2024-04-02T15:25Z")
    await one.tick()
    start = HalfHour.containing(one.box.now)

    _, price = await one.grid.outlook(one.box.now, start=start, half_hours=48)

    assert set(price.sources) == {SOURCE}
    assert set(price.rungs) == {Rung.FRESH}
    assert set(price.ages_s) == {6 * 3600.0}


async def test_before_the_results_the_feed_is_well() -> None:
    one = run("2024-04-02T08:55Z")

    report = await one.tick()

    assert report.degraded == ()
    assert one.kept(SOURCE).end == hh("2024-04-02T22:00Z")
    statuses = [status for provider, _, status, *_ in one.archive.kept if provider == "nord-pool"]
    assert statuses == [200, 204]


REASONS = dict(zip([fault.id for fault in FAULTS], [
    "HTTP 500", "no answer in time", "the answer is empty", "deliveryDateCET is missing",
], strict=True))  # fmt: skip


@pytest.mark.parametrize(("fault", "reason"), REASONS.items())
async def test_a_failing_exchange_is_named_and_stops_nobody(fault: str, reason: str) -> None:
    one = run("2024-04-02T10:25Z")
    await one.fail(fault, "nord-pool")

    report = await one.tick()

    (failed,) = report.degraded
    assert failed.source == SOURCE
    assert reason in failed.reason
    assert "nord-pool: http://grid.test/api/DayAheadPrices?date=2024-04-02" in failed.reason
    assert AGILE in {series.source for series in one.store.kept}


async def test_nobody_asks_the_exchange_unless_the_settings_name_it() -> None:
    one = Run(Sandbox(small_world(), "2024-04-02T10:25Z"))

    report = await one.tick()

    assert "nord-pool" not in {feed.provider for feed in report.feeds}
    assert "nord-pool" not in {provider for provider, *_ in one.archive.kept}


@pytest.mark.parametrize(
    ("named", "asked"), [(None, None), ("https://portal.test/api", "http://sandbox.test/api")]
)
def test_a_sandbox_stands_in_for_an_exchange_that_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, named: str | None, asked: str | None
) -> None:
    monkeypatch.setattr(launch, "start_grid_sandbox", lambda _settings: (1, "http://sandbox.test"))

    settings, _ = with_sandbox(Settings(grid=GridSettings(nord_pool_url=named)))

    assert settings.grid.nord_pool_url == asked
