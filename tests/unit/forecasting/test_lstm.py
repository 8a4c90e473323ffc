"""The LSTM forecaster."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.backtest import backtest
from gridflex.forecasting.history import Array, History, Input, Knowledge
from gridflex.forecasting.lstm import LstmForecaster, prepare
from gridflex.forecasting.lstm_network import LstmNetwork, LstmSettings
from gridflex.forecasting.lstm_training import _Training
from gridflex.forecasting.models import kind, load
from tests.unit.forecasting.invented import DAY_AHEAD, INTENSITY, START, grid

DAYS = 70
NOW = START + DAYS * 48
SMALL = LstmSettings(ahead=96, hidden=8, batch=64, windows=512, epochs=2, dropout=0.0, rate=1e-2)


def fitted(history: History, settings: LstmSettings = SMALL) -> LstmForecaster:
    model = LstmForecaster(settings, accelerator="cpu")
    model.fit(history.known_at(NOW))
    return model


@pytest.fixture(scope="module")
def history() -> History:
    return grid(DAYS + 12)


@pytest.fixture(scope="module")
def lstm(history: History) -> LstmForecaster:
    return fitted(history)


def changed(history: History, change: Callable[[Input], Array], *names: str) -> History:
    inputs = {
        name: Input(told.about, told.known_from, change(told)) if name in names else told
        for name, told in history.inputs.items()
    }
    return History(history.start, history.target, inputs)


def test_the_same_seed_gives_the_same_forecast(history: History, lstm: LstmForecaster) -> None:
    torch.manual_seed(99)

    again = fitted(history)

    np.testing.assert_array_equal(
        again.predict(history.known_at(NOW), 96).values,
        lstm.predict(history.known_at(NOW), 96).values,
    )


def test_training_leaves_the_random_numbers_of_others_alone(history: History) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    fitted(history, LstmSettings(ahead=96, hidden=4, windows=64, epochs=1))

    assert torch.equal(torch.rand(3), expected)


def test_a_stored_lstm_forecasts_as_before(history: History, lstm: LstmForecaster) -> None:
    again = load(lstm.dump())

    known = history.known_at(NOW)
    np.testing.assert_array_equal(again.predict(known, 96).values, lstm.predict(known, 96).values)
    assert again.name == "lstm"


def test_weights_that_do_not_fit_the_settings_are_refused(lstm: LstmForecaster) -> None:
    stored = Artefact.read(lstm.dump())
    other = {**stored.state, "settings": {**stored.state["settings"], "hidden": 9}}

    with pytest.raises(ContractError, match="do not fit"):
        load(Artefact(stored.kind, other, stored.arrays).dump())


def test_it_beats_persistence_where_an_input_is_known_ahead(history: History) -> None:
    settings = LstmSettings(ahead=96, hidden=16, windows=1_024, epochs=8, dropout=0.0, rate=1e-2)
    origins = [NOW + 19 * i for i in range(1, 24)]
    persistence = kind("persistence")()
    persistence.fit(history.known_at(NOW))

    found = backtest(fitted(history, settings), history, origins, half_hours=24)

    naive = backtest(persistence, history, origins, half_hours=24)
    assert found.score(12, 24).mae < 0.8 * naive.score(12, 24).mae


def test_what_lies_ahead_changes_nothing(history: History, lstm: LstmForecaster) -> None:
    rng = np.random.default_rng(3)
    now = START.until(NOW)

    def shuffled(told: Input) -> Array:
        ahead = told.known_from > now
        values = told.values.copy()
        values[ahead] = rng.permutation(values[ahead])
        return values

    other = changed(history, shuffled, *history.inputs)

    np.testing.assert_array_equal(
        lstm.predict(other.known_at(NOW), 96).values,
        lstm.predict(history.known_at(NOW), 96).values,
    )
    np.testing.assert_array_equal(
        fitted(other).predict(history.known_at(NOW), 96).values,
        lstm.predict(history.known_at(NOW), 96).values,
    )


def test_an_input_known_ahead_is_used(history: History, lstm: LstmForecaster) -> None:
    now = START.until(NOW)
    dearer = changed(history, lambda told: told.values + 60.0 * (told.about >= now), DAY_AHEAD)

    usual = lstm.predict(history.known_at(NOW), 96).median
    other = lstm.predict(dearer.known_at(NOW), 96).median

    assert np.abs(other[:46] - usual[:46]).max() > 1.0  # the auction reaches 23:00


@pytest.mark.parametrize("name", [DAY_AHEAD, INTENSITY, "wind_mw"])
def test_a_dead_feed_widens_or_falls_back_but_never_fails(
    history: History, lstm: LstmForecaster, name: str
) -> None:
    dead = changed(history, lambda told: np.where(told.about < 500, told.values, np.nan), name)

    found = lstm.predict(dead.known_at(NOW), 96)

    assert 0 < found.median.mean() < 400


def test_an_input_that_no_longer_exists_counts_as_unknown(
    history: History, lstm: LstmForecaster
) -> None:
    rest = {name: told for name, told in history.inputs.items() if name != "wind_mw"}

    found = lstm.predict(History(START, INTENSITY, rest).known_at(NOW), 96)

    assert len(found) == 96


def test_a_break_in_level_moves_the_forecast_with_it(
    history: History, lstm: LstmForecaster
) -> None:
    twice = changed(history, lambda told: told.values * 2.0, INTENSITY)

    usual = lstm.predict(history.known_at(NOW), 96).median.mean()
    moved = lstm.predict(twice.known_at(NOW), 96).median.mean()

    assert moved == pytest.approx(2 * usual, rel=0.15)


def test_windows_of_training_hold_what_was_known_then(history: History) -> None:
    known = history.known_at(NOW)
    sequences = prepare(known, ahead=SMALL.ahead)
    count = len(sequences.names)
    network = LstmNetwork(
        ahead_inputs=(1,),
        means=torch.zeros(count),
        spreads=torch.ones(count),
        almanac_columns=sequences.almanac.shape[1],
        settings=SMALL,
    )
    issue = 1_500

    past, ahead, _, _ = _Training(network, sequences, train_end=issue).window(torch.tensor([issue]))

    then = known.as_of(START + issue)
    for index, name in enumerate(sequences.names):
        told = then.window(name, -SMALL.past, SMALL.past + SMALL.ahead)
        cut = torch.cat([past[0, index], ahead[0, index]]).numpy()
        np.testing.assert_allclose(cut, told, rtol=1e-6)


def test_only_what_is_known_ahead_is_read_ahead(lstm: LstmForecaster) -> None:
    stored = Artefact.read(lstm.dump())

    assert [stored.state["names"][index] for index in stored.state["ahead_inputs"]] == [DAY_AHEAD]


def test_the_band_holds_the_promised_share_of_the_tail(
    history: History, lstm: LstmForecaster
) -> None:
    inside = []
    for day in range(DAYS - 6, DAYS - 2):
        issue = START + day * 48
        found = lstm.predict(history.known_at(issue), 96).values
        came = history.outturn(issue, 96)
        inside.append((found[:, 0] <= came) & (came <= found[:, -1]))

    assert 0.75 < np.mean(inside) < 0.99


def too_short() -> Knowledge:
    return grid(20).known_at(START + 20 * 48)


def constant() -> Knowledge:
    values = np.full(DAYS * 48, 7.0)
    return History(START, "x", {"x": Input.outturn(values)}).known_at(NOW)


def missing() -> Knowledge:
    values = np.full(DAYS * 48, np.nan)
    return History(START, "x", {"x": Input.outturn(values)}).known_at(NOW)


@pytest.mark.parametrize(
    ("known", "complaint"),
    [
        pytest.param(too_short, "days are known", id="too little history"),
        pytest.param(constant, "7 throughout", id="constant"),
        pytest.param(missing, "0.0 days are known", id="all missing"),
    ],
)
def test_what_cannot_be_learnt_is_refused(known: Callable[[], Knowledge], complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        LstmForecaster(SMALL).fit(known())


def test_too_little_history_for_the_horizon_is_refused() -> None:
    with pytest.raises(ContractError, match="at least 2400 are needed"):
        LstmForecaster(accelerator="cpu").fit(grid(40).known_at(START + 40 * 48))


def test_a_forecast_needs_a_fit_the_target_and_a_horizon_within_reach(
    history: History, lstm: LstmForecaster
) -> None:
    with pytest.raises(ContractError, match="not fitted"):
        kind("lstm")().predict(history.known_at(NOW), 4)
    with pytest.raises(ContractError, match="not for wind_mw"):
        lstm.predict(History(START, "wind_mw", history.inputs).known_at(NOW), 4)
    with pytest.raises(ContractError, match="1 to 96 half-hours, not 97"):
        lstm.predict(history.known_at(NOW), 97)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        pytest.param({"past": 100}, "whole weeks", id="past"),
        pytest.param({"ahead": 95}, "must divide", id="ahead"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, int], complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        LstmSettings(**wrong)
