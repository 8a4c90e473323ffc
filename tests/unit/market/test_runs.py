"""Settlement runs and their differences."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.policy import Dated, Effective
from gridflex.market.settlement.runs import HalfHourCash, Run, newest_paying, payment_day, true_ups
from tests.unit.market.days import CALENDAR

DAY = date(2026, 7, 1)
PAID = {
    Run.II: date(2026, 7, 8),
    Run.SF: date(2026, 7, 23),
    Run.R1: date(2026, 8, 25),
    Run.R2: date(2026, 10, 28),
    Run.R3: date(2027, 2, 10),
    Run.RF: date(2027, 8, 20),
    Run.DF: date(2028, 11, 1),
}


def cash(run: Run, net: str, *, period: int = 1) -> HalfHourCash:
    half_hour = HalfHour.from_settlement(DAY, period)
    return HalfHourCash("GRIDFLEX", half_hour, run, Decimal(net), PAID[run])


def test_each_paying_run_pays_the_difference_to_the_one_before() -> None:
    entries = true_ups([cash(Run.R1, "370.00"), cash(Run.II, "400.00"), cash(Run.SF, "378.00")])

    assert [(one.run, one.since, one.difference_gbp) for one in entries] == [
        (Run.SF, None, Decimal("378.00")),
        (Run.R1, Run.SF, Decimal("-8.00")),
    ]
    assert [str(one.interest_gbp) for one in entries] == ["0.00", "0.00"]


def test_a_skipped_run_is_passed_over() -> None:
    entries = true_ups([cash(Run.SF, "100"), cash(Run.RF, "130")])

    assert [(one.since, one.difference_gbp) for one in entries][1] == (Run.SF, Decimal(30))


def test_a_half_hour_that_a_run_lacks_stays_as_it_was() -> None:
    settled = [
        *(cash(Run.SF, "378", period=1), cash(Run.SF, "378", period=2)),
        cash(Run.R1, "370", period=1),
        cash(Run.R2, "400", period=2),
    ]

    entries = true_ups(settled)

    assert [(one.run, one.since, one.difference_gbp) for one in entries] == [
        (Run.SF, None, Decimal(756)),
        (Run.R1, Run.SF, Decimal(-8)),
        (Run.R2, Run.R1, Decimal(22)),
    ]


def test_a_half_hour_that_comes_late_in_its_run_counts_then() -> None:
    early = [cash(Run.SF, "378"), cash(Run.SF, "378", period=2), cash(Run.R1, "370")]

    late = true_ups([*early, cash(Run.R1, "371", period=2)])

    assert [one.difference_gbp for one in late] == [Decimal(756), Decimal(-15)]


CASH = st.builds(
    lambda period, run, net: cash(run, str(net), period=period),
    st.integers(1, 4),
    st.sampled_from(Run),
    st.decimals(-(10**6), 10**6, places=6),
)


@given(st.lists(CASH, unique_by=lambda one: (one.half_hour, one.run)))
def test_differences_add_up_to_what_counts_whatever_a_run_lacks(some: list[HalfHourCash]) -> None:
    counting = sum((one.net_gbp for one in newest_paying(some)), Decimal(0))

    assert sum((one.difference_gbp for one in true_ups(some)), Decimal(0)) == counting


def test_interest_runs_from_the_first_payment() -> None:
    rate = Dated("rate", (Effective(date(2020, 1, 1), Decimal("0.0365"), "contract"),))

    first, second = true_ups(
        [cash(Run.SF, "100"), cash(Run.R1, "200")], interest_fraction_per_year=rate
    )

    assert first.interest_gbp == 0
    # 33 days at 3.65 % a year on 100 GBP
    assert second.interest_gbp == Decimal("0.33")


def test_one_run_has_one_result() -> None:
    with pytest.raises(ContractError, match="101 and 100 GBP"):
        true_ups([cash(Run.SF, "100"), cash(Run.SF, "101")])


NET = st.decimals(-(10**6), 10**6, places=6)


@given(st.dictionaries(st.sampled_from(Run), NET, min_size=1))
def test_differences_add_up_to_the_last_run(nets: dict[Run, Decimal]) -> None:
    entries = true_ups([cash(run, str(net)) for run, net in nets.items()])

    paying = [run for run in Run if run in nets and run.pays]
    last = nets[paying[-1]] if paying else Decimal(0)
    assert sum((one.difference_gbp for one in entries), Decimal(0)) == last


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        # 16 working days after Wednesday 1 July 2026; no bank holiday in between
        pytest.param(Run.SF, date(2026, 7, 23), id="SF"),
        pytest.param(Run.II, date(2026, 7, 8), id="II"),
    ],
)
def test_runs_pay_after_working_days(run: Run, expected: date) -> None:
    assert payment_day(DAY, run=run, calendar=CALENDAR) == expected


def test_a_published_calendar_comes_first() -> None:
    published = {(DAY, Run.SF): date(2026, 7, 24)}

    paid = payment_day(DAY, run=Run.SF, calendar=CALENDAR, published=published)

    assert paid == date(2026, 7, 24)


def test_runs_have_an_order_that_is_not_alphabetical() -> None:
    assert Run.R1.is_after(Run.SF)
    assert not Run.SF.is_after(Run.SF)
    assert [run for run in Run if run.pays] == list(Run)[1:]
