"""The best place for one job among others, and sweeps over many; compiled.

Windows, values and masks are those of `gridflex.planning.one_job`.
"""

from __future__ import annotations

import numpy as np

from gridflex.planning.compiled import compiled
from gridflex.planning.one_job import (
    TOLERANCE,
    first_open,
    first_stretch,
    plan_one,
    starts_in,
    worth,
)
from gridflex.planning.problem import Array
from gridflex.planning.tables import Index, Market, Marks, State, Tables

SLACK_KW = 1e-9
CAP_STEPS = 14


@compiled
def fill(
    tables: Tables,
    state: State,
    market: Market,
    job: int,
    option: int,
    high: int,
    value: Array,
    base: Array,
) -> int:
    """Write the window's values of one option and return its length."""
    low, site = tables.release[job], tables.site[option]
    gpus, power, waiting = tables.gpus[option], tables.power[option], tables.waiting[job]
    for k in range(high - low):
        t = low + k
        base[k] = power * (tables.score[site, t] + market.tax[site, t]) + waiting * k
        is_open = not market.shut[site, t]
        over = state.used[site, t] + gpus - market.room[site, t]
        over_kw = state.used_kw[site, t] + power - market.room_kw[site, t]
        price, price_kw = market.gpu[site, t], market.kw[site, t]
        if market.stiffness < 0:
            is_open = is_open and not (gpus > 0 and over > 0) and over_kw <= SLACK_KW
        else:
            price = max(0.0, price + market.stiffness * over)
            if over_kw > -np.inf:
                price_kw = max(0.0, price_kw + market.stiffness_kw * over_kw)
        value[k] = base[k] + gpus * price + power * price_kw if is_open else np.inf
    return int(max(high - low, 0))


@compiled
def dirt(tables: Tables, job: int, option: int, length: int, mask: Marks) -> float:
    """Return the energy-weighted mean intensity of a schedule in a window."""
    low, site = tables.release[job], tables.site[option]
    needed = tables.work[option] + tables.restart[job] * max(
        starts_in(length, mask, tables.continues[option]), 0
    )
    total, weights = 0.0, 0.0
    for k in range(length):
        if mask[k]:
            weight = min(1.0, max(0.0, needed - weights))
            total += weight * tables.intensity[site, low + k]
            weights += weight
    return total / weights if weights > 0 else 0.0


@compiled
def under_cap(
    tables: Tables, job: int, option: int, value: Array, base: Array, length: int, out: Marks
) -> float:
    """Mark a cheap schedule under the job's carbon cap, the cleanest found where there is none.

    The price of carbon is doubled until the cap is kept, then lowered as far as it stays kept.
    """
    low, site, cap = tables.release[job], tables.site[option], tables.cap[job]
    work, restart = tables.work[option], tables.restart[job]
    continues, breakable = tables.continues[option], tables.breakable[job]
    least, most, dearest, cheapest = np.inf, -np.inf, -np.inf, np.inf
    for k in range(length):
        if value[k] < np.inf:
            intensity = tables.intensity[site, low + k]
            least, most = min(least, intensity), max(most, intensity)
            cheapest, dearest = min(cheapest, value[k]), max(dearest, value[k])
    price = max(dearest - cheapest, 1e-6) / max(most - least, 1e-6) / 8
    taxed, taxed_base = np.empty(length), np.empty(length)
    trial = np.zeros(length, dtype=np.uint8)
    cleanest, best, below = dirt(tables, job, option, length, out), np.inf, 0.0
    for _ in range(CAP_STEPS):
        for k in range(length):
            extra = price * tables.intensity[site, low + k]
            taxed[k], taxed_base[k] = value[k] + extra, base[k] + extra
        plan_one(taxed, taxed_base, length, work, restart, continues, breakable, trial)
        dirty = dirt(tables, job, option, length, trial)
        if dirty <= cap + TOLERANCE:
            found = worth(value, base, length, trial, work, restart, continues)
            if found < best:
                best = found
                out[:length] = trial
            price = 0.5 * (below + price)
        elif best < np.inf:
            below, price = price, 1.5 * price - 0.5 * below
        else:
            if dirty < cleanest:
                cleanest = dirty
                out[:length] = trial
            below, price = price, 2 * price
    return worth(value, base, length, out, work, restart, continues)


@compiled
def respond(
    tables: Tables, state: State, market: Market, job: int, high: int, out: Marks
) -> tuple[float, int]:
    """Mark the job's best schedule that ends by ``high``; return its value and option, or -1.

    A schedule under the job's carbon cap goes before a cheaper one above it.
    """
    length = max(high - tables.release[job], 0)
    value, base = np.empty(length), np.empty(length)
    trial = np.zeros(length, dtype=np.uint8)
    best, best_over, chosen = np.inf, np.inf, -1
    for option in range(tables.first[job], tables.first[job + 1]):
        fill(tables, state, market, job, option, high, value, base)
        found = plan_one(
            value,
            base,
            length,
            tables.work[option],
            tables.restart[job],
            tables.continues[option],
            tables.breakable[job],
            trial,
        )
        if found == np.inf:
            continue
        over = 0.0
        if tables.cap[job] < np.inf:
            over = max(0.0, dirt(tables, job, option, length, trial) - tables.cap[job])
            if over > TOLERANCE:
                found = under_cap(tables, job, option, value, base, length, trial)
                over = max(0.0, dirt(tables, job, option, length, trial) - tables.cap[job])
            over = over if over > TOLERANCE else 0.0
        if over < best_over or (over == best_over and found < best - TOLERANCE):
            best, best_over, chosen = found, over, option
            out[:length] = trial
    return best, chosen


@compiled
def put(tables: Tables, state: State, job: int, option: int, sign: float) -> None:
    """Add or remove what a job uses; its half-hours are marked in the state."""
    state.option[job] = option if sign > 0 else -1
    if tables.held[job]:
        return
    site = tables.site[option]
    gpus, power = sign * tables.gpus[option], sign * tables.power[option]
    for t in range(state.on.shape[1]):
        if state.on[job, t]:
            state.used[site, t] += gpus
            state.used_kw[site, t] += power


@compiled
def place(tables: Tables, state: State, job: int, option: int, length: int, mask: Marks) -> None:
    """Place a job where the mask of its window says."""
    low = tables.release[job]
    state.on[job, :] = 0
    state.on[job, low : low + length] = mask[:length]
    put(tables, state, job, option, 1.0)


@compiled
def sweep(tables: Tables, state: State, market: Market, jobs: Index) -> int:
    """Take each job out and put it back where it is best at the market's prices.

    Jobs that find no place stay out, or where they were; returns how many are out.
    """
    out = 0
    for job in jobs:
        before = state.option[job]
        if before >= 0:
            put(tables, state, job, before, -1.0)
        high = tables.deadline[job]
        length = max(high - tables.release[job], 0)
        mask = np.zeros(length, dtype=np.uint8)
        _, option = respond(tables, state, market, job, high, mask)
        if option >= 0:
            place(tables, state, job, option, length, mask)
        elif before >= 0:
            put(tables, state, job, before, 1.0)
        else:
            out += 1
    return out


@compiled
def soonest(
    tables: Tables, state: State, market: Market, job: int, is_whole: bool, out: Marks
) -> int:
    """Mark the schedule that finishes first, deadline or not, and return its option.

    Where not all of the work fits, as much as does. The mask covers release to horizon.

    Args:
        tables: The problem.
        state: Where the others are.
        market: What is free.
        job: Which.
        is_whole: Whether to leave no pauses even where the job allows them.
        out: Shape ``(T,)``.
    """
    horizon = tables.score.shape[1]
    length = max(horizon - tables.release[job], 0)
    value, base = np.empty(length), np.empty(length)
    trial = np.zeros(horizon, dtype=np.uint8)
    broken = tables.breakable[job] and not is_whole
    least_missing, least_end, chosen = np.inf, horizon + 1, -1
    for option in range(tables.first[job], tables.first[job + 1]):
        fill(tables, state, market, job, option, horizon, value, base)
        work, continues = tables.work[option], tables.continues[option]
        trial[:] = 0
        if broken:
            missing, end = first_open(value, length, work, tables.restart[job], continues, trial)
        else:
            missing, end = first_stretch(
                value, length, work, tables.restart[job] * continues, trial
            )
        if missing < least_missing or (missing == least_missing and end < least_end):
            least_missing, least_end, chosen = missing, end, option
            out[:] = trial
    return chosen


@compiled
def above_cap(
    tables: Tables, job: int, option: int, length: int, mask: Marks, caps: Array
) -> float:
    """Return what a schedule emits above its site's cap, in g per half-hour of 1 kW."""
    cap = caps[tables.site[option]]
    if cap == np.inf:
        return 0.0
    starts = starts_in(length, mask, tables.continues[option])
    needed = tables.work[option] + tables.restart[job] * max(starts, 0)
    mean = dirt(tables, job, option, length, mask)
    return float(tables.power[option] * needed * (mean - cap))


@compiled
def improve(
    tables: Tables, state: State, market: Market, jobs: Index, caps: Array, excess: Array
) -> float:
    """Take each job out and put it back where it is best now; return the GBP gained.

    A job never gets dearer, later or further above its carbon cap.

    Args:
        tables: The problem.
        state: Complete.
        market: Prices and room.
        jobs: Which, in which order.
        caps: Shape ``(S,)``, gCO2/kWh; a site does not come above it. Infinite without a cap.
        excess: Shape ``(S,)``, emissions above the caps, as `above_cap`; kept up to date.
    """
    gained = 0.0
    for job in jobs:
        before = state.option[job]
        if before < 0 or tables.held[job]:
            continue
        low, high = tables.release[job], tables.deadline[job]
        length = max(high - low, 0)
        put(tables, state, job, before, -1.0)
        mask = np.zeros(length, dtype=np.uint8)
        found, option = respond(tables, state, market, job, high, mask)
        if option < 0:
            put(tables, state, job, before, 1.0)
            continue
        own = state.on[job, low:high].copy()
        now = np.inf
        if not state.on[job, max(high, low) :].any():
            value, base = np.empty(length), np.empty(length)
            fill(tables, state, market, job, before, high, value, base)
            work, continues = tables.work[before], tables.continues[before]
            now = worth(value, base, length, own, work, tables.restart[job], continues)
        over, over_now = 0.0, 0.0
        if tables.cap[job] < np.inf and now < np.inf:
            over = max(0.0, dirt(tables, job, option, length, mask) - tables.cap[job])
            over_now = max(0.0, dirt(tables, job, before, length, own) - tables.cap[job])
        is_better = over < over_now - TOLERANCE
        is_better = is_better or (over <= over_now + TOLERANCE and found < now - TOLERANCE)
        here, there = tables.site[before], tables.site[option]
        less = above_cap(tables, job, before, length, own, caps)
        more = above_cap(tables, job, option, length, mask, caps)
        after = excess[there] + more - (less if here == there else 0.0)
        if here != there and excess[here] - less > max(excess[here], TOLERANCE):
            is_better = False
        if is_better and (now == np.inf or after <= max(excess[there], TOLERANCE)):
            place(tables, state, job, option, length, mask)
            excess[here] -= less
            excess[there] += more
            gained += now - found if now < np.inf else 0.0
        else:
            put(tables, state, job, before, 1.0)
    return gained


@compiled
def keep_fitting(tables: Tables, state: State, market: Market, jobs: Index) -> Index:
    """Take out, the last of ``jobs`` first, what exceeds the room; return who was taken out."""
    left = np.zeros(jobs.size, dtype=np.int64)
    count = 0
    for i in range(jobs.size - 1, -1, -1):
        job, option = jobs[i], state.option[jobs[i]]
        if option < 0:
            left[count] = job
            count += 1
            continue
        site, fits = tables.site[option], True
        for t in range(state.on.shape[1]):
            if state.on[job, t]:
                over = state.used[site, t] - market.room[site, t]
                fits = fits and not (tables.gpus[option] > 0 and over > 0)
                fits = fits and state.used_kw[site, t] - market.room_kw[site, t] <= SLACK_KW
        if not fits:
            put(tables, state, job, option, -1.0)
            left[count] = job
            count += 1
    return left[:count][::-1].copy()


@compiled
def fits_alone(tables: Tables, market: Market, jobs: Index) -> Index:
    """Return 1 for each of ``jobs`` that could be on time with all the room to itself."""
    out = np.zeros(jobs.size, dtype=np.int64)
    for i, job in enumerate(jobs):
        low, high = tables.release[job], tables.deadline[job]
        for option in range(tables.first[job], tables.first[job + 1]):
            site, size = tables.site[option], np.ceil(tables.work[option] - TOLERANCE)
            run, most = 0, 0
            for t in range(low, high):
                is_open = market.room_kw[site, t] >= tables.power[option] - SLACK_KW
                if tables.gpus[option] > 0 and market.room[site, t] < tables.gpus[option]:
                    is_open = False
                if is_open:
                    run += 1
                elif not tables.breakable[job]:
                    run = 0
                most = max(most, run)
            if most >= size:
                out[i] = 1
    return out


@compiled
def place_soonest(
    tables: Tables, state: State, market: Market, jobs: Index, is_whole: bool
) -> None:
    """Place each job where it finishes first, deadline or not."""
    mask = np.zeros(tables.score.shape[1], dtype=np.uint8)
    for job in jobs:
        option = soonest(tables, state, market, job, is_whole, mask)
        place(tables, state, job, option, max(mask.size - tables.release[job], 0), mask)
