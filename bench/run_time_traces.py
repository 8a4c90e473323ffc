"""Run times learned on recorded clusters, against what users request and simple medians.

Every job is told at its submission from the jobs that had ended by then, its own future and the
status it will end with unknown.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from results_file import Figure
from staying import Array, Indices, JobTable, aaic_jobs, seconds

from gridflex.forecasting.run_times import ALL, Kind, RunTimes
from gridflex.run_time import RUN_TIME_LEVELS, SAFE_LEVEL, RunTime

MINUTE_S = 60.0
HOUR = timedelta(hours=1)
WARM_UP = pd.Timedelta(days=45)
LEVELS = np.array(RUN_TIME_LEVELS)
SAFE = RUN_TIME_LEVELS.index(SAFE_LEVEL)
LAST_RUNS = 64
"""Runs behind each simple median, as many as the learned run time keeps."""


def run_time_figures(folder: Path) -> list[Figure]:
    """Return the figures of both recorded job tables."""
    aaic = aaic_jobs(folder / "aaic_2017-07_2018-09.parquet")
    philly = philly_jobs(folder / "philly_2017.parquet")
    return [
        *_figures("aaic", aaic, "AAIC, jobs submitted Jul-Sep 2018", "2018-07-01", owner=2),
        *_figures("philly", philly, "Philly, jobs submitted Nov-Dec 2017", "2017-11-01", owner=2),
    ]


def philly_jobs(path: Path) -> JobTable:
    """Return the Philly jobs; the time in the queue is not recorded and counts as none."""
    table = pd.read_parquet(path).query("span_s > 0")
    submitted = seconds(table.submit_time)
    clusters = table.vc.astype(str)
    kinds = [
        (
            ALL,
            Kind("as many GPUs", int(gpus)),
            Kind("the same virtual cluster", cluster),
            Kind("the same virtual cluster and GPUs", (cluster, int(gpus))),
        )
        for cluster, gpus in zip(clusters, table.n_gpus, strict=True)
    ]
    ended = submitted + table.span_s.to_numpy().astype(np.int64)
    gpus = table.n_gpus.to_numpy().astype(np.int64)
    return JobTable(submitted, submitted, ended, gpus, None, kinds)


class _Medians:
    """The median of the last runs of each owner, and of all."""

    def __init__(self) -> None:
        self._runs: defaultdict[Kind, deque[float]] = defaultdict(lambda: deque(maxlen=LAST_RUNS))

    def note(self, kind: Kind, run_s: float) -> None:
        self._runs[kind].append(run_s)
        self._runs[ALL].append(run_s)

    def of(self, kind: Kind) -> float:
        return float(np.median(self._runs.get(kind) or self._runs[ALL]))


def _figures(name: str, jobs: JobTable, data: str, first: str, *, owner: int) -> Iterator[Figure]:
    """Yield pinball and coverage; ``owner`` is the place of the user's kind."""
    since = int(pd.Timestamp(first).timestamp())
    rows, learned, of_owner, of_all = _told(jobs, since, owner=owner)
    run_s = jobs.run_s[rows]
    quantiles = np.array([one.quantiles_s for one in learned])
    peers = {
        "median of the owner": pinball_min(of_owner, run_s),
        "median of all": pinball_min(of_all, run_s),
    }
    if jobs.requested_s is not None:
        peers["requested limit"] = pinball_min(jobs.requested_s[rows].astype(float), run_s)
    label = f"{data}, {rows.size} jobs"
    target = f"< {min(peers.values()):.1f}"
    yield Figure(
        f"run_time_pinball_{name}", pinball_min(quantiles, run_s), "min", target, peers, label
    )
    below = {"median of the owner": of_owner, "median of all": of_all}
    yield Figure(
        f"run_time_cover90_{name}_pct",
        100 * float((run_s <= quantiles[:, SAFE]).mean()),
        "%",
        "87-93",
        {peer: 100 * float((run_s <= told).mean()) for peer, told in below.items()}
        | {
            "by GPUs": 100 * float(np.average(run_s <= quantiles[:, SAFE], weights=jobs.gpus[rows]))
        },
        label,
    )
    late = np.flatnonzero(run_s > HOUR.total_seconds())
    left = [learned[row].remaining(HOUR, level=SAFE_LEVEL).total_seconds() for row in late]
    within = run_s[late] - HOUR.total_seconds() <= np.array(left)
    unconditional = run_s[late] <= quantiles[late, SAFE]
    yield Figure(
        f"run_time_cover90_after_1h_{name}_pct",
        100 * float(within.mean()),
        "%",
        "87-93",
        {"without regard to the hour": 100 * float(unconditional.mean())},
        f"{data}, {late.size} jobs that ran for more than an hour",
    )


def _told(jobs: JobTable, since: int, *, owner: int) -> tuple[Indices, list[RunTime], Array, Array]:
    """Return the jobs submitted from ``since`` on and what was said of each."""
    times, medians, run_s = RunTimes(), _Medians(), jobs.run_s
    ends = np.argsort(jobs.ended, kind="stable")
    noted = int(np.searchsorted(jobs.ended[ends], since - WARM_UP.total_seconds()))
    rows, learned, of_owner, of_all = [], [], [], []
    order = np.argsort(jobs.submitted, kind="stable")
    for job in order[np.searchsorted(jobs.submitted[order], since) :]:
        while noted < ends.size and jobs.ended[ends[noted]] <= jobs.submitted[job]:
            ended = ends[noted]
            times.note(jobs.kinds[ended], float(run_s[ended]))
            medians.note(jobs.kinds[ended][owner], float(run_s[ended]))
            noted += 1
        found = times.of(jobs.kinds[job])
        if found is not None:
            rows.append(job)
            learned.append(found)
            of_owner.append(medians.of(jobs.kinds[job][owner]))
            of_all.append(medians.of(ALL))
    return np.array(rows), learned, np.array(of_owner), np.array(of_all)


def pinball_min(told_s: Array, run_s: Array) -> float:
    """Return the pinball loss in minutes, mean over all levels; a point is every quantile."""
    told = told_s if told_s.ndim == 2 else told_s[:, None]
    short = run_s[:, None] - told
    return float(np.maximum(LEVELS * short, (LEVELS - 1) * short).mean()) / MINUTE_S
