"""GPU demand: what the forecaster learns of an invented site, and what it leaves alone."""

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.backtest import Backtest, backtest, rolling_origins
from gridflex.forecasting.demand import Demand, robust_fit
from gridflex.forecasting.demand_features import QUEUED, STAYING, names_of, view
from gridflex.forecasting.history import Array, History, Input
from gridflex.forecasting.models import load
from gridflex.quantiles import LEVELS
from tests.unit.forecasting.invented import START, lingering
from tests.unit.forecasting.sites import DAY, lingering_site, rhythmic_site, site

FIT = START + 20 * DAY
SAFE = LEVELS.index(0.9)


def fitted(history: History) -> Demand:
    model = Demand()
    model.fit(history.known_at(FIT))
    return model


def scored(history: History) -> Backtest:
    origins = rolling_origins(FIT, FIT + 9 * DAY)
    return backtest(fitted(history), history, origins, half_hours=DAY)


def missed_by_now(history: History, lead: int) -> float:
    past: Array = history.inputs[history.target].at(10**9, 0, 30 * DAY)
    about = np.arange(20 * DAY + lead, 29 * DAY + lead)
    return float(np.abs(past[about] - past[about - lead - 1]).mean())


def test_a_daily_rhythm_is_learned() -> None:
    history = rhythmic_site(30)

    found = scored(history)

    assert found.score(7, 8).mae < 0.6 * missed_by_now(history, 7)


def test_a_level_that_lingers_returns_to_its_mean() -> None:
    history = lingering_site(30, seed=3)

    found = scored(history)

    assert found.score(47, 48).mae < 0.97 * missed_by_now(history, 47)


def test_the_safe_quantile_is_safe() -> None:
    history = lingering_site(30, seed=5)

    found = scored(history)

    told = found.outturns <= found.values[:, :, SAFE]
    assert 0.8 <= told.mean() <= 0.99


def test_a_week_of_noise_is_left_as_it_is() -> None:
    steps = np.random.default_rng(1).standard_normal(10 * DAY)
    history = site(200 + np.cumsum(steps))
    model = Demand()
    known = history.known_at(START + 9 * DAY)
    model.fit(known)

    found = model.predict(known, 8).median

    assert np.abs(found - view(known, np.array([0])).now).max() < 8


def test_a_long_queue_raises_what_is_expected() -> None:
    queue = 50 + 20 * lingering(30 * DAY, memory=12, seed=2)
    noise = np.random.default_rng(2).standard_normal(30 * DAY)
    demand = 100 + np.concatenate([np.zeros(8), queue[:-8]]) + noise
    with_queue = site(demand, **{QUEUED: Input.outturn(queue)})

    with_it, without = (scored(one).score(7, 8).mae for one in (with_queue, site(demand)))

    assert with_it < 0.95 * without


def test_jobs_that_are_due_to_end_lower_what_is_expected() -> None:
    rng = np.random.default_rng(4)
    level = np.repeat(rng.uniform(50, 150, size=31 * DAY // 24 + 1), 24)[: 31 * DAY]
    issued, lead = np.meshgrid(np.arange(30 * DAY), np.arange(DAY), indexing="ij")
    held = np.minimum(level[issued], level[issued + lead])
    told = Input.of([((issued + lead).ravel(), issued.ravel(), held.ravel())])
    demand = level[: 30 * DAY]

    with_it = scored(site(demand, **{STAYING: told})).score(7, 8).mae
    without = scored(site(demand)).score(7, 8).mae

    assert with_it < 0.9 * without


def test_the_future_changes_nothing() -> None:
    history = lingering_site(30)
    values = history.inputs[history.target].values.copy()
    values[20 * DAY :] = np.random.default_rng(0).permutation(values[20 * DAY :])
    other = site(values)

    one, two = (fitted(h).predict(h.known_at(FIT), DAY).values for h in (history, other))

    np.testing.assert_array_equal(one, two)


def test_a_stored_forecaster_says_the_same() -> None:
    history = lingering_site(22)
    model = fitted(history)

    restored = load(model.dump())

    known = history.known_at(FIT + 3)
    np.testing.assert_allclose(
        restored.predict(known, 100).values, model.predict(known, 100).values
    )


def test_gaps_do_not_stop_it() -> None:
    values = lingering_site(30).inputs["running_gpus"].values.copy()
    values[5 * DAY : 6 * DAY] = np.nan
    values[19 * DAY + 40 : 20 * DAY + 9] = np.nan
    history = site(values)

    found = fitted(history).predict(history.known_at(FIT), DAY)

    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(
    ("history", "said"),
    [
        pytest.param(lingering_site(5), "5.0 days are known", id="too little"),
        pytest.param(site(np.full(30 * DAY, 8.0)), "8 throughout", id="constant"),
        pytest.param(site(np.full(30 * DAY, np.nan)), "0.0 days are known", id="nothing"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(history: History, said: str) -> None:
    last = START + history.inputs[history.target].values.size

    with pytest.raises(ContractError, match=said):
        Demand().fit(history.known_at(last))


def test_a_forecaster_of_other_inputs_is_refused() -> None:
    history = lingering_site(22)
    queue = Input.outturn(np.zeros(22 * DAY))
    other = History(START, history.target, {**history.inputs, QUEUED: queue})

    with pytest.raises(ContractError, match="fitted on"):
        fitted(history).predict(other.known_at(FIT), 4)
    assert set(names_of(other.known_at(FIT))) - set(names_of(history.known_at(FIT))) == {
        "queued",
        "queued_last_4h",
    }


def test_the_robust_fit_finds_what_most_examples_follow() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, 2))
    change = features @ np.array([0.5, -0.2])
    change[::10] += 30.0

    found = robust_fit(features, change, 0.0)
    held = robust_fit(features, change + 3 * rng.standard_normal(400), 400.0)

    np.testing.assert_allclose(found, [0.5, -0.2], atol=0.03)
    assert (np.abs(held) < 0.8 * np.abs(found)).all()


def test_a_daily_rhythm_is_still_there_on_the_second_day() -> None:
    history = rhythmic_site(40)
    fit = START + 34 * DAY
    model = Demand()
    model.fit(history.known_at(fit))

    told = backtest(model, history, rolling_origins(fit, START + 38 * DAY - 1, step=7))

    assert told.by_lead()["24-48h"].mae < 10  # the afternoons rise by 40


def test_a_daily_rhythm_is_still_there_a_week_ahead() -> None:
    history = rhythmic_site(44)
    fit = START + 34 * DAY
    model = Demand()
    model.fit(history.known_at(fit))

    told = backtest(
        model, history, rolling_origins(fit, START + 35 * DAY, step=7), half_hours=9 * DAY
    )

    assert told.by_lead()["2-4d"].mae < 10  # the afternoons rise by 40
    assert told.by_lead()["4-9d"].mae < 10
    assert told.by_lead()["4-9d"].coverage_fraction[90] > 0.7
