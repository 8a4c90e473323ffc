"""Who is warned before a message misses its deadline.

Deadlines are instants, not ages: a message sent twenty minutes ago is urgent if its gate closes
in ten and idle if it closes tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.messages.deadlines import deadline
from gridflex.market.registry import UnitId
from gridflex.market.trading.position import Position, Status, Track
from gridflex.market.working_days import WorkingCalendar

WATCHED: Final = timedelta(days=7)
"""For how long a half-hour may raise an alarm: delivered volumes are due a working day later."""

AHEAD: Final = 96
"""Half-hours ahead that may raise one."""


class Urgency(StrEnum):
    """How pressing a deadline is."""

    CALM = "calm"
    WARNING = "warning"
    CRITICAL = "critical"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class AlarmLimits:
    """When to warn.

    Args:
        warn: Time left from which a missing message is a warning.
        escalate: Time left from which a person must act by hand.
        unanswered: How long a sent file may go without a receipt before it counts as lost.
    """

    warn: timedelta = timedelta(minutes=45)
    escalate: timedelta = timedelta(minutes=15)
    unanswered: timedelta = timedelta(minutes=5)


def urgency(left: timedelta, *, limits: AlarmLimits) -> Urgency:
    """Return how pressing it is with ``left`` to go."""
    if left <= timedelta(0):
        return Urgency.MISSED
    if left <= limits.escalate:
        return Urgency.CRITICAL
    return Urgency.WARNING if left <= limits.warn else Urgency.CALM


@dataclass(frozen=True, slots=True)
class Alarm:
    """A message that may miss its deadline, or did.

    Args:
        unit: Which unit.
        half_hour: When.
        kind: Which message.
        urgency: How pressing it is.
        due: The deadline.
        problem: What is wrong with it.
        consequence: What happens if nobody acts.
    """

    unit: UnitId
    half_hour: HalfHour
    kind: ArtefactKind
    urgency: Urgency
    due: datetime
    problem: str
    consequence: str

    def __str__(self) -> str:
        """What is wrong, by when it must be mended, and what comes of it if not."""
        if self.urgency is Urgency.MISSED:
            return f"{self.problem}, was due {self.due:%H:%MZ}; so {self.consequence}"
        return f"{self.problem}, due {self.due:%H:%MZ}; else {self.consequence}"


CONSEQUENCES: Final = {
    ArtefactKind.WMAN: "no deviation is measured; what was sold is bought back at system price",
    ArtefactKind.SEV: "expected volume is empty; the deviation is lost",
    ArtefactKind.ECVN: "the sale is not in the account; the delivery is paid at system price",
    ArtefactKind.DVN: "the delivery is not allocated to meters; the supplier is not adjusted",
}


def alarms(
    positions: Iterable[Position],
    *,
    now: datetime,
    calendar: WorkingCalendar,
    limits: AlarmLimits | None = None,
) -> list[Alarm]:
    """Return what is missing, rejected or unanswered, the most pressing first.

    Args:
        positions: Those to watch.
        now: Aware UTC.
        calendar: Working days.
        limits: When to warn; None for the usual ones.
    """
    chosen = limits or AlarmLimits()
    found = [
        alarm
        for position in positions
        for kind in position.needs()
        if (alarm := _alarm(position, kind, now, calendar, chosen)) is not None
    ]
    order = [Urgency.MISSED, Urgency.CRITICAL, Urgency.WARNING, Urgency.CALM]
    return sorted(found, key=lambda alarm: (order.index(alarm.urgency), alarm.due, alarm.unit))


def _alarm(
    position: Position,
    kind: ArtefactKind,
    now: datetime,
    calendar: WorkingCalendar,
    limits: AlarmLimits,
) -> Alarm | None:
    problem = _problem(position.track(kind), kind, now, limits)
    due = deadline(kind, half_hour=position.half_hour, calendar=calendar)
    how = urgency(due - now, limits=limits)
    is_quiet = how is Urgency.CALM and position.track(kind).status is not Status.REJECTED
    if not problem or is_quiet or position.run is not None:
        return None
    return Alarm(position.unit, position.half_hour, kind, how, due, problem, CONSEQUENCES[kind])


def _problem(track: Track, kind: ArtefactKind, now: datetime, limits: AlarmLimits) -> str:
    if track.status in {Status.NONE, Status.LOGGED}:
        return "not sent"
    if track.status is Status.REJECTED:
        return f"rejected: {track.reason}"
    if track.status is Status.SENT and track.sent_at and now - track.sent_at > limits.unanswered:
        return f"no answer since {track.sent_at:%H:%MZ}, send again"
    if track.status is Status.RECEIVED and kind is not ArtefactKind.WMAN:
        return "received but not accepted"
    return ""
