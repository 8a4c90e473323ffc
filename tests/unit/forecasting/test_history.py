"""What was known at an instant."""

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.history import History, Input
from tests.unit.forecasting.invented import START


def test_an_outturn_is_known_only_after_its_delay() -> None:
    history = History(START, "x", {"x": Input.outturn(np.arange(10.0), delay=1)})

    seen = history.known_at(START + 5).window("x", -3, 5)

    np.testing.assert_array_equal(seen, [2.0, 3.0, np.nan, np.nan, np.nan])


def test_the_newest_statement_that_is_known_counts() -> None:
    told = Input.of(
        [
            (np.array([7, 7]), np.array([5, 1]), np.array([70.0, 71.0])),
            (np.array([7, 8]), np.array([3, 3]), np.array([72.0, 80.0])),
        ]
    )

    history = History(START, "x", {"x": told})

    assert [history.known_at(START + i).window("x", 7 - i, 1)[0] for i in (1, 3, 4, 5)] == [
        71.0,
        72.0,
        72.0,
        70.0,
    ]
    assert np.isnan(history.known_at(START).window("x", 7, 1)[0])


def test_a_better_source_counts_from_when_it_first_speaks_of_a_half_hour() -> None:
    better = Input(np.array([7, 8]), np.array([3, 5]), np.array([71.0, 81.0]))
    other = Input(np.array([6, 7, 7, 7, 8, 9]), np.array([0, 1, 3, 6, 2, 9]), np.arange(60.0, 66.0))

    either = better.or_else(other)

    assert list(zip(either.about, either.known_from, either.values, strict=True)) == [
        (6, 0, 60.0), (7, 1, 61.0), (7, 3, 71.0), (8, 2, 64.0), (8, 5, 81.0), (9, 9, 65.0)
    ]  # fmt: skip


def test_a_better_source_that_never_spoke_changes_nothing() -> None:
    silent = Input(np.array([7]), np.array([1]), np.array([np.nan]))
    other = Input(np.array([7]), np.array([3]), np.array([70.0]))

    either = silent.or_else(other)

    assert (either.about.tolist(), either.values.tolist()) == ([7], [70.0])


def test_statements_that_say_nothing_or_are_about_earlier_times_are_left_out() -> None:
    told = Input.of([(np.array([-1, 0, 1]), np.array([0, 0, 0]), np.array([1.0, np.nan, 2.0]))])

    assert told.about.tolist() == [1]


def test_unordered_statements_and_an_unknown_target_are_refused() -> None:
    with pytest.raises(ContractError, match="ordered"):
        Input(np.array([1, 0]), np.array([0, 0]), np.zeros(2))
    with pytest.raises(ContractError, match="target y"):
        History(START, "y", {"x": Input.outturn(np.zeros(3))})


def test_nobody_knew_earlier_what_is_known_later() -> None:
    known = History(START, "x", {"x": Input.outturn(np.arange(10.0))}).known_at(START + 5)

    assert known.as_of(START + 2).past().tolist() == [0.0, 1.0]
    with pytest.raises(ContractError, match="nobody knew"):
        known.as_of(START + 6)


def test_the_outturn_for_scoring_is_all_that_ever_became_known() -> None:
    history = History(START, "x", {"x": Input.outturn(np.arange(4.0), delay=9)})

    np.testing.assert_array_equal(history.outturn(START + 2, 3), [2.0, 3.0, np.nan])
