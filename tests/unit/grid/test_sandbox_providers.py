"""The real adapters and the grid agent against the sandbox: what arrives, and what survives."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pytest

from gridflex.agents.grid import Grid, GridReport
from gridflex.settings import GridSettings
from gridflex.signals import Kind, Origin, Rung, Series, Signal
from tests.unit.grid.sandbox import SETTINGS, Sandbox, small_world, value_at
from tests.unit.grid.test_grid_agent import FakeStore

NOW = "2024-04-02T10:25Z"
SOURCES = {
    "carbon-intensity/fw48h",
    "carbon-intensity/actual",
    "carbon-intensity/generation/gas",
    "octopus/agile-derived",
    "elexon/mid",
    "elexon/system-price",
    "elexon/indo",
    "elexon/fuelhh-wind",
    "elexon/ndf",
    "elexon/windfor",
}


@dataclass
class FakeArchive:
    kept: list[tuple[str, str, int, bytes, datetime]] = field(default_factory=list)

    async def keep(
        self, provider: str, *, url: str, status: int, body: bytes, fetched_at: datetime
    ) -> None:
        self.kept.append((provider, url, status, body, fetched_at))


@dataclass
class Run:
    """A grid agent over the sandbox."""

    box: Sandbox
    settings: GridSettings = SETTINGS
    store: FakeStore = field(default_factory=FakeStore)
    archive: FakeArchive = field(default_factory=FakeArchive)

    def __post_init__(self) -> None:
        feeds = self.box.feeds("RG10", archive=self.archive, settings=self.settings)
        self.fetchers = feeds.fetchers
        for fetcher in feeds.fetchers:
            fetcher._retry_wait_s = 0.0
        self.grid = Grid(feeds.feeds, store=self.store)

    async def fail(self, fault: str, *providers: str) -> None:
        """Order a fault; nobody waits long for a provider that hangs."""
        for fetcher in self.fetchers:
            if fetcher.provider in providers:
                await self.box.order(fault, provider=fetcher.provider)
                fetcher._timeout_s = 0.2 if fault == "hang" else fetcher._timeout_s

    async def tick(self) -> GridReport:
        return await self.grid.tick(self.box.now)

    def kept(self, source: str, region: str = "GB") -> Series:
        return [s for s in self.store.kept if (s.source, s.region) == (source, region)][-1]


def run(now: str = NOW) -> Run:
    return Run(Sandbox(small_world(), now))


async def test_every_signal_arrives_and_is_stored_with_its_origin() -> None:
    one = run()

    report = await one.tick()

    assert {feed.source for feed in report.feeds} == SOURCES
    assert report.degraded == ()
    forecasts = {"carbon-intensity/fw48h", "elexon/ndf", "elexon/windfor"}
    for series in one.store.kept:
        simulated = series.source in forecasts
        assert series.origin is (Origin.SIMULATED if simulated else Origin.RECORDED), series.source


async def test_every_raw_response_is_archived() -> None:
    one = run()
    await one.tick()

    assert {provider for provider, *_ in one.archive.kept} == {
        "carbon-intensity", "elexon", "octopus"
    }  # fmt: skip
    assert {fetched_at for *_, fetched_at in one.archive.kept} == {one.box.now}
    (fw48h,) = [kept for kept in one.archive.kept if kept[1].endswith("Z/fw48h")]
    assert fw48h[3] == (await one.box.get("/intensity/2024-04-02T10:01Z/fw48h")).content


@pytest.mark.parametrize(
    ("source", "name", "newest"),
    [
        ("carbon-intensity/actual", "intensity_gco2_per_kwh", "2024-04-02T09:30Z"),
        ("elexon/mid", "mid_gbp_per_mwh", "2024-04-02T09:30Z"),
        ("elexon/system-price", "system_gbp_per_mwh", "2024-04-02T09:30Z"),
        ("elexon/indo", "demand_mw", "2024-04-02T09:30Z"),
    ],
)
async def test_an_outturn_arrives_under_its_own_half_hour(
    source: str, name: str, newest: str
) -> None:
    one = run()
    await one.tick()
    world, series = one.box.world, one.kept(source)
    is_estimated_once_more = source == "carbon-intensity/actual"

    told = series.values[: -1 if is_estimated_once_more else None]

    expected = world.window(getattr(world, name), series.start, told.size)
    np.testing.assert_allclose(told, expected)
    assert str(series.start + told.size - 1) == newest


async def test_the_generation_mix_arrives_as_shares_that_make_a_whole() -> None:
    one = run()
    await one.tick()

    mix = await one.grid.mix(one.box.now)

    assert mix is not None
    assert str(mix.half_hour) == "2024-04-02T09:30Z"
    assert sum(mix.share_fraction.values()) == pytest.approx(1, abs=0.005)
    world = one.box.world
    gas = value_at(world, world.fuels_mw["CCGT"], mix.half_hour)
    wind = value_at(world, world.fuels_mw["WIND"] + world.embedded_wind_mw, mix.half_hour)
    assert mix.share_fraction["wind"] / mix.share_fraction["gas"] == pytest.approx(
        wind / gas, rel=0.005
    )


async def test_the_day_ahead_price_is_recovered_from_the_rates() -> None:
    one = run()
    await one.tick()
    world, series = one.box.world, one.kept("octopus/agile-derived")

    expected = world.window(world.day_ahead_gbp_per_mwh, series.start, len(series))

    np.testing.assert_allclose(series.values, expected, atol=0.001)
    assert str(series.end) == "2024-04-02T22:00Z"


async def test_forecasts_of_demand_and_wind_keep_when_they_were_published() -> None:
    one = run()
    await one.tick()

    assert one.kept("elexon/ndf").issued_at.isoformat() == "2024-04-02T10:15:00+00:00"
    assert one.kept("elexon/windfor").issued_at.isoformat() == "2024-04-02T08:30:00+00:00"
    assert one.kept("elexon/ndf").available_at == one.box.now
    assert one.kept("elexon/ndf").kind is Kind.FORECAST


async def test_a_regional_forecast_is_stored_beside_the_national_one() -> None:
    one = run()
    await one.tick()

    national, regional = one.kept("carbon-intensity/fw48h"), one.kept(
        "carbon-intensity/fw48h", "RG10"
    )  # fmt: skip

    assert regional.start == national.start
    np.testing.assert_allclose(regional.values / national.values, 1.15, rtol=0.02)


async def test_an_outlook_across_a_clock_change_has_a_value_for_each_half_hour() -> None:
    one = run("2024-03-30T20:10Z")
    await one.tick()

    intensity, price = await one.grid.outlook(
        one.box.now, start=one.kept("carbon-intensity/fw48h").start, half_hours=96
    )

    assert intensity.worst_rung is Rung.FRESH
    assert set(price.sources) == {"octopus/agile-derived", "climatology"}


FAULTS = [
    pytest.param("error", "HTTP 500", id="error"),
    pytest.param("hang", "no answer in time", id="hang"),
    pytest.param("empty", "the answer is empty", id="empty"),
    pytest.param("garbage", "results: 7 is not valid", id="garbage"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_a_failing_provider_is_named_and_stops_nobody(fault: str, reason: str) -> None:
    one = run()
    await one.fail(fault, "octopus")

    report = await one.tick()

    (failed,) = report.degraded
    assert failed.source == "octopus/agile-derived"
    assert reason in failed.reason
    assert "octopus: http://grid.test/v1/products/" in failed.reason
    assert {s.source for s in one.store.kept} >= SOURCES - {"octopus/agile-derived"}


@pytest.mark.parametrize(("fault", "_reason"), FAULTS)
async def test_with_every_provider_down_the_outlook_ages_and_goes_down_the_ladder(
    fault: str, _reason: str
) -> None:
    one = run()
    await one.tick()
    start = one.kept("carbon-intensity/fw48h").start
    await one.fail(fault, "carbon-intensity", "elexon", "octopus")
    one.box.clock.instant += timedelta(hours=3)

    report = await one.tick()
    intensity, price = await one.grid.outlook(one.box.now, start=start + 6, half_hours=96)

    assert {feed.source for feed in report.degraded} == SOURCES
    assert {feed.age_s for feed in report.feeds} == {10_800.0}
    assert set(intensity.rungs) == {Rung.STALE, Rung.CLIMATOLOGY}
    assert set(price.rungs) == {Rung.FRESH, Rung.CLIMATOLOGY}
    assert intensity.ages_s.min() == 10_800
    assert np.isfinite(intensity.values).all()
    assert np.isfinite(price.ages_s).all()


async def test_a_provider_that_went_stale_is_used_until_something_better_is_known() -> None:
    one = run()
    await one.box.order("stale", provider="carbon-intensity")
    one.box.clock.instant += timedelta(hours=12)

    report = await one.tick()
    series = one.kept("carbon-intensity/fw48h")

    assert report.degraded == ()
    assert str(series.start) == "2024-04-02T22:00Z"
    assert str(series.end - 1) == "2024-04-04T10:00Z"


async def test_a_fault_of_so_many_answers_ends_by_itself() -> None:
    one = run()
    await one.box.order("error", provider="octopus", answers=2)

    report = await one.tick()

    assert report.degraded == ()
    assert (await one.box.body("/_sandbox"))["faults"]["octopus"] == "none"
    statuses = [status for provider, _, status, *_ in one.archive.kept if provider == "octopus"]
    assert statuses == [500, 500, 200, 200]


async def test_a_fault_order_that_makes_no_sense_is_refused() -> None:
    answer = await run().box.get("/_sandbox")
    assert set(answer.json()["faults"].values()) == {"none"}

    with pytest.raises(AssertionError, match="burn"):
        await run().box.order("burn")


async def test_prices_and_intensity_of_the_running_half_hour_are_fresh() -> None:
    one = run()
    await one.tick()
    start = one.kept("carbon-intensity/fw48h").start

    intensity, price = await one.grid.outlook(one.box.now, start=start, half_hours=2, region="RG10")

    assert intensity.sources == ("carbon-intensity/fw48h",) * 2
    assert intensity.regions == ("RG10",) * 2
    assert price.sources == ("octopus/agile-derived",) * 2
    assert (intensity.signal, price.signal) == (Signal.INTENSITY, Signal.PRICE)
    assert (intensity.origin, price.origin) == (Origin.SIMULATED, Origin.RECORDED)
