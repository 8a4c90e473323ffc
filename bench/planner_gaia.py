"""GAIA's cluster of 1,000 jobs (ASPLOS'24) on its two grids, its rules rebuilt from the paper.

Jobs up to 2 h may wait 6 h and longer ones 24 h; starts lie on a grid of 5 minutes. GAIA's policies
know the intensity and only the mean length of each queue, and do not pause. Ours knows the job's
length and the intensity of the current hour, and may pause; what follows is a forecast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from captured import HOURS_A_DAY, NEAR_HOURS, provider
from corrected import SATURDAY, Corrected
from numpy.typing import NDArray
from planner_instances import SHARED

from gridflex.halfhour import HalfHour
from gridflex.planning.patience import late_share, worth_of_now
from gridflex.quantiles import MEDIAN, standard_deviation

Array = NDArray[np.float64]

FIRST_HOUR = 7000
SHORT_H, SHORT_WAIT_H, LONG_WAIT_H = 2.0, 6.0, 24.0
STARTS_AN_HOUR = 12
YEAR = HalfHour(datetime(2022, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs in hours from `FIRST_HOUR`, and hourly intensity of the year."""

    arrival: Array
    length: Array
    cpus: Array
    wait: Array
    year: Array

    def grams(self, start: Array, job: int, length: float | None = None) -> Array:
        """Return what a job emits on one CPU of 1 kW from each start, running through."""
        series = self.year[FIRST_HOUR:]
        sums = np.concatenate([[0.0], np.cumsum(series)])

        def until(hour: Array) -> Array:
            whole = np.minimum(hour.astype(int), series.size - 1)
            out: Array = sums[whole] + (hour - whole) * series[whole]
            return out

        size = self.length[job] if length is None else length
        return until(start + size) - until(start)


def trace(zone: str) -> Trace:
    """Return the jobs and one zone's year."""
    jobs = pd.read_csv(SHARED / "peers" / "gaia_pai_1k.csv")
    year = pd.read_csv(SHARED / "peers" / f"electricitymaps_{zone}_2022_hourly.csv.gz")
    length = jobs["length"].to_numpy(dtype=float) / 3600
    return Trace(
        arrival=jobs["arrival_time"].to_numpy(dtype=float) / 3600,
        length=length,
        cpus=jobs["cpus"].to_numpy(dtype=float),
        wait=np.where(length <= SHORT_H, SHORT_WAIT_H, LONG_WAIT_H),
        year=year["ci_gco2_per_kwh"].to_numpy(dtype=float),
    )


def normalised(zone: str) -> dict[str, float]:
    """Return the carbon of each policy as a share of running every job at once."""
    given = trace(zone)
    at_once = _through(given, lambda _job, _delays, _sums: 0)
    said = provider(given.year, start=YEAR)
    corrected = Corrected(given.year, said, periods_a_day=HOURS_A_DAY, first_weekday=SATURDAY)
    alone = said[:, :1]
    none = Corrected(given.year, alone, periods_a_day=HOURS_A_DAY, first_weekday=SATURDAY)
    found = {
        "ours": _paused(given, corrected.at),
        "ours, forecast of the usual level alone": _paused(given, none.at),
        "Lowest-Slot": _through(given, _lowest_slot(given)),
        "Lowest-Window": _through(given, lambda _job, _delays, sums: int(sums.argmin())),
        "Carbon-Time": _through(given, _carbon_time(given)),
        "all known, no pause": _through(given, None),
        "all known, may pause": _known(given),
    }
    return {name: grams / at_once for name, grams in found.items()}


Choice = Callable[[int, Array, Array], int]


def _queues(given: Trace) -> Array:
    """Return for each job the mean length of its queue."""
    short = given.length <= SHORT_H
    return np.where(short, given.length[short].mean(), given.length[~short].mean())


def _through(given: Trace, choose: Choice | None) -> float:
    """Return the carbon of jobs that run through from a start chosen by its queue's mean length.

    Args:
        given: The trace.
        choose: Index of the start, given job, delays and what the mean length would emit; None
            takes the best for the job's own length.
    """
    mean, total = _queues(given), 0.0
    for job in range(given.arrival.size):
        delays = np.arange(int(given.wait[job] * STARTS_AN_HOUR) + 1) / STARTS_AN_HOUR
        starts = given.arrival[job] + delays
        own = given.grams(starts, job)
        chosen = (
            int(own.argmin())
            if choose is None
            else choose(job, delays, given.grams(starts, job, float(mean[job])))
        )
        total += float(given.cpus[job] * own[chosen])
    return total


def _lowest_slot(given: Trace) -> Choice:
    hours = given.arrival + FIRST_HOUR
    return lambda job, delays, _sums: int(given.year[(hours[job] + delays).astype(int)].argmin())


def _carbon_time(given: Trace) -> Choice:
    mean = _queues(given)
    return lambda job, delays, sums: int(((sums[0] - sums) / (delays + mean[job])).argmax())


def _known(given: Trace) -> float:
    total = 0.0
    for job in range(given.arrival.size):
        end = given.arrival[job] + given.length[job] + given.wait[job]
        hours, share = _hours(given.arrival[job], end)
        value = given.year[FIRST_HOUR + hours]
        order = np.argsort(value, kind="stable")
        before = np.cumsum(share[order]) - share[order]
        taken = np.clip(given.length[job] - before, 0.0, share[order])
        total += float(given.cpus[job] * (taken @ value[order]))
    return total


def _hours(begin: float, end: float) -> tuple[NDArray[np.int64], Array]:
    """Return the hours of a span and how much of each lies in it."""
    hours = np.arange(int(begin), int(np.ceil(end)))
    return hours, np.minimum(hours + 1, end) - np.maximum(hours, begin)


def _paused(given: Trace, forecast_at: Callable[[int, int], Array]) -> float:
    """Return the carbon of jobs that decide in each hour whether to run in it."""
    longest = int(np.ceil((given.length + given.wait).max())) + 2
    known: dict[int, tuple[Array, Array]] = {}
    total = 0.0
    for job in range(given.arrival.size):
        left = float(given.length[job])
        hours, share = _hours(given.arrival[job], given.arrival[job] + left + given.wait[job])
        for i, hour in enumerate((FIRST_HOUR + hours).tolist()):
            if left <= 0:
                break
            if hour not in known:
                said = forecast_at(hour, longest)
                spread = standard_deviation(said)
                known[hour] = (
                    said[:, MEDIAN].copy(),
                    late_share(spread.size, near=NEAR_HOURS) * spread,
                )
            mean, sd = (values[1 : hours.size - i] for values in known[hour])
            must = share[i + 1 :].sum() < left
            size = int(np.ceil(left - 1e-9))
            limit = np.inf if must else worth_of_now(mean, sd, size, 0.0, True)  # noqa: FBT003
            if given.year[hour] <= limit:
                ran = min(left, float(share[i]))
                total += float(given.cpus[job] * ran * given.year[hour])
                left -= ran
    return total
