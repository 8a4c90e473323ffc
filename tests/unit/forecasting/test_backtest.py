"""Scores of forecasts made again."""

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.backtest import Backtest, backtest, rolling_origins, score
from gridflex.forecasting.baselines import Persistence
from gridflex.quantiles import LEVELS
from tests.unit.forecasting.invented import INTENSITY, START, grid


def test_scores_worked_by_hand() -> None:
    values = np.array([[5.0, 6, 8, 10, 12, 14, 15], [15.0, 16, 18, 20, 22, 24, 25]])
    truth = np.array([13.0, 0.5])

    found = score(values, truth)

    assert found.mae == pytest.approx((3 + 19.5) / 2)
    assert found.rmse == pytest.approx(np.sqrt((9 + 19.5**2) / 2))
    assert found.bias == pytest.approx((-3 + 19.5) / 2)
    assert found.mape_fraction == pytest.approx(3 / 13)  # 0.5 is too near zero to divide by
    assert found.coverage_fraction == {50: 0.0, 80: 0.5, 90: 0.5}


def test_pinball_and_crps_of_a_sure_forecast_are_its_error() -> None:
    found = score(np.full((1, len(LEVELS)), 10.0), np.array([14.0]))

    assert found.pinball == pytest.approx(0.5 * 4)
    assert found.crps == pytest.approx(4.0, rel=0.01)


def test_origins_visit_every_time_of_day() -> None:
    origins = rolling_origins(START, START + 48 * 37)

    assert len(origins) == 48
    assert len({o.start.time() for o in origins}) == 48


def test_outturns_that_are_missing_are_not_scored() -> None:
    values = np.zeros((2, 3, len(LEVELS)))
    truth = np.array([[1.0, np.nan, 3.0], [5.0, np.nan, 7.0]])
    told = Backtest("m", "x", [START, START + 1], values, truth)

    assert told.score().count == 4
    assert told.score(0, 1).mae == 3.0
    with pytest.raises(ContractError, match="no outturn"):
        told.score(1, 2)


def test_a_backtest_scores_every_lead_it_reaches() -> None:
    history = grid(70)
    model = Persistence()
    model.fit(history.known_at(START + 50 * 48))

    found = backtest(model, history, rolling_origins(START + 50 * 48, START + 60 * 48))

    assert found.target == INTENSITY
    assert list(found.by_lead()) == ["0-6h", "6-12h", "12-24h", "24-48h"]
    assert found.score(0, 12).mae < found.score(48, 96).mae
