"""For which settlement days a run has come due lately."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

from gridflex.market.settlement.runs import TIMETABLE, Run, payment_day
from gridflex.market.working_days import DAY, WorkingCalendar

WITHIN: Final = timedelta(days=14)
"""For how long after its day a run is still tried; what it lacked is in the next one."""


GIVEN_UP_WITHIN: Final = timedelta(days=45)
"""For how long after its day a run that was given up is looked for, to be told of."""

MOST_WITHIN: Final = timedelta(days=900)
"""The same after a time in which nobody looked, however long that was."""

SEEN_BEFORE: Final = GIVEN_UP_WITHIN - WITHIN
"""Whoever looked this long ago or later looked for all that came due before the usual time."""


def due_days(
    today: date,
    *,
    calendar: WorkingCalendar,
    published: Mapping[tuple[date, Run], date] | None = None,
    within: timedelta = WITHIN,
) -> dict[date, Run]:
    """Return the settlement days of which a run came due, each with the newest such run.

    The run after a dispute is due only where the published calendar has it.

    Args:
        today: By the clock in London.
        calendar: Working days.
        published: Rows of the published Settlement Calendar, which come first.
        within: How long ago at most.
    """
    due: dict[date, Run] = {}
    for run in Run:
        for day in _candidates(run, today, published or {}, within):
            on = payment_day(day, run=run, calendar=calendar, published=published)
            if day < today and today - within < on <= today:
                due[day] = run
    return due


def given_up_within(today: date, *, seen_on: date | None) -> timedelta:
    """Return how long ago a run may have come due that is looked for as given up.

    A run is tried for two weeks and then looked for, for a month; one that was due while nobody
    did either is not missed.

    Args:
        today: By the clock in London.
        seen_on: The last day, of those at least `SEEN_BEFORE` ago, on which somebody is known to
            have looked; None if nothing was traded by then.
    """
    if seen_on is None:
        return GIVEN_UP_WITHIN
    return min(max(GIVEN_UP_WITHIN, today - seen_on + WITHIN), MOST_WITHIN)


def given_up_days(
    today: date,
    *,
    calendar: WorkingCalendar,
    published: Mapping[tuple[date, Run], date] | None = None,
    within: timedelta = GIVEN_UP_WITHIN,
) -> dict[date, Run]:
    """Return the settlement days whose newest run is not tried any more, each with that run.

    Args:
        today: By the clock in London.
        calendar: Working days.
        published: Rows of the published Settlement Calendar, which come first.
        within: How long ago the run came due at most.
    """
    tried = due_days(today, calendar=calendar, published=published)
    known = due_days(today, calendar=calendar, published=published, within=within)
    return {day: run for day, run in known.items() if day not in tried}


def _candidates(
    run: Run, today: date, published: Mapping[tuple[date, Run], date], within: timedelta
) -> Iterator[date]:
    """Yield all days whose run can have come due, and some more."""
    yield from (day for day, which in published if which is run)
    if run is Run.DF:
        return
    lag = TIMETABLE.on(today).lags[run]
    longest = timedelta(days=lag * 7 // 5 + lag // 15 + 14)  # weekends, bank holidays, the last one
    day = today - within - longest
    while day <= today - lag * DAY:
        yield day
        day += DAY
