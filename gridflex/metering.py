"""Energy of a run, half-hour by half-hour, from how long it ran and the power it draws.

Where no meter reads the job, its energy is *modelled*: dynamic power at the site's meter
times the time it was seen running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridflex import units
from gridflex.halfhour import HalfHour
from gridflex.lifecycle import Attempt


@dataclass(frozen=True, slots=True)
class MeteredHalfHour:
    """What one attempt used in one half-hour.

    Args:
        half_hour: When.
        running: For how long it did, above zero.
        energy_kwh: Dynamic energy at the meter.
    """

    half_hour: HalfHour
    running: timedelta
    energy_kwh: float


def metered(
    attempt: Attempt,
    *,
    mean_kw: Callable[[datetime, datetime], float],
    since: datetime,
    until: datetime,
) -> Iterator[MeteredHalfHour]:
    """Yield the half-hours of an attempt that are complete and not yet metered.

    A half-hour is complete when it has passed at ``until`` or the attempt has ended, be it
    after ``until``: the end may be noted by a tick that began before it.

    Args:
        attempt: The run; one that has not started yields nothing.
        mean_kw: Returns its mean dynamic power at the meter between two instants.
        since: Half-hours that start earlier are left out.
        until: Now.
    """
    if attempt.started_at is None:
        return
    end = attempt.ended_at or until
    half_hour = HalfHour.containing(max(attempt.started_at, since))
    while half_hour.start < end:
        is_complete = half_hour.end <= until or attempt.ended_at is not None
        begin = max(attempt.started_at, half_hour.start)
        stop = min(end, half_hour.end)
        if is_complete and stop > begin:
            energy_kwh = units.energy_over_kwh(mean_kw(begin, stop), stop - begin)
            yield MeteredHalfHour(half_hour, stop - begin, energy_kwh)
        half_hour += 1
