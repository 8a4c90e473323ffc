"""The Prophet forecaster."""

import logging
from collections.abc import Callable

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.backtest import backtest
from gridflex.forecasting.history import Array, History, Input, Knowledge
from gridflex.forecasting.models import kind, load
from gridflex.forecasting.prophet import ProphetForecaster
from tests.unit.forecasting.invented import DAY_AHEAD, INTENSITY, START, grid

DAYS = 120
NOW = START + DAYS * 48


@pytest.fixture(scope="module")
def history() -> History:
    return grid(DAYS + 20)


@pytest.fixture(scope="module")
def prophet(history: History) -> ProphetForecaster:
    model = ProphetForecaster()
    model.fit(history.known_at(NOW))
    return model


def changed(history: History, change: Callable[[Input], Array], *names: str) -> History:
    inputs = {
        name: Input(told.about, told.known_from, change(told)) if name in names else told
        for name, told in history.inputs.items()
    }
    return History(history.start, history.target, inputs)


def test_it_beats_persistence_at_every_group_of_leads(
    history: History, prophet: ProphetForecaster
) -> None:
    origins = [NOW + 19 * i for i in range(20)]
    persistence = kind("persistence")()
    persistence.fit(history.known_at(NOW))

    found = backtest(prophet, history, origins).by_lead()

    naive = backtest(persistence, history, origins).by_lead()
    assert all(found[lead].mae < naive[lead].mae for lead in naive)


def test_the_newest_residuals_count_at_once(history: History, prophet: ProphetForecaster) -> None:
    now = START.until(NOW)
    lifted = changed(history, lambda told: told.values + 30.0 * (told.about >= now - 12), INTENSITY)

    usual = prophet.predict(history.known_at(NOW), 96).median
    other = prophet.predict(lifted.known_at(NOW), 96).median

    assert 5 < (other - usual)[:2].mean() < 40


def test_an_input_known_ahead_is_used_as_far_as_it_is_known(
    history: History, prophet: ProphetForecaster
) -> None:
    now = START.until(NOW)
    dearer = changed(history, lambda told: told.values + 30.0 * (told.about >= now), DAY_AHEAD)

    usual = prophet.predict(history.known_at(NOW), 96).median
    other = prophet.predict(dearer.known_at(NOW), 96).median

    assert (other - usual)[:46].min() > 5  # the auction reaches 23:00
    assert (other - usual)[46:].max() == 0.0


def test_a_stored_prophet_forecasts_as_before_and_is_small(
    history: History, prophet: ProphetForecaster
) -> None:
    stored = prophet.dump()

    again = load(stored)

    known = history.known_at(NOW)
    np.testing.assert_allclose(
        again.predict(known, 432).values, prophet.predict(known, 432).values, rtol=1e-9
    )
    assert len(stored) < 250_000  # the history it was fitted with is several times that


def test_a_dump_without_its_season_is_refused(prophet: ProphetForecaster) -> None:
    stored = Artefact.read(prophet.dump())
    rest = {name: array for name, array in stored.arrays.items() if name != "season"}

    with pytest.raises(ContractError, match="damaged"):
        load(Artefact(stored.kind, stored.state, rest).dump())


def test_what_lies_ahead_changes_nothing(history: History, prophet: ProphetForecaster) -> None:
    rng = np.random.default_rng(3)
    now = START.until(NOW)

    def shuffled(told: Input) -> Array:
        ahead = told.known_from > now
        values = told.values.copy()
        values[ahead] = rng.permutation(values[ahead])
        return values

    other = changed(history, shuffled, *history.inputs)
    again = ProphetForecaster()
    again.fit(other.known_at(NOW))

    usual = prophet.predict(history.known_at(NOW), 96).values
    np.testing.assert_array_equal(prophet.predict(other.known_at(NOW), 96).values, usual)
    np.testing.assert_allclose(again.predict(history.known_at(NOW), 96).values, usual)


@pytest.mark.parametrize("name", [DAY_AHEAD, "wind_mw"])
def test_a_dead_feed_never_fails(history: History, prophet: ProphetForecaster, name: str) -> None:
    dead = changed(history, lambda told: np.where(told.about < 500, told.values, np.nan), name)

    assert 0 < prophet.predict(dead.known_at(NOW), 96).median.mean() < 400


def test_a_gap_of_a_week_is_bridged(history: History, prophet: ProphetForecaster) -> None:
    now = START.until(NOW)
    gap = changed(
        history, lambda told: np.where(told.about < now - 336, told.values, np.nan), INTENSITY
    )

    assert 0 < prophet.predict(gap.known_at(NOW), 96).median.mean() < 400


def test_a_target_unknown_for_five_weeks_is_refused(
    history: History, prophet: ProphetForecaster
) -> None:
    dead = changed(history, lambda told: np.where(told.about < 500, told.values, np.nan), INTENSITY)

    with pytest.raises(ContractError, match="nothing is known of the weeks"):
        prophet.predict(dead.known_at(NOW), 96)


def test_the_clock_change_repeats_an_hour_and_moves_the_day(history: History) -> None:
    autumn = grid(DAYS, start=START + 130 * 48)  # from 9 July; clocks go back on 27 October
    known = autumn.known_at(autumn.start + 110 * 48)
    model = ProphetForecaster()
    model.fit(known)

    found = model.predict(known, 96)

    assert len(found) == 96
    assert history.target == found.target


def test_a_fit_says_nothing(history: History, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    ProphetForecaster().fit(history.known_at(NOW))

    assert [r.message for r in caplog.records if r.levelno >= logging.INFO] == []


def too_short() -> Knowledge:
    return grid(60).known_at(START + 60 * 48)


def constant() -> Knowledge:
    values = np.full(DAYS * 48, 7.0)
    return History(START, "x", {"x": Input.outturn(values)}).known_at(NOW)


@pytest.mark.parametrize(
    ("known", "complaint"),
    [
        pytest.param(too_short, "84 are needed", id="too little history"),
        pytest.param(constant, "7 throughout", id="constant"),
    ],
)
def test_what_cannot_be_learnt_is_refused(known: Callable[[], Knowledge], complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        ProphetForecaster().fit(known())


def test_a_forecast_needs_a_fit_the_target_and_a_horizon_within_reach(
    history: History, prophet: ProphetForecaster
) -> None:
    with pytest.raises(ContractError, match="not fitted"):
        kind("prophet")().predict(history.known_at(NOW), 4)
    with pytest.raises(ContractError, match="not wind_mw"):
        prophet.predict(History(START, "wind_mw", history.inputs).known_at(NOW), 4)
    with pytest.raises(ContractError, match="1 to 432 half-hours, not 433"):
        prophet.predict(history.known_at(NOW), 433)
