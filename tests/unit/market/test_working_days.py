"""Settlement days, bank holidays and the instants of deadlines."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour, periods_in
from gridflex.market.working_days import (
    end_of_day,
    gate_closure,
    half_hours_of,
    is_clock_change,
)
from tests.unit.market.days import CALENDAR


@pytest.mark.parametrize(
    ("day", "count"),
    [
        (date(2026, 3, 28), 48),
        (date(2026, 3, 29), 46),
        (date(2026, 10, 25), 50),
        (date(2027, 3, 28), 46),
        (date(2027, 10, 31), 50),
    ],
)
def test_days_have_46_48_or_50_half_hours(day: date, count: int) -> None:
    assert periods_in(day) == count == len(half_hours_of(day))
    assert is_clock_change(day) is (count != 48)


@pytest.mark.parametrize(
    ("start", "settlement"),
    [
        ("2026-03-29T00:30Z", (date(2026, 3, 29), 2)),
        ("2026-03-29T01:00Z", (date(2026, 3, 29), 3)),
        ("2026-10-25T00:30Z", (date(2026, 10, 25), 4)),
        ("2026-10-25T01:30Z", (date(2026, 10, 25), 6)),
        ("2026-07-01T23:00Z", (date(2026, 7, 2), 1)),
        ("2026-10-25T23:30Z", (date(2026, 10, 25), 50)),
    ],
)
def test_instants_and_settlement_periods(start: str, settlement: tuple[date, int]) -> None:
    half_hour = HalfHour.containing(datetime.fromisoformat(start))

    assert half_hour.settlement == settlement
    assert HalfHour.from_settlement(*settlement) == half_hour


def test_gate_closure_is_an_hour_before_in_utc_also_when_the_clocks_change() -> None:
    third = HalfHour.from_settlement(date(2026, 3, 29), 3)

    assert gate_closure(third) == datetime(2026, 3, 29, 0, 0, tzinfo=UTC)


def test_a_summer_day_ends_at_2300_utc() -> None:
    assert end_of_day(date(2026, 7, 1)) == datetime(2026, 7, 1, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "is_working"),
    [
        (date(2026, 12, 24), True),
        (date(2026, 12, 25), False),
        (date(2026, 12, 28), False),
        (date(2026, 11, 29), False),
        (date(2023, 5, 8), False),
    ],
)
def test_working_days_of_england_and_wales(day: date, *, is_working: bool) -> None:
    assert CALENDAR.is_working(day) is is_working


def test_a_day_outside_the_list_is_an_error_not_a_working_day() -> None:
    with pytest.raises(ContractError, match="2012-01-01 to 2029-12-31"):
        CALENDAR.is_working(date(2031, 1, 2))
