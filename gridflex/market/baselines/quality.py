"""Whether a baseline can be traded on: how many days it has left, and how well it predicts.

A rule that averages past days lives on days without events. Declaring an event day takes one
away; not declaring it pulls the average down. Both are shown before they happen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from math import sqrt
from typing import Final

from gridflex.halfhour import HalfHour
from gridflex.market.baselines.engine import Event, History, baseline, day_label
from gridflex.market.baselines.rules import Rule
from gridflex.market.baselines.submitted import Outcome
from gridflex.market.policy import Dated, Effective
from gridflex.market.volumes import ZERO
from gridflex.market.working_days import DAY, is_clock_change


@dataclass(frozen=True, slots=True)
class Budget:
    """How much room a baseline has on one day.

    Args:
        day: For which day the baseline would be computed.
        alike_days: Days of its kind in the look-back.
        eligible: Those that still count.
        minimum: Fewest that are needed.
        undeclared: Selected days on which flexibility was used without declaring it.
        erosion_fraction: Share of the average that such days hold, 0 to 1: a response of 1 MWh
            on them has lowered the baseline by this many MWh.
    """

    day: date
    alike_days: int
    eligible: int
    minimum: int
    undeclared: int
    erosion_fraction: Fraction

    @property
    def spare_days(self) -> int:
        """Event days that may still be declared today without losing the baseline."""
        return max(self.eligible - self.minimum, 0)

    @property
    def is_exhausted(self) -> bool:
        """Whether the baseline is already undefined."""
        return self.eligible < self.minimum


def budget(rule: Rule, *, day: date, history: History, activated: Collection[date] = ()) -> Budget:
    """Return the gauge for ``day``.

    Args:
        rule: The method.
        day: The day to be baselined.
        history: Loads, calendar and declared event days.
        activated: Days on which flexibility was used, declared or not.
    """
    label = day_label(day, partition=rule.partition, calendar=history.calendar)
    result = baseline(rule, day=day, history=history)
    undeclared = [one for one in result.selected if one in activated]
    share = Fraction(len(undeclared), len(result.selected)) if result.selected else Fraction(0)
    return Budget(
        day=day,
        alike_days=len(result.eligible) + len(result.excluded),
        eligible=len(result.eligible),
        minimum=rule.selections[label].minimum,
        undeclared=len(undeclared),
        erosion_fraction=share,
    )


def exhausted_on(
    rule: Rule, *, first: date, last: date, history: History, planned: Collection[date]
) -> date | None:
    """Return the first day from ``first`` to ``last`` on which the baseline would be undefined.

    Every planned day is taken as declared, every later day as fully metered.

    Args:
        rule: The method.
        first: From when.
        last: How far to look.
        history: What is known now.
        planned: Event days to come.
    """
    whole_day = (ZERO,) * 48
    load = dict(history.load)
    day = first
    while day <= last:
        if not is_clock_change(day):
            load.setdefault(day, whole_day)
        day += DAY
    future = replace(history, load=load, event_days=history.event_days | set(planned))
    day = first
    while day <= last:
        if not baseline(rule, day=day, history=future).is_defined:
            return day
        day += DAY
    return None


@dataclass(frozen=True, slots=True)
class PredictabilityLimits:
    """When a baseline is too poor to trade on.

    Args:
        bias_fraction: Greatest mean error relative to the mean load, either way.
        rrmse_fraction: Greatest root mean square error relative to the mean load.
        sample_days: Fewest days to judge by.
        source: Where the limits come from.
    """

    bias_fraction: float
    rrmse_fraction: float
    sample_days: int
    source: str


USUAL_LIMITS: Final = PredictabilityLimits(
    bias_fraction=0.10,
    rrmse_fraction=0.20,
    sample_days=10,
    source="error as AEMO's baseline eligibility, unconfirmed; bias and sample assumed",
)


@dataclass(frozen=True, slots=True)
class Predictability:
    """How well a baseline met days without events.

    Args:
        days: Days compared.
        bias_fraction: Mean of metered minus baseline, relative to mean load; None if not known.
        rrmse_fraction: Root mean square error, relative to mean load; None if not known.
        may_trade: Whether both are within the limits.
        reason: Why not; empty if it may.
    """

    days: int
    bias_fraction: float | None
    rrmse_fraction: float | None
    may_trade: bool
    reason: str


def predictability(
    rule: Rule,
    *,
    days: Iterable[date],
    window: range,
    history: History,
    limits: PredictabilityLimits,
) -> Predictability:
    """Return how well ``rule`` would have met ``days``, each computed as if it had an event.

    Args:
        rule: The method.
        days: Days to judge by; event days and days with gaps are passed over.
        window: Positions in the day at which an event would have run, from 0.
        history: Loads, calendar, declared event days.
        limits: What is good enough.
    """
    return _judged([_pairs(rule, day, window, history) for day in days], limits)


def submitted_predictability(
    outcomes: Iterable[Outcome], *, limits: PredictabilityLimits
) -> Predictability:
    """Return how well a submitted baseline met the half-hours in which nothing was offered.

    What the plan moved is taken out, as in the honesty tests: the jobs that ran by plan are what
    is compared with the meter.

    Args:
        outcomes: Half-hours with a commitment and a reading.
        limits: What is good enough.
    """
    days: dict[date, list[tuple[float, float]]] = {}
    for one in outcomes:
        if not one.is_activated:
            expected = one.expected - one.explained
            days.setdefault(one.half_hour.settlement[0], []).append(
                (float(one.metered.mwh), float(expected.mwh))
            )
    return _judged(list(days.values()), limits)


def weakest(found: Sequence[Predictability]) -> Predictability:
    """Return the verdict that stands for all: one that forbids trading, else the largest error."""
    return max(found, key=lambda one: (not one.may_trade, one.rrmse_fraction or 0.0))


def _judged(
    days: Sequence[Sequence[tuple[float, float]]], limits: PredictabilityLimits
) -> Predictability:
    """Judge days, each with what was metered and what was expected in some of its half-hours."""
    pairs = [pair for day in days for pair in day]
    metered = [real for real, _ in pairs]
    errors = [real - expected for real, expected in pairs]
    count = sum(map(bool, days))
    if count < limits.sample_days:
        reason = f"{count} days to judge by, {limits.sample_days} needed"
        return Predictability(count, None, None, may_trade=False, reason=reason)
    if not sum(metered):
        reason = f"{count} days to judge by, but nothing was metered in them"
        return Predictability(count, None, None, may_trade=False, reason=reason)
    mean = sum(metered) / len(metered)
    bias = sum(errors) / len(errors) / mean
    rrmse = sqrt(sum(error**2 for error in errors) / len(errors)) / abs(mean)
    reason = _reason(bias, rrmse, limits)
    return Predictability(count, bias, rrmse, may_trade=not reason, reason=reason)


def _pairs(rule: Rule, day: date, window: range, history: History) -> Sequence[tuple[float, float]]:
    values = history.load.get(day)
    if values is None or day in history.event_days or is_clock_change(day):
        return ()
    event = Event(HalfHour.from_settlement(day, window.start + 1), len(window))
    result = baseline(rule, day=day, history=history, event=event)
    if not result.is_defined:
        return ()
    return [
        (float(real), float(expected))
        for real, expected in zip(
            values[window.start : window.stop],
            result.adjusted[window.start : window.stop],
            strict=True,
        )
        if real is not None and expected is not None
    ]


PREDICTABILITY: Final = Dated(
    "limits of predictability",
    (Effective(date(2024, 11, 7), USUAL_LIMITS, "P415 implementation date"),),
)


def way_out(unit: str) -> str:
    """Return what an operator may do where nothing is sold of a unit."""
    return (
        f"to sell all the same: gridflex settle baseline allow {unit} --until YYYY-MM-DD "
        "--reason WHY"
    )


def _reason(bias: float, rrmse: float, limits: PredictabilityLimits) -> str:
    if abs(bias) > limits.bias_fraction:
        return f"bias {bias:+.1%} is beyond {limits.bias_fraction:.1%}"
    if rrmse > limits.rrmse_fraction:
        return f"error {rrmse:.1%} is above {limits.rrmse_fraction:.1%}"
    return ""
