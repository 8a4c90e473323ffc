"""One engine for baselines of the "X of Y days" kind; each market's rule is data for it.

A rule says which earlier days are like the day in question, which of them count, how they are
averaged, how the average is moved to fit the hours before an event, and what holds when there
are too few days. Everything is exact (`Fraction`) until `BaselineDay.mwh` rounds it once.

Loads are net imports in MWh, import positive, one value per settlement period of a settlement
day. Days on which the clocks change never count as history; where such a day is itself the day
in question, its half-hours take the history of the same time on the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import LONDON, HalfHour, periods_in
from gridflex.market.baselines.rules import (
    AdjustmentKind,
    Order,
    Overnight,
    Partition,
    Rule,
    Selection,
    Treatment,
    Trigger,
)
from gridflex.market.volumes import Rounding
from gridflex.market.working_days import DAY, WorkingCalendar, half_hours_of, is_clock_change

Load = Mapping[date, Sequence[Decimal | None]]
"""MWh per settlement period of each settlement day; None where no reading exists."""

Values = tuple[Fraction | None, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Consecutive half-hours of one activation, within one settlement day.

    Args:
        first: First half-hour.
        half_hours: How many.
    """

    first: HalfHour
    half_hours: int

    @property
    def day(self) -> date:
        """Its settlement day."""
        return self.first.settlement[0]

    def indices(self) -> range:
        """Positions of its half-hours in the settlement day, from 0."""
        start = self.first.settlement[1] - 1
        return range(start, min(start + self.half_hours, periods_in(self.day)))


@dataclass(frozen=True, slots=True)
class History:
    """All that a baseline is computed from.

    Args:
        load: Net import per day.
        calendar: Working days.
        event_days: Days declared as events, which never count as history.
    """

    load: Load
    calendar: WorkingCalendar
    event_days: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class BaselineDay:
    """The baseline of one day and how it came about.

    Args:
        rule: Name of the rule.
        day: Settlement day.
        is_defined: Whether enough days were eligible; the report's calculation status.
        eligible: Eligible days, most recent first.
        selected: Days that count.
        excluded: Why each other alike day of the look-back does not count.
        unadjusted: Average of the selected days, or the out-turn where not defined.
        move: Amount added in MWh, or factor for a ratio; None where not defined.
        adjusted: With the adjustment applied.
        values: What counts under the treatment, MWh import positive.
        note: Why an adjustment that the rule asks for was not made, if so.
    """

    rule: str
    day: date
    is_defined: bool
    eligible: tuple[date, ...]
    selected: tuple[date, ...]
    excluded: Mapping[date, str]
    unadjusted: Values
    move: Fraction | None
    adjusted: Values
    values: Values
    note: str = ""

    def mwh(self, rounding: Rounding) -> tuple[Decimal | None, ...]:
        """Return what counts, rounded as volumes are."""
        return tuple(None if one is None else rounding.volume(one) for one in self.values)


def baseline(
    rule: Rule,
    *,
    day: date,
    history: History,
    event: Event | None = None,
    trigger: Trigger = Trigger.ACCEPTANCE,
) -> BaselineDay:
    """Return the baseline of ``day``.

    Args:
        rule: The method.
        day: Settlement day.
        history: Loads, working days and declared event days.
        event: The activation on ``day``; without one there is no adjustment, and rules that
            rank days by the event rank them by the whole day.
        trigger: What the market knows about the unit in the event.

    Raises:
        ContractError: The rule has no selection for such a day, the event is of another day, or
            the load of ``day`` has not one value for each of its 46, 48 or 50 periods.
    """
    if event is not None and event.day != day:
        raise ContractError(f"an event of {event.day} has no place in the baseline of {day}")
    given = history.load.get(day)
    if given is not None and len(given) != periods_in(day):
        raise ContractError(f"{day} has {periods_in(day)} periods, got {len(given)} values")
    return _Computation(rule, history, event).result(day, trigger)


def day_label(day: date, *, partition: Partition, calendar: WorkingCalendar) -> str:
    """Return the kind of ``day``: days of one kind are alike."""
    if partition is Partition.ALL:
        return "all"
    if calendar.is_working(day):
        return "working"
    if partition is Partition.SATURDAY_SUNDAY:
        return (
            "saturday"
            if day.weekday() == _SATURDAY and day not in calendar.bank_holidays
            else ("sunday")
        )
    return "non-working"


_SATURDAY: Final = 5
_PERIODS: Final = 48


class _Computation:
    """One rule over one history; days are asked for one at a time."""

    def __init__(self, rule: Rule, history: History, event: Event | None) -> None:
        self._rule = rule
        self._history = history
        self._event = event

    def result(self, day: date, trigger: Trigger) -> BaselineDay:
        eligible, excluded = self._eligible(day)
        selected = self._selected(day, eligible)
        unadjusted = self._average(day, selected) if selected else self._outturn(day)
        move, note = self._move(day) if selected else (None, "")
        adjusted = tuple(self._moved(value, move) for value in unadjusted)
        counts = {
            Treatment.ADJUSTED: adjusted,
            Treatment.UNADJUSTED: unadjusted,
            Treatment.METERED: self._outturn(day),
        }[self._rule.treatments[trigger]]
        return BaselineDay(
            rule=self._rule.name,
            day=day,
            is_defined=bool(selected),
            eligible=eligible,
            selected=selected,
            excluded=excluded,
            unadjusted=unadjusted,
            move=move,
            adjusted=adjusted,
            values=counts,
            note=note,
        )

    def _label(self, day: date) -> str:
        return day_label(day, partition=self._rule.partition, calendar=self._history.calendar)

    def _selection(self, day: date) -> Selection:
        label = self._label(day)
        try:
            return self._rule.selections[label]
        except KeyError as error:
            raise ContractError(f"rule {self._rule.name} has no selection for {label}") from error

    def _eligible(self, day: date) -> tuple[tuple[date, ...], dict[date, str]]:
        label, lookback = self._label(day), self._selection(day).lookback_days
        alike = [
            earlier
            for earlier in (day - back * DAY for back in range(1, lookback + 1))
            if self._label(earlier) == label
        ]
        reasons = {earlier: self._why_not(earlier) for earlier in alike}
        eligible = tuple(earlier for earlier in alike if not reasons[earlier])
        return eligible, {earlier: why for earlier, why in reasons.items() if why}

    def _why_not(self, day: date) -> str:
        if is_clock_change(day):
            return "clocks change"
        if day in self._history.event_days:
            return "event day"
        values = self._history.load.get(day)
        if values is None or len(values) != _PERIODS or any(value is None for value in values):
            return "incomplete"
        return ""

    def _selected(self, day: date, eligible: tuple[date, ...]) -> tuple[date, ...]:
        selection = self._selection(day)
        if len(eligible) < selection.minimum:
            return ()
        pool = eligible[: selection.pool]
        ranked = sorted(pool, key=lambda one: (self._rank(one, day), pool.index(one)))
        chosen = ranked[selection.drop_lowest : selection.drop_lowest + selection.take]
        return tuple(sorted(chosen, reverse=True))

    def _rank(self, earlier: date, day: date) -> Fraction:
        order = self._selection(day).order
        if order is Order.RECENT:
            return Fraction(0)
        if order is Order.SIMILARITY:
            return self._distance(earlier, day)
        inside = self._event_times(day) if order is Order.EVENT_TOTAL else None
        values = self._loads(earlier)
        return sum(
            (value for i, value in enumerate(values) if inside is None or i in inside), Fraction(0)
        )

    def _distance(self, earlier: date, day: date) -> Fraction:
        """Squared difference outside the event and the hour on either side of it."""
        indices = self._event.indices() if self._event else range(0)
        near = range(indices.start - 2, indices.stop + 2) if indices else range(0)
        values, outturn = self._loads(earlier), self._outturn(day)
        clock = _clock_positions(day)
        pairs = [
            (value, values[clock[i]])
            for i, value in enumerate(outturn)
            if value is not None and i not in near
        ]
        return sum(((one - other) ** 2 for one, other in pairs), Fraction(0))

    def _event_times(self, day: date) -> set[int] | None:
        if self._event is None:
            return None
        clock = _clock_positions(day)
        return {clock[i] for i in self._event.indices()}

    def _loads(self, day: date) -> list[Fraction]:
        return [Fraction(value) for value in self._history.load[day] if value is not None]

    def _average(self, day: date, selected: tuple[date, ...]) -> Values:
        weights = self._rule.weights[: len(selected)] or (1,) * len(selected)
        loads = [self._loads(earlier) for earlier in selected]
        total = sum(weights)
        return tuple(
            sum((w * load[i] for w, load in zip(weights, loads, strict=True)), Fraction(0)) / total
            for i in _clock_positions(day)
        )

    def _outturn(self, day: date) -> Values:
        values = self._history.load.get(day, (None,) * periods_in(day))
        return tuple(None if value is None else Fraction(value) for value in values)

    def _move(self, day: date) -> tuple[Fraction | None, str]:
        rule = self._rule.adjustment
        if rule.kind is AdjustmentKind.NONE or self._event is None:
            return None, ""
        first = self._event.first - (rule.gap + rule.length)
        window = list(first.span(rule.length))
        if window[0].settlement[0] != day and rule.overnight is Overnight.UNDEFINED:
            return None, "the hours before the event begin on the day before"
        metered = [self._at(half_hour, metered=True) for half_hour in window]
        expected = [self._at(half_hour, metered=False) for half_hour in window]
        if None in metered or None in expected:
            return None, "the hours before the event have gaps"
        return self._amount(sum(filter(None, metered)), sum(filter(None, expected))), ""

    def _amount(self, metered: Fraction | int, expected: Fraction | int) -> Fraction:
        rule = self._rule.adjustment
        if rule.kind is AdjustmentKind.ADDITIVE:
            return Fraction(metered - expected, rule.length)
        ratio = Fraction(metered) / expected if expected else Fraction(1)
        if rule.cap is None:
            return ratio
        return min(max(ratio, 1 - rule.cap), 1 + rule.cap)

    def _at(self, half_hour: HalfHour, *, metered: bool) -> Fraction | None:
        day, period = half_hour.settlement
        if metered:
            return self._outturn(day)[period - 1]
        selected = self._selected(day, self._eligible(day)[0])
        return self._average(day, selected)[period - 1] if selected else None

    def _moved(self, value: Fraction | None, move: Fraction | None) -> Fraction | None:
        if value is None or move is None:
            return value
        additive = self._rule.adjustment.kind is AdjustmentKind.ADDITIVE
        return value + move if additive else value * move


def _clock_positions(day: date) -> list[int]:
    """Position on a 48-half-hour clock of each half-hour of a settlement day."""
    local = [half_hour.start.astimezone(LONDON) for half_hour in half_hours_of(day)]
    return [moment.hour * 2 + moment.minute // 30 for moment in local]
