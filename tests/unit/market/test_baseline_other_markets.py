"""Baselines by the rules of other markets, and what every rule keeps to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.market.baselines.engine import baseline
from gridflex.market.baselines.rules import (
    BL01,
    CAISO_10_IN_10,
    KEPCO_MID_6_OF_10,
    NYISO_CBL,
    PJM_HIGH_4_OF_5,
    PJM_MATCH_DAY,
    Adjustment,
    AdjustmentKind,
    Order,
    Partition,
    Rule,
    Selection,
    Treatment,
    Trigger,
)
from tests.unit.market.days import CALENDAR
from tests.unit.market.test_baseline import days_back, event, flat, history


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        pytest.param("630", 1890, id="five percent up"),
        pytest.param("3000", 2160, id="held at twenty percent"),
        pytest.param("10", 1440, id="held at minus twenty percent"),
    ],
)
def test_caiso_moves_the_baseline_by_a_capped_ratio(today: str, expected: int) -> None:
    day = date(2023, 2, 15)
    past = [one for one in days_back(day, *range(1, 15)) if CALENDAR.is_working(one)]
    shape = [Decimal(100)] * 48
    shape[34:36] = [Decimal(900), Decimal(900)]
    load: dict[date, list[Decimal | None]] = {one: list(shape) for one in past}
    load[day] = [Decimal(today) / 6] * 48

    result = baseline(CAISO_10_IN_10, day=day, history=history(load), event=event(day, 35))

    assert sum(Fraction(value or 0) for value in result.values[34:36]) == expected


def test_a_ratio_to_a_zero_history_leaves_the_baseline_alone() -> None:
    day = date(2023, 2, 15)
    past = {one: "0" for one in days_back(day, *range(1, 15)) if CALENDAR.is_working(one)}

    result = baseline(
        CAISO_10_IN_10,
        day=day,
        history=history(flat(past, today=day, today_value="5")),
        event=event(day, 35),
    )

    assert result.move == 1


def recent(day: date, count: int, *, label: str = "working") -> list[date]:
    days = days_back(day, *range(1, 45))
    if label == "saturday":
        return [one for one in days if one.weekday() == 5][:count]
    return [one for one in days if CALENDAR.is_working(one) is (label == "working")][:count]


@pytest.mark.parametrize(
    ("rule", "day", "label", "values", "expected"),
    [
        pytest.param(
            NYISO_CBL, date(2023, 2, 15), "working", range(1, 11), Fraction(8), id="NYISO weekday"
        ),
        pytest.param(
            NYISO_CBL, date(2023, 2, 12), "rest", (1, 9, 4), Fraction(13, 2), id="NYISO weekend"
        ),
        pytest.param(
            PJM_HIGH_4_OF_5,
            date(2023, 2, 15),
            "working",
            (5, 1, 2, 3, 4),
            Fraction(14, 4),
            id="PJM weekday",
        ),
        pytest.param(
            PJM_HIGH_4_OF_5, date(2023, 2, 18), "saturday", (7, 1, 2), Fraction(9, 2), id="PJM Sat"
        ),
        pytest.param(
            KEPCO_MID_6_OF_10,
            date(2023, 2, 15),
            "working",
            (1, 10, 3, 4, 5, 6, 7, 8, 2, 9),
            Fraction(6 * 3 + 5 * 4 + 4 * 5 + 3 * 6 + 2 * 7 + 8, 21),
            id="KEPCO",
        ),
    ],
)
def test_other_markets_pick_and_average_their_days(
    rule: Rule, day: date, label: str, values: Iterable[int], expected: Fraction
) -> None:
    numbers = list(values)
    past = dict(zip(recent(day, len(numbers), label=label), map(str, numbers), strict=True))

    result = baseline(rule, day=day, history=history(flat(past, today=day)))

    assert result.unadjusted == (expected,) * 48


def test_match_day_takes_the_three_days_most_like_today_outside_the_event() -> None:
    day = date(2023, 2, 15)
    past = {one: str(n) for n, one in enumerate(days_back(day, *range(1, 11)))}
    load = dict(flat(past, today=day, today_value="6"))
    today = [Decimal(6)] * 48
    today[34:36] = [Decimal(0), Decimal(0)]
    load[day] = list(today)

    result = baseline(PJM_MATCH_DAY, day=day, history=history(load), event=event(day, 35))

    assert {past[one] for one in result.selected} == {"5", "6", "7"}
    assert result.values[34] == 6


def test_days_are_ranked_by_the_hours_of_the_event() -> None:
    day = date(2023, 2, 15)
    past = recent(day, 5)
    load = dict(flat(dict.fromkeys(past, "5"), today=day, today_value="5"))
    low_in_event = [Decimal(50)] * 48
    low_in_event[34:36] = [Decimal(1), Decimal(1)]
    load[past[2]] = list(low_in_event)

    with_event = baseline(PJM_HIGH_4_OF_5, day=day, history=history(load), event=event(day, 35))
    whole_day = baseline(PJM_HIGH_4_OF_5, day=day, history=history(load))

    assert past[2] not in with_event.selected
    assert past[2] in whole_day.selected
    assert with_event.unadjusted[34] == 5


def test_an_adjustment_over_a_gap_is_not_made() -> None:
    day = date(2023, 2, 15)
    load = dict(flat(dict.fromkeys(recent(day, 10), "5"), today=day, today_value="7"))
    today: list[Decimal | None] = [Decimal(7)] * 48
    today[28] = None
    load[day] = today

    result = baseline(BL01, day=day, history=history(load), event=event(day, 35))

    assert (result.move, result.note) == (None, "the hours before the event have gaps")
    assert result.adjusted == (Fraction(5),) * 48


def test_a_ratio_without_a_cap_is_taken_as_it_is() -> None:
    day = date(2023, 2, 15)
    rule = Rule(
        name="uncapped",
        partition=Partition.WORKING,
        selections=CAISO_10_IN_10.selections,
        adjustment=Adjustment(AdjustmentKind.RATIO),
        source="test",
    )
    load = flat(dict.fromkeys(recent(day, 10), "5"), today=day, today_value="15")

    result = baseline(rule, day=day, history=history(load), event=event(day, 35))

    assert (result.move, result.values[34]) == (Fraction(3), Fraction(15))


def test_of_equal_days_the_more_recent_ranks_lower() -> None:
    sunday = date(2023, 2, 12)
    one, two, three, four = days_back(sunday, 1, 7, 8, 14)
    load = flat({one: "5", two: "5", three: "5", four: "9"}, today=sunday)

    result = baseline(BL01, day=sunday, history=history(load))

    assert result.selected == (two, three)


def test_match_day_does_not_look_at_the_hour_before_and_after_the_event() -> None:
    day = date(2023, 2, 15)
    past = days_back(day, *range(1, 5))
    load = dict(flat(dict.fromkeys(past, "6"), today=day, today_value="6"))
    odd_hours = [Decimal(6)] * 48
    odd_hours[32:38] = [Decimal(90)] * 6
    load[past[0]] = list(odd_hours)
    late = [Decimal(6)] * 48
    late[39] = Decimal(7)
    load[past[1]] = list(late)

    result = baseline(PJM_MATCH_DAY, day=day, history=history(load), event=event(day, 35))

    assert result.selected == (past[0], past[2], past[3])


def test_kepco_has_no_rule_for_a_sunday() -> None:
    with pytest.raises(ContractError, match="no selection for non-working"):
        baseline(KEPCO_MID_6_OF_10, day=date(2023, 2, 12), history=history({}))


@given(
    st.lists(st.integers(0, 10**6), min_size=10, max_size=10),
    st.sampled_from([Order.RECENT, Order.DAY_TOTAL]),
)
def test_a_baseline_lies_between_the_lowest_and_highest_selected_day(
    values: list[int], order: Order
) -> None:
    day = date(2023, 2, 15)
    past = dict(zip(recent(day, 10), map(str, values), strict=True))
    rule = Rule(
        name="any",
        partition=Partition.WORKING,
        selections={"working": Selection(45, pool=10, minimum=5, take=10, order=order)},
        treatments=dict.fromkeys(Trigger, Treatment.UNADJUSTED),
        source="test",
    )

    result = baseline(rule, day=day, history=history(flat(past, today=day)))

    assert result.values == (Fraction(sum(values), 10),) * 48
