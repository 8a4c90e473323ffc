"""The skill board: everybody on the same half-hours, by what they had said at the time."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from gridflex.forecasting.history import Array, History, Input
from gridflex.forecasting.skill import (
    LEAST_TO_PREFER,
    ORIGIN_EVERY,
    Said,
    SkillRow,
    baselines,
    board,
    leads_of,
    preferred,
    said,
)
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS
from gridflex.signals import Kind, Origin, Series, Signal

NOON = HalfHour(datetime(2026, 7, 1, 12, tzinfo=UTC))
HOUR = timedelta(hours=1)
NAN = np.nan


def issued(values: Sequence[float], *, at: HalfHour = NOON, source: str = "a/x") -> Series:
    return Series(
        signal=Signal.PRICE, kind=Kind.FORECAST, source=source, origin=Origin.LIVE, region="GB",
        start=at, values=np.array(values, dtype=np.float64), issued_at=at.start,
        available_at=at.start,
    )  # fmt: skip


def rows_of(*sources: Said, outturns: Sequence[Sequence[float]]) -> dict[str, SkillRow]:
    return {row.source: row for row in board(sources, np.array(outturns, dtype=np.float64))}


def told(source: str, *values: Sequence[float]) -> Said:
    return Said(source, np.array(values, dtype=np.float64))


def test_a_source_is_held_to_the_newest_it_had_said_by_then() -> None:
    forecasts = [issued([30, 31], at=NOON + 2), issued([10, 11, 12, 13])]

    found = said("a/x", forecasts, origins=[NOON, NOON + 1, NOON + 2], half_hours=2)

    np.testing.assert_array_equal(found.values, [[10, 11], [11, 12], [30, 31]])
    assert found.quantiles is None


def test_an_old_forecast_is_no_statement_and_a_later_one_is_not_known_yet() -> None:
    forecasts = [issued([10] * 9), issued([20], at=NOON + 9)]

    found = said(
        "a/x", forecasts, origins=[NOON - 1, NOON + 4, NOON + 5], half_hours=1, fresh_for=2 * HOUR
    )

    np.testing.assert_array_equal(found.values, [[NAN], [10], [NAN]])


def test_only_half_hours_that_everybody_spoke_of_are_scored() -> None:
    rows = rows_of(
        told("a/x", [12, 12, 12], [12, 12, NAN]),
        told("b/y", [NAN, 10, 7], [10, 10, 10]),
        outturns=[[10, 10, 10], [10, NAN, 10]],
    )

    assert (rows["a/x"].count, rows["b/y"].count) == (3, 3)
    assert (rows["a/x"].count_alone, rows["b/y"].count_alone) == (4, 4)
    assert (rows["a/x"].mae, rows["b/y"].mae) == (2, 1)
    assert (rows["a/x"].bias, rows["b/y"].bias) == (2, -1)
    assert rows["b/y"].rmse == pytest.approx(3**0.5)


def test_the_same_half_hour_seen_from_two_issue_times_counts_once_among_the_different() -> None:
    flat = np.ones((2, ORIGIN_EVERY + 2))
    (row,) = board([Said("a/x", flat)], flat)

    assert row.count == 2 * (ORIGIN_EVERY + 2)
    assert row.half_hours == 2 * ORIGIN_EVERY + 2


def test_a_source_that_fell_silent_is_listed_and_spoils_nothing() -> None:
    silent = told("a/old", *[[1.0]] * 6, *[[NAN]] * 8)
    speaking = told("a/x", *[[2.0]] * 14)

    rows = rows_of(silent, speaking, outturns=[[0.0]] * 14)

    assert (rows["a/x"].count, rows["a/x"].mae) == (14, 2)
    assert (rows["a/old"].count, rows["a/old"].count_alone, rows["a/old"].mae) == (0, 6, None)


def test_a_champion_that_was_followed_by_another_leaves_the_others_to_be_compared() -> None:
    before = told("gridflex/old", *[[1.0]] * 13, [NAN])
    after = told("gridflex/new", *[[NAN]] * 13, [2.0])
    provider = told("a/x", *[[3.0]] * 14)

    rows = rows_of(before, after, provider, outturns=[[0.0]] * 14)

    assert (rows["gridflex/new"].mae, rows["a/x"].mae, rows["a/x"].count) == (2, 3, 1)
    assert (rows["gridflex/old"].mae, rows["gridflex/old"].count_alone) == (None, 13)


def test_rows_are_told_by_lead_as_far_as_anybody_looked() -> None:
    values = np.zeros((1, 30))
    values[0, :12] = 1
    values[0, 12:24] = 2

    found = board([Said("a/x", values)], np.zeros((1, 30)))

    assert [(row.lead, row.mae) for row in found] == [("0-6h", 1), ("6-12h", 2), ("12-24h", 0)]


def test_bands_are_scored_where_there_are_any() -> None:
    values: Array = np.full((2, 1), 10.0)
    spread = np.array([4.0, 6, 8, 10, 12, 14, 16])
    sure = Said("a/x", values, np.array([[spread], [spread]]))

    rows = rows_of(sure, told("b/y", [10], [10]), outturns=[[10.0], [15.0]])

    assert rows["a/x"].coverage_fraction == {50: 0.5, 80: 0.5, 90: 1.0}
    expected = np.mean(
        [
            max(level * (truth - q), (level - 1) * (truth - q))
            for truth in (10, 15)
            for level, q in zip(LEVELS, spread, strict=True)
        ]
    )
    assert rows["a/x"].pinball == pytest.approx(expected)
    assert (rows["b/y"].pinball, rows["b/y"].coverage_fraction) == (None, {})


def test_the_band_as_served_is_that_of_each_issue_time_and_scored_where_there_was_one() -> None:
    spread = np.array([4.0, 6, 8, 10, 12, 14, 16])

    def served(series: Series, origin: HalfHour) -> Series:
        width = {0: None, 1: 1.0, 2: 2.0}[NOON.until(origin)]
        if width is None:
            return series
        return replace(series, quantiles=10 + width * (spread - 10)[None])

    forecasts = [issued([10], at=NOON + place) for place in range(3)]
    found = said("a/x", forecasts, origins=[NOON, NOON + 1, NOON + 2], half_hours=1, served=served)
    (row,) = board([found], np.array([[99.0], [17.0], [17.0]]))

    assert found.quantiles is None
    assert found.served is not None
    np.testing.assert_array_equal(found.served[:, 0, -1], [NAN, 16, 22])
    assert row.count == 3
    assert row.served_coverage_fraction == {50: 0, 80: 0.5, 90: 0.5}
    expected = np.mean(
        [
            max(level * (17 - q), (level - 1) * (17 - q))
            for width in (1, 2)
            for level, q in zip(LEVELS, 10 + width * (spread - 10), strict=True)
        ]
    )
    assert row.served_pinball == pytest.approx(expected)
    assert (row.pinball, row.coverage_fraction) == (None, {})


def test_the_baselines_know_no_more_than_was_known() -> None:
    days = np.repeat(np.arange(40.0), 48)
    history = History(NOON, "price_gbp_per_mwh", {"price_gbp_per_mwh": Input.outturn(days)})

    persistence, usual = baselines(history, origins=[NOON + 30 * 48], half_hours=96)

    np.testing.assert_array_equal(persistence.values, [[29.0] * 96])
    np.testing.assert_array_equal(usual.values, [[15.5] * 96])


def scored(source: str, mae: float, *, half_hours: int = LEAST_TO_PREFER) -> SkillRow:
    return SkillRow(source, "0-6h", half_hours, half_hours, half_hours, mae, mae, 0, None, {})


@pytest.mark.parametrize(
    ("rows", "wins"),
    [
        pytest.param([scored("gridflex/m", 9), scored("a/x", 10)], True, id="better"),
        pytest.param([scored("gridflex/m", 9.9), scored("a/x", 10)], False, id="hardly better"),
        pytest.param(
            [scored("gridflex/m", 9, half_hours=LEAST_TO_PREFER - 1), scored("a/x", 10)],
            False,
            id="too few half-hours",
        ),
        pytest.param(
            [scored("gridflex/m", 9), scored("a/x", 10), scored("b/y", 8)], False, id="not than all"
        ),
        pytest.param(
            [scored("gridflex/m", 9), scored("a/x", 10), scored("climatology", 5)],
            True,
            id="a baseline is no rival",
        ),
        pytest.param(
            [scored("gridflex/m", 9), scored("gridflex/old", 10)], False, id="only ourselves"
        ),
        pytest.param([scored("a/x", 10)], False, id="we said nothing"),
    ],
)
def test_ours_goes_first_only_where_it_was_clearly_better(rows: list[SkillRow], wins: bool) -> None:
    assert preferred(rows, source="gridflex/m") == (["0-6h"] if wins else [])


def test_a_forecast_is_cut_by_leads_from_the_half_hour_it_is_used_in() -> None:
    series = replace(
        issued(list(range(30)), at=NOON - 2), quantiles=np.repeat(np.arange(30.0)[:, None], 7, 1)
    )

    near, later = leads_of(series, ["0-6h", "12-24h", "24-48h"], start=NOON)

    assert (near.start, near.values.tolist()) == (NOON, list(range(2, 14)))
    assert (later.start, later.values.tolist()) == (NOON + 24, list(range(26, 30)))
    assert later.quantiles is not None
    assert later.quantiles[:, 0].tolist() == [26, 27, 28, 29]
