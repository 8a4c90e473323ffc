"""The baseline budget and whether a baseline predicts well enough to trade."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from gridflex.halfhour import HalfHour
from gridflex.market.baselines.engine import History
from gridflex.market.baselines.quality import (
    PredictabilityLimits,
    budget,
    exhausted_on,
    predictability,
    submitted_predictability,
    weakest,
)
from gridflex.market.baselines.rules import BL01
from gridflex.market.baselines.submitted import Outcome
from gridflex.market.volumes import ImportMWh
from tests.unit.market.days import CALENDAR

WEDNESDAY = date(2023, 4, 12)
LIMITS = PredictabilityLimits(
    bias_fraction=0.04, rrmse_fraction=0.2, sample_days=5, source="house rule"
)
EVENING = range(34, 38)


def back(day: date, days: int) -> list[date]:
    return [day - timedelta(n) for n in range(1, days + 1)]


def history(
    *, events: list[date] | None = None, step_on: date | None = None, step: str = "0"
) -> History:
    load = {
        day: [Decimal(1) + (Decimal(step) if step_on and day >= step_on else 0)] * 48
        for day in [WEDNESDAY, *back(WEDNESDAY, 130)]
        if day != date(2023, 3, 26)
    }
    return History(load=load, calendar=CALENDAR, event_days=frozenset(events or ()))


def working(days: int) -> list[date]:
    return [day for day in back(WEDNESDAY, 60) if CALENDAR.is_working(day)][:days]


def test_the_gauge_counts_the_days_that_may_still_be_declared() -> None:
    gauge = budget(BL01, day=WEDNESDAY, history=history(events=working(30)))

    assert (gauge.alike_days, gauge.eligible, gauge.spare_days) == (40, 10, 5)
    assert not gauge.is_exhausted


def test_the_gauge_is_empty_with_four_days_left() -> None:
    gauge = budget(BL01, day=WEDNESDAY, history=history(events=working(36)))

    assert gauge.is_exhausted
    assert gauge.spare_days == 0


def test_undeclared_responses_eat_the_baseline() -> None:
    used = working(4)

    undeclared = budget(BL01, day=WEDNESDAY, history=history(), activated=used)
    declared = budget(BL01, day=WEDNESDAY, history=history(events=used), activated=used)

    assert undeclared.erosion_fraction == Fraction(4, 10)
    assert declared.erosion_fraction == 0


def test_declaring_every_working_day_ends_the_baseline() -> None:
    last = WEDNESDAY + timedelta(80)
    planned = [WEDNESDAY + timedelta(n) for n in range(81)]

    day = exhausted_on(BL01, first=WEDNESDAY, last=last, history=history(), planned=planned)
    never = exhausted_on(BL01, first=WEDNESDAY, last=last, history=history(), planned=[])

    assert day is not None
    assert WEDNESDAY + timedelta(40) < day < WEDNESDAY + timedelta(60)
    assert never is None


def test_a_steady_load_may_be_traded() -> None:
    result = predictability(
        BL01, days=back(WEDNESDAY, 20), window=EVENING, history=history(), limits=LIMITS
    )

    assert result.may_trade
    assert (result.bias_fraction, result.rrmse_fraction) == (0, 0)


def test_capacity_added_last_week_stops_trading_where_the_adjustment_cannot_see_it() -> None:
    load = dict(history().load)
    for day in working(4):
        load[day] = [Decimal(1)] * 34 + [Decimal("1.5")] * 14
    grown = History(load=load, calendar=CALENDAR)

    result = predictability(BL01, days=working(8), window=EVENING, history=grown, limits=LIMITS)

    assert not result.may_trade
    assert "bias" in result.reason


def test_too_few_days_say_nothing() -> None:
    result = predictability(BL01, days=working(4), window=EVENING, history=history(), limits=LIMITS)

    assert not result.may_trade
    assert "4 days to judge by, 5 needed" in result.reason
    assert (result.bias_fraction, result.rrmse_fraction) == (None, None)


def test_days_in_which_nothing_was_metered_are_told_from_too_few() -> None:
    found = submitted_predictability(submitted("0"), limits=LIMITS)

    assert (found.days, found.may_trade) == (5, False)
    assert (found.bias_fraction, found.rrmse_fraction) == (None, None)
    assert found.reason == "5 days to judge by, but nothing was metered in them"


def submitted(metered: str, *, planned: str = "2", days: int = 5, sold: int = 0) -> list[Outcome]:
    """Some days on which 2 MWh were expected in each half-hour, one by default sold to 9 MWh."""
    return [
        Outcome(
            half_hour=HalfHour.from_settlement(day, period),
            expected=ImportMWh(Decimal(2)),
            metered=ImportMWh(Decimal(9 if period <= sold else metered)),
            explained=ImportMWh(2 - Decimal(planned)),
            is_activated=period <= sold,
        )
        for day in back(WEDNESDAY, days)
        for period in range(1, 49)
    ]


def test_a_submitted_baseline_that_meets_the_meter_may_be_traded() -> None:
    found = submitted_predictability(submitted("1.96"), limits=LIMITS)

    assert found.may_trade
    assert found.days == 5
    assert found.bias_fraction == pytest.approx(-0.04 / 1.96)


def test_a_meter_that_shows_more_than_the_jobs_stops_trading() -> None:
    found = submitted_predictability(submitted("2.5"), limits=LIMITS)

    assert (found.may_trade, found.reason) == (False, "bias +20.0% is beyond 4.0%")


def test_what_the_plan_moved_is_no_error_of_the_baseline() -> None:
    assert submitted_predictability(submitted("0.5", planned="0.5"), limits=LIMITS).may_trade
    assert not submitted_predictability(submitted("0.5"), limits=LIMITS).may_trade


def test_half_hours_in_which_something_was_offered_are_not_judged_by() -> None:
    assert submitted_predictability(submitted("2", sold=40), limits=LIMITS).may_trade
    assert submitted_predictability(submitted("2", sold=48), limits=LIMITS).days == 0


def test_a_submitted_baseline_with_too_few_days_says_nothing() -> None:
    found = submitted_predictability(submitted("2", days=4), limits=LIMITS)

    assert (found.may_trade, found.reason) == (False, "4 days to judge by, 5 needed")


def test_the_weakest_baseline_decides() -> None:
    good = submitted_predictability(submitted("1.96"), limits=LIMITS)
    better = submitted_predictability(submitted("2"), limits=LIMITS)
    bad = submitted_predictability(submitted("2", days=4), limits=LIMITS)

    assert weakest([better, bad, good]) == bad
    assert weakest([better, good]) == good
