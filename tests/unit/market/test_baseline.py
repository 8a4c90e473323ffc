"""BL01 and its neighbours on worked numbers.

The vectors V1 to V3 rest on a synthetic series in Wh whose value for every day and period is a
formula, so that a second implementation can be checked against the same figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour, periods_in
from gridflex.market.baselines.engine import BaselineDay, Event, History, Load, baseline
from gridflex.market.baselines.rules import (
    BL01,
    KEPCO_MID_6_OF_10,
    RULES,
    Adjustment,
    AdjustmentKind,
    Overnight,
    Rule,
    Trigger,
)
from gridflex.market.volumes import Rounding
from tests.unit.market.days import CALENDAR

WEDNESDAY = date(2023, 4, 12)
SATURDAY = date(2023, 4, 15)
DAY = timedelta(days=1)


def wh(day: date, period: int) -> Decimal:
    ordinal = day.toordinal()
    return Decimal(1000 + 37 * (ordinal % 11) + 53 * (period % 7) + 11 * ((ordinal * period) % 5))


def series(first: date, last: date) -> dict[date, list[Decimal | None]]:
    days = [first + n * DAY for n in range((last - first).days + 1)]
    return {day: [wh(day, period) for period in range(1, periods_in(day) + 1)] for day in days}


def flat(values: dict[date, str], *, today: date, today_value: str = "0") -> Load:
    load: dict[date, list[Decimal | None]] = {
        day: [Decimal(value)] * 48 for day, value in values.items()
    }
    load[today] = [Decimal(today_value)] * 48
    return load


def history(load: Load, events: Iterable[date] = ()) -> History:
    return History(load=load, calendar=CALENDAR, event_days=frozenset(events))


def event(day: date, period: int, half_hours: int = 2) -> Event:
    return Event(HalfHour.from_settlement(day, period), half_hours)


def days_back(day: date, *back: int) -> list[date]:
    return [day - n * DAY for n in back]


@pytest.fixture(scope="module")
def synthetic() -> dict[date, list[Decimal | None]]:
    return series(date(2023, 1, 1), SATURDAY)


def test_the_synthetic_series_has_its_check_value() -> None:
    assert wh(WEDNESDAY, 36) == 1260


def test_bl01_of_a_working_day_skips_the_easter_holidays(
    synthetic: dict[date, list[Decimal | None]],
) -> None:
    result = baseline(BL01, day=WEDNESDAY, history=history(synthetic), event=event(WEDNESDAY, 36))

    assert result.selected == (
        *(date(2023, 4, n) for n in (11, 6, 5, 4, 3)),
        *(date(2023, 3, n) for n in (31, 30, 29, 28, 27)),
    )
    assert result.unadjusted[35:38] == (
        Fraction(12515, 10),
        Fraction(13034, 10),
        Fraction(13608, 10),
    )
    assert total(result) == Fraction(651727, 10)
    assert result.move == Fraction(133, 15)
    assert result.values[35] == Fraction(12515, 10) + Fraction(133, 15)
    assert result.is_defined


def test_bl01_leaves_out_event_days_and_days_with_a_gap(
    synthetic: dict[date, list[Decimal | None]],
) -> None:
    load = dict(synthetic)
    load[date(2023, 4, 3)] = [None, *synthetic[date(2023, 4, 3)][1:]]
    events = [date(2023, 4, 11), date(2023, 4, 5)]

    result = baseline(
        BL01, day=WEDNESDAY, history=history(load, events), event=event(WEDNESDAY, 36)
    )

    assert result.selected == (
        *(date(2023, 4, n) for n in (6, 4)),
        *(date(2023, 3, n) for n in (31, 30, 29, 28, 27, 24, 23, 22)),
    )
    assert result.unadjusted[35:38] == (
        Fraction(12574, 10),
        Fraction(13115, 10),
        Fraction(13656, 10),
    )
    assert total(result) == 65457
    assert result.move == Fraction(63, 20)
    assert result.excluded[date(2023, 4, 3)] == "incomplete"
    assert result.excluded[date(2023, 4, 5)] == "event day"


def test_bl01_of_a_saturday_takes_the_middle_two_of_four(
    synthetic: dict[date, list[Decimal | None]],
) -> None:
    result = baseline(BL01, day=SATURDAY, history=history(synthetic), event=event(SATURDAY, 36))

    assert set(result.selected) == {date(2023, 4, 8), date(2023, 4, 9)}
    assert result.unadjusted[35:38] == (
        Fraction(1147),
        Fraction(11835, 10),
        Fraction(12475, 10),
    )
    assert total(result) == Fraction(595385, 10)
    assert result.move == Fraction(650, 3)


@pytest.mark.parametrize(
    ("kept", "is_defined"), [pytest.param(4, False, id="4"), pytest.param(5, True, id="5")]
)
def test_bl01_needs_five_of_the_forty_working_days(
    synthetic: dict[date, list[Decimal | None]], kept: int, *, is_defined: bool
) -> None:
    alike = baseline(BL01, day=WEDNESDAY, history=history(synthetic)).eligible

    result = baseline(BL01, day=WEDNESDAY, history=history(synthetic, alike[kept:]))

    assert len(alike) == 40
    assert result.is_defined is is_defined
    assert (result.unadjusted[35] == wh(WEDNESDAY, 36)) is not is_defined


def test_of_four_sundays_the_lowest_and_the_highest_do_not_count() -> None:
    sunday = date(2023, 2, 12)
    totals = dict(zip(days_back(sunday, 1, 7, 8, 14), ("9", "1", "3", "5"), strict=True))

    result = baseline(BL01, day=sunday, history=history(flat(totals, today=sunday)))

    assert result.unadjusted == (Fraction(4),) * 48


def test_the_hour_before_the_event_does_not_move_the_baseline() -> None:
    day = date(2023, 2, 15)
    past = {one: "2" for one in days_back(day, *range(1, 20)) if CALENDAR.is_working(one)}
    load = dict(flat(past, today=day, today_value="2"))
    today = [Decimal("2.6") if 27 <= period <= 32 else Decimal(2) for period in range(1, 49)]
    today[32:34] = [Decimal(50), Decimal(50)]
    load[day] = list(today)

    result = baseline(BL01, day=day, history=history(load), event=event(day, 35))

    assert result.move == Fraction(6, 10)


def test_good_friday_is_not_a_working_day_and_the_change_of_clocks_no_history() -> None:
    sunday = date(2013, 4, 7)
    load = series(date(2013, 2, 1), sunday)

    result = baseline(BL01, day=sunday, history=history(load))

    assert not CALENDAR.is_working(date(2013, 3, 29))
    assert result.excluded[date(2013, 3, 31)] == "clocks change"
    assert date(2013, 3, 29) in result.eligible


@pytest.mark.parametrize(
    ("day", "skipped"),
    [
        pytest.param(date(2026, 3, 29), {2, 3}, id="46 half-hours"),
        pytest.param(date(2026, 10, 25), set(), id="50 half-hours"),
    ],
)
def test_a_long_or_short_day_takes_history_by_the_clock(day: date, skipped: set[int]) -> None:
    past = days_back(day, 1, 7, 8, 14, 15)
    load: dict[date, list[Decimal | None]] = {
        one: [Decimal(position) for position in range(48)] for one in past
    }
    load[day] = [Decimal(0)] * periods_in(day)

    result = baseline(BL01, day=day, history=history(load))

    assert len(result.unadjusted) == periods_in(day)
    if skipped:
        assert [int(value or 0) for value in result.unadjusted[:4]] == [0, 1, 4, 5]
    else:
        assert [int(value or 0) for value in result.unadjusted[:8]] == [0, 1, 2, 3, 2, 3, 4, 5]


WITHOUT_WEEKENDS = {KEPCO_MID_6_OF_10.name}


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)], ids=["46", "50"])
@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_has_a_value_for_each_half_hour_of_a_clock_change_day(
    rule: Rule, day: date
) -> None:
    load: dict[date, list[Decimal | None]] = {
        one: [Decimal(period) for period in range(periods_in(one))]
        for one in days_back(day, *range(1, 121))
    }
    load[day] = [Decimal(7)] * periods_in(day)
    if rule.name in WITHOUT_WEEKENDS:
        with pytest.raises(ContractError, match="no selection for non-working"):
            baseline(rule, day=day, history=history(load))
        return

    result = baseline(rule, day=day, history=history(load), event=event(day, 36))

    assert result.is_defined
    by_the_clock = [0, 1, 4, 5] if periods_in(day) == 46 else [0, 1, 2, 3, 2, 3, 4, 5]
    assert [int(value or 0) for value in result.unadjusted[: len(by_the_clock)]] == by_the_clock
    assert [int(value or 0) for value in result.unadjusted[-2:]] == [46, 47]
    assert len(result.values) == periods_in(day)


@pytest.mark.parametrize("day", [date(2026, 3, 29), WEDNESDAY, date(2026, 10, 25)])
def test_readings_that_are_not_those_of_the_day_are_refused(day: date) -> None:
    load = {day: [Decimal(1)] * (periods_in(day) + 2)}

    with pytest.raises(ContractError, match=f"has {periods_in(day)} periods, got"):
        baseline(BL01, day=day, history=history(load))


def test_what_the_market_knows_decides_which_baseline_counts(
    synthetic: dict[date, list[Decimal | None]],
) -> None:
    results = {
        trigger: baseline(
            BL01,
            day=WEDNESDAY,
            history=history(synthetic),
            event=event(WEDNESDAY, 36),
            trigger=trigger,
        )
        for trigger in Trigger
    }

    assert results[Trigger.ACCEPTANCE].values == results[Trigger.ACCEPTANCE].adjusted
    assert results[Trigger.WHOLESALE_ONLY].values == results[Trigger.ACCEPTANCE].unadjusted
    assert results[Trigger.NEITHER].values[35] == wh(WEDNESDAY, 36)
    assert results[Trigger.NEITHER].adjusted == results[Trigger.ACCEPTANCE].adjusted


def test_an_early_event_has_no_adjustment_unless_the_rule_reaches_into_the_day_before(
    synthetic: dict[date, list[Decimal | None]],
) -> None:
    reaching = Rule(
        name="reaching",
        partition=BL01.partition,
        selections=BL01.selections,
        adjustment=Adjustment(AdjustmentKind.ADDITIVE, overnight=Overnight.PREVIOUS_DAY),
        source="test",
    )
    early = event(WEDNESDAY, 8)

    undefined = baseline(BL01, day=WEDNESDAY, history=history(synthetic), event=early)
    reached = baseline(reaching, day=WEDNESDAY, history=history(synthetic), event=early)

    assert undefined.move is None
    assert "day before" in undefined.note
    assert undefined.adjusted == undefined.unadjusted
    assert reached.move is not None


def test_an_event_of_another_day_is_refused() -> None:
    with pytest.raises(ContractError, match="2023-04-11"):
        baseline(BL01, day=WEDNESDAY, history=history({}), event=event(date(2023, 4, 11), 36))


def test_without_enough_days_a_missing_reading_stays_missing() -> None:
    result = baseline(BL01, day=WEDNESDAY, history=history({WEDNESDAY: [None] * 48}))

    assert not result.is_defined
    assert result.mwh(Rounding()) == (None,) * 48


def total(result: BaselineDay) -> Fraction:
    return sum((value for value in result.unadjusted if value is not None), Fraction(0))
