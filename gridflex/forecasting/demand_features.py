"""What says how the demand for GPUs goes on, seen from one issue time.

Demand lingers: the newest value is the best simple forecast for hours, and what it misses is a
slow return to the usual level, the rhythm of day and week, the queue, and the jobs that are due
to end. Each feature is a difference to the newest value or to what is usual, so that all of them
at zero mean "as now".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.history import Array, Indices, Knowledge
from gridflex.halfhour import HALF_HOUR, HalfHour

QUEUED: Final = "queued_gpus"
"""Input: GPUs that jobs in the queue ask for."""

STAYING: Final = "staying_gpus"
"""Input: GPUs of the jobs that ran at the issue time which will still run then."""

DAY: Final = 48
WEEK: Final = 7 * DAY
MONTH: Final = 4 * WEEK
_WINDOW: Final = MONTH + DAY

LEVEL: Final = ("last_4h", "last_day", "last_week", "last_month", "since_yesterday")
"""Features that do not depend on the lead."""

RHYTHM: Final = (
    "time_of_day",
    "time_of_day_yesterday",
    "time_of_week",
    "weekend",
    "day_sine",
    "day_cosine",
    "half_day_sine",
    "half_day_cosine",
)
QUEUE: Final = ("queued", "queued_last_4h")
JOBS: Final = ("leaving", "leaving_more_than_usual")


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The features of one issue time.

    Args:
        now: The newest value that is known.
        scale: How much the values usually change from one day to the next, above 0.
        values: Shape ``(leads, len(names))``, in the unit of the target.
    """

    now: float
    scale: float
    values: Array


def names_of(known: Knowledge) -> tuple[str, ...]:
    """Return the names of the features that the inputs of ``known`` allow, in order."""
    queue = QUEUE if QUEUED in known.names else ()
    jobs = JOBS if STAYING in known.names else ()
    return (*LEVEL, *RHYTHM, *queue, *jobs)


def view(known: Knowledge, leads: Indices) -> View:
    """Return the features of the half-hours ``leads`` after the issue time.

    Raises:
        ContractError: Nothing is known of the month before the issue time.
    """
    past = _filled(known.window(known.target, -_WINDOW, _WINDOW))
    if past.size == 0:
        raise ContractError(f"{known.target}: nothing is known of the month before {known.issued}")
    now = float(past[-1])
    level = [*(mean - now for mean in _means(past)), now - _back(past, DAY)]
    columns = [np.full(leads.size, value) for value in level]
    columns += _rhythm(past, known.issued, leads)
    if QUEUED in known.names:
        queue = _filled(known.window(QUEUED, -MONTH, MONTH))
        more = (queue[-1], queue[-8:].mean()) - queue.mean() if queue.size else np.zeros(2)
        columns += [np.full(leads.size, value) for value in more]
    if STAYING in known.names:
        columns += _leaving(known, now, leads)
    change = np.abs(past[DAY:] - past[:-DAY])
    scale = float(change.mean()) if change.size else 0.0
    return View(now, max(scale, 1e-3), np.column_stack(columns))


def _filled(past: Array) -> Array:
    """Return what is known from its first value on, each gap filled with the value before it."""
    told = np.isfinite(past)
    if not told.any():
        return past[:0]
    first = int(told.argmax())
    newest = np.maximum.accumulate(np.where(told, np.arange(past.size), 0))
    return past[newest][first:]


def _means(past: Array) -> list[float]:
    """Return the means of the last 4 h, day, week and month; that of a shorter span if need be.

    The mean of all that is known of a cluster that has just begun is no usual level of it.
    """
    means = [float(past[-8:].mean())]
    for size in (DAY, WEEK, MONTH):
        means.append(float(past[-size:].mean()) if past.size >= size else means[-1])
    return means


def _back(past: Array, half_hours: int) -> float:
    return float(past[-1 - half_hours]) if past.size > half_hours else float(past[0])


def _rhythm(past: Array, issued: HalfHour, leads: Indices) -> list[Array]:
    of_day = past - _trailing_mean(past, DAY)
    of_week = past - _trailing_mean(past, WEEK)
    last = past.size - 1
    same_time = last - (-(leads + 1)) % DAY
    days = same_time[:, None] - DAY * np.arange(7)
    there = days >= 0
    usual = np.where(there, of_day[np.maximum(days, 0)], 0.0)
    same_week = last - (-(leads + 1)) % WEEK
    then, now = _clock(issued, leads), _clock(issued, np.array([-1]))
    return [
        usual.sum(axis=1) / np.maximum(there.sum(axis=1), 1),
        usual[:, 0],
        np.where(same_week >= 0, of_week[np.maximum(same_week, 0)], 0.0),
        *((then - now) * past.mean()).T,
    ]


def _trailing_mean(past: Array, size: int) -> Array:
    total = np.cumsum(past)
    total[size:] -= total[:-size].copy()
    return np.asarray(total / np.minimum(np.arange(1, past.size + 1), size))


def _clock(issued: HalfHour, leads: Indices) -> Array:
    """Return weekend and time of day, shape ``(leads, 5)``."""
    starts = [issued.start + int(lead) * HALF_HOUR for lead in leads]
    weekend = np.array([start.weekday() >= 5 for start in starts], dtype=float)  # noqa: PLR2004 - Saturday
    angle = 2 * np.pi * np.array([start.hour + start.minute / 60 for start in starts]) / 24
    waves = (np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle))
    return np.column_stack([weekend, *waves])


def _leaving(known: Knowledge, now: float, leads: Indices) -> list[Array]:
    """Return the GPUs that running jobs will leave, and how far that is from a usual share."""
    ahead = known.window(STAYING, 0, int(leads.max()) + 1)[leads]
    leaving = np.where(np.isfinite(ahead), now - ahead, 0.0)
    usual = np.where(np.isfinite(ahead), now * (1 - np.exp(-(leads + 1) / DAY)), 0.0)
    return [leaving, leaving - usual]
