"""The best half-hours for one job at given prices.

Half-hours are indexes into a window; a schedule is a tuple of runs ``(first, length)`` in order
of time. Scores are GBP per half-hour of running, capacity prices included, and infinite where
the job does not fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gridflex.planning.problem import Array

Mask = NDArray[np.bool_]
Index = NDArray[np.int64]
Runs = tuple[tuple[int, int], ...]

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Work:
    """How much a job must run.

    Args:
        half_hours: Of work, above 0.
        restart_half_hours: Added by every start after the first.
        continues: Whether it runs just before index 0, so that going on is not a start.
    """

    half_hours: float
    restart_half_hours: float = 0.0
    continues: bool = False

    @property
    def unbroken(self) -> int:
        """Whole half-hours of a schedule without pause."""
        return math.ceil(self.half_hours - ROUNDING)

    def needed(self, runs: Runs) -> float:
        """Return the half-hours of running that a schedule with these runs needs."""
        starts = len(runs) - 1
        if self.continues and runs and runs[0][0] != 0:
            starts += 1
        return self.half_hours + self.restart_half_hours * max(starts, 0)

    def weights(self, runs: Runs) -> Array:
        """Return for each half-hour of ``runs`` the share of it that the job really uses."""
        planned = sum(length for _, length in runs)
        return np.clip(self.needed(runs) - np.arange(planned), 0.0, 1.0)

    def is_met(self, runs: Runs) -> bool:
        """Return whether the runs are long enough."""
        return sum(length for _, length in runs) >= self.needed(runs) - ROUNDING

    def is_fitted(self, runs: Runs) -> bool:
        """Return whether the runs are as long as needed, and no half-hour longer."""
        return sum(length for _, length in runs) == math.ceil(self.needed(runs) - ROUNDING)


def half_hours_of(runs: Runs) -> Index:
    """Return the indexes that the runs cover, in order."""
    parts = [np.arange(first, first + length) for first, length in runs]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def runs_of(half_hours: Index) -> Runs:
    """Return sorted half-hours as runs."""
    if half_hours.size == 0:
        return ()
    breaks = np.flatnonzero(np.diff(half_hours) != 1) + 1
    edges = [0, *breaks.tolist(), int(half_hours.size)]
    return tuple((int(half_hours[low]), high - low) for low, high in pairwise(edges))


def score_of(runs: Runs, score: Array, work: Work) -> float:
    """Return what the runs cost at ``score``; the last half-hour counts as far as it is used."""
    return float(score[half_hours_of(runs)] @ work.weights(runs))


def best_through(score: Array, length: int) -> Runs | None:
    """Return the cheapest unbroken run, the earliest of equals; None if none fits."""
    if length > score.size:
        return None
    is_open = np.isfinite(score)
    sums = _sliding(np.where(is_open, score, 0.0), length)
    sums[_sliding(is_open.astype(float), length) < length - 0.5] = np.inf
    least = float(sums.min())
    if not np.isfinite(least):
        return None
    first = int(np.argmax(sums <= least + ROUNDING * (1e-3 + abs(least))))
    return ((first, length),)


def best_with_pauses(score: Array, work: Work) -> Runs | None:
    """Return the cheapest schedule of a job that may be paused; None if none fits.

    The unbroken run is compared with the best schedules of one, two, four... half-hours more
    than the work, as far as restarts may need them; each is exact for its length, with a
    start priced at the mean score.
    """
    candidates = [best_through(score, work.unbroken)]
    per_start = work.restart_half_hours
    for starts in (1, 2, 4) if per_start else (0,):
        size = math.ceil(work.half_hours + per_start * starts - ROUNDING)
        candidates.append(_with_starts(score, size, per_start=per_start, continues=work.continues))
        if per_start * 4 <= size - work.half_hours:
            break
    fitted = [runs for runs in candidates if runs is not None and work.is_fitted(runs)]
    return min(fitted, key=lambda runs: score_of(runs, score, work), default=None)


def soonest(is_open: Mask, work: Work, *, broken: bool) -> Runs:
    """Return the schedule that finishes first; as much as fits where not all does.

    Args:
        is_open: Shape ``(T,)``, where the job fits.
        work: What it needs.
        broken: Whether it may be paused.
    """
    if not broken:
        found = best_through(np.where(is_open, 0.0, np.inf), work.unbroken)
        return found or _longest(is_open, work.unbroken)
    places = np.flatnonzero(is_open)
    size = work.unbroken
    while size <= places.size:
        runs = runs_of(places[:size])
        if work.is_met(runs):
            return runs
        size += 1
    return runs_of(places)


def _longest(is_open: Mask, most: int) -> Runs:
    stretches = runs_of(np.flatnonzero(is_open))
    if not stretches:
        return ()
    first, length = max(stretches, key=lambda run: run[1])
    return ((first, min(length, most)),)


def _sliding(values: Array, length: int) -> Array:
    sums = np.concatenate(([0.0], np.cumsum(values)))
    out: Array = sums[length:] - sums[:-length]
    return out


def _with_starts(score: Array, size: int, *, per_start: float, continues: bool) -> Runs | None:
    """Dynamic programme over (half-hour, half-hours run, running) with a price per start."""
    horizon = score.size
    if size > horizon or not np.isfinite(score).any():
        return None
    if per_start == 0:
        places = np.argsort(score, kind="stable")[:size]
        return runs_of(np.sort(places)) if np.isfinite(score[places]).all() else None
    start_cost = per_start * float(np.abs(score[np.isfinite(score)]).mean())
    idle = np.full(size + 1, np.inf)
    busy = np.full(size + 1, np.inf)
    (busy if continues else idle)[0] = 0.0
    if not continues:
        idle[0] = -start_cost
    started = np.zeros((horizon, size + 1), dtype=np.bool_)
    stopped = np.zeros((horizon, size + 1), dtype=np.bool_)
    for t in range(horizon):
        stopped[t] = busy < idle
        idle_next = np.where(stopped[t], busy, idle)
        started[t, 1:] = idle[:-1] + start_cost < busy[:-1]
        busy_next = np.full(size + 1, np.inf)
        busy_next[1:] = np.minimum(idle[:-1] + start_cost, busy[:-1]) + score[t]
        idle, busy = idle_next, busy_next
    if not np.isfinite(min(idle[size], busy[size])):
        return None
    return _walk_back(started, stopped, size=size, running=bool(busy[size] <= idle[size]))


def _walk_back(
    started: Mask,
    stopped: Mask,
    *,
    size: int,
    running: bool,
) -> Runs:
    chosen = []
    done = size
    for t in range(started.shape[0] - 1, -1, -1):
        if running:
            chosen.append(t)
            running = not started[t, done]
            done -= 1
        else:
            running = bool(stopped[t, done])
    return runs_of(np.array(chosen[::-1], dtype=np.int64))
