"""A provider's forecast is corrected by its newest error and never sees the future."""

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.corrected import Corrected
from gridflex.forecasting.forecaster import LEVELS, MEDIAN

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

    np.testing.assert_allclose(found[:, MEDIAN], SERIES[40 * 24 + 3 :][: LEADS + 1], atol=1e-6)


def test_an_error_that_does_not_stay_is_left_alone_and_shows_in_the_band() -> None:
    said = vintages(0.0, noise=20.0)

    found = Corrected(SERIES, said, periods_a_day=24).at(40 * 24, LEADS + 1)

    np.testing.assert_allclose(found[1:, MEDIAN], said[40 * 24, 1:], atol=6.0)
    half_width = (found[1:, -1] - found[1:, 0]) / 2
    assert half_width == pytest.approx(1.645 * 20.0, rel=0.15)


def test_this_period_is_known() -> None:
    found = Corrected(SERIES, vintages(20.0), periods_a_day=24).at(1000, 5)

    assert found[0].tolist() == pytest.approx([SERIES[1000]] * len(LEVELS))


def test_beyond_the_provider_it_comes_back_to_the_usual_level() -> None:
    now = 40 * 24
    usual = SERIES[now + 1 - 28 * 24 : now + 1].reshape(28, 24).mean(axis=0)

    found = Corrected(SERIES, vintages(0.0), periods_a_day=24).at(now, 200)

    assert found.shape == (200, len(LEVELS))
    np.testing.assert_allclose(found[-24:, MEDIAN], np.resize(usual, 199)[-24:], atol=1.0)
    assert (np.diff(found, axis=1) >= 0).all()


def test_what_comes_later_changes_nothing() -> None:
    now, said = 40 * 24 + 5, vintages(15.0, noise=5.0)
    other, others = SERIES.copy(), said.copy()
    other[now + 1 :] = 999.0
    others[now + 1 :] = -5.0

    before = Corrected(SERIES, said, periods_a_day=24).at(now, 100)

    assert before.tolist() == Corrected(other, others, periods_a_day=24).at(now, 100).tolist()


def test_too_little_past_is_refused() -> None:
    with pytest.raises(ContractError, match="28 days"):
        Corrected(SERIES, vintages(0.0), periods_a_day=24).at(100, 5)


def test_vintages_of_another_length_are_refused() -> None:
    with pytest.raises(ContractError, match="vintages"):
        Corrected(SERIES, vintages(0.0)[1:], periods_a_day=24)
