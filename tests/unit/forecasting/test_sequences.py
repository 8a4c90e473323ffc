"""Dense arrays of what was known when."""

import numpy as np
import pytest

from gridflex.forecasting.history import History, Indices, Input
from gridflex.forecasting.sequences import MOST_STATEMENTS, Sequences, layers
from tests.unit.grid.replay import hh

START = hh("2024-01-01T00:00Z")


def ints(*values: int) -> Indices:
    return np.array(values, dtype=np.int64)


def test_newer_statements_lie_in_later_layers() -> None:
    said = Input(ints(0, 0, 2), ints(-3, 1, 3), np.array([10.0, 11.0, 30.0]))

    values, delays = layers(said, 3)

    np.testing.assert_array_equal(values, [[10, np.nan, 30], [11, np.nan, np.nan]])
    assert delays[0, [0, 2]].tolist() == [-3, 1]
    assert delays[1, 0] == 1


def test_gaps_and_half_hours_outside_are_left_out() -> None:
    said = Input(ints(-1, 0, 5), ints(0, 1, 6), np.array([1.0, np.nan, 2.0]))

    values, _ = layers(said, 3)

    assert values.shape == (1, 3)
    assert np.isnan(values).all()


def test_many_statements_are_thinned_to_the_newest_of_each_group() -> None:
    count = 3 * MOST_STATEMENTS
    said = Input(np.zeros(count, dtype=np.int64), np.arange(count), np.arange(0.0, count))

    values, delays = layers(said, 1)

    assert values[:, 0].tolist() == [2, 5, 8, 11, 14, 17, 20, 23]
    assert delays[:, 0].tolist() == values[:, 0].tolist()  # each with the time it was known from


def test_a_statement_years_late_is_no_statement() -> None:
    said = Input(ints(0), ints(40_000), np.array([1.0]))

    assert np.isnan(layers(said, 1)[0]).all()


def test_what_is_said_ends_at_the_issue_time() -> None:
    told = Input(ints(0, 1, 1, 2), ints(1, -5, 4, 3), np.array([1.0, 2.0, 3.0, 4.0]))
    known = History(START, "x", {"x": told}).known_at(START + 3)

    said = known.said("x")

    assert said.values.tolist() == [1.0, 2.0, 4.0]
    assert said.known_from.tolist() == [1, -5, 3]


def test_arrays_survive_being_stored() -> None:
    sequences = Sequences(
        names=("y", "x"),
        input_of=np.array([0, 1, 1]),
        values=np.array([[1, np.nan], [2, 3], [np.nan, 4]], dtype=np.float32),
        delays=np.array([[1, 1], [-5, -4], [0, 0]], dtype=np.int16),
        almanac=np.array([[0.5], [-0.25]], dtype=np.float32),
        issued=1,
    )

    again = Sequences.from_bytes(sequences.to_bytes())

    assert again.names == sequences.names
    assert again.issued == 1
    for field in ("input_of", "values", "delays", "almanac"):
        np.testing.assert_array_equal(getattr(again, field), getattr(sequences, field))


def test_the_truth_is_the_newest_statement() -> None:
    sequences = Sequences(
        names=("y",),
        input_of=np.array([0, 0]),
        values=np.array([[1, 2, np.nan], [5, np.nan, np.nan]], dtype=np.float32),
        delays=np.ones((2, 3), dtype=np.int16),
        almanac=np.zeros((3, 1), dtype=np.float32),
        issued=3,
    )

    np.testing.assert_array_equal(sequences.truth, [5, 2, np.nan])
    assert len(sequences) == 3
    assert sequences.truth[0] == pytest.approx(5.0)
