"""What no schedule of a job can beat; compiled.

A bound assumes nothing about capacity but its price. It holds for prices of energy below zero,
at which a schedule with more restarts, and so more running, can be worth more.
"""

from __future__ import annotations

import numpy as np

from gridflex.planning.compiled import compiled
from gridflex.planning.one_job import select
from gridflex.planning.problem import Array
from gridflex.planning.tables import Index, Market, Marks, Tables

TOLERANCE = 1e-9
CAP_STEPS = 12
LARGEST_TABLE = 6000
"""Cells up to which half-hours are counted exactly; beyond, they earn a rate."""
RATE_STEPS = 24
CLASSES = 16
GROUPS = 3
"""Groups of schedules with equally many half-hours that are told apart."""


@compiled
def least_unbroken(value: Array, base: Array, begin: int, length: int, work: float) -> float:
    """Return the least value of an unbroken run from ``begin`` on; infinite if none fits."""
    size = int(np.ceil(work - TOLERANCE))
    total, best = 0.0, np.inf
    for end in range(begin, length):
        total += value[end]
        if end - size >= begin:
            total -= value[end - size]
        if end - size + 1 >= begin:
            best = min(best, total - (size - work) * base[end])
    return best


@compiled
def with_starts(
    value: Array, last: Array, length: int, size: int, start: float, continues: bool
) -> float:
    """Return the least value of ``size`` half-hours when every start but the first costs.

    The last half-hour counts for ``last`` instead of ``value``.
    """
    idle, busy = np.full(size + 1, np.inf), np.full(size + 1, np.inf)
    if continues:
        busy[0] = 0.0
    else:
        idle[0] = -start
    for t in range(length):
        for n in range(min(size, t + 1), 0, -1):
            on = min(idle[n - 1] + start, busy[n - 1])
            idle[n] = min(idle[n], busy[n])
            busy[n] = on + (last[t] if n == size else value[t])
        idle[0] = min(idle[0], busy[0])
        busy[0] = np.inf
    return float(min(idle[size], busy[size]))


@compiled
def at_rate(
    value: Array, last: Array, length: int, size: int, start: float, continues: bool
) -> float:
    """Return a bound on `with_starts`: the best over rates that each half-hour may earn."""
    low = value[:length].min() - abs(start)
    high = value[:length].max() + (length + 1) * abs(start)
    best = -np.inf
    for _ in range(RATE_STEPS):
        rate = 0.5 * (low + high)
        idle, busy, done = -start, np.inf, np.inf
        idle_count, busy_count, count = 0, 0, 0
        if continues:
            idle, busy = np.inf, 0.0
        for t in range(length):
            on, on_count = busy, busy_count + 1
            if idle + start < busy:
                on, on_count = idle + start, idle_count + 1
            if on + last[t] - rate < done:
                done, count = on + last[t] - rate, on_count
            if busy < idle:
                idle, idle_count = busy, busy_count
            busy, busy_count = on + value[t] - rate, on_count
        best = max(best, done + rate * size)
        if count >= size:
            high = rate
        else:
            low = rate
    return best


@compiled
def cheapest(value: Array, length: int, amount: float) -> float:
    """Return what the cheapest ``amount`` of half-hours counts for, or all of them."""
    size = int(np.ceil(amount - TOLERANCE))
    if size <= 0:
        return 0.0
    if size > length:
        return float(value[:length].sum())
    limit, total, below = select(value, length, size - 1), 0.0, 0
    for k in range(length):
        if value[k] < limit:
            total += value[k]
            below += 1
    return total + (amount - below) * limit


@compiled
def least_of_option(
    value: Array,
    base: Array,
    length: int,
    work: float,
    restart: float,
    continues: bool,
    breakable: bool,
) -> float:
    """Return a bound on every schedule of one option; infinite if the work cannot fit."""
    if np.ceil(work - TOLERANCE) > length:
        return np.inf
    if continues and restart > 0:
        size = int(np.ceil(work - TOLERANCE))
        at_once = least_unbroken(value, base, 0, size, work)
        whole = min(at_once, least_unbroken(value, base, 1, length, work + restart))
    else:
        whole = least_unbroken(value, base, 0, length, work)
    if not breakable:
        return whole
    if restart == 0:
        return min(whole, cheapest(value, length, work))
    if base[:length].min() >= 0 and whole <= cheapest(value, length, work) + TOLERANCE:
        return whole
    return least_paused(value, base, length, work, restart, continues, whole)


@compiled
def least_paused(
    value: Array,
    base: Array,
    length: int,
    work: float,
    restart: float,
    continues: bool,
    best: float,
) -> float:
    """Return the lesser of ``best`` and a bound on every schedule with a further start.

    Starts are taken in groups that need equally many half-hours, and all groups beyond the first
    few at once.
    """
    most, extra = 0, 0 if continues else 1
    for starts in range(1, (length + 1) // 2 + 1):
        if starts + extra <= np.ceil(work + restart * starts - TOLERANCE) <= length:
            most = starts
    starts, group = 1, 0
    while starts <= most:
        least = least_between(value, length, work + restart * starts, work + restart * most)
        if least >= best:
            return best
        if group == GROUPS:
            return least
        size = int(np.ceil(work + restart * starts - TOLERANCE))
        used = work + restart * starts - (size - 1)
        best = min(best, least_of_size(value, base, length, size, used, restart, starts, continues))
        starts = int(np.floor((size - work) / restart + TOLERANCE)) + 1
        group += 1
    return best


@compiled
def least_between(value: Array, length: int, low: float, high: float) -> float:
    """Return the least that any amount of half-hours from ``low`` to ``high`` can count for.

    That is convex in the amount, and least where all half-hours below zero are taken. The part
    of a last half-hour that is used counts for at least its share of the half-hour's value, as
    prices of capacity are not below zero.
    """
    below = 0.0
    for k in range(length):
        below += value[k] < 0
    return cheapest(value, length, min(max(below, low), high))


@compiled
def least_of_size(
    value: Array,
    base: Array,
    length: int,
    size: int,
    used: float,
    restart: float,
    starts: int,
    continues: bool,
) -> float:
    """Return a bound on every schedule of ``size`` half-hours with at least so many starts.

    All half-hours but the last are used in full, so that each further start costs what it adds at
    the last one's base. Last half-hours are taken in classes of like base, each at its least.

    Args:
        value: What a half-hour counts for.
        base: The same without prices of capacity.
        length: Of the window.
        size: Half-hours that are held.
        used: Share of the last one that is used with just ``starts``.
        restart: Half-hours that each further start adds.
        starts: The least number of further starts.
        continues: Whether beginning at once is no start.
    """
    if size > length:
        return np.inf
    ordered, ends, best = np.sort(base[:length]), np.empty(length), np.inf
    for part in range(CLASSES):
        low = ordered[part * length // CLASSES]
        high = ordered[(part + 1) * length // CLASSES] if part + 1 < CLASSES else np.inf
        if low == high:
            continue
        for k in range(length):
            fits = low <= base[k] < high
            ends[k] = value[k] - (1.0 - used) * base[k] if fits else np.inf
        start = restart * low
        if length * size > LARGEST_TABLE:
            found = at_rate(value, ends, length, size, start, continues)
        else:
            found = with_starts(value, ends, length, size, start, continues)
        best = min(best, found - start * starts)
    return best


@compiled
def least_of_job(
    tables: Tables, market: Market, job: int, high: int, amount: float, tax: float
) -> float:
    """Return a bound on every schedule of a job that ends by ``high``.

    Args:
        tables: The problem.
        market: Prices.
        job: Which.
        high: First half-hour in which it must not run.
        amount: Half-hours to run instead of the work, below 0 for the work itself.
        tax: GBP per kWh of mean intensity above the job's cap.
    """
    low = tables.release[job]
    length = max(high - low, 0)
    value, base = np.empty(length), np.empty(length)
    best = np.inf
    for option in range(tables.first[job], tables.first[job + 1]):
        site, gpus, power = tables.site[option], tables.gpus[option], tables.power[option]
        for k in range(length):
            t = low + k
            score = tables.score[site, t] + market.tax[site, t]
            if tax > 0:
                score += tax * (tables.intensity[site, t] - tables.cap[job])
            base[k] = power * score + tables.waiting[job] * k
            value[k] = base[k] + gpus * market.gpu[site, t] + power * market.kw[site, t]
        given = amount >= 0
        found = least_of_option(
            value,
            base,
            length,
            amount if given else tables.work[option],
            0.0 if given else tables.restart[job],
            tables.continues[option] and not given,
            tables.breakable[job] or given,
        )
        best = min(best, found)
    return best


@compiled
def least_of_capped(tables: Tables, market: Market, job: int) -> float:
    """Return the best bound over prices on what a job emits above its cap."""
    best = least_of_job(tables, market, job, tables.deadline[job], -1.0, 0.0)
    price = np.abs(tables.score).mean() / max(tables.intensity.max(), 1.0) / 4
    for _ in range(CAP_STEPS):
        found = least_of_job(tables, market, job, tables.deadline[job], -1.0, price)
        if found < best:
            break
        best = found
        price *= 1.5
    return best


@compiled
def least_of_all(tables: Tables, market: Market, jobs: Index, until: Index, amount: Array) -> Array:
    """Return shape ``(n,)``: a bound for each of ``jobs``, waiting counted from the release.

    Args:
        tables: The problem.
        market: Prices.
        jobs: Shape ``(n,)``.
        until: Shape ``(J,)``, where windows end.
        amount: Shape ``(J,)``, half-hours to run instead of the work; below 0 for the work.
    """
    out = np.zeros(jobs.size)
    for i, job in enumerate(jobs):
        if tables.cap[job] < np.inf and amount[job] < 0 and until[job] == tables.deadline[job]:
            out[i] = least_of_capped(tables, market, job)
        else:
            out[i] = least_of_job(tables, market, job, until[job], amount[job], 0.0)
    return out


@compiled
def weighted_sums(tables: Tables, on: Marks, option: Index, price: Array) -> Array:
    """Return shape ``(J, 8)``, sums over each job's half-hours by the share that it uses.

    The columns: shares alone, times price, intensity, delay and absolute score; then the number
    of half-hours, the first one after the last, and 1 if all work is held.
    """
    jobs, half_hours = on.shape
    out = np.zeros((jobs, 8))
    for job in range(jobs):
        chosen = option[job]
        if chosen < 0:
            continue
        site, starts = tables.site[chosen], -1
        for t in range(half_hours):
            if on[job, t]:
                out[job, 5] += 1
                out[job, 6] = t + 1
                starts += t == 0 or not on[job, t - 1]
        if tables.continues[chosen] and not on[job, 0]:
            starts += 1
        needed = tables.work[chosen] + tables.restart[job] * max(starts, 0)
        left = needed
        for t in range(half_hours):
            if on[job, t]:
                share = min(1.0, max(0.0, left))
                left -= 1.0
                out[job, 0] += share
                out[job, 1] += share * price[site, t]
                out[job, 2] += share * tables.intensity[site, t]
                out[job, 3] += share * (t - tables.release[job])
                out[job, 4] += share * abs(tables.score[site, t])
        out[job, 7] = out[job, 5] > 0 and out[job, 5] >= needed - TOLERANCE
    return out
