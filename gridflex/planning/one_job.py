"""The best schedule of one job in one window; compiled.

A window is the half-hours a job may use, counted from its release. ``value`` is what each of them
counts for, GBP, prices of capacity included and infinite where the job does not fit; ``base`` is
the same without prices of capacity, which the unused part of a last half-hour saves. ``mask``
marks the half-hours of a schedule.
"""

from __future__ import annotations

import numpy as np

from gridflex.planning.compiled import compiled
from gridflex.planning.problem import Array
from gridflex.planning.tables import Marks

TOLERANCE = 1e-9
TURNS = 3
LARGEST_TABLE = 6000
"""Cells of the dynamic programme up to which it counts half-hours exactly."""


@compiled
def through(
    value: Array, base: Array, begin: int, length: int, size: int, unused: float
) -> tuple[float, int]:
    """Return the least value of an unbroken run from ``begin`` on, and its first half-hour."""
    total, closed, best, start = 0.0, 0, np.inf, -1
    for end in range(begin, length):
        if value[end] == np.inf:
            closed += 1
        else:
            total += value[end]
        if end - size >= begin:
            if value[end - size] == np.inf:
                closed -= 1
            else:
                total -= value[end - size]
        if end - size + 1 >= begin and closed == 0:
            found = total - unused * base[end]
            if found < best - TOLERANCE * (1e-3 + abs(best)) or start < 0:
                best, start = found, end - size + 1
    return best, start


@compiled
def select(values: Array, length: int, rank: int) -> float:
    """Return the value of ``rank``, counted from 0, in order of size."""
    work = values[:length].copy()
    low, high = 0, length - 1
    while low < high:
        pivot = work[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while work[i] < pivot:
                i += 1
            while work[j] > pivot:
                j -= 1
            if i <= j:
                work[i], work[j] = work[j], work[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return float(work[rank])


@compiled
def lowest(value: Array, length: int, size: int, mask: Marks) -> bool:
    """Mark the ``size`` lowest half-hours, the earlier of equals; False if too few are open."""
    mask[:length] = 0
    if size > length:
        return False
    limit = select(value, length, size - 1) if size > 0 else -np.inf
    if limit == np.inf:
        return False
    left = size
    for k in range(length):
        if value[k] < limit:
            mask[k] = 1
            left -= 1
    for k in range(length):
        if left > 0 and value[k] == limit:
            mask[k] = 1
            left -= 1
    return True


@compiled
def worth(
    value: Array,
    base: Array,
    length: int,
    mask: Marks,
    work: float,
    restart: float,
    continues: bool,
) -> float:
    """Return the value of a schedule; infinite if it is not just as long as it must be."""
    total, count, starts, last = 0.0, 0, -1, -1
    for k in range(length):
        if mask[k]:
            total += value[k]
            count += 1
            if k == 0 or not mask[k - 1]:
                starts += 1
            last = k
    if continues and not mask[0]:
        starts += 1
    needed = work + restart * max(starts, 0)
    if count == 0 or count != np.ceil(needed - TOLERANCE):
        return np.inf
    return float(total - (count - needed) * base[last])


@compiled
def with_starts(
    value: Array,
    last: Array,
    length: int,
    size: int,
    start: float,
    continues: bool,
    mask: Marks,
) -> float:
    """Mark the best ``size`` half-hours when every start but the first costs ``start``.

    Dynamic programme over (half-hour, half-hours run, running); exact. The last half-hour
    counts for ``last`` instead of ``value``.
    """
    idle, busy = np.full(size + 1, np.inf), np.full(size + 1, np.inf)
    started = np.zeros((length, size + 1), dtype=np.uint8)
    stopped = np.zeros((length, size + 1), dtype=np.uint8)
    if continues:
        busy[0] = 0.0
    else:
        idle[0] = -start
    for t in range(length):
        for n in range(min(size, t + 1), 0, -1):
            fresh, on = idle[n - 1] + start, busy[n - 1]
            if busy[n] < idle[n]:
                stopped[t, n] = 1
                idle[n] = busy[n]
            if fresh < on:
                started[t, n] = 1
                on = fresh
            busy[n] = on + (last[t] if n == size else value[t])
        if busy[0] < idle[0]:
            stopped[t, 0] = 1
            idle[0] = busy[0]
        busy[0] = np.inf
    best = float(min(idle[size], busy[size]))
    mask[:length] = 0
    if best == np.inf:
        return best
    running, n = busy[size] <= idle[size], size
    for t in range(length - 1, -1, -1):
        if running:
            mask[t] = 1
            running = not started[t, n]
            n -= 1
        else:
            running = stopped[t, n] == 1
    return best


@compiled
def at_rate(
    value: Array, length: int, rate: float, start: float, continues: bool, mask: Marks
) -> tuple[float, int]:
    """Mark the best half-hours when each earns ``rate``; return the value and their number."""
    choice = np.zeros((length, 2), dtype=np.uint8)
    idle = np.inf if continues else -start
    busy = 0.0 if continues else np.inf
    for t in range(length):
        choice[t, 0] = busy < idle
        choice[t, 1] = idle + start < busy
        on = min(idle + start, busy) + value[t] - rate
        idle = min(idle, busy)
        busy = on
    running, count = busy <= idle, 0
    best = min(idle, busy)
    for t in range(length - 1, -1, -1):
        mask[t] = running
        count += running
        running = choice[t, 1] == 0 if running else choice[t, 0] == 1
    return best, count


@compiled
def by_rate(
    value: Array, length: int, size: int, start: float, continues: bool, mask: Marks
) -> float:
    """Mark good ``size`` half-hours as `with_starts` does, for windows too large for it.

    Returns a bound on what any ``size`` half-hours count for.
    """
    low, high = np.inf, -np.inf
    for k in range(length):
        if value[k] < np.inf:
            low, high = min(low, value[k]), max(high, value[k])
    low, high = low - start - 1e-6, high + (length + 1) * start + 1e-6
    bound = -np.inf
    trial = np.zeros(length, dtype=np.uint8)
    mask[:length] = 0
    for _ in range(40):
        rate = 0.5 * (low + high)
        found, count = at_rate(value, length, rate, start, continues, trial)
        bound = max(bound, found + rate * size)
        if count >= size:
            high = rate
            mask[:length] = trial
        else:
            low = rate
    trim(value, length, size, start, mask)
    return bound


@compiled
def trim(value: Array, length: int, size: int, start: float, mask: Marks) -> None:
    """Unmark the dearest ends of runs until ``size`` half-hours are left."""
    count = 0
    for k in range(length):
        count += mask[k]
    while count > size:
        worst, at = -np.inf, -1
        for k in range(length):
            if mask[k]:
                left = k > 0 and mask[k - 1]
                right = k + 1 < length and mask[k + 1]
                saved = value[k] if left != right else value[k] + (-start if left else start)
                if saved > worst:
                    worst, at = saved, k
        mask[at] = 0
        count -= 1


@compiled
def starts_in(length: int, mask: Marks, continues: bool) -> int:
    """Return the starts of a schedule beyond the first."""
    starts = 0 if continues else -1
    for k in range(length):
        if mask[k] and (k == 0 or not mask[k - 1]):
            starts += 0 if continues and k == 0 else 1
    return starts


@compiled
def plan_one(
    value: Array,
    base: Array,
    length: int,
    work: float,
    restart: float,
    continues: bool,
    breakable: bool,
    out: Marks,
) -> float:
    """Mark the best schedule of one option in ``out`` and return its value; infinite if none."""
    size = int(np.ceil(work - TOLERANCE))
    out[:length] = 0
    if size > length:
        return np.inf
    if continues and restart > 0:
        best, start, long = np.inf, -1, int(np.ceil(work + restart - TOLERANCE))
        if through(value, base, 0, size, size, size - work)[1] == 0:
            best, start = through(value, base, 0, size, size, size - work)
        later, at = through(value, base, 1, length, long, long - work - restart)
        if at > 0 and later < best:
            best, start, size = later, at, long
    else:
        best, start = through(value, base, 0, length, size, size - work)
    if start >= 0:
        out[start : start + size] = 1
    if not breakable:
        return best
    return with_pauses(value, base, length, work, restart, continues, best, out)


@compiled
def with_pauses(
    value: Array,
    base: Array,
    length: int,
    work: float,
    restart: float,
    continues: bool,
    best: float,
    out: Marks,
) -> float:
    """Mark a schedule with pauses where it is better than ``best``; return the better value."""
    mask = np.zeros(length, dtype=np.uint8)
    size = int(np.ceil(work - TOLERANCE))
    if not lowest(value, length, size, mask):
        return best
    if restart == 0 or starts_in(length, mask, continues) <= 0:
        found = worth(value, base, length, mask, work, restart, continues)
        if found < best - TOLERANCE:
            out[:length] = mask
            return found
        return best
    last = np.empty(length)
    price, previous = 0.0, 0
    for k in range(length):
        if mask[k]:
            price += base[k] / size
    for starts in (1, 2, 4, 8):
        n = int(np.ceil(work + restart * starts - TOLERANCE))
        if n == previous:
            continue
        if n > length:
            break
        previous, guess, rate = n, starts, price
        for turn in range(TURNS):
            if turn == TURNS - 1:
                rate = base[:length].min()
            used = min(1.0, work + restart * guess - (n - 1))
            for k in range(length):
                last[k] = value[k] - (1.0 - used) * base[k]
            if length * n <= LARGEST_TABLE:
                with_starts(value, last, length, n, restart * rate, continues, mask)
            else:
                by_rate(value, length, n, restart * rate, continues, mask)
            found = worth(value, base, length, mask, work, restart, continues)
            if found < best - TOLERANCE:
                best = found
                out[:length] = mask
            guess = max(starts_in(length, mask, continues), 1)
            for k in range(length):
                rate = base[k] if mask[k] else rate
    return best


@compiled
def first_open(
    value: Array, length: int, work: float, restart: float, continues: bool, out: Marks
) -> tuple[float, int]:
    """Mark open half-hours until the work is done; return what is missing and the end."""
    needed, count, end = work, 0, 0
    for k in range(length):
        if value[k] == np.inf or count >= needed - TOLERANCE:
            continue
        if k > 0 and not out[k - 1] and (count > 0 or continues):
            needed += restart
        out[k] = 1
        count += 1
        end = k + 1
    return (0.0, end) if count >= needed - TOLERANCE else (np.ceil(work) - count + 1e-3, length)


@compiled
def first_stretch(
    value: Array, length: int, work: float, restart: float, out: Marks
) -> tuple[float, int]:
    """Mark the first stretch that holds the work, else the longest; as `first_open`.

    ``restart`` is what beginning later than the window adds.
    """
    run, longest, at = 0, 0, 0
    for k in range(length):
        run = run + 1 if value[k] < np.inf else 0
        size = int(np.ceil(work + (restart if run <= k else 0.0) - TOLERANCE))
        if run >= size:
            out[k + 1 - size : k + 1] = 1
            return 0.0, k + 1
        if run > longest:
            longest, at = run, k + 1 - run
    out[at : at + longest] = 1
    return np.ceil(work) - longest + 1e-3, length
