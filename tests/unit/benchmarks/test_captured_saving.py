"""The share of the clairvoyant saving, with forecasts from perfect to none."""

import numpy as np
import pytest

from bench.captured_saving import Row, captured_saving, threshold_saving
from gridflex.errors import ContractError
from gridflex.planning.problem import Array
from gridflex.quantiles import LEVELS

RNG = np.random.default_rng(0)
SERIES = 100 + 40 * np.sin(np.arange(600) / 4) + RNG.normal(0, 15, 600)
ROWS = (Row(3, 12), Row(6, 24))
SHAPE = (1, len(LEVELS))


def perfect(now: int, length: int) -> Array:
    return np.tile(SERIES[now : now + length, None], SHAPE)


def test_who_knows_all_captures_all() -> None:
    found = captured_saving(ROWS, perfect, series=SERIES, first=50, every=7)

    assert list(found) == list(ROWS)
    assert list(found.values()) == pytest.approx([100.0, 100.0])


def test_who_expects_too_much_waits_and_saves_nothing() -> None:
    def rosy(_now: int, length: int) -> Array:
        return np.tile(np.linspace(1.0, 0.0, length)[:, None], SHAPE)

    series = np.tile([30.0, 10.0, 30.0], 60)
    found = captured_saving([Row(1, 2)], rosy, series=series, first=51, every=3)

    assert found[Row(1, 2)] == pytest.approx(0.0)  # 30 at the end instead of 30 at once


def test_a_series_too_short_for_a_job_is_refused() -> None:
    with pytest.raises(ContractError, match="600 periods"):
        captured_saving([Row(1, 900)], perfect, series=SERIES, first=50, every=2)


def test_only_the_forecast_tells_of_later_periods() -> None:
    told: list[int] = []

    def flat(now: int, length: int) -> Array:
        told.append(now)
        return np.tile(np.full((length, 1), 100.0), SHAPE)

    shuffled = SERIES.copy()
    shuffled[300:] = 1e6
    before = captured_saving([Row(3, 12)], flat, series=SERIES[:300], first=50, every=7)
    captured_saving([Row(3, 12)], flat, series=shuffled, first=50, every=7)

    assert told.count(100) == 2
    assert 0 < before[Row(3, 12)] < 100


def test_knowing_how_unsure_a_forecast_is_helps() -> None:
    steps = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])
    series = 100 + RNG.normal(0, 15, 2000)

    def usual(now: int, length: int) -> Array:
        sd = 15.0 * (np.arange(length) > 0)
        mean = np.where(sd > 0, 100.0, series[now])
        out: Array = mean[:, None] + sd[:, None] * steps
        return out

    point = captured_saving(ROWS, usual, series=series, first=50, every=3, is_patient=False)
    aware = captured_saving(ROWS, usual, series=series, first=50, every=3, near=0)

    assert all(aware[row] > point[row] + 3 for row in ROWS)


def test_running_below_the_mean_is_worked_by_hand() -> None:
    series = np.tile([10.0, 30.0], 30)

    found = threshold_saving([Row(2, 2)], series=series, first=21, every=2, past=10)

    # arriving at 30: at once 30 + 10; waits for 10 and 10 (the best as well)
    assert found[Row(2, 2)] == pytest.approx(100.0)
