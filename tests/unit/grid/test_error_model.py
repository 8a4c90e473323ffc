"""The errors of synthetic forecasts against the published figures of the real ones."""

from collections.abc import Callable

import numpy as np
import pytest

from gridflex.sandbox.grid.calibration import Calibration, calibrate
from gridflex.sandbox.grid.vintages import ErrorModel, carbon_errors, demand_errors, wind_errors
from tests.unit.grid.replay import hh
from tests.unit.grid.sandbox import Sandbox, small_world

START = hh("2024-01-01T00:00Z")


@pytest.fixture(scope="module")
def years() -> list[Calibration]:
    """Six years of forecasts, each of another seed: one year alone scatters by 3 %."""
    return [calibrate(carbon_errors(seed), start=START, days=366, every=23) for seed in range(6)]


@pytest.mark.parametrize(
    ("figure", "published", "tolerance"),
    [
        pytest.param("mean", 24.24, 0.9, id="mean of 1.3 million live forecasts"),
        pytest.param("median", 20.0, 1.0, id="median of the same"),
        pytest.param("std", 19.5, 0.9, id="std of the same"),
        pytest.param("daily_std", 10.5, 1.5, id="std of 90 daily means of 2023"),
        pytest.param("daily_log_std", 0.39, 0.04, id="std of their logarithm"),
        pytest.param("next_day", 0.54, 0.15, id="bad days come in a row"),
        pytest.param("second_day", 0.13, 0.12, id="but hardly three"),
        pytest.param("autocorrelation", 0.94, 0.03, id="a vintage is wrong for hours: .91 to .97"),
        pytest.param("late_over_early", 1.35, 0.15, id="second day over first: 1.2 to 1.5"),
        pytest.param("newest_over_oldest", 10 / 31.4, 0.03, id="from 31 g two days before to 10 g"),
    ],
)
def test_errors_are_those_of_the_published_forecast(
    years: list[Calibration], figure: str, published: float, tolerance: float
) -> None:
    found = np.mean([getattr(year, figure) for year in years])

    assert found == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize(
    ("over", "published", "tolerance"), [(20, 0.497, 0.02), (50, 0.104, 0.012), (100, 0.004, 0.003)]
)
def test_large_errors_are_as_frequent_as_published(
    years: list[Calibration], over: int, published: float, tolerance: float
) -> None:
    assert np.mean([year.over[over] for year in years]) == pytest.approx(published, abs=tolerance)


def test_the_demand_forecast_is_as_wrong_as_that_of_2022_to_2024() -> None:
    found = calibrate(
        demand_errors(0), start=hh("2024-01-01T23:30Z"), days=366, every=48, horizon=58
    )

    assert found.mean == pytest.approx(520, rel=0.1)


@pytest.mark.parametrize("make", [carbon_errors, demand_errors, wind_errors])
def test_expected_errors_grow_with_the_root_of_the_horizon_up_to_four_days(
    make: Callable[[int], ErrorModel],
) -> None:
    model = make(0)
    expected = model.size.mean_abs_error(np.array([-1.0, 0.0, 4.0, 16.0, 96.0, 500.0]))

    np.testing.assert_allclose(expected[:2], model.size.floor)
    np.testing.assert_allclose(
        expected[2:4], model.size.floor + model.size.growth * np.array([2.0, 4.0])
    )
    assert expected[4] == expected[5]


def test_the_same_seed_is_wrong_in_the_same_way_from_wherever_it_is_asked() -> None:
    whole = carbon_errors(3).errors(issued=START, start=START - 30, half_hours=126)
    part = carbon_errors(3).errors(issued=START, start=START + 7, half_hours=50)
    past = carbon_errors(3).errors(issued=START + 99, start=START - 30, half_hours=30)

    np.testing.assert_allclose(part, whole[37:87])
    np.testing.assert_allclose(past, whole[:30])


def test_another_seed_or_signal_is_wrong_in_another_way() -> None:
    def errors(model: ErrorModel) -> np.ndarray:
        return model.errors(issued=START, start=START, half_hours=96) / model.size.floor

    one = errors(carbon_errors(0))

    assert np.abs(one - errors(carbon_errors(1))).max() > 0.5
    assert np.abs(one - errors(demand_errors(0))).max() > 0.5


def test_successive_vintages_of_one_target_are_alike_but_not_the_same() -> None:
    target = START + 60
    model = carbon_errors(0)
    pairs = np.array(
        [
            [
                model.errors(issued=target + shift - lead, start=target + shift, half_hours=1)[0]
                for lead in (36, 48)
            ]
            for shift in range(0, 48 * 100, 48)
        ]
    )

    assert 0.6 < np.corrcoef(pairs.T)[0, 1] < 0.99


def test_a_forecast_drifts_from_one_weather_run_to_the_next() -> None:
    """Half-hour by half-hour within six hours, without a jump."""
    target, model = START + 96, carbon_errors(0)
    told = np.array(
        [model.errors(issued=START + i, start=target, half_hours=1)[0] for i in range(25)]
    )
    relative = told / model.size.mean_abs_error(np.arange(96, 71, -1) / 2)

    steps = np.abs(np.diff(relative))

    assert steps.min() > 0
    assert steps.max() < 0.5


async def test_no_forecast_of_a_clean_hour_is_below_zero() -> None:
    world = small_world()
    world.intensity_gco2_per_kwh[:] = 3.0

    rows = (await Sandbox(world, "2024-04-02T10:10Z").body("/intensity/2024-04-02T10:01Z/fw48h"))[
        "data"
    ]

    forecasts = [row["intensity"]["forecast"] for row in rows]
    assert min(forecasts) == 0
    assert max(forecasts) > 10
