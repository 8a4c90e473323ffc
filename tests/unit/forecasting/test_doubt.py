"""Bands from the errors that a source was seen to make."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from gridflex.forecasting.doubt import (
    CARBON_ERRORS,
    LEARNT_EVERY,
    LEAST_HALF_HOURS,
    Doubts,
    doubted,
    learnt,
    served_with,
    share_of_national,
)
from gridflex.forecasting.history import Array
from gridflex.forecasting.skill import Said
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS, MEDIAN
from gridflex.signals import Band, Kind, Origin, Series, Signal

NOON = HalfHour(datetime(2026, 7, 1, 12, tzinfo=UTC))
PROVIDER = "carbon-intensity/fw48h"
ORIGINS = [NOON + LEARNT_EVERY * place for place in range(131)]
"""Sixty days."""


def forecast(
    values: Array, *, source: str = PROVIDER, region: str = "GB", quantiles: Array | None = None
) -> Series:
    return Series(
        signal=Signal.INTENSITY, kind=Kind.FORECAST, source=source, origin=Origin.LIVE,
        region=region, start=NOON, values=values, issued_at=NOON.start, available_at=NOON.start,
        quantiles=quantiles,
    )  # fmt: skip


def doubts(said: Said, outturns: Array) -> Doubts:
    found = learnt(said, ORIGINS[: len(outturns)], outturns)
    return Doubts(Signal.INTENSITY, NOON.start, {} if found is None else {said.source: found})


def growing(seed: int, count: int) -> Array:
    """Normal errors whose standard deviation is 10, and 1 more for each half-hour ahead."""
    draw = np.random.default_rng(seed).standard_normal((count, 96))
    return np.asarray(draw * (10.0 + np.arange(96)))


def test_a_provider_that_says_nothing_of_its_doubt_gets_the_band_of_its_errors() -> None:
    said = Said(PROVIDER, np.full((131, 96), 500.0))
    learnt_from = doubts(said, 500.0 + growing(1, 131))

    found = doubted(forecast(np.full(96, 500.0)), learnt_from)

    assert found.band is Band.MEASURED
    assert found.quantiles is not None
    inside = np.abs(growing(2, 400)) <= found.quantiles[:, -1] - 500
    low = -np.abs(growing(2, 400)) >= found.quantiles[:, 0] - 500
    assert (inside & low).mean() == pytest.approx(0.9, abs=0.02)
    widths = found.quantiles[:, -1] - found.quantiles[:, 0]
    assert widths[90] > 4 * widths[0]
    np.testing.assert_array_equal(found.quantiles[:, MEDIAN], found.values)


def test_our_own_band_is_stretched_to_what_really_was_missed() -> None:
    normal = 10 * np.array([-1.645, -1.282, -0.674, 0, 0.674, 1.282, 1.645])
    raw = np.broadcast_to(200 + normal, (131, 96, len(LEVELS)))
    said = Said("gridflex/m", np.full((131, 96), 200.0), raw)
    errors = 30 * np.random.default_rng(3).standard_normal((131, 96))

    now = 2 * normal + 400  # a wilder time by its own word
    found = doubted(
        forecast(np.full(96, 400.0), source="gridflex/m", quantiles=np.tile(now, (96, 1))),
        doubts(said, 200 + errors),
    )

    assert found.band is Band.MEASURED
    assert found.quantiles is not None
    half = (found.quantiles[:, -1] - found.quantiles[:, 0]) / 2
    np.testing.assert_allclose(half, 1.645 * 30 * 2, rtol=0.2)


def test_what_is_not_known_yet_teaches_nothing() -> None:
    said = Said(PROVIDER, np.full((131, 96), 300.0))
    came = 300 + growing(4, 131)
    later = came.copy()
    place = np.array([NOON.until(one) for one in ORIGINS])[:, None] + np.arange(96)
    is_ahead = place >= 1000
    came[is_ahead], later[is_ahead] = np.nan, np.nan

    known = doubts(said, came)
    again = doubts(Said(PROVIDER, np.where(is_ahead, 999.0, 300.0)), later)

    np.testing.assert_array_equal(
        known.of[PROVIDER].bands.offsets, again.of[PROVIDER].bands.offsets
    )


def test_until_a_week_of_errors_is_known_the_published_ones_stand_in_and_are_called_assumed() -> (
    None
):
    few = np.full((15, 96), np.nan)
    few[:, :24] = 310.0
    learnt_from = doubts(Said(PROVIDER, np.full((15, 96), 300.0)), few)
    assert learnt_from.of == {}

    found = doubted(forecast(np.full(96, 300.0)), learnt_from)

    assert found.band is Band.ASSUMED
    assert found.quantiles is not None
    sd = (found.quantiles[:, -1] - found.quantiles[:, 0]) / (2 * 1.6449)
    assert sd[0] == pytest.approx(10 * 1.2533, rel=1e-3)
    assert sd[50] == pytest.approx(1.2533 * (10 + 3.1 * 5), rel=1e-3)
    assert CARBON_ERRORS.mean_abs_error(np.array([25.0]))[0] == pytest.approx(25.5)


def test_the_band_of_an_issue_time_is_that_of_what_was_learnt_last_by_then() -> None:
    said = Said(PROVIDER, np.full((131, 96), 500.0))
    narrow, wide = (doubts(said, 500 + times * growing(5, 131)) for times in (1.0, 3.0))
    counted = [replace(narrow, at=(NOON + 4).start), replace(wide, at=(NOON + 8).start)]
    series = forecast(np.full(20, 500.0))

    served = served_with(counted)

    def width(origin: HalfHour) -> float:
        quantiles = served(series, origin).quantiles
        assert quantiles is not None
        return float(quantiles[0, -1] - quantiles[0, 0])

    assert width(NOON + 7) == width(NOON + 4)
    assert width(NOON + 8) == pytest.approx(3 * width(NOON + 7))
    assert served(series, NOON + 3).band is Band.ASSUMED
    assert served(series, NOON + 4).band is Band.MEASURED


@pytest.mark.parametrize(
    ("first", "second", "is_enough"),
    [
        pytest.param(LEAST_HALF_HOURS, 0, True, id="just enough"),
        pytest.param(LEAST_HALF_HOURS - 1, 0, False, id="one too few"),
        pytest.param(LEAST_HALF_HOURS - 1, LEAST_HALF_HOURS - 1 - LEARNT_EVERY, False, id="twice"),
        pytest.param(LEAST_HALF_HOURS - 1, LEAST_HALF_HOURS - LEARNT_EVERY, True, id="one more"),
    ],
)
def test_a_week_is_counted_in_different_half_hours(
    first: int, second: int, is_enough: bool
) -> None:
    came = np.full((2, LEAST_HALF_HOURS), np.nan)
    came[0, :first] = 310.0
    came[1, :second] = 310.0  # the second issue time is LEARNT_EVERY half-hours later

    found = learnt(Said(PROVIDER, np.full(came.shape, 300.0)), ORIGINS[:2], came)

    assert (found is not None) is is_enough
    assert found is None or found.half_hours == LEAST_HALF_HOURS


def test_published_errors_grow_for_four_days() -> None:
    at = CARBON_ERRORS.mean_abs_error(np.array([0.0, 95.0, 96.0, 97.0, 500.0]))

    assert at[0] == 10
    assert at[1] < at[2] == at[3] == at[4] == pytest.approx(10 + 3.1 * 96**0.5)


def test_a_source_that_is_quite_sure_of_itself_is_not_divided_by_nothing() -> None:
    normal = np.linspace(-1.0, 1.0, len(LEVELS))
    said = Said(
        "gridflex/m", np.full((131, 96), 200.0), np.broadcast_to(200 + normal, (131, 96, 7))
    )
    learnt_from = doubts(said, 200 + growing(6, 131))

    sure = np.full((4, len(LEVELS)), 200.0)
    found = doubted(forecast(np.full(4, 200.0), source="gridflex/m", quantiles=sure), learnt_from)

    assert found.quantiles is not None
    assert 0 < found.quantiles[0, -1] - found.quantiles[0, 0] < 0.1


def test_a_region_whose_share_cannot_be_told_is_in_doubt_like_the_nation() -> None:
    national, scotland = forecast(np.full(4, 200.0)), forecast(np.full(4, 20.0), region="EH1")
    later = replace(scotland, start=NOON + 99)

    assert share_of_national(scotland, []) == 1
    assert share_of_national(scotland, [replace(national, source="someone/else")]) == 1
    assert share_of_national(later, [national]) == 1
    assert share_of_national(scotland, [forecast(np.zeros(4))]) == 1
    assert share_of_national(national, [forecast(np.full(4, 100.0))]) == 1
    assert share_of_national(scotland, [forecast(np.full(4, 0.5))]) == 40


def test_a_source_whose_errors_nobody_knows_has_no_band() -> None:
    found = doubted(forecast(np.full(4, 300.0), source="someone/new"), None)

    assert found.quantiles is None


def test_our_own_band_stays_as_it_is_until_its_errors_are_known() -> None:
    told = np.tile(np.linspace(90, 110, len(LEVELS)), (4, 1))

    found = doubted(forecast(np.full(4, 100.0), source="gridflex/m", quantiles=told), None)

    assert found.band is Band.SAID
    np.testing.assert_array_equal(found.quantiles, told)


def test_a_region_is_in_doubt_in_the_measure_of_its_values() -> None:
    national = forecast(np.full(4, 200.0))
    scotland = forecast(np.full(4, 20.0), region="EH1")

    share = share_of_national(scotland, [national])
    found, alike = (
        doubted(one, None, share=by) for one, by in ((scotland, share), (national, 1.0))
    )

    assert share == pytest.approx(0.1)
    assert found.band is Band.ASSUMED
    assert found.quantiles is not None
    assert alike.quantiles is not None
    np.testing.assert_allclose(found.quantiles[:, -1] - 20, (alike.quantiles[:, -1] - 200) / 10)


def test_an_old_forecast_is_doubted_by_its_age() -> None:
    fresh = forecast(np.full(20, 300.0))
    old = Series(**{
        **{name: getattr(fresh, name) for name in Series.__dataclass_fields__},
        "available_at": NOON.start - timedelta(hours=9),
    })  # fmt: skip

    new, aged = doubted(fresh, None), doubted(old, None)

    assert new.quantiles is not None
    assert aged.quantiles is not None
    np.testing.assert_allclose(aged.quantiles[0], new.quantiles[18])
