"""A weighted mean of forecasters."""

import logging
from dataclasses import dataclass

import numpy as np
import pytest

from gridflex.errors import ContractError, SourceError
from gridflex.forecasting.artefact import Artefact, as_array
from gridflex.forecasting.backtest import backtest, rolling_origins
from gridflex.forecasting.baselines import Climatology, LastWeek, Persistence
from gridflex.forecasting.ensemble import Ensemble
from gridflex.forecasting.forecaster import QuantileForecast
from gridflex.forecasting.history import History, Knowledge
from gridflex.forecasting.models import load
from gridflex.quantiles import LEVELS, MEDIAN
from tests.unit.forecasting.invented import INTENSITY, START, grid

DAYS = 120
NOW = START + 100 * 48


@dataclass
class Oracle:
    """Knows the truth but for a constant, and may be struck dumb."""

    history: History
    off: float
    name: str = "oracle"
    dumb: bool = False

    def fit(self, known: Knowledge) -> None:
        pass

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        if self.dumb:
            raise SourceError("struck dumb")
        truth = self.history.outturn(known.issued, half_hours)
        values = np.nan_to_num(truth)[:, None] + self.off + np.linspace(-9, 9, len(LEVELS))
        return QuantileForecast(known.target, self.name, known.issued, values)

    def dump(self) -> bytes:
        return b"not an artefact"


def test_weights_go_to_the_members_whose_errors_cancel() -> None:
    history = grid(DAYS)
    high, low = Oracle(history, 10.0, "high"), Oracle(history, -30.0, "low")
    mixed = Ensemble([high, low, Climatology()], every=97)

    mixed.fit(history.known_at(NOW))

    weights = mixed.weights
    assert weights["high"][0] == pytest.approx(0.75, abs=0.03)
    assert weights["low"][0] == pytest.approx(0.25, abs=0.03)
    assert np.sum([weights[name][2] for name in weights]) == pytest.approx(1.0)
    found = mixed.predict(history.known_at(NOW), 96)
    assert np.abs(found.median - history.outturn(NOW, 96)).mean() < 2.0
    assert found.model == "ensemble"


@dataclass
class Narrowing(Oracle):
    """Errs by 20 either way; its band is ten times too wide until it has been fitted again."""

    fits: int = 0

    def fit(self, known: Knowledge) -> None:
        assert known.target == INTENSITY
        self.fits += 1

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        told = np.nan_to_num(self.history.outturn(known.issued, half_hours))
        draw = np.random.default_rng(abs(hash(known.issued.start.timestamp())))
        centre = told + draw.uniform(-20, 20, half_hours)
        band = np.linspace(-20, 20, len(LEVELS)) * (10.0 if self.fits == 1 else 1.0)
        return QuantileForecast(known.target, self.name, known.issued, centre[:, None] + band)


def test_a_member_that_narrowed_its_band_by_itself_is_not_narrowed_again() -> None:
    history = grid(DAYS)
    mixed = Ensemble([Narrowing(history, 0.0)], every=31)

    mixed.fit(history.known_at(NOW))

    found = backtest(mixed, history, rolling_origins(NOW, START + 115 * 48, step=7)).score()
    assert found.coverage_fraction[90] == pytest.approx(0.9, abs=0.03)


def test_it_is_no_worse_than_its_best_member_on_new_days() -> None:
    history = grid(DAYS)
    members = [Persistence(), LastWeek(), Climatology()]
    mixed = Ensemble([Persistence(), LastWeek(), Climatology()], every=97)
    known = history.known_at(NOW)
    mixed.fit(known)
    for member in members:
        member.fit(known)
    origins = rolling_origins(NOW, START + 117 * 48, step=97)

    ours = backtest(mixed, history, origins).score()

    assert ours.mae < 1.05 * min(backtest(m, history, origins).score().mae for m in members)
    assert 0.7 < ours.coverage_fraction[90] <= 1


def test_a_member_that_fails_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    history = grid(DAYS)
    oracle = Oracle(history, 0.0)
    mixed = Ensemble([oracle, Climatology()], every=97)
    mixed.fit(history.known_at(NOW))
    oracle.dumb = True

    with caplog.at_level(logging.WARNING):
        found = mixed.predict(history.known_at(NOW), 96)

    alone = Climatology()
    alone.fit(history.known_at(NOW))
    np.testing.assert_allclose(found.median, alone.predict(history.known_at(NOW), 96).median)
    assert found.model == "ensemble of climatology"
    assert "oracle left out" in caplog.text
    assert found.target == INTENSITY


def test_without_any_member_it_says_so() -> None:
    history = grid(DAYS)
    oracle = Oracle(history, 0.0)
    mixed = Ensemble([oracle], every=97)
    mixed.fit(history.known_at(NOW))
    oracle.dumb = True

    with pytest.raises(ContractError, match="no member"):
        mixed.predict(history.known_at(NOW), 96)
    with pytest.raises(ContractError, match="not fitted"):
        Ensemble([oracle]).predict(history.known_at(NOW), 96)


def test_a_stored_ensemble_forecasts_as_before_or_without_what_cannot_be_read() -> None:
    known = grid(DAYS).known_at(NOW)
    mixed = Ensemble([Persistence(), Climatology()], every=97)
    mixed.fit(known)
    stored = mixed.dump()

    whole = load(stored).predict(known, 96)
    artefact = Artefact.read(stored)
    damaged = Artefact(
        artefact.kind, artefact.state, {**artefact.arrays, "member0": as_array(b"rubbish")}
    )
    rest = load(damaged.dump()).predict(known, 96)

    np.testing.assert_array_equal(whole.values, mixed.predict(known, 96).values)
    assert rest.model == "ensemble of climatology"
    assert whole.values[:, MEDIAN].shape == (96,)
