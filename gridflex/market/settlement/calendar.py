"""The published Settlement Calendar: when each run of a settlement day pays.

Its rows are data, in the settings and in billing contracts; where none is given for a run of a
day, the usual lags count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel

from gridflex.market.settlement.runs import Run

PublishedDays = Mapping[tuple[date, Run], date]
"""When runs pay, by settlement day and run."""


class CalendarRow(BaseModel, extra="forbid", frozen=True):
    """One row of the published Settlement Calendar.

    Attributes:
        settlement_date: Settlement day.
        run: Which run.
        paid_on: When it pays, or is published for II.
    """

    settlement_date: date
    run: Run
    paid_on: date


def _one_row_a_run(rows: tuple[CalendarRow, ...]) -> tuple[CalendarRow, ...]:
    counted = Counter((one.settlement_date, one.run) for one in rows)
    twice = sorted(f"{day} {run}" for (day, run), times in counted.items() if times > 1)
    if twice:
        raise ValueError(f"{', '.join(twice)} is there twice; valid is one row of a day and run")
    return rows


SettlementCalendar = Annotated[tuple[CalendarRow, ...], AfterValidator(_one_row_a_run)]


def published_days(rows: Iterable[CalendarRow]) -> dict[tuple[date, Run], date]:
    """Return when runs pay by rows of the calendar."""
    return {(row.settlement_date, row.run): row.paid_on for row in rows}


def calendar_rows(published: PublishedDays) -> tuple[CalendarRow, ...]:
    """Return published days as rows, in order; the inverse of `published_days`."""
    return tuple(
        CalendarRow(settlement_date=day, run=run, paid_on=paid_on)
        for (day, run), paid_on in sorted(
            published.items(), key=lambda one: (one[0][0], one[0][1].position)
        )
    )
