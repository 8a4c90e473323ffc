"""Series, and the ladder down which each half-hour of a window finds its value."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridflex.errors import ContractError, StaleDataError
from gridflex.halfhour import HalfHour
from gridflex.signals import (
    BOUNDS,
    FRESH_FOR,
    Blend,
    Kind,
    Origin,
    Rung,
    Series,
    Signal,
    UsualLevel,
    blend,
    weakest,
)

NOON = HalfHour(datetime(2026, 7, 1, 12, tzinfo=UTC))
NOW = NOON.start
NAN = np.nan
SECOND = timedelta(seconds=1)


def series(
    values: Sequence[float],
    *,
    source: str = "a",
    age: timedelta = timedelta(0),
    start: HalfHour = NOON,
    signal: Signal = Signal.INTENSITY,
    origin: Origin = Origin.LIVE,
) -> Series:
    return Series(
        signal=signal, kind=Kind.FORECAST, source=source, origin=origin, region="GB", start=start,
        values=np.array(values, dtype=np.float64), issued_at=NOW - age, available_at=NOW - age,
    )  # fmt: skip


def blended(
    *ranked: Series, usual: Sequence[float] = (NAN, NAN, NAN), now: datetime = NOW
) -> Blend:
    climatology = UsualLevel(np.array(usual, dtype=np.float64))
    return blend(ranked, climatology=climatology, start=NOON, now=now)


def test_a_series_ends_where_its_values_do() -> None:
    assert len(series([1, 2, 3])) == 3
    assert series([1, 2, 3]).end == NOON + 3


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        pytest.param(NOON, [1, 2, 3, NAN], id="runs out"),
        pytest.param(NOON + 1, [2, 3, NAN, NAN], id="from the second"),
        pytest.param(NOON - 2, [NAN, NAN, 1, 2], id="begins later"),
        pytest.param(NOON + 3, [NAN] * 4, id="over"),
        pytest.param(NOON - 4, [NAN] * 4, id="not yet begun"),
    ],
)
def test_a_window_holds_nothing_where_the_series_says_nothing(
    start: HalfHour, expected: list[float]
) -> None:
    np.testing.assert_array_equal(series([1, 2, 3]).window(start, 4), expected)


@pytest.mark.parametrize("signal", Signal)
def test_a_value_in_the_wrong_unit_is_refused(signal: Signal) -> None:
    low, high = BOUNDS[signal]

    assert len(series([low, NAN, high], signal=signal)) == 3
    for wrong in (low - 1, high + 1, np.inf):
        with pytest.raises(ContractError, match=f"a: {signal} of {wrong:g} is outside {low:g} to"):
            series([low, wrong], signal=signal)


def test_the_first_fresh_source_that_knows_a_half_hour_wins_it() -> None:
    best = blended(series([10, NAN, NAN], source="best"), series([20, 20, NAN], source="next"),
                   series([30, 30, 30], source="last"))  # fmt: skip

    np.testing.assert_array_equal(best.values, [10, 20, 30])
    assert best.sources == ("best", "next", "last")
    assert best.worst_rung is Rung.FRESH


def test_a_fresh_source_goes_before_a_better_one_grown_stale() -> None:
    old = FRESH_FOR + SECOND

    found = blended(series([10, 10, 10], source="best", age=old), series([20, 20], source="next"))

    np.testing.assert_array_equal(found.values, [20, 20, 10])
    assert found.sources == ("next", "next", "best")
    assert found.rungs.tolist() == [Rung.FRESH, Rung.FRESH, Rung.STALE]
    np.testing.assert_array_equal(found.ages_s, [0, 0, 7201])


@pytest.mark.parametrize(
    ("age", "rung"),
    [
        pytest.param(FRESH_FOR, Rung.FRESH, id="at two hours"),
        pytest.param(FRESH_FOR + SECOND, Rung.STALE, id="a second over"),
    ],
)
def test_a_statement_is_fresh_for_two_hours(age: timedelta, rung: Rung) -> None:
    assert blended(series([1, 1, 1], age=age)).worst_rung is rung


def test_a_source_that_takes_a_half_hour_brings_its_own_quantiles() -> None:
    spread = np.arange(7.0)
    sure = replace(series([10, NAN, 30]), quantiles=np.array([spread, spread + 20, spread + 40]))
    unsure = series([1, 20, 1], source="unsure")

    found = blended(sure, unsure)

    np.testing.assert_array_equal(found.quantiles, [spread, [NAN] * 7, spread + 40])


def test_a_window_of_quantiles_holds_nothing_where_the_series_says_nothing() -> None:
    sure = replace(series([10, 20]), quantiles=np.array([np.arange(7.0), np.arange(7.0) + 10]))

    np.testing.assert_array_equal(
        sure.window_quantiles(NOON + 1, 2), [np.arange(7.0) + 10, [NAN] * 7]
    )
    assert np.isnan(series([10, 20]).window_quantiles(NOON, 2)).all()


@pytest.mark.parametrize(
    ("quantiles", "named"),
    [
        pytest.param(np.zeros((2, 7)), r"quantiles need \(1, 7\)", id="too many rows"),
        pytest.param(np.zeros((1, 6)), r"quantiles need \(1, 7\)", id="too few levels"),
        pytest.param(np.arange(7.0)[None, ::-1], "cross", id="the wrong way round"),
        pytest.param(np.arange(7.0)[None] - 1, "of -1 is outside 0 to 2000", id="below nought"),
    ],
)
def test_quantiles_that_cannot_be_are_refused(quantiles: NDArray[np.float64], named: str) -> None:
    with pytest.raises(ContractError, match=named):
        replace(series([10]), quantiles=quantiles)


def test_of_stale_sources_the_newest_goes_first_whatever_their_rank() -> None:
    older = series([10, 10, 10], source="older", age=timedelta(hours=9))
    newer = series([20, 20, NAN], source="newer", age=timedelta(hours=8))

    found = blended(older, newer)

    assert found.sources == ("newer", "newer", "older")
    assert found.worst_rung is Rung.STALE


def test_climatology_fills_what_no_source_knows() -> None:
    found = blended(series([10]), usual=[99, 50, 60])

    np.testing.assert_array_equal(found.values, [10, 50, 60])
    assert found.sources == ("a", "climatology", "climatology")
    assert found.worst_rung is Rung.CLIMATOLOGY
    np.testing.assert_array_equal(found.ages_s, [0, NAN, NAN])


def test_each_value_says_what_it_rests_on_and_which_region_it_is_of() -> None:
    regional = replace(series([10], origin=Origin.SIMULATED), region="RG10")
    usual = UsualLevel(np.array([90, 90, 50.0]), origin=Origin.RECORDED, age_s=60.0)

    found = blend([regional, series([NAN, 20])], climatology=usual, start=NOON, now=NOW)

    assert found.origins == (Origin.SIMULATED, Origin.LIVE, Origin.RECORDED)
    assert found.regions == ("RG10", "GB", "GB")
    np.testing.assert_array_equal(found.ages_s, [0, 0, 60])
    assert found.origin is Origin.SIMULATED


def test_the_mean_of_the_rest_is_as_old_and_as_real_as_its_worst_part() -> None:
    old = series([10], age=timedelta(hours=1), origin=Origin.SIMULATED)

    found = blended(old, series([NAN, 20]))

    assert found.origins == (Origin.SIMULATED, Origin.LIVE, Origin.SIMULATED)
    assert found.ages_s[2] == 3600


def test_a_half_hour_nobody_knows_takes_the_mean_and_says_so() -> None:
    found = blended(series([10]), usual=[NAN, 50, NAN])

    np.testing.assert_array_equal(found.values, [10, 50, 30])
    assert found.sources == ("a", "climatology", "unknown")
    assert found.worst_rung is Rung.UNKNOWN


def test_what_became_available_later_is_not_known_yet() -> None:
    tomorrow = series([10, 10, 10], source="later", age=-SECOND)

    found = blended(tomorrow, series([20, 20, 20], source="now"))

    assert found.sources == ("now",) * 3


def test_a_statement_is_known_from_the_instant_it_is_available() -> None:
    assert blended(series([10, 10, 10], age=timedelta(0))).sources == ("a",) * 3


def test_a_source_of_the_future_leaves_climatology() -> None:
    found = blended(series([10, 10, 10], age=-SECOND), usual=[50, 50, 50])

    assert found.worst_rung is Rung.CLIMATOLOGY
    assert found.origin is Origin.COMPUTED


@pytest.mark.parametrize(
    "ranked",
    [
        pytest.param([series([NAN, NAN, NAN])], id="says nothing"),
        pytest.param([series([10], start=NOON + 3)], id="about other times"),
        pytest.param([series([10, 10, 10], age=-SECOND)], id="only in the future"),
    ],
)
def test_a_window_without_any_knowledge_is_refused(ranked: list[Series]) -> None:
    with pytest.raises(StaleDataError, match="nothing is known about intensity_gco2_per_kwh from"):
        blended(*ranked)


@pytest.mark.parametrize(
    "ranked",
    [
        pytest.param([], id="none"),
        pytest.param([series([1]), series([1], signal=Signal.PRICE)], id="intensity and price"),
    ],
)
def test_a_blend_is_of_one_signal(ranked: list[Series]) -> None:
    with pytest.raises(ContractError, match="one signal"):
        blended(*ranked)


def test_a_source_above_that_knows_everything_leaves_nothing_to_the_next() -> None:
    found = blended(series([1, 2, 3]), series([9, 9, 9], origin=Origin.SIMULATED))

    assert found.origin is Origin.LIVE


def test_a_blend_is_only_as_real_as_the_least_real_value_used() -> None:
    found = blended(series([1, 2]), series([9, 9, 9], origin=Origin.SIMULATED))

    assert found.origin is Origin.SIMULATED


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ({Origin.LIVE}, Origin.LIVE),
        ({Origin.LIVE, Origin.RECORDED}, Origin.RECORDED),
        ({Origin.RECORDED, Origin.COMPUTED}, Origin.COMPUTED),
        (set(Origin), Origin.SIMULATED),
    ],
)
def test_the_weakest_origin_says_least_about_the_real_grid(
    origins: set[Origin], expected: Origin
) -> None:
    assert weakest(origins) is expected


values = st.lists(st.one_of(st.floats(0, 2_000), st.just(NAN)), min_size=3, max_size=3)
ages = st.integers(-3, 9).map(lambda hours: timedelta(hours=hours))


@given(st.lists(st.tuples(values, ages), min_size=1, max_size=5), values)
def test_every_value_is_finite_and_is_what_its_source_said(
    statements: list[tuple[list[float], timedelta]], usual: list[float]
) -> None:
    ranked = [series(v, source=str(i), age=age) for i, (v, age) in enumerate(statements)]
    said: dict[str, NDArray[np.float64]] = {one.source: one.values for one in ranked}
    said["climatology"] = np.array(usual)
    known = [v for v, age in statements if age >= timedelta(0)]
    if np.isnan([*known, usual]).all():
        return

    found = blended(*ranked, usual=usual)

    assert np.isfinite(found.values).all()
    for index, source in enumerate(found.sources):
        assert source == "unknown" or found.values[index] == said[source][index]
        assert source not in said or source == "climatology" or found.ages_s[index] >= 0
