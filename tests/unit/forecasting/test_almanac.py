"""The place of a half-hour in the day, the week and the year."""

import numpy as np
import pytest

from gridflex.forecasting.almanac import ALMANAC, almanac
from tests.unit.grid.replay import hh


def column(name: str, at: str) -> float:
    return float(almanac(hh(at), 1)[0, ALMANAC.index(name)])


@pytest.mark.parametrize(
    "at",
    [
        pytest.param("2024-01-15T06:00Z", id="winter"),
        pytest.param("2024-07-15T05:00Z", id="summer, an hour earlier in UTC"),
    ],
)
def test_six_in_the_morning_in_london_is_a_quarter_of_the_day(at: str) -> None:
    assert column("day_sine", at) == pytest.approx(1.0)
    assert column("day_cosine", at) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("at", "off"),
    [
        pytest.param("2024-05-03T12:00Z", 0.0, id="Friday"),
        pytest.param("2024-05-04T12:00Z", 1.0, id="Saturday"),
        pytest.param("2024-05-05T23:30Z", 1.0, id="half past midnight of a bank holiday Monday"),
        pytest.param("2024-05-07T12:00Z", 0.0, id="Tuesday"),
    ],
)
def test_days_off_are_weekends_and_bank_holidays_by_the_clock_in_london(
    at: str, off: float
) -> None:
    assert column("day_off", at) == off


def test_every_column_stays_between_minus_one_and_one_over_a_year() -> None:
    values = almanac(hh("2023-12-31T00:00Z"), 366 * 48)

    assert values.shape == (366 * 48, len(ALMANAC))
    assert np.abs(values).max() <= 1.0


def test_nothing_ahead_has_no_rows() -> None:
    assert almanac(hh("2024-01-01T00:00Z"), 0).shape == (0, len(ALMANAC))
