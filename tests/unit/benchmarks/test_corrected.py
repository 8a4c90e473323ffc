"""A provider's forecast is corrected by its newest error and never sees the future."""

import numpy as np
import pytest

from bench.corrected import Corrected
from gridflex.errors import ContractError
from gridflex.quantiles import LEVELS, MEDIAN

DAYS, LEADS = 50, 12
RNG = np.random.default_rng(0)
SERIES = np.tile(100 + 30 * np.sin(np.arange(24) / 24 * 2 * np.pi), DAYS) + RNG.normal(
    0, 10, 24 * DAYS
)


def vintages(error: float, *, noise: float = 0.0) -> np.ndarray:
    """Return what a provider says that is wrong by ``error`` on even days, the other way on odd."""
    said = np.full((SERIES.size, LEADS + 1), np.nan)
    for now in range(SERIES.size):
        known = SERIES[now : now + LEADS + 1]
        sign = 1 if now // 24 % 2 else -1
        said[now, : known.size] = known + sign * error + RNG.normal(0, noise, known.size)
    return said


def test_an_error_that_stays_is_taken_off() -> None:
    found = Corrected(SERIES, vintages(20.0), periods_a_day=24).at(40 * 24 + 3, LEADS + 1)

    np.testing.assert_allclose(found[:, MEDIAN], SERIES[40 * 24 + 3 :][: LEADS + 1], atol=0.2)


def test_an_error_that_does_not_stay_is_left_alone_and_shows_in_the_band() -> None:
    said = vintages(0.0, noise=20.0)

    found = Corrected(SERIES, said, periods_a_day=24).at(40 * 24, LEADS + 1)

    # nearer ones are helped by the forecast of six hours ago
    np.testing.assert_allclose(found[7:, MEDIAN], said[40 * 24, 7:], atol=6.0)
    half_width = (found[7:, -1] - found[7:, 0]) / 2
    assert half_width == pytest.approx(1.645 * 20.0, rel=0.15)


def test_a_provider_that_never_goes_far_enough_is_helped_along() -> None:
    wrong = RNG.normal(0, 20, SERIES.size + LEADS)
    said = np.full((SERIES.size, LEADS + 1), np.nan)
    for now in range(SERIES.size):
        known = SERIES[now : now + LEADS + 1]
        lead = np.arange(known.size)
        said[now, : known.size] = known + wrong[now : now + known.size] * lead / LEADS
    now = 40 * 24

    found = Corrected(SERIES, said, periods_a_day=24).at(now, LEADS + 1)[1:7, MEDIAN]

    truth = SERIES[now + 1 : now + 7]
    assert np.abs(found - truth).mean() < 0.2 * np.abs(said[now, 1:7] - truth).mean()


def test_a_weekend_is_known_to_be_different() -> None:
    weekend = (np.arange(24 * DAYS) // 24 + 2) % 7 >= 5
    series = SERIES - 40.0 * weekend
    flat = Corrected(series, series[:, None], periods_a_day=24, first_weekday=2)
    now = 40 * 24 - 1  # a Sunday has just ended

    found = flat.at(now, 7 * 24 + 1)[1:, MEDIAN].reshape(7, 24).mean(axis=1)

    assert found[5:].mean() == pytest.approx(found[2:5].mean() - 40.0, abs=3.0)


def test_this_period_is_known() -> None:
    found = Corrected(SERIES, vintages(20.0), periods_a_day=24).at(1000, 5)

    assert found[0].tolist() == pytest.approx([SERIES[1000]] * len(LEVELS))


def test_beyond_the_provider_it_comes_back_to_the_usual_level() -> None:
    now = 40 * 24
    usual = SERIES[now + 1 - 35 * 24 : now + 1].reshape(35, 24).mean(axis=0)

    found = Corrected(SERIES, vintages(0.0), periods_a_day=24).at(now, 200)

    assert found.shape == (200, len(LEVELS))
    np.testing.assert_allclose(found[-24:, MEDIAN], np.resize(usual, 199)[-24:], atol=2.0)
    assert (np.diff(found, axis=1) >= 0).all()


def test_what_comes_later_changes_nothing() -> None:
    now, said = 40 * 24 + 5, vintages(15.0, noise=5.0)
    other, others = SERIES.copy(), said.copy()
    other[now + 1 :] = 999.0
    others[now + 1 :] = -5.0

    before = Corrected(SERIES, said, periods_a_day=24).at(now, 100)

    assert before.tolist() == Corrected(other, others, periods_a_day=24).at(now, 100).tolist()


def test_too_little_past_is_refused() -> None:
    with pytest.raises(ContractError, match="4 weeks"):
        Corrected(SERIES, vintages(0.0), periods_a_day=24).at(100, 5)


def test_vintages_of_another_length_are_refused() -> None:
    with pytest.raises(ContractError, match="vintages"):
        Corrected(SERIES, vintages(0.0)[1:], periods_a_day=24)
