"""Half-hours in UTC and their settlement names, on ordinary days and when the clocks change."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HALF_HOUR, LONDON, HalfHour, half_hours_needed, in_utc, periods_in

FORWARD = date(2026, 3, 29)
BACK = date(2026, 10, 25)
NOON = HalfHour(datetime(2026, 7, 1, 12, tzinfo=UTC))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive by contract


@pytest.mark.parametrize(
    ("day", "count"),
    [
        pytest.param(FORWARD, 46, id="clocks go forward"),
        pytest.param(date(2026, 7, 1), 48, id="ordinary day"),
        pytest.param(BACK, 50, id="clocks go back"),
    ],
)
def test_a_day_has_as_many_periods_as_its_clock_has_half_hours(day: date, count: int) -> None:
    assert periods_in(day) == count


@pytest.mark.parametrize(
    ("day", "period", "start"),
    [
        pytest.param(date(2026, 7, 1), 1, "2026-06-30T23:00Z", id="summer day begins at 23:00"),
        pytest.param(date(2026, 1, 15), 1, "2026-01-15T00:00Z", id="winter day begins at 00:00"),
        pytest.param(FORWARD, 2, "2026-03-29T00:30Z", id="before the clocks go forward"),
        pytest.param(FORWARD, 3, "2026-03-29T01:00Z", id="02:00 follows 00:59"),
        pytest.param(FORWARD, 46, "2026-03-29T22:30Z", id="last of the short day"),
        pytest.param(BACK, 3, "2026-10-25T00:00Z", id="first 01:00"),
        pytest.param(BACK, 5, "2026-10-25T01:00Z", id="second 01:00"),
        pytest.param(BACK, 50, "2026-10-25T23:30Z", id="last of the long day"),
    ],
)
def test_a_settlement_period_is_one_half_hour_in_utc(day: date, period: int, start: str) -> None:
    half_hour = HalfHour.from_settlement(day, period)

    assert str(half_hour) == start
    assert half_hour.settlement == (day, period)


@pytest.mark.parametrize(
    ("day", "period"),
    [(FORWARD, 47), (date(2026, 7, 1), 49), (BACK, 51), (BACK, 0), (BACK, -1)],
)
def test_a_period_that_the_day_does_not_have_is_refused(day: date, period: int) -> None:
    with pytest.raises(ContractError, match=f"{day} has {periods_in(day)} .*not {period}"):
        HalfHour.from_settlement(day, period)


@given(moments)
def test_settlement_and_utc_are_two_names_for_the_same_half_hour(moment: datetime) -> None:
    half_hour = HalfHour.containing(moment)

    assert HalfHour.from_settlement(*half_hour.settlement) == half_hour


@given(moments)
def test_a_moment_lies_in_the_half_hour_that_contains_it(moment: datetime) -> None:
    half_hour = HalfHour.containing(moment)

    assert half_hour.start <= moment < half_hour.end
    assert half_hour.end - half_hour.start == HALF_HOUR


@given(moments, st.integers(-2_000, 2_000))
def test_counting_half_hours_forth_and_back_is_exact(moment: datetime, count: int) -> None:
    first = HalfHour.containing(moment)

    assert (first + count) - count == first
    assert first.until(first + count) == count


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        pytest.param(datetime(2026, 7, 1, 12, tzinfo=UTC), NOON, id="on the grid"),
        pytest.param(datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=UTC), NOON + 1, id="just after"),
        pytest.param(
            datetime(2026, 7, 1, 12, 30, tzinfo=LONDON), NOON - 1, id="London summer time"
        ),
    ],
)
def test_the_first_half_hour_that_a_moment_leaves_whole(
    moment: datetime, expected: HalfHour
) -> None:
    assert HalfHour.at_or_after(moment) == expected


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(datetime(2026, 7, 1, 12), id="naive"),  # noqa: DTZ001 - the case under test
        pytest.param(datetime(2026, 7, 1, 12, tzinfo=LONDON), id="British summer time"),
        pytest.param(datetime(2026, 7, 1, 12, 15, tzinfo=UTC), id="quarter past"),
        pytest.param(datetime(2026, 7, 1, 12, 30, 1, tzinfo=UTC), id="a second late"),
        pytest.param(datetime(2026, 7, 1, 12, 30, 0, 1, tzinfo=UTC), id="a microsecond late"),
    ],
)
def test_a_start_off_the_utc_grid_is_refused(start: datetime) -> None:
    with pytest.raises(ContractError, match="half-hour must start"):
        HalfHour(start)


def test_a_refused_start_is_named_as_an_instant() -> None:
    with pytest.raises(ContractError, match=r"got 2026-07-01T12:10:00\+00:00$"):
        HalfHour(datetime(2026, 7, 1, 12, 10, tzinfo=UTC))


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ContractError, match="needs a time zone"):
        HalfHour.containing(datetime(2026, 7, 1, 12))  # noqa: DTZ001 - the case under test


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:30:00-14:00",
        "9999-12-31T00:00Z",
        "0001-01-01T00:00+14:00",
        "2026-07-01T12:00",
    ],
)
def test_a_moment_that_not_every_zone_can_tell_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="from 0001-01-02 to 9999-12-30 in UTC"):
        in_utc(datetime.fromisoformat(text))


@pytest.mark.parametrize("text", ["9999-12-31T23:30Z", "0001-01-01T00:00Z"])
def test_no_half_hour_is_read_whose_end_or_day_there_is_not(text: str) -> None:
    with pytest.raises(ContractError, match="from 0001-01-02 to 9999-12-30 in UTC"):
        HalfHour.parse(text)


def test_the_last_moment_that_every_zone_can_tell_is_taken() -> None:
    last = datetime.fromisoformat("9999-12-31T13:30+14:00")

    assert in_utc(last) == HalfHour.containing(last).start
    assert in_utc(last).tzinfo is UTC


@pytest.mark.parametrize(
    "zone",
    [
        pytest.param(LONDON, id="London"),
        pytest.param(ZoneInfo("Etc/UTC"), id="Etc/UTC"),
        pytest.param(timezone(timedelta(0), "GMT"), id="a fixed zone"),
    ],
)
def test_a_winter_start_in_another_zone_counts_on_into_summer(zone: ZoneInfo | timezone) -> None:
    winter = HalfHour(datetime(2026, 3, 29, 0, 30, tzinfo=zone))

    assert winter + 2 == HalfHour(datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
    assert winter.until(winter + 2) == 2


def test_a_span_runs_on_through_the_change_of_the_clocks() -> None:
    night = HalfHour.from_settlement(BACK, 4).span(3)

    assert [half_hour.settlement[1] for half_hour in night] == [4, 5, 6]


def test_half_hours_are_ordered_by_time() -> None:
    assert sorted([NOON + 1, NOON - 1, NOON]) == [NOON - 1, NOON, NOON + 1]


@pytest.mark.parametrize(
    ("minutes", "count"), [(0, 0), (1, 1), (30, 1), (31, 2), (240, 8), (240.5, 9)]
)
def test_work_takes_whole_half_hours(minutes: float, count: int) -> None:
    assert half_hours_needed(timedelta(minutes=minutes)) == count
