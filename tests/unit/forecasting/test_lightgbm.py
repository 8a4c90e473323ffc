"""Lines and trees on features of what was known."""

from functools import cache

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.backtest import backtest, rolling_origins
from gridflex.forecasting.baselines import Persistence
from gridflex.forecasting.examples import collect
from gridflex.forecasting.features import Recipe
from gridflex.forecasting.history import History, Input
from gridflex.forecasting.lightgbm import LightGbm
from gridflex.forecasting.models import load
from gridflex.halfhour import LONDON, HalfHour
from tests.unit.forecasting.invented import DAY_AHEAD, INTENSITY, PRICE, START, grid
from tests.unit.grid.replay import hh

DAYS = 130
FITTED_AT = START + 110 * 48


@cache
def fitted(target: str = INTENSITY) -> LightGbm:
    model = LightGbm(trees=12, every=37)
    model.fit(grid(DAYS, target=target).known_at(FITTED_AT))
    return model


def changed(history: History, name: str, values: np.ndarray) -> History:
    told = history.inputs[name]
    inputs = {**history.inputs, name: Input(told.about, told.known_from, values)}
    return History(history.start, history.target, inputs)


def test_it_beats_persistence_where_the_auction_tells_of_the_weather() -> None:
    history = grid(DAYS)
    naive = Persistence()
    naive.fit(history.known_at(FITTED_AT))
    origins = rolling_origins(FITTED_AT, START + 127 * 48)

    ours, theirs = (backtest(model, history, origins).score() for model in (fitted(), naive))

    assert ours.mae < 0.6 * theirs.mae
    assert 0.7 < ours.coverage_fraction[90] <= 1.0


def test_nothing_that_became_known_later_changes_a_forecast() -> None:
    history = grid(DAYS)
    issued = START + 115 * 48 + 21
    index = START.until(issued)
    draw = np.random.default_rng(9)
    other = {}
    for name, statements in history.inputs.items():
        values = statements.values.copy()
        late = statements.known_from > index
        values[late] = draw.permutation(values[late]) * 3 - 50
        other[name] = Input(statements.about, statements.known_from, values)
    future = History(START, INTENSITY, other)

    told = fitted().predict(history.known_at(issued), 432).values
    again = fitted().predict(future.known_at(issued), 432).values

    assert told.tobytes() == again.tobytes()


def test_fitting_knows_nothing_of_the_future_either() -> None:
    history = grid(DAYS)
    short = {}
    for name, told in history.inputs.items():
        known = told.known_from <= 110 * 48
        short[name] = Input(told.about[known], told.known_from[known], told.values[known])
    model = LightGbm(trees=12, every=37)

    model.fit(History(START, INTENSITY, short).known_at(FITTED_AT))

    assert model.dump() == fitted().dump()


def test_what_is_known_by_the_issue_time_does_change_it() -> None:
    history = grid(DAYS)
    values = history.inputs[DAY_AHEAD].values.copy()
    values[115 * 48 : 116 * 48] += 60
    other = changed(history, DAY_AHEAD, values)
    issued = START + 115 * 48

    told = fitted().predict(history.known_at(issued), 48).median
    dearer = fitted().predict(other.known_at(issued), 48).median

    assert (dearer - told).mean() > 5


def test_a_stored_model_forecasts_as_before() -> None:
    known = grid(DAYS).known_at(FITTED_AT + 5)

    again = load(fitted().dump())

    np.testing.assert_array_equal(
        again.predict(known, 96).values, fitted().predict(known, 96).values
    )
    assert again.dump() == fitted().dump()


@pytest.mark.parametrize("name", [INTENSITY, PRICE, DAY_AHEAD, "wind_mw"])
def test_a_gap_of_days_in_any_input_does_not_stop_it(name: str) -> None:
    history = grid(DAYS)
    values = history.inputs[name].values.copy()
    values[110 * 48 - 200 :] = np.nan
    known = changed(history, name, values).known_at(START + 112 * 48)

    forecast = fitted().predict(known, 432)

    assert np.isfinite(forecast.values).all()


def test_an_input_that_is_gone_does_not_stop_it() -> None:
    history = grid(DAYS)
    left = {name: told for name, told in history.inputs.items() if name != "wind_mw"}
    known = History(START, INTENSITY, left).known_at(FITTED_AT)

    assert np.isfinite(fitted().predict(known, 96).values).all()


def test_a_month_without_outturns_is_said_plainly() -> None:
    history = grid(DAYS)
    values = history.inputs[INTENSITY].values.copy()
    values[80 * 48 :] = np.nan

    with pytest.raises(ContractError, match="nothing is known of the 28 days"):
        fitted().predict(changed(history, INTENSITY, values).known_at(START + 112 * 48), 96)


def test_negative_prices_are_forecast_and_intensity_never_is_negative() -> None:
    history = grid(DAYS, target=PRICE)
    low = {
        name: Input(told.about, told.known_from, told.values - 85) if "gbp" in name else told
        for name, told in history.inputs.items()
    }
    sunny = History(START, PRICE, low).known_at(START + 125 * 48)

    prices = fitted(PRICE).predict(sunny, 96)
    clean = changed(grid(DAYS), INTENSITY, grid(DAYS).inputs[INTENSITY].values / 40)

    assert (prices.median < 0).any()
    assert (fitted().predict(clean.known_at(START + 125 * 48), 96).values >= 0).all()


def test_after_a_change_of_level_the_forecast_follows_within_a_month() -> None:
    history = grid(DAYS)
    values = history.inputs[INTENSITY].values.copy()
    values[85 * 48 :] *= 1.6
    broken = changed(history, INTENSITY, values)
    origins = rolling_origins(START + 115 * 48, START + 126 * 48)

    found = backtest(fitted(), broken, origins).score()
    before = backtest(fitted(), history, origins).score()

    assert abs(found.bias) < 12
    assert found.mae < 1.9 * before.mae
    assert found.coverage_fraction[90] > 0.7


def test_a_forecast_needs_a_fit_for_its_target() -> None:
    known = grid(DAYS, target=PRICE).known_at(FITTED_AT)

    with pytest.raises(ContractError, match="not fitted"):
        LightGbm().predict(known, 4)
    with pytest.raises(ContractError, match="not fitted"):
        LightGbm().dump()
    with pytest.raises(ContractError, match="is fitted for"):
        fitted().predict(known, 4)


def test_inputs_told_ahead_are_found_and_silent_ones_left_out() -> None:
    history = grid(60)
    silent = Input.outturn(np.concatenate([np.ones(20 * 48), np.full(40 * 48, np.nan)]))
    with_silent = History(START, INTENSITY, {**history.inputs, "old_mw": silent})

    recipe = Recipe.of(with_silent.known_at(START + 55 * 48))

    assert recipe.ahead == (DAY_AHEAD,)
    assert recipe.behind == (PRICE, "wind_mw")


@pytest.mark.parametrize(
    ("start", "days"),
    [
        pytest.param(hh("2024-03-01T00:00Z"), 30, id="clocks go forward"),
        pytest.param(hh("2024-09-28T00:00Z"), 29, id="clocks go back"),
    ],
)
def test_the_anchor_keeps_to_the_clock_in_london(start: HalfHour, days: int) -> None:
    clock = [100.0 + (start + i).start.astimezone(LONDON).hour for i in range(40 * 48)]
    history = History(start, INTENSITY, {INTENSITY: Input.outturn(np.array(clock))})
    issued = days * 48

    table = Recipe(INTENSITY, (), ()).table(history.known_at(start + issued), np.arange(96))

    np.testing.assert_allclose(table.anchor, clock[issued : issued + 96])
    yesterday = table.matrix[:, table.names.index("own:day1")]
    np.testing.assert_allclose(yesterday, 0.0, atol=1e-9)


def test_a_model_of_other_features_says_so_instead_of_reading_the_wrong_columns() -> None:
    stored = Artefact.read(fitted().dump())
    names = stored.state["names"]
    other = {**stored.state, "names": [names[1], names[0], *names[2:]]}
    model = LightGbm.restore(Artefact(stored.kind, other, stored.arrays))

    with pytest.raises(ContractError, match="lightgbm was trained on other features; train it"):
        model.predict(grid(DAYS).known_at(FITTED_AT), 96)


def test_trees_that_cannot_be_read_back_are_named_as_damaged() -> None:
    stored = Artefact.read(fitted().dump())
    broken = {**stored.arrays, "alone": np.frombuffer(b"no trees", dtype=np.uint8)}

    with pytest.raises(
        ContractError, match="stored lightgbm forecaster is damaged: trees 'alone': "
    ):
        load(Artefact(stored.kind, stored.state, broken).dump())


def with_one_look_back() -> Artefact:
    """The fitted model as it was stored before it had two."""
    stored = Artefact.read(fitted().dump())
    state = {name: value for name, value in stored.state.items() if name != "looks"}
    arrays = {name: array for name, array in stored.arrays.items() if not name.endswith("1")}
    arrays["shares"] = 2 * stored.arrays["shares"][:, :3]
    return Artefact(stored.kind, state, arrays)


def test_a_model_stored_with_one_look_back_is_read_and_sees_no_further() -> None:
    old = load(with_one_look_back().dump())
    history = grid(DAYS)
    long_ago = history.inputs[INTENSITY].values.copy()
    long_ago[: 60 * 48] *= 1.5
    other = changed(history, INTENSITY, long_ago)

    told, again = (old.predict(h.known_at(FITTED_AT), 96).median for h in (history, other))
    now, then = (fitted().predict(h.known_at(FITTED_AT), 96).median for h in (history, other))

    np.testing.assert_array_equal(told, again)
    assert (np.abs(now - then) > 0.1).any()


@pytest.mark.parametrize(
    ("days", "is_far_seen"),
    [
        pytest.param(80, False, id="nothing before that"),
        pytest.param(90, True, id="six days of where it begins to look"),
    ],
)
def test_a_young_archive_is_forecast_from_by_those_whose_past_it_reaches(
    days: int, *, is_far_seen: bool
) -> None:
    history = grid(DAYS)
    values = history.inputs[INTENSITY].values.copy()
    values[: (110 - days) * 48] = np.nan
    known = changed(history, INTENSITY, values).known_at(FITTED_AT)

    forecast = fitted().predict(known, 96).values
    near = load(with_one_look_back().dump()).predict(known, 96).values

    assert (forecast != near).any() == is_far_seen


def test_a_model_without_one_of_its_looks_back_is_named_as_damaged() -> None:
    stored = Artefact.read(fitted().dump())
    arrays = {name: array for name, array in stored.arrays.items() if name != "middle1"}

    with pytest.raises(ContractError, match="lightgbm forecaster is damaged: KeyError"):
        load(Artefact(stored.kind, stored.state, arrays).dump())


def test_what_is_usual_is_the_mean_of_as_many_days_as_are_looked_back_at() -> None:
    values = np.repeat([100.0, 200.0, 500.0], [28 * 48, 28 * 48, 48])
    winter = hh("2024-01-01T00:00Z")
    history = History(winter, INTENSITY, {INTENSITY: Input.outturn(values)})
    known = history.known_at(winter + 56 * 48)

    month, two = (
        Recipe(INTENSITY, (), (), days * 48).table(known, np.array([90])) for days in (28, 56)
    )

    assert month.anchor[0] == pytest.approx(200.0)
    assert two.anchor[0] == pytest.approx(150.0 + 50.0 * np.exp(-90 / 16))  # the present fades


def test_every_look_back_learns_from_the_same_half_hours() -> None:
    known = grid(40).known_at(START + 39 * 48)
    recipes = [Recipe.of(known, back=days * 48) for days in (28, 112)]

    near, far = collect(known, recipes, every=37)

    assert len(near) > 100
    np.testing.assert_array_equal(near.leads, far.leads)
    np.testing.assert_array_equal(near.issued, far.issued)
    np.testing.assert_array_equal(near.outturn, far.outturn)
    assert (near.anchor != far.anchor).any()
