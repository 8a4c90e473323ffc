"""Published scenarios, rebuilt from their published rules on the recorded data.

Let's Wait Awhile (GB 2020, 3,387 jobs), hourly jobs on GB 2024 with forecasts, and AAIC's cluster.
The AAIC workload log was graciously provided by AIRC, AIST.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from planner_instances import SHARED

from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.budget import Budget
from gridflex.planning.certificate import on_time_bound_gbp
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook
from gridflex.planning.search import Search

Array = NDArray[np.float64]
Windows = list[tuple[int, int, int]]
"""Of each job: first half-hour, half-hours of work, first half-hour past the deadline."""

LWA_START = datetime(2020, 1, 1, tzinfo=UTC)
LWA_JOBS = 3387


def lwa_series() -> tuple[Array, int]:
    """Return GB 2020 by half-hour with what comes before it, and the index of 1 January."""
    table = pd.read_parquet(SHARED / "grid" / "lets_wait_awhile_2020_gb.parquet")
    times = pd.DatetimeIndex(table["ts_utc"])
    values = table["ci_gb_gco2_kwh"].to_numpy(dtype=float)
    kept = (times.minute == 0) | (times.minute == 30)
    return values[kept], int((times[kept] < LWA_START).sum())


def lwa_jobs(*, semi_weekly: bool) -> Windows:
    """Return the ML jobs of the paper, half-hours from 1 January 2020."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", "2020-12-31", freq="B")
    counts = rng.multinomial(LWA_JOBS, np.full(len(days), 1 / len(days)))
    starts = []
    for day, count in zip(days, counts, strict=True):
        first = int((day - pd.Timestamp("2020-01-01")) / pd.Timedelta("30min")) + 18
        starts += sorted(rng.choice(np.arange(first, first + 16), count).tolist())
    sizes = rng.choice(np.arange(8, 180), LWA_JOBS)
    due = _next_semi_weekly if semi_weekly else _next_workday
    return [
        (int(start), int(size), max(due(int(start + size)), int(start + size)))
        for start, size in zip(starts, sizes, strict=True)
    ]


def _next_workday(finish: int) -> int:
    """2020 began on a Wednesday; 09:00 to 17:00 on working days is left as it is."""
    day, slot = divmod(finish, 48)
    weekday = (day + 2) % 7
    if weekday == 5:
        return (day + 2) * 48 + 18
    if weekday == 6:
        return (day + 1) * 48 + 18
    if slot < 18:
        return day * 48 + 18
    return finish if slot <= 34 else (day + 1) * 48 + 18


def _next_semi_weekly(finish: int) -> int:
    for day in range(finish // 48, finish // 48 + 8):
        at = day * 48 + 18
        if (day + 2) % 7 in {0, 3} and at >= finish:
            return at
    raise AssertionError(finish)


def planned_grams(series: Array, jobs: Windows, *, gpus: float) -> tuple[float, float, int]:
    """Return gCO2 per kW half-hour of our plan with all known, its peak and how many are late."""
    size = max(deadline for _, _, deadline in jobs)
    site = SiteOutlook(
        Site("all", gpus=int(gpus), gpu_type="H100"),
        np.zeros(size),
        series[:size],
        np.full(size, gpus),
    )
    demands = tuple(
        JobDemand(JobId(str(i)), Tier.T3, start, deadline, work, 1, {"all": 1.0}, True)  # noqa: FBT003
        for i, (start, work, deadline) in enumerate(jobs)
    )
    problem = PlanningProblem(
        HalfHour(LWA_START), demands, (site,), carbon_price_gbp_per_tco2=1000.0
    )
    search = Search(problem, Budget(60.0, timer=time.process_time))
    search.run()
    grams = 2000 * float(search.figures.carbon_kg.sum())
    return grams, float(search.best.used.max()), int(search.figures.is_late.sum())


def lwa(*, semi_weekly: bool) -> dict[str, float]:
    """Return savings in % of one scenario: ours, the optimum, under a cap, and with a forecast."""
    whole, first = lwa_series()
    series, jobs = whole[first:], lwa_jobs(semi_weekly=semi_weekly)
    jobs = [job for job in jobs if job[2] <= series.size]
    at_once = sum(float(series[start : start + work].sum()) for start, work, _ in jobs)
    best = sum(
        float(np.sort(series[start:deadline])[:work].sum()) for start, work, deadline in jobs
    )
    load = np.zeros(series.size)
    for start, work, _ in jobs:
        load[start : start + work] += 1
    ours, peak, _ = planned_grams(series, jobs, gpus=float(len(jobs)))
    capped, _, late = planned_grams(series, jobs, gpus=float(load.max()))
    guessed = sum(
        rerun(whole, first + start, work, first + deadline, half_hours_a_day=48)
        for start, work, deadline in jobs
    )
    return {
        "ours": 100 * (1 - ours / at_once),
        "optimum": 100 * (1 - best / at_once),
        "peak": peak,
        "run-now peak": float(load.max()),
        "under run-now's peak": 100 * (1 - capped / at_once),
        "late under it": float(late),
        "with a 28-day profile, known at the time": 100 * (1 - guessed / at_once),
    }


def rerun(series: Array, start: int, work: int, deadline: int, *, half_hours_a_day: int) -> float:
    """Return what a job emits that decides anew in each period by a profile forecast.

    It runs if this period is among the best that are left; its value now is known.
    """
    left, total, fade = work, 0.0, 0.97 ** (48 / half_hours_a_day)
    for now in range(start, deadline):
        if left == 0:
            break
        size, days = deadline - now, min(28, (now + 1) // half_hours_a_day)
        if size > left:
            past = series[now + 1 - days * half_hours_a_day : now + 1]
            usual = past.reshape(days, half_hours_a_day).mean(axis=0)
            level = series[now] - usual[-1]
            ahead = np.resize(usual, size - 1) + level * fade ** np.arange(1, size)
            if series[now] > np.partition(ahead, left - 1)[left - 1]:
                continue
        total += float(series[now])
        left -= 1
    return total


def aaic() -> dict[str, float]:
    """Return our score on 28 days of the AAIC cluster with 24 h of slack, perfect foresight.

    100 is the best bound on any schedule, 0 the recorded schedule.
    """
    trace = pd.read_parquet(SHARED / "gpu" / "jobs" / "aaic_2017-07_2018-09.parquet")
    whole, _ = lwa_series()
    table_start = pd.Timestamp("2019-12-20")
    offset = int((pd.Timestamp("2020-09-07") - table_start) / pd.Timedelta("30min"))
    intensity = whole[offset : offset + 36 * 48]
    begin = pd.Timestamp("2018-09-03") - pd.Timedelta("9h")
    inside = trace[(trace.submit_time >= begin) & (trace.submit_time < begin + pd.Timedelta("28D"))]
    half_hour = pd.Timedelta("30min")
    fixed, recorded, horizon = np.zeros(36 * 48), np.zeros(36 * 48), 36 * 48
    baseline, demands = 0.0, []
    for job in inside.itertuples():
        q = int((job.start_time - begin) // half_hour)
        if job.duration_s < 1800:
            if q < horizon:
                fixed[q] += job.n_gpus * job.duration_s / 1800
            continue
        work = -(-job.duration_s // 1800)
        if work > 240:
            continue
        r = int(-(-(job.submit_time - begin) // half_hour))
        recorded[q : q + work] += job.n_gpus
        baseline += job.n_gpus * float(intensity[max(q, r) : max(q, r) + work].sum())
        deadline = min(horizon, max(q + work + 1, r + work + 48))
        demands.append((r, work, deadline, job.n_gpus))
    room = np.floor(np.maximum(320 - fixed, recorded))
    site = SiteOutlook(Site("aaic", gpus=320, gpu_type="V100"), np.zeros(horizon), intensity, room)
    problem = PlanningProblem(
        HalfHour(LWA_START),
        tuple(
            JobDemand(
                JobId(str(i)),
                Tier.T3,
                r,
                deadline,
                work,
                int(n),
                {"aaic": float(n)},
                True,  # noqa: FBT003
            )
            for i, (r, work, deadline, n) in enumerate(demands)
        ),
        (site,),
        carbon_price_gbp_per_tco2=1000.0,
    )
    search = Search(problem, Budget(60.0, timer=time.process_time))
    greedy = 2000 * float(search.figures.carbon_kg.sum())
    greedy_late = int(search.figures.is_late.sum())
    search.run()
    ours = 2000 * float(search.figures.carbon_kg.sum())
    bound = 2000 * on_time_bound_gbp(search.tables, search.prices)
    return {
        "score": 100 * (baseline - ours) / (baseline - bound),
        "late": float(search.figures.is_late.sum()),
        "saved": 100 * (1 - ours / baseline),
        "bound": 100 * (1 - bound / baseline),
        "urgent-first greedy": 100 * (baseline - greedy) / (baseline - bound),
        "its late": float(greedy_late),
        "recorded": baseline,
        "jobs": float(len(demands)),
    }
