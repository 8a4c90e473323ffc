"""The forecasts that always exist."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from gridflex.forecasting.naive import climatology, persistence, usual_level
from gridflex.halfhour import LONDON, HalfHour
from gridflex.signals import Kind, Origin, Series, Signal
from tests.unit.grid.replay import hh

MONDAY = hh("2026-01-12T00:00Z")


def outturn(start: HalfHour, values: ArrayLike) -> Series:
    return Series(
        signal=Signal.PRICE,
        kind=Kind.OUTTURN,
        source="test",
        origin=Origin.RECORDED,
        region="GB",
        start=start,
        values=np.asarray(values, dtype=np.float64),
        issued_at=start.start,
        available_at=start.start,
    )


def by_local_hour(start: HalfHour, half_hours: int) -> Series:
    """A series whose value is the hour on the clock in London."""
    return outturn(start, [h.start.astimezone(LONDON).hour for h in start.span(half_hours)])


def test_climatology_is_the_mean_of_each_time_of_day() -> None:
    history = outturn(MONDAY, [10.0] * 48 + [30.0] * 24 + [50.0] * 24)

    usual = climatology(history, start=MONDAY + 96, half_hours=48)

    np.testing.assert_array_equal(usual, [20.0] * 24 + [30.0] * 24)


def test_climatology_forgets_what_is_older_than_its_days() -> None:
    history = outturn(MONDAY, [1000.0] * 48 + [5.0] * 48 * 2)

    usual = climatology(history, start=MONDAY + 48 * 3, half_hours=48, days=2)

    np.testing.assert_array_equal(usual, [5.0] * 48)


def test_climatology_looks_over_gaps_and_never_into_the_future() -> None:
    values = np.array([10.0] * 48 + [np.nan] * 48 + [999.0] * 48)

    usual = climatology(outturn(MONDAY, values), start=MONDAY + 96, half_hours=48)

    np.testing.assert_array_equal(usual, [10.0] * 48)


def test_a_time_of_day_that_never_occurred_is_unknown() -> None:
    usual = climatology(outturn(MONDAY, [7.0, 8.0]), start=MONDAY + 2, half_hours=48)

    assert np.isnan(usual[:46]).all()
    np.testing.assert_array_equal(usual[46:], [7.0, 8.0])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(hh("2026-03-29T01:00Z"), id="clocks go forward"),
        pytest.param(hh("2026-10-25T01:00Z"), id="clocks go back"),
    ],
)
def test_the_morning_stays_the_morning_across_a_clock_change(change: HalfHour) -> None:
    history = by_local_hour(change - 48 * 7, 48 * 7)
    expected = by_local_hour(change, 96).values

    np.testing.assert_array_equal(climatology(history, start=change, half_hours=96), expected)
    np.testing.assert_array_equal(persistence(history, start=change + 6, half_hours=0), np.zeros(0))


def test_persistence_repeats_yesterday_for_as_long_as_asked() -> None:
    history = outturn(MONDAY, np.arange(96.0))

    ahead = persistence(history, start=MONDAY + 96, half_hours=96)

    np.testing.assert_array_equal(ahead, [*np.arange(48.0, 96.0), *np.arange(48.0, 96.0)])


@given(st.integers(0, 48 * 365 * 2), st.integers(1, 200))
def test_persistence_keeps_the_time_of_day_and_never_looks_ahead(offset: int, ahead: int) -> None:
    start = hh("2025-01-01T00:00Z") + offset
    history = by_local_hour(start - 48 * 3, 48 * 3)

    values = persistence(history, start=start, half_hours=ahead)

    assert np.isfinite(values).all()
    off = np.flatnonzero(values != by_local_hour(start, ahead).values)
    # the hour that the spring change skips has no yesterday of its own name
    assert {(start + int(i)).start.astimezone(LONDON).hour for i in off} <= {1}


def test_the_usual_level_is_the_mean_of_both_or_the_one_that_is_known() -> None:
    history = outturn(MONDAY, [10.0] * 48 + [30.0] * 47 + [np.nan])

    usual = usual_level(history, start=MONDAY + 96, half_hours=48)

    np.testing.assert_array_equal(usual, [25.0] * 47 + [10.0])
