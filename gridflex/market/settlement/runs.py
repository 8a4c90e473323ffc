"""Settlement runs: when they pay, and what changes from one to the next.

Nothing is final for about fourteen months. Every result is kept per run; what is paid after the
first paying run is the difference to the run before, and the differences add up to the last one.
A run may lack half-hours of a day: what counts is, for each half-hour, the newest paying run that
has it (`newest_paying`), and days, months, shares and receipts are sums of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.policy import Dated, Effective
from gridflex.market.volumes import ZERO

if TYPE_CHECKING:
    from gridflex.market.working_days import WorkingCalendar

DAYS_PER_YEAR: Final = Decimal(365)


class Run(StrEnum):
    """Settlement runs, in the order in which they happen."""

    II = "II"
    SF = "SF"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"
    RF = "RF"
    DF = "DF"

    @property
    def position(self) -> int:
        """Place in the order, from 0."""
        return list(Run).index(self)

    def is_after(self, other: Run) -> bool:
        """Return whether this run comes later than ``other``."""
        return self.position > other.position

    @property
    def pays(self) -> bool:
        """Whether money moves; the first run is for information."""
        return self is not Run.II


@dataclass(frozen=True, slots=True)
class Timetable:
    """How many working days after the settlement day each run pays.

    Args:
        name: Which timetable.
        lags: Working days per run.
    """

    name: str
    lags: Mapping[Run, int]


LEGACY: Final = Timetable(
    "legacy",
    {Run.II: 5, Run.SF: 16, Run.R1: 39, Run.R2: 84, Run.R3: 154, Run.RF: 290, Run.DF: 590},
)
"""Usual lags; the published Settlement Calendar, given as data, always comes first."""

TIMETABLE: Final = Dated(
    "settlement timetable",
    (Effective(date(2001, 3, 27), LEGACY, "usual lags of the Settlement Calendar, unconfirmed"),),
)
"""A shorter one follows the migration to half-hourly settlement; its dates are not published."""


def payment_day(
    day: date,
    *,
    run: Run,
    calendar: WorkingCalendar,
    published: Mapping[tuple[date, Run], date] | None = None,
    timetable: Dated[Timetable] = TIMETABLE,
) -> date:
    """Return when a run of a settlement day pays, or is published for II.

    Args:
        day: Settlement day.
        run: Which run.
        calendar: Working days.
        published: Rows of the published Settlement Calendar, which come first.
        timetable: Lags for days it does not list.

    Raises:
        ContractError: The timetable has no such run.
    """
    if published and (day, run) in published:
        return published[day, run]
    lags = timetable.on(day).lags
    if run not in lags:
        raise ContractError(f"timetable {timetable.on(day).name} has no run {run}")
    return calendar.after(day, working_days=lags[run])


def next_run(
    day: date,
    *,
    after: Run,
    today: date,
    calendar: WorkingCalendar,
    published: Mapping[tuple[date, Run], date] | None = None,
) -> tuple[Run, date] | None:
    """Return the next run of a settlement day that is still to come, and when; None without one.

    The run after a dispute comes only where the published calendar has it.

    Args:
        day: Settlement day.
        after: The run before.
        today: By the clock in London.
        calendar: Working days.
        published: Rows of the published Settlement Calendar, which come first.
    """
    for run in Run:
        if not run.is_after(after) or (run is Run.DF and (day, run) not in (published or {})):
            continue
        on = payment_day(day, run=run, calendar=calendar, published=published)
        if on > today:
            return run, on
    return None


class Settled(Protocol):
    """What one run says of one account's half-hour."""

    @property
    def account(self) -> str:
        """Which account."""
        ...

    @property
    def half_hour(self) -> HalfHour:
        """When."""
        ...

    @property
    def run(self) -> Run:
        """Which run."""
        ...


SettledT = TypeVar("SettledT", bound=Settled)


def newest_paying(settled: Iterable[SettledT]) -> list[SettledT]:
    """Return what counts: of each account's half-hour the newest paying run that has it.

    Args:
        settled: In any order; of two of the same run the later one counts.
    """
    newest: dict[tuple[str, HalfHour], SettledT] = {}
    for one in settled:
        key = one.account, one.half_hour
        if one.run.pays and (key not in newest or not newest[key].run.is_after(one.run)):
            newest[key] = one
    return list(newest.values())


@dataclass(frozen=True, slots=True)
class HalfHourCash:
    """Net of one account's half-hour, as one run has it.

    Args:
        account: Which account.
        half_hour: When.
        run: Which run.
        net_gbp: Net revenue, exact.
        paid_on: When the run pays.
    """

    account: str
    half_hour: HalfHour
    run: Run
    net_gbp: Decimal
    paid_on: date

    @property
    def day(self) -> date:
        """Settlement day."""
        return self.half_hour.settlement[0]


@dataclass(frozen=True, slots=True)
class DayCash:
    """Net of one account for one settlement day, as one paying run leaves it.

    Args:
        account: Which account.
        day: Settlement day.
        run: Which run.
        net_gbp: Net revenue, exact; half-hours that the run lacks are as they were before it.
        paid_on: When it pays.
    """

    account: str
    day: date
    run: Run
    net_gbp: Decimal
    paid_on: date


@dataclass(frozen=True, slots=True)
class TrueUp:
    """What one paying run changes.

    Args:
        account: Which account.
        day: Settlement day.
        run: Which run.
        since: The paying run before; None for the first.
        difference_gbp: To be paid now; negative if it is to be paid back.
        interest_gbp: On the difference, since the first payment.
        paid_on: When it pays.
    """

    account: str
    day: date
    run: Run
    since: Run | None
    difference_gbp: Decimal
    interest_gbp: Decimal
    paid_on: date


NO_INTEREST: Final = Dated(
    "interest on differences between runs",
    (Effective(date.min, ZERO, "unless a rate is given"),),
)
"""As a fraction per year, by the day of payment."""


def day_cash(cash: Iterable[HalfHourCash]) -> list[DayCash]:
    """Return each day's net as each paying run leaves it, by account, day and run.

    Args:
        cash: Results in any order; II does not pay.

    Raises:
        ContractError: A run of a half-hour occurs twice with different results.
    """
    days: dict[tuple[str, date], dict[Run, dict[HalfHour, HalfHourCash]]] = {}
    for one in cash:
        if not one.run.pays:
            continue
        has = days.setdefault((one.account, one.day), {}).setdefault(one.run, {})
        if has.setdefault(one.half_hour, one) != one:
            raise ContractError(
                f"{one.account} {one.half_hour} {one.run}: {one.net_gbp} and "
                f"{has[one.half_hour].net_gbp} GBP for the same run"
            )
    return [left for key in sorted(days) for left in _as_left(days[key])]


def _as_left(runs: Mapping[Run, Mapping[HalfHour, HalfHourCash]]) -> Iterator[DayCash]:
    """Yield one day's net run by run."""
    counting: dict[HalfHour, HalfHourCash] = {}
    for run in sorted(runs, key=lambda run: run.position):
        counting |= runs[run]
        first = next(iter(runs[run].values()))
        net = sum((one.net_gbp for one in counting.values()), ZERO)
        yield DayCash(first.account, first.day, run, net, first.paid_on)


def true_ups(
    cash: Iterable[HalfHourCash], *, interest_fraction_per_year: Dated[Decimal] = NO_INTEREST
) -> list[TrueUp]:
    """Return the ledger of differences, by account, day and run; skipped runs are passed over.

    A half-hour that a run lacks makes no difference.

    Interest is simple, on each difference, from the first payment of the day to the payment of
    the difference, at the rate of the day on which it is paid.

    Args:
        cash: Results in any order; II does not pay.
        interest_fraction_per_year: Rate over time.

    Raises:
        ContractError: A run of a half-hour occurs twice with different results.
    """
    return [
        entry
        for _, day in groupby(day_cash(cash), key=lambda one: (one.account, one.day))
        for entry in _differences(list(day), interest_fraction_per_year)
    ]


def _differences(ordered: Sequence[DayCash], interest: Dated[Decimal]) -> list[TrueUp]:
    entries: list[TrueUp] = []
    for number, one in enumerate(ordered):
        before = ordered[number - 1] if number else None
        difference = one.net_gbp - (before.net_gbp if before else ZERO)
        rate = interest.on(one.paid_on) if before else ZERO
        days = (one.paid_on - ordered[0].paid_on).days
        entries.append(
            TrueUp(
                account=one.account,
                day=one.day,
                run=one.run,
                since=before.run if before else None,
                difference_gbp=difference,
                interest_gbp=difference * rate * days / DAYS_PER_YEAR + ZERO,  # no negative zero
                paid_on=one.paid_on,
            )
        )
    return entries
