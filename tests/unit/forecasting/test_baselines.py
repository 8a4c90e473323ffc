"""The naive rules as forecasters."""

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.history import History, Input
from gridflex.forecasting.models import KINDS, kind, load
from tests.unit.forecasting.invented import INTENSITY, START, grid
from tests.unit.grid.replay import hh

NAIVE = ("persistence", "last-week", "climatology")
DAYS = 70


@pytest.mark.parametrize("name", NAIVE)
def test_a_stored_baseline_forecasts_as_before(name: str) -> None:
    known = grid(DAYS).known_at(START + DAYS * 48)
    fitted = kind(name)()
    fitted.fit(known)

    again = load(fitted.dump())

    np.testing.assert_array_equal(again.predict(known, 96).values, fitted.predict(known, 96).values)
    assert again.name == name


def test_persistence_takes_the_day_before_where_yesterday_is_not_known_yet() -> None:
    values = np.tile(np.arange(48.0) + 20, DAYS) + np.repeat(np.arange(DAYS), 48) * 100.0
    history = History(hh("2024-01-01T00:00Z"), "x", {"x": Input.outturn(values, delay=1)})
    known = history.known_at(history.start + 60 * 48)
    fitted = kind("persistence")()
    fitted.fit(known)

    median = fitted.predict(known, 96).median

    assert median[:3].tolist() == [5920.0, 5921.0, 5922.0]
    assert median[47] == 58 * 100 + 67.0  # the last half-hour of yesterday is not known yet
    assert median[95] == 58 * 100 + 67.0


def test_a_baseline_survives_a_gap_of_days() -> None:
    told = grid(DAYS).inputs[INTENSITY]
    values = told.values.copy()
    values[-6 * 48 :] = np.nan
    history = History(START, INTENSITY, {INTENSITY: Input(told.about, told.known_from, values)})
    known = history.known_at(START + DAYS * 48)

    for name in NAIVE:
        fitted = kind(name)()
        fitted.fit(known)
        assert np.isfinite(fitted.predict(known, 432).values).all()


def test_a_history_that_begins_with_a_silent_month_can_be_learnt_from() -> None:
    told = grid(DAYS).inputs[INTENSITY]
    values = told.values.copy()
    values[: 35 * 48] = np.nan
    history = History(START, INTENSITY, {INTENSITY: Input(told.about, told.known_from, values)})
    known = history.known_at(START + DAYS * 48)

    for name in NAIVE:
        fitted = kind(name)()
        fitted.fit(known)
        assert np.isfinite(fitted.predict(known, 96).values).all()


def test_an_unfitted_baseline_and_another_target_are_refused() -> None:
    fitted = kind("climatology")()
    known = grid(DAYS).known_at(START + DAYS * 48)
    with pytest.raises(ContractError, match="is fitted for ''"):
        fitted.predict(known, 4)
    with pytest.raises(ContractError, match="not fitted"):
        fitted.dump()

    fitted.fit(known)

    other = grid(DAYS, target="price_gbp_per_mwh").known_at(START + DAYS * 48)
    with pytest.raises(ContractError, match="not 'price"):
        fitted.predict(other, 4)


@pytest.mark.parametrize(
    "stored", [b"", b"PK\x03\x04 not really", Artefact("persistence", {}).dump()]
)
def test_damaged_bytes_are_refused_by_name(stored: bytes) -> None:
    with pytest.raises(ContractError, match="stored"):
        load(stored)


def test_an_artefact_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ContractError, match="'oracle' is not one of"):
        load(Artefact("oracle", {}).dump())
    assert set(NAIVE) <= set(KINDS)
