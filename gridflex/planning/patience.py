"""Whether running now is worth giving up the choice to run later.

A plan takes forecasts as they are and is made anew each half-hour. But a half-hour that looks
only just good enough now competes with later ones that may turn out better than forecast, and
whoever has run cannot choose them any more. So before each plan every job that may be paused is
asked what its next half-hour may cost at most: the expected cost of the rest with and without
it, when each later half-hour is used only if it turns out well. A start costs what it adds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from gridflex import units
from gridflex.jobs import Tier
from gridflex.planning.compiled import compiled
from gridflex.planning.problem import Array, JobDemand, PlanningProblem, SiteOutlook

NEAR_HALF_HOURS: Final = 96
"""48 h, as far as providers look ahead."""

NEAR_LATE: Final = 0.4
FAR_LATE: Final = 0.7
"""Share of a forecast's error, near and beyond, that will show in time to choose another
half-hour; the rest shifts what follows as well and gives no choice. Found on GB 2023."""

PRICE_AND_CARBON: Final = 0.6
"""Correlation of price and intensity (GB 2024), and so of their errors."""

LARGEST_TABLE: Final = 6000
"""Cells of the dynamic programme up to which half-hours count one by one, else in blocks."""


@compiled
def least_of(mean: float, sd: float) -> float:
    """Return the expected value of a normal number or 0, whichever is less."""
    if sd <= 0:
        return min(mean, 0.0)
    z = mean / sd
    below = 0.5 * math.erfc(z / math.sqrt(2.0))
    return mean * below - sd * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


@compiled
def worth_of_now(mean: Array, sd: Array, size: int, start: float, is_running: bool) -> float:  # noqa: FBT001 - compiled
    """Return what a half-hour before these may cost at most; infinite where it must be used.

    Dynamic programme from the last half-hour back, over work left and whether the job runs:
    each half-hour is used if what it turns out to cost, with the rest after it, is less than the
    rest without it.

    Args:
        mean: Shape ``(T,)``, expected cost of each later half-hour.
        sd: Shape ``(T,)``, how far it may be off, as a standard deviation.
        size: Half-hours of work, the one in question included.
        start: What a start costs.
        is_running: Whether the job runs already.
    """
    length = mean.size
    if size > length:
        return np.inf
    off, on = np.full(size + 1, np.inf), np.full(size + 1, np.inf)
    off[0] = on[0] = 0.0
    for t in range(length - 1, -1, -1):
        for left in range(min(size, length - t), 0, -1):
            rest, used = off[left], mean[t] + on[left - 1]
            if rest == np.inf:
                off[left], on[left] = used + start, used
            else:
                off[left] = rest + least_of(used + start - rest, sd[t])
                on[left] = rest + least_of(used - rest, sd[t])
    return float(off[size] - on[size - 1] - (0.0 if is_running else start))


def late_share(length: int, *, near: int = NEAR_HALF_HOURS) -> Array:
    """Return shape ``(length,)``: the share of the doubt in each period ahead that gives a choice.

    Args:
        length: How far to look.
        near: Periods in 48 h.
    """
    return np.where(np.arange(length) <= near, NEAR_LATE, FAR_LATE)


def patient(problem: PlanningProblem, *, prices: Array | None = None) -> PlanningProblem:
    """Return the problem without half-hour 0 for jobs that had better wait for a better one.

    Jobs that would be late without it keep it, as do those that may not be paused and those
    whose sites do not say how sure their forecasts are.

    Args:
        problem: What to plan.
        prices: Shape ``(S, T)``, what a GPU counts for by the plan in force, GBP per half-hour.
    """
    if not any(outlook.is_unsure for outlook in problem.sites):
        return problem
    outlooks = {outlook.site.name: i for i, outlook in enumerate(problem.sites)}
    score = np.array([_score(one, problem.carbon_price_gbp_per_tco2) for one in problem.sites])
    spread = np.array([_spread(one, problem.carbon_price_gbp_per_tco2) for one in problem.sites])
    dear = np.zeros_like(score) if prices is None else prices

    def waits(job: JobDemand) -> bool:
        sites = [outlooks[name] for name in job.power_kw]
        kw = np.array(list(job.power_kw.values()))[:, None]
        return _waits(job, kw * score[sites] + job.gpus * dear[sites], kw * spread[sites])

    jobs = tuple(
        replace(job, release=1) if _may_wait(job, problem.half_hours) and waits(job) else job
        for job in problem.jobs
    )
    return replace(problem, jobs=jobs)


def _may_wait(job: JobDemand, half_hours: int) -> bool:
    again = 0.0 if job.running_at is None else job.restart_half_hours
    left = min(job.deadline, half_hours) - 1 - math.ceil(job.work + again)
    return job.interruptible and job.tier is not Tier.T0 and job.release == 0 and left >= 0


def _waits(job: JobDemand, cost: Array, spread: Array) -> bool:
    """Return whether half-hour 0 costs more than it is worth; each half-hour at its best site.

    Args:
        job: The job.
        cost: Shape ``(n, T)``, GBP of a half-hour at each site where it may run.
        spread: Shape ``(n, T)``, how far that may be off.
    """
    best = cost.argmin(axis=0)
    every = np.arange(best.size)
    mean, sd = cost[best, every], spread[best, every]
    until = min(job.deadline, mean.size)
    later = mean[1:until] + job.waiting_gbp_per_hour / 2 / job.work * every[1:until]
    sure = np.partition(later, job.work - 1)[job.work - 1]
    if mean[0] > sure:
        return False
    block = max(1, math.ceil(math.sqrt(later.size * job.work / LARGEST_TABLE)))
    worth = worth_of_now(
        _blocks(later, block),
        _blocks((late_share(sd.size) * sd)[1:until], block),
        -(-job.work // block),
        job.restart_half_hours * float(later.mean()) / block,
        job.running_at is not None,
    )
    return bool(mean[0] > worth)


def _blocks(values: Array, size: int) -> Array:
    """Return means of blocks; a short last one is left out unless it is the only one."""
    whole = max(values.size // size, 1)
    return np.ascontiguousarray(values[: whole * size].reshape(whole, -1).mean(axis=1))


def _score(outlook: SiteOutlook, gbp_per_tco2: float) -> Array:
    per_mwh = outlook.price_gbp_per_mwh + units.carbon_price_gbp_per_mwh(
        outlook.intensity_gco2_per_kwh, gbp_per_tco2
    )
    return _per_kw(per_mwh)


def _spread(outlook: SiteOutlook, gbp_per_tco2: float) -> Array:
    nothing = np.zeros(outlook.price_gbp_per_mwh.shape)
    price = nothing if outlook.price_sd_gbp_per_mwh is None else outlook.price_sd_gbp_per_mwh
    carbon = nothing
    if outlook.intensity_sd_gco2_per_kwh is not None:
        carbon = units.carbon_price_gbp_per_mwh(outlook.intensity_sd_gco2_per_kwh, gbp_per_tco2)
    together: Array = np.sqrt(price**2 + carbon**2 + 2 * PRICE_AND_CARBON * price * carbon)
    return _per_kw(together)


def _per_kw(per_mwh: Array) -> Array:
    """Return GBP of a half-hour at 1 kW."""
    out: Array = units.cost_gbp(np.full_like(per_mwh, units.energy_kwh(1.0)), per_mwh)
    return out
