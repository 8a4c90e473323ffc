"""Which runs came due, worked by hand from the bank holidays of England and Wales."""

from datetime import date, timedelta

import pytest

from gridflex.market.settlement.due_runs import due_days, given_up_days, given_up_within
from gridflex.market.settlement.runs import Run, next_run, payment_day
from gridflex.market.working_days import calendar_around

DAY = date(2026, 7, 1)
CALENDAR = calendar_around(DAY)
TODAY_ALONE = timedelta(days=1)


@pytest.mark.parametrize(
    ("today", "run"),
    [
        pytest.param(date(2026, 7, 8), Run.II, id="five working days"),
        pytest.param(date(2026, 7, 23), Run.SF, id="sixteen"),
        pytest.param(date(2026, 8, 25), Run.R1, id="thirty-nine"),
        pytest.param(date(2026, 10, 28), Run.R2, id="eighty-four, over the holiday of 31 August"),
    ],
)
def test_a_day_is_due_on_the_working_day_of_its_run(today: date, run: Run) -> None:
    assert due_days(today, calendar=CALENDAR, within=TODAY_ALONE)[DAY] is run
    assert DAY not in due_days(today - TODAY_ALONE, calendar=CALENDAR, within=TODAY_ALONE)


def test_no_day_is_missed_whatever_its_run() -> None:
    for run in (Run.R3, Run.RF):
        for day in (date(2025, 12, 1) + timedelta(days=n) for n in range(40)):
            today = payment_day(day, run=run, calendar=CALENDAR)
            assert due_days(today, calendar=CALENDAR, within=TODAY_ALONE)[day] is run


def test_a_run_is_tried_for_two_weeks_and_the_newer_one_counts() -> None:
    assert due_days(date(2026, 7, 21), calendar=CALENDAR)[DAY] is Run.II
    assert DAY not in due_days(date(2026, 7, 22), calendar=CALENDAR)
    published = {(DAY, Run.SF): date(2026, 7, 10)}
    assert due_days(date(2026, 7, 10), calendar=CALENDAR, published=published)[DAY] is Run.SF


def test_the_published_day_counts_and_only_it_brings_a_run_after_a_dispute() -> None:
    published = {(DAY, Run.II): date(2026, 7, 3), (DAY, Run.DF): date(2028, 11, 1)}

    assert due_days(date(2026, 7, 3), calendar=CALENDAR, published=published)[DAY] is Run.II
    late = due_days(
        date(2028, 11, 2), calendar=calendar_around(date(2028, 11, 2)), published=published
    )
    assert late[DAY] is Run.DF


def test_a_day_that_is_not_over_is_never_due() -> None:
    published = {(DAY, Run.II): DAY}

    assert DAY not in due_days(DAY, calendar=CALENDAR, published=published)


def test_a_run_is_given_up_a_fortnight_after_its_day_until_the_next_one_comes() -> None:
    assert DAY not in given_up_days(date(2026, 8, 5), calendar=CALENDAR)
    assert given_up_days(date(2026, 8, 6), calendar=CALENDAR)[DAY] is Run.SF
    assert given_up_days(date(2026, 8, 24), calendar=CALENDAR)[DAY] is Run.SF
    assert DAY not in given_up_days(date(2026, 8, 25), calendar=CALENDAR)


@pytest.mark.parametrize(
    ("seen_on", "days"),
    [
        pytest.param(None, 45, id="nothing was traded then"),
        pytest.param(date(2026, 12, 5), 45, id="it looked all the time"),
        pytest.param(date(2026, 7, 2), 187 + 14, id="away since July"),
        pytest.param(date(2020, 1, 1), 900, id="away for years"),
    ],
)
def test_after_a_time_in_which_nobody_looked_all_of_it_is_looked_at(
    seen_on: date | None, days: int
) -> None:
    within = given_up_within(date(2027, 1, 5), seen_on=seen_on)

    assert within == timedelta(days=days)


def test_the_longest_look_back_stays_in_the_calendar() -> None:
    today = date(2029, 7, 1)
    years = timedelta(days=900)

    found = given_up_days(today, calendar=calendar_around(today), within=years)

    assert found[date(2026, 1, 5)] is Run.RF


def test_the_next_run_is_named_and_after_the_last_there_is_none() -> None:
    today = date(2026, 8, 6)

    def following(after: Run, published: dict[tuple[date, Run], date] | None = None) -> object:
        return next_run(DAY, after=after, today=today, calendar=CALENDAR, published=published)

    assert following(Run.SF) == (Run.R1, date(2026, 8, 25))
    assert following(Run.II) == (Run.R1, date(2026, 8, 25))  # SF has been
    assert following(Run.RF) is None
    dispute = (DAY, Run.DF), date(2028, 11, 1)
    assert following(Run.RF, dict([dispute])) == (Run.DF, dispute[1])
