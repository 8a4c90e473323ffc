"""Job traces and grid series for ``gridflex backtest``, from files or a cluster's history."""

from __future__ import annotations

import asyncio
import csv
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from gridflex.adapters.clusters.ray_auth import find_token
from gridflex.adapters.clusters.ray_jobs import RayJob, RayJobs
from gridflex.errors import ContractError
from gridflex.fleet import GPU_TYPES, MOST_GPUS
from gridflex.halfhour import HALF_HOUR, HalfHour, half_hours_needed, in_utc
from gridflex.jobs import JobId
from gridflex.planning.backtest import HALF_HOURS_A_DAY, Arrival, GridSeries
from gridflex.planning.shadow import Assumed, PastJob, arrivals_of

LONGEST_S: Final = 1e9
"""Of a run: thirty years; more is another unit."""

MOST_KW: Final = 1e6
LARGEST: Final = 1e6
"""GBP/MWh or gCO2/kWh, either sign."""


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
        ContractError: A column or a time zone is missing, a value is not valid, times are not
            evenly spaced, or no job lies within the series.
    """
    start, series = _read_grid(grid)
    taken: dict[JobId, Arrival | None] = {}
    for number, row in enumerate(_rows(jobs, ("submitted_at", "duration_s", "gpus")), start=1):
        job_id = JobId(row.get("id") or f"job-{number}")
        if job_id in taken:
            raise _wrong(jobs, row, "id", valid="another for every job")
        taken[job_id] = _arrival(jobs, row, job_id, start=start, series=series, slack=slack)
    arrivals = tuple(one for one in taken.values() if one is not None)
    if not arrivals:
        raise ContractError(
            f"{jobs}: none of {len(taken)} jobs lies within the series of {grid}; valid is "
            f"submitted_at from {start + HALF_HOURS_A_DAY}, a day after its start, and deadline "
            f"(else --slack-h beyond duration_s) by its end, {start + series.half_hours}"
        )
    return Trace(start, series, arrivals, tuple(one for one in taken if taken[one] is None))


def _arrival(
    path: Path,
    row: dict[str, str],
    job_id: JobId,
    *,
    start: HalfHour,
    series: GridSeries,
    slack: timedelta,
) -> Arrival | None:
    """Return a row as a job; None where the series does not hold it whole."""
    at = start.until(HalfHour.at_or_after(_instant(path, row, "submitted_at")))
    duration_s = _number(path, row, "duration_s", most=LONGEST_S)
    if duration_s <= 0:
        raise _wrong(path, row, "duration_s", valid="above 0")
    work = half_hours_needed(timedelta(seconds=duration_s))
    deadline = (
        start.until(HalfHour.containing(_instant(path, row, "deadline")))
        if row.get("deadline")
        else at + work + int(slack / HALF_HOUR)
    )
    gpus = _number(path, row, "gpus", most=MOST_GPUS)
    if gpus != int(gpus):
        raise _wrong(path, row, "gpus", valid="a whole number")
    power_kw = (
        _number(path, row, "power_kw", most=MOST_KW)
        if row.get("power_kw")
        else gpus * GPU_TYPES["H100"].dynamic_kw
    )
    is_interruptible = _boolean(path, row, "interruptible", default=True)
    if at < HALF_HOURS_A_DAY or max(deadline, at + work) > series.half_hours:
        return None
    return Arrival(job_id, at, work, int(gpus), power_kw, deadline, interruptible=is_interruptible)


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
        np.repeat(
            np.array([_number(path, row, name, least=-LARGEST, most=LARGEST) for row in rows]), each
        )
        for name in ("price_gbp_per_mwh", "intensity_gco2_per_kwh")
    ]
    if HalfHour.containing(times[0]).start != times[0]:
        raise _wrong(path, rows[0], "time", valid="at :00 or :30")
    return HalfHour(times[0]), GridSeries(*columns)


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            there, rows = table.fieldnames or (), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ContractError(f"{path}: it cannot be read as CSV: {error}") from error
    missing = [name for name in needed if name not in there]
    if missing:
        columns = ", ".join(there) or "none"
        raise ContractError(f"{path}: no {' and no '.join(missing)} among its columns ({columns})")
    if not rows:
        raise ContractError(f"{path}: no rows below its columns")
    return rows


def _number(
    path: Path, row: dict[str, str], name: str, *, least: float = 0.0, most: float
) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not least <= value <= most:
        raise _wrong(path, row, name, valid=f"a number from {least:,.0f} to {most:,.0f}")
    return value


def _boolean(path: Path, row: dict[str, str], name: str, *, default: bool) -> bool:
    text = (row.get(name) or str(default)).strip().lower()
    if text not in {"true", "false"}:
        raise _wrong(path, row, name, valid="true or false")
    return text == "true"


def _instant(path: Path, row: dict[str, str], name: str) -> datetime:
    try:
        return in_utc(datetime.fromisoformat(row[name]))
    except (TypeError, ValueError) as error:
        valid = "an instant with its time zone, such as 2026-07-01T12:00:00Z"
        raise _wrong(path, row, name, valid=valid) from error


def _wrong(path: Path, row: dict[str, str], name: str, *, valid: str) -> ContractError:
    return ContractError(f"{path}: {name}: {row.get(name)!r} is not valid; valid is {valid}")
