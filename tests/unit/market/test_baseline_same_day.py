"""Same-day baselines."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.engine import Event
from gridflex.market.baselines.same_day import PJM_SAME_DAY_3_2, same_day_baseline

MIDNIGHT = HalfHour(datetime(2026, 1, 14, 0, tzinfo=UTC))
# hours ending 13 to 17: from 12:00 to 17:00
EVENT = Event(MIDNIGHT + 24, 10)


def day(**hours: int) -> dict[HalfHour, Decimal]:
    """A day of 1 MWh per half-hour but for some hours, named by when they end."""
    load = dict.fromkeys(MIDNIGHT.span(48), Decimal(1))
    for name, value in hours.items():
        start = 2 * (int(name.removeprefix("ending_")) - 1)
        load |= {MIDNIGHT + start: Decimal(value), MIDNIGHT + start + 1: Decimal(value)}
    return load


def test_hours_ending_9_to_11_and_19_to_20_count() -> None:
    load = day(ending_9=6, ending_10=6, ending_11=6, ending_19=1, ending_20=1)

    # six half-hours of 6 and four of 1
    assert same_day_baseline(PJM_SAME_DAY_3_2, event=EVENT, load=load) == Fraction(40, 10)


@pytest.mark.parametrize("hour", [8, 12, 13, 17, 18, 21])
def test_the_event_and_the_hour_around_it_do_not_count(hour: int) -> None:
    load = day(**{f"ending_{hour}": 99})

    assert same_day_baseline(PJM_SAME_DAY_3_2, event=EVENT, load=load) == 1


def test_a_missing_reading_is_an_error() -> None:
    load = day()
    del load[MIDNIGHT + 17]

    with pytest.raises(ContractError, match="2026-01-14T08:30Z"):
        same_day_baseline(PJM_SAME_DAY_3_2, event=EVENT, load=load)
