"""What no schedule of one job can beat, beside all schedules that there are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflex.planning.bounding import at_rate, least_of_option, with_starts
from gridflex.planning.one_job import starts_in, worth
from gridflex.planning.problem import Array

Window = tuple[Array, Array]
LENGTH = 9


def exact(
    window: Window, *, work: float, restart: float, continues: bool, breakable: bool
) -> float:
    """Return the least value of all schedules; infinite if there is none."""
    value, base = window
    best = np.inf
    for marks in itertools.product((0, 1), repeat=value.size):
        mask = np.array(marks, dtype=np.uint8)
        if breakable or starts_in(value.size, mask, False) <= 0:  # noqa: FBT003
            found = worth(value, base, value.size, mask, work, restart, continues)
            best = min(best, found)
    return best


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Values with and without prices of capacity; energy may cost less than nothing."""
    size = draw(st.integers(1, LENGTH))
    numbers = st.lists(st.integers(-20, 30), min_size=size, max_size=size)
    prices = st.lists(st.sampled_from([0, 0, 0, 5, 15]), min_size=size, max_size=size)
    base = np.array(draw(numbers), dtype=float)
    return base + np.array(draw(prices), dtype=float), base


@given(
    windows(),
    st.sampled_from([0.6, 1.0, 2.0, 2.95, 3.5, 5.0]),
    st.sampled_from([0.0, 1 / 30, 0.3, 1.0, 1.5]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_schedule_of_a_job_is_below_its_bound(
    window: Window, work: float, restart: float, continues: bool, breakable: bool
) -> None:
    value, base = window
    best = exact(window, work=work, restart=restart, continues=continues, breakable=breakable)

    least = least_of_option(value, base, value.size, work, restart, continues, breakable)

    assert least <= best + 1e-9


@given(windows(), st.integers(1, LENGTH), st.sampled_from([-0.5, 0.0, 0.5, 4.0]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_rate_for_each_half_hour_bounds_what_counting_them_finds(
    window: Window, half_hours: int, start: float, continues: bool
) -> None:
    value, base = window
    size = min(half_hours, value.size)
    last = value - 0.5 * base

    found = at_rate(value, last, value.size, size, start, continues)

    assert found <= with_starts(value, last, value.size, size, start, continues) + 1e-9


@pytest.mark.parametrize(
    ("work", "share"),
    [
        pytest.param(4.0, 0.005, id="resumes fit into one more half-hour"),
        pytest.param(5.5, 0.005, id="many resumes fit"),
        pytest.param(4.96, 0.2, id="a second resume needs one more"),
    ],
)
def test_the_bound_is_close_where_energy_often_costs_less_than_nothing(
    work: float, share: float
) -> None:
    rng = np.random.default_rng(1)
    best, least = 0.0, 0.0
    for _ in range(20):
        base = rng.normal(0.0, 1.0, 10)
        window = (base + rng.choice([0.0, 0.5], 10), base)
        best += exact(window, work=work, restart=1 / 30, continues=False, breakable=True)
        least += least_of_option(*window, 10, work, 1 / 30, False, True)  # noqa: FBT003

    assert least <= best
    assert best - least < share * abs(best)


def test_the_bound_of_a_long_window_is_close_where_energy_costs_less_than_nothing() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(0.0, 1.0, 100)
    cheapest = np.sort(base)[:70].sum()

    least = least_of_option(base, base, 100, 70.0, 1 / 30, False, True)  # noqa: FBT003

    assert cheapest - 3.0 < least < cheapest + 3.0
