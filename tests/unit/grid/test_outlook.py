"""What the grid agent says of the half-hours ahead and of the mix, down the ladder."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pytest

from gridflex.agents.doubts import StoredDoubts
from gridflex.agents.grid import Grid, OwnLeads, never_first
from gridflex.errors import StaleDataError
from gridflex.forecasting.doubt import Doubts
from gridflex.signals import Band, Kind, Origin, Rung, Series, Signal
from tests.unit.grid.test_grid_agent import NOON, NOW, FakeFeed, FakeStore, outturn, series


async def test_the_mix_is_that_of_the_newest_half_hour_known() -> None:
    def share(fuel: str, values: Sequence[float], origin: Origin = Origin.LIVE) -> Series:
        return series(
            values,
            start=NOW - 2,
            source=f"carbon-intensity/generation/{fuel}",
            signal=Signal.GENERATION_SHARE,
            kind=Kind.OUTTURN,
            origin=origin,
        )

    grid = stocked(share("gas", [0.6, 0.7]), share("wind", [0.4, 0.3], Origin.SIMULATED))

    mix = await grid.mix(NOON + timedelta(minutes=10))

    assert mix is not None
    assert (mix.half_hour, mix.age_s, mix.origin) == (NOW - 1, 600.0, Origin.SIMULATED)
    assert mix.share_fraction == {"gas": 0.7, "wind": 0.3}
    assert await stocked().mix(NOON) is None


def stocked(*kept: Series) -> Grid:
    store = FakeStore()
    store.kept = list(kept)
    feeds = [FakeFeed(series([1.0], source=source)) for source in ("first/x", "second/x")]
    return Grid(feeds, store=store)


PRICES = outturn([50.0] * 96, Signal.PRICE)


async def test_the_outlook_prefers_the_feed_that_is_trusted_more() -> None:
    grid = stocked(
        series([200.0, 200.0], source="second/x"), series([100.0], source="first/x"), PRICES
    )

    intensity, price = await grid.outlook(NOON, start=NOW, half_hours=2)

    np.testing.assert_array_equal(intensity.values, [100.0, 200.0])
    assert intensity.sources == ("first/x", "second/x")
    np.testing.assert_array_equal(price.values, [50.0, 50.0])
    assert price.worst_rung is Rung.CLIMATOLOGY


async def test_the_ladder_goes_from_fresh_to_stale_to_the_usual_level() -> None:
    grid = stocked(
        series([100.0], source="first/x"),
        series([150.0] * 2, source="second/x", available_at=NOON - timedelta(hours=3)),
        outturn([70.0] * 96, Signal.INTENSITY),
        PRICES,
    )

    intensity, _ = await grid.outlook(NOON, start=NOW, half_hours=3)

    np.testing.assert_array_equal(intensity.values, [100.0, 150.0, 70.0])
    np.testing.assert_array_equal(intensity.rungs, [Rung.FRESH, Rung.STALE, Rung.CLIMATOLOGY])
    np.testing.assert_array_equal(intensity.ages_s[:2], [0.0, 10_800.0])


async def test_final_results_do_not_age() -> None:
    store = FakeStore()
    morning = NOON - timedelta(hours=4)
    result, rate = (
        series(values, source=source, signal=Signal.PRICE, available_at=morning)
        for values, source in [([60.0], "exchange/x"), ([65.0] * 2, "rates/x")]
    )
    draft = series([99.0] * 3, source="draft/x", signal=Signal.PRICE)
    store.kept = [result, rate, draft, outturn([100.0] * 96, Signal.INTENSITY), PRICES]
    feeds = [FakeFeed(result, is_final=True), FakeFeed(rate, is_final=True), FakeFeed(draft)]

    _, price = await Grid(feeds, store=store).outlook(NOON, start=NOW, half_hours=4)

    assert price.sources == ("exchange/x", "rates/x", "draft/x", "climatology")
    assert price.rungs.tolist() == [Rung.FRESH] * 3 + [Rung.CLIMATOLOGY]
    np.testing.assert_array_equal(price.ages_s[:3], [14_400.0, 14_400.0, 0.0])


async def test_a_regions_own_forecast_comes_before_the_national_one() -> None:
    grid = stocked(
        series([30.0], region="EH1", source="first/x"),
        series([100.0, 110.0], source="first/x"),
        PRICES,
    )

    regional, _ = await grid.outlook(NOON, start=NOW, half_hours=2, region="EH1")
    national, _ = await grid.outlook(NOON, start=NOW, half_hours=2)

    np.testing.assert_array_equal(regional.values, [30.0, 110.0])
    np.testing.assert_array_equal(national.values, [100.0, 110.0])


async def test_what_became_known_later_is_not_used() -> None:
    grid = stocked(
        series([100.0], source="first/x"),
        series([999.0], source="first/x", available_at=NOON + timedelta(minutes=1)),
        PRICES,
    )

    intensity, _ = await grid.outlook(NOON, start=NOW, half_hours=1)

    assert intensity.values[0] == 100.0


async def test_a_usual_level_from_simulated_outturns_is_simulated() -> None:
    simulated = outturn([70.0] * 96, Signal.INTENSITY, Origin.SIMULATED)

    intensity, price = await stocked(simulated, PRICES).outlook(NOON, start=NOW, half_hours=1)

    assert (intensity.origin, price.origin) == (Origin.SIMULATED, Origin.COMPUTED)


async def test_a_window_that_begins_later_is_judged_by_what_is_over_now() -> None:
    intensity, _ = await stocked(outturn([70.0] * 96, Signal.INTENSITY), PRICES).outlook(
        NOON, start=NOW + 60, half_hours=2
    )

    np.testing.assert_array_equal(intensity.values, [70.0, 70.0])


async def test_nothing_known_at_all_is_said_so() -> None:
    with pytest.raises(StaleDataError, match=r"intensity_gco2_per_kwh .*gridflex check asks each"):
        await stocked(PRICES).outlook(NOON, start=NOW, half_hours=1)


async def first_from_six_hours_on(signal: Signal, *, source: str, now: datetime) -> Sequence[str]:
    assert (signal, source, now) == (Signal.INTENSITY, "gridflex/m", NOON)
    return ("6-12h", "12-24h")


@pytest.mark.parametrize(
    ("own_leads", "sources"),
    [
        pytest.param(never_first, ["a/forecast"] * 20 + ["gridflex/m"] * 4, id="unproven"),
        pytest.param(
            first_from_six_hours_on, ["a/forecast"] * 12 + ["gridflex/m"] * 12, id="better later"
        ),
    ],
)
async def test_our_own_forecast_goes_before_the_providers_only_where_it_is_better(
    own_leads: OwnLeads, sources: list[str]
) -> None:
    store = FakeStore()
    store.kept = [
        series([100.0] * 20),
        series([90.0] * 24, source="gridflex/m"),
        series([50.0] * 24, signal=Signal.PRICE),
    ]
    grid = Grid([FakeFeed(series([1.0]))], store=store, own_leads=own_leads)

    intensity, _ = await grid.outlook(NOON, start=NOW, half_hours=24)

    assert list(intensity.sources) == sources


async def test_what_is_known_of_a_region_goes_before_our_national_forecast() -> None:
    store = FakeStore()
    store.kept = [
        series([30.0] * 14, region="EH1"),
        series([90.0] * 24, source="gridflex/m"),
        series([50.0] * 24, signal=Signal.PRICE),
    ]
    grid = Grid([], store=store, own_leads=first_from_six_hours_on)

    intensity, _ = await grid.outlook(NOON, start=NOW, half_hours=24, region="EH1")

    assert intensity.values.tolist() == [30.0] * 14 + [90.0] * 10


async def test_every_half_hour_says_what_its_band_rests_on() -> None:
    store = FakeStore()
    provider = "carbon-intensity/fw48h"
    store.kept = [
        series([200.0] * 4, source=provider),
        series([20.0] * 2, source=provider, region="EH1"),
        series([50.0] * 6, signal=Signal.PRICE),
        outturn([100.0] * 96, Signal.INTENSITY),
    ]
    grid = Grid([], store=store, doubting=StoredDoubts(NothingLearnt()))

    intensity, price = await grid.outlook(NOON, start=NOW, half_hours=6, region="EH1")

    assert intensity.bands == (Band.ASSUMED,) * 4 + (Band.NONE,) * 2
    widths = intensity.quantiles[:, -1] - intensity.values
    assert widths[0] == pytest.approx(1.645 * 1.2533 * 10 / 10, rel=1e-3)
    assert widths[2] == pytest.approx(1.645 * 1.2533 * (10 + 3.1), rel=1e-3)
    assert price.bands == (Band.NONE,) * 6


class NothingLearnt:
    """An archive of which nothing was learnt."""

    async def newest(self, signal: Signal, *, now: datetime) -> Doubts | None:
        assert signal in (Signal.INTENSITY, Signal.PRICE)
        assert now == NOON
        return None

    async def add(self, doubts: Doubts) -> None:
        raise AssertionError(doubts)
