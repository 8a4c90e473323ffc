"""The simulated grid looks like GB in 2023-24 and obeys what any grid obeys.

The levels of 2023-24 are those of the recorded series: docs/grid.md has them side by side.
"""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.halfhour import LONDON
from gridflex.sandbox.grid.simulated import simulate_world
from gridflex.sandbox.grid.world import World
from gridflex.signals import Origin
from tests.unit.grid.replay import at, hh

SEEDS = [0, 1, 2]


@cache
def simulated(seed: int) -> World:
    return simulate_world(at("2024-06-01T00:00Z"), seed=seed)


@pytest.fixture(params=SEEDS, ids=[f"seed {seed}" for seed in SEEDS])
def world(request: pytest.FixtureRequest) -> World:
    seed: int = request.param
    return simulated(seed)


@pytest.mark.parametrize("now", ["9998-01-01T00:00", "0001-06-01T00:00"])
def test_years_that_the_calendar_does_not_hold_are_refused(now: str) -> None:
    with pytest.raises(
        ContractError, match=f"the clock says {now}.* valid are the years 2 to 9997"
    ):
        simulate_world(at(now), seed=0)


def test_levels_are_those_of_gb_in_2023_and_2024(world: World) -> None:
    intensity, mid = world.intensity_gco2_per_kwh, world.mid_gbp_per_mwh

    assert intensity.mean() == pytest.approx(137, abs=15)
    assert intensity.std() == pytest.approx(62, abs=10)
    assert mid.mean() == pytest.approx(82, abs=15)
    assert mid.std() == pytest.approx(38, abs=8)
    assert world.demand_mw.mean() == pytest.approx(26_200, rel=0.05)


def test_price_and_carbon_agree_and_prices_go_negative_as_in_gb(world: World) -> None:
    day_ahead = world.day_ahead_gbp_per_mwh

    assert correlation(world.intensity_gco2_per_kwh, world.mid_gbp_per_mwh) == pytest.approx(
        0.59, abs=0.1
    )
    assert 0.01 <= (day_ahead < 0).mean() <= 0.03
    assert (world.system_gbp_per_mwh < 0).mean() > (day_ahead < 0).mean()
    assert world.system_gbp_per_mwh.std() > world.mid_gbp_per_mwh.std() > day_ahead.std() * 0.9


def test_yesterday_is_as_bad_a_forecast_as_in_gb(world: World) -> None:
    intensity = world.intensity_gco2_per_kwh

    assert np.abs(intensity[48:] - intensity[:-48]).mean() == pytest.approx(41, abs=6)


def test_what_is_generated_and_imported_is_what_is_used(world: World) -> None:
    supply = sum(world.fuels_mw.values()) + world.net_import_mw

    off_mw = np.abs(supply - world.demand_mw)
    assert np.median(off_mw) <= 2  # rounding
    assert np.quantile(off_mw, 0.995) <= 0.02 * world.demand_mw.mean()  # wind is never all spilled


def test_the_sun_does_not_shine_at_night_and_nothing_generates_less_than_nothing(
    world: World,
) -> None:
    hour = np.array([h.start.hour for h in world.start.span(len(world))])

    assert world.embedded_solar_mw[(hour >= 22) | (hour < 2)].max() == 0
    assert world.embedded_solar_mw[hour == 12].min() > 0
    assert min(values.min() for values in world.fuels_mw.values()) >= 0
    assert world.intensity_gco2_per_kwh.min() > 0


def test_demand_follows_the_clock_in_london(world: World) -> None:
    """The trough stays at four in the morning local time in winter and summer."""
    local = np.array([h.start.astimezone(LONDON).hour for h in world.start.span(len(world))])
    use = world.demand_mw + world.embedded_solar_mw + world.embedded_wind_mw
    summer = np.array([5 <= h.start.month <= 8 for h in world.start.span(len(world))])

    for season in (summer, ~summer):
        by_hour = [use[season & (local == hour)].mean() for hour in range(24)]
        assert int(np.argmin(by_hour)) in {3, 4}
        assert int(np.argmax(by_hour)) in {17, 18}


def test_the_auction_is_by_the_hour(world: World) -> None:
    pairs = world.day_ahead_gbp_per_mwh.reshape(-1, 2)

    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])


def test_the_same_seed_and_year_give_the_same_grid() -> None:
    again = simulate_world(at("2024-12-31T23:59Z"), seed=1)

    np.testing.assert_array_equal(again.mid_gbp_per_mwh, simulated(1).mid_gbp_per_mwh)
    assert np.abs(simulated(0).mid_gbp_per_mwh - simulated(1).mid_gbp_per_mwh).max() > 10


def test_a_simulated_grid_covers_the_year_before_and_after_and_says_what_it_is() -> None:
    world = simulated(0)

    assert (world.start, world.end) == (hh("2023-01-01T00:00Z"), hh("2026-01-01T00:00Z"))
    assert world.origin is Origin.SIMULATED


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.corrcoef(one, other)[0, 1])
