"""How many of the GPUs that jobs hold now they will still hold later, told at every half-hour.

Each running job counts for the chance that it runs on, from its learned run time, what it has
run so far, and the limit at which the recorded cluster ends it. The run times are learned from
the jobs that had ended when it started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridflex.forecasting.history import Input
from gridflex.forecasting.run_times import ALL, Kind, RunTimes

HALF_HOUR_S = 1800
MOST_LEAD = 48
GRACE_S = 60

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class JobTable:
    """Recorded jobs, times in seconds.

    Args:
        submitted: When each arrived.
        started: When it began to run.
        ended: When it stopped running.
        gpus: GPUs it held.
        requested_s: Run time asked for; None where the trace has none.
        kinds: What each has in common with others, the most general first.
    """

    submitted: Indices
    started: Indices
    ended: Indices
    gpus: Indices
    requested_s: Indices | None
    kinds: Sequence[tuple[Kind, ...]]

    @property
    def run_s(self) -> Array:
        """How long each ran."""
        return (self.ended - self.started).astype(float)


def seconds(column: pd.Series) -> Indices:
    """Return times as whole seconds since 1970."""
    return column.to_numpy().astype("datetime64[s]").astype(np.int64)


def aaic_jobs(path: Path) -> JobTable:
    """Return the AAIC log. Users are known within a quarter; a limit stands for a kind of job."""
    table = pd.read_parquet(path)
    users = [f"{quarter}/{user}" for quarter, user in zip(table.src_file, table.user, strict=True)]
    rows = zip(users, table.n_gpus, table.walltime_req_s, table.queue, strict=True)
    kinds = [
        (
            ALL,
            Kind("as many GPUs", int(gpus)),
            Kind("the same user", user),
            Kind("the same user and GPUs", (user, int(gpus))),
            Kind("the same user, GPUs, limit and queue", (user, int(gpus), int(limit), int(queue))),
        )
        for user, gpus, limit, queue in rows
    ]
    return JobTable(
        seconds(table.submit_time),
        seconds(table.start_time),
        seconds(table.end_time),
        table.n_gpus.to_numpy().astype(np.int64),
        table.walltime_req_s.to_numpy().astype(np.int64),
        kinds,
    )


def staying_input(jobs: JobTable, start: pd.Timestamp, half_hours: int) -> Input:
    """Return what could be said at each half-hour about the GPUs still held after it.

    Args:
        jobs: The recorded jobs.
        start: Half-hour of index 0.
        half_hours: How many.
    """
    held = _held(jobs, int(start.timestamp()), half_hours)
    issued, lead = np.meshgrid(np.arange(half_hours), np.arange(MOST_LEAD), indexing="ij")
    return Input.of([((issued + lead).ravel(), issued.ravel(), held.ravel())])


def _held(jobs: JobTable, start_s: int, half_hours: int) -> Array:
    """Return shape ``(half_hours, MOST_LEAD)``: GPUs still held at the end of each lead."""
    held = np.zeros((half_hours, MOST_LEAD))
    times, run_s = RunTimes(), jobs.run_s
    ends = np.argsort(jobs.ended, kind="stable")
    ahead_s = (np.arange(MOST_LEAD) + 1) * HALF_HOUR_S
    noted = 0
    for job in np.argsort(jobs.started, kind="stable"):
        while noted < ends.size and jobs.ended[ends[noted]] <= jobs.started[job]:
            times.note(jobs.kinds[ends[noted]], float(run_s[ends[noted]]))
            noted += 1
        first = max(0, -(-(jobs.started[job] - start_s) // HALF_HOUR_S))
        after = min(-(-(jobs.ended[job] - start_s) // HALF_HOUR_S), half_hours)
        learned = times.of(jobs.kinds[job]) if first < after else None
        if learned is None:
            continue
        worked_s = start_s + np.arange(first, after) * HALF_HOUR_S - jobs.started[job]
        later_s = (worked_s[:, None] + ahead_s).astype(float)
        runs_on = 1 - learned.shares_ended(later_s)
        runs_on /= np.maximum(1 - learned.shares_ended(worked_s.astype(float)), 1e-9)[:, None]
        if jobs.requested_s is not None:
            runs_on[later_s > jobs.requested_s[job] + GRACE_S] = 0.0
        held[first:after] += jobs.gpus[job] * runs_on
    return held
