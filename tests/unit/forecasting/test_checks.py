"""Histories that cannot be learnt from."""

from collections.abc import Callable

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.checks import check_same_level, learnable, level_before
from gridflex.forecasting.history import Array, History, Input
from tests.unit.forecasting.invented import DAY_AHEAD, INTENSITY, PRICE, START, grid

DAYS = 40
Change = Callable[[Array], Array]


def spoilt(target: str, change: Change) -> History:
    history = grid(DAYS, target=target)
    told = history.inputs[target]
    values = change(told.values.copy())
    return History(
        START, target, {**history.inputs, target: Input(told.about, told.known_from, values)}
    )


def silent_month(values: Array) -> Array:
    values[-28 * 48 :] = np.nan
    return np.concatenate([values])


@pytest.mark.parametrize(
    ("target", "change", "says"),
    [
        pytest.param(INTENSITY, lambda v: np.full(v.size, np.nan), "0.0 days", id="nothing"),
        pytest.param(INTENSITY, lambda v: v * 0 + 150, "150 throughout", id="constant"),
        pytest.param(INTENSITY, lambda v: v * 2.2046, "another unit", id="lb per MWh"),
        pytest.param(INTENSITY, lambda v: v * 1000, "outside 0 to 2000", id="mg per kWh"),
        pytest.param(PRICE, lambda v: v / 10, "another unit", id="pence per kWh"),
        pytest.param(PRICE, lambda v: v / 1000, "another unit", id="pounds per kWh"),
        pytest.param(PRICE, lambda v: v * 1000, "outside -1000", id="pounds per GWh"),
    ],
)
def test_bad_input_is_named(target: str, change: Change, says: str) -> None:
    history = spoilt(target, change)
    if target == INTENSITY:
        history.inputs["derived_intensity_gco2_per_kwh"] = grid(DAYS).inputs[INTENSITY]  # type: ignore[index]

    with pytest.raises(ContractError, match=says):
        learnable(history.known_at(START + DAYS * 48))


def test_a_price_in_pence_is_found_by_its_auction_even_when_prices_are_high() -> None:
    history = spoilt(PRICE, lambda v: v / 10 + 12)
    assert DAY_AHEAD in history.inputs

    with pytest.raises(ContractError, match="one of them is in another unit"):
        learnable(history.known_at(START + DAYS * 48))


def in_pounds(history: History, *, from_day: int = 0) -> History:
    told = history.inputs[history.target]
    values = np.where(told.about >= from_day * 48, 2.2046 * told.values, told.values)
    changed = Input(told.about, told.known_from, values)
    return History(START, history.target, {**history.inputs, history.target: changed})


def test_pounds_at_a_level_that_is_plausible_are_found_by_what_the_champion_learnt_from() -> None:
    history = grid(60)
    end = START + 40 * 48
    level = level_before(history, end)
    learnable(in_pounds(history).known_at(START + 60 * 48))  # alone they cannot be told

    with pytest.raises(ContractError, match=rf"usually {level:.1f} when .*lb/MWh.*roll it back"):
        check_same_level(in_pounds(history), end, level)


def test_a_later_level_of_other_half_hours_is_no_fault_of_the_unit() -> None:
    history = grid(60)
    end = START + 30 * 48
    level = level_before(history, end)
    assert level is not None

    check_same_level(in_pounds(history, from_day=30), end, level)
    check_same_level(history, end, 1.5 * level)
    check_same_level(history, START - 48, level)  # the new history begins later
    check_same_level(history, end, None)


def test_the_level_is_that_of_the_last_four_weeks_if_most_of_them_is_known() -> None:
    history = grid(60)
    known = history.outturn(START + 32 * 48, 28 * 48)
    assert level_before(history, START + 60 * 48) == pytest.approx(np.median(known))
    assert level_before(history, START + 15 * 48) is not None
    assert level_before(history, START + 13 * 48) is None


def test_too_little_history_says_how_much_is_needed() -> None:
    with pytest.raises(ContractError, match="28 are needed"):
        learnable(grid(DAYS).known_at(START + 20 * 48))


def test_a_month_without_a_value_is_refused_however_long_the_history() -> None:
    history = grid(60)
    told = history.inputs[INTENSITY]
    values = silent_month(told.values.copy())
    silent = History(START, INTENSITY, {INTENSITY: Input(told.about, told.known_from, values)})

    with pytest.raises(ContractError, match="nothing is known of the 28 days"):
        learnable(silent.known_at(START + 60 * 48))


def test_gaps_and_negative_prices_are_ordinary() -> None:
    def windy(values: Array) -> Array:
        values[100:150] = np.nan
        values[300:320] = -60.0
        return values

    past = learnable(spoilt(PRICE, windy).known_at(START + DAYS * 48))

    assert past.min(where=np.isfinite(past), initial=0) == -60.0
