"""Job traces and grid series for ``gridflex backtest``, from files or a cluster's history."""

from __future__ import annotations

import asyncio
import csv
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from gridflex.adapters.clusters.ray_auth import find_token
from gridflex.adapters.clusters.ray_jobs import RayJob, RayJobs
from gridflex.errors import ContractError
from gridflex.fleet import GPU_TYPES
from gridflex.halfhour import HALF_HOUR, HalfHour, half_hours_needed, in_utc
from gridflex.jobs import JobId
from gridflex.planning.backtest import Arrival, GridSeries
from gridflex.planning.shadow import Assumed, PastJob, arrivals_of


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs on a grid.

    Args:
        start: Half-hour 0.
        grid: What the time was like.
        arrivals: Jobs.
        left_out: Jobs that could not be taken.
    """

    start: HalfHour
    grid: GridSeries
    arrivals: tuple[Arrival, ...]
    left_out: tuple[JobId, ...] = ()


def read_history(url: str, grid: Path, assumed: Assumed) -> Trace:
    """Return the ended jobs in a Ray cluster's history and the series of a CSV file.

    Raises:
        SourceError: The cluster does not answer.
        ContractError: Nothing in its history can be replayed on the series.
    """
    start, series = _read_grid(grid)
    past = [job for job in map(_past, asyncio.run(_listed(url))) if job is not None]
    arrivals, left_out = arrivals_of(past, assumed, start=start, grid=series)
    if not arrivals:
        raise ContractError(
            f"{url}: none of {len(past)} ended jobs lies within the series of {grid}, from a day "
            "after its start to a deadline before its end"
        )
    return Trace(start, series, arrivals, left_out)


async def _listed(url: str) -> list[RayJob]:
    async with RayJobs(url, find_token()) as cluster:
        return await cluster.list()


def _past(job: RayJob) -> PastJob | None:
    started, ended = job.started_wall, job.ended_wall
    if started is None or ended is None or ended <= started:
        return None
    return PastJob(JobId(job.ray_id), started, ended, job.details.get("metadata") or {})


def read_trace(jobs: Path, grid: Path, *, slack: timedelta) -> Trace:
    """Return the jobs of one CSV file and the series of another.

    Raises:
        ContractError: A column or a time zone is missing, a value is no number or time, or times
            are not evenly spaced.
    """
    start, series = _read_grid(grid)
    arrivals = []
    for number, row in enumerate(_rows(jobs, ("submitted_at", "duration_s", "gpus")), start=1):
        at = start.until(HalfHour.at_or_after(_instant(jobs, row, "submitted_at")))
        work = max(1, half_hours_needed(timedelta(seconds=_number(jobs, row, "duration_s"))))
        given = row.get("deadline")
        deadline = (
            start.until(HalfHour.containing(_instant(jobs, row, "deadline")))
            if given
            else at + work + int(slack / HALF_HOUR)
        )
        gpus = int(_number(jobs, row, "gpus"))
        arrivals.append(
            Arrival(
                id=JobId(row.get("id") or f"job-{number}"),
                at=at,
                work=work,
                gpus=gpus,
                power_kw=(
                    _number(jobs, row, "power_kw")
                    if row.get("power_kw")
                    else gpus * GPU_TYPES["H100"].dynamic_kw
                ),
                deadline=deadline,
                interruptible=(row.get("interruptible") or "true").lower() == "true",
            )
        )
    return Trace(start, series, tuple(arrivals))


def _read_grid(path: Path) -> tuple[HalfHour, GridSeries]:
    rows = _rows(path, ("time", "price_gbp_per_mwh", "intensity_gco2_per_kwh"))
    times = [_instant(path, row, "time") for row in rows]
    step = (times[1] - times[0]) if len(times) > 1 else HALF_HOUR
    each = int(step / HALF_HOUR)
    if (
        each * HALF_HOUR != step
        or each < 1
        or any(later - time != step for time, later in pairwise(times))
    ):
        raise ContractError(f"{path}: times must be evenly spaced, an hour or a half-hour apart")
    columns = [
        np.repeat(np.array([_number(path, row, name) for row in rows]), each)
        for name in ("price_gbp_per_mwh", "intensity_gco2_per_kwh")
    ]
    return HalfHour(times[0]), GridSeries(*columns)


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        there, rows = table.fieldnames or (), list(table)
    missing = [name for name in needed if name not in there]
    if missing:
        columns = ", ".join(there) or "none"
        raise ContractError(f"{path}: no {' and no '.join(missing)} among its columns ({columns})")
    if not rows:
        raise ContractError(f"{path}: no rows below its columns")
    return rows


def _number(path: Path, row: dict[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ContractError(f"{path}: {name}: {row[name]!r} is not valid; valid is a number")
    return value


def _instant(path: Path, row: dict[str, str], name: str) -> datetime:
    try:
        return in_utc(datetime.fromisoformat(row[name]))
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"{path}: {name}: {row[name]!r} is not valid; valid is an instant with its time zone, "
            "such as 2026-07-01T12:00:00Z"
        ) from error
