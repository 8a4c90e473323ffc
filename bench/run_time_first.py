"""How many runs of other commands it takes until they tell of a new one better than a guess.

``python bench/run_time_first.py`` begins to learn from nothing in every week of two recorded
clusters and looks at the commands that had not run yet while the first few dozen runs ended. With
fewer other runs than asked for, the default of an hour is what is said. One part of the months is
to choose on, the other to report.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from results_file import Figure, update
from run_time_traces import SAFE, philly_jobs, pinball_min
from staying import Array, Indices, JobTable, aaic_jobs

from gridflex.forecasting.run_times import LEAST_OTHERS, RunTimes
from gridflex.settings import Settings

WEEK_S = 7 * 24 * 3600
TRIED = (5, 10, 20, 40)
MOST_OTHERS = 80


def first_figures(folder: Path) -> list[Figure]:
    """Return the figures of both recorded job tables."""
    aaic = aaic_jobs(folder / "aaic_2017-07_2018-09.parquet")
    philly = philly_jobs(folder / "philly_2017.parquet")
    return [
        *_figures("aaic_chosen_on", aaic, "AAIC, Aug 2017-Jun 2018", "2017-08-01", "2018-07-01"),
        *_figures("aaic", aaic, "AAIC, Jul-Sep 2018", "2018-07-01", "2018-10-01"),
        *_figures("philly_chosen_on", philly, "Philly, Sep-Oct 2017", "2017-09-01", "2017-11-01"),
        *_figures("philly", philly, "Philly, Nov-Dec 2017", "2017-11-01", "2017-12-23"),
    ]


def _figures(name: str, jobs: JobTable, data: str, first: str, after: str) -> Iterator[Figure]:
    others, told, run_s = _told(
        jobs, *(int(pd.Timestamp(one).timestamp()) for one in (first, after))
    )
    default_s = Settings().default_duration.total_seconds()
    losses, inside = {}, {}
    for least in (*TRIED, MOST_OTHERS):
        said = np.where((others >= least)[:, None], told, default_s)
        losses[least] = pinball_min(said, run_s)
        inside[least] = 100 * float((run_s <= said[:, SAFE]).mean())
    label = f"{data}, {run_s.size} jobs of new commands, of each week's first {MOST_OTHERS} runs"
    for figure, values, unit in (
        (f"run_time_first_pinball_{name}", losses, "min"),
        (f"run_time_first_cover90_{name}_pct", inside, "%"),
    ):
        peers = {f"from {least} others on": value for least, value in values.items()}
        peers["an hour"] = peers.pop(f"from {MOST_OTHERS} others on")
        value = peers.pop(f"from {LEAST_OTHERS} others on")
        yield Figure(figure, value, unit, None, peers, label)


def _told(jobs: JobTable, first: int, after: int) -> tuple[Indices, Array, Array]:
    """Return how many others had run, what they tell, and how long new commands really ran."""
    order = np.argsort(jobs.submitted, kind="stable")
    weeks = [_week(jobs, order, start) for start in range(first, after - WEEK_S + 1, WEEK_S)]
    rows = [row for week in weeks for row in week]
    others, told, run_s = (np.array(column) for column in zip(*rows, strict=True))
    return others, told, run_s


def _week(
    jobs: JobTable, order: Indices, start: int
) -> Iterator[tuple[int, Sequence[float], float]]:
    times, run_s, noted = RunTimes(least_others=1), jobs.run_s, 0
    begin, end = np.searchsorted(jobs.submitted[order], (start, start + WEEK_S))
    arrived = order[begin:end]
    ended = arrived[np.argsort(jobs.ended[arrived], kind="stable")]
    seen = set()
    for job in arrived:
        while noted < ended.size and jobs.ended[ended[noted]] <= jobs.submitted[job]:
            times.note(jobs.kinds[ended[noted]], float(run_s[ended[noted]]))
            seen.add(jobs.kinds[ended[noted]][-1])
            noted += 1
        if noted >= MOST_OTHERS:
            return
        found = times.of(jobs.kinds[job])
        if found is not None and noted >= min(TRIED) and jobs.kinds[job][-1] not in seen:
            yield noted, found.quantiles_s, float(run_s[job])


def main() -> None:
    """Publish the figures."""
    folder = Path(os.environ.get("GRIDFLEX_SHARED", "../shared")) / "data" / "gpu" / "jobs"
    update("forecasting", first_figures(folder))


if __name__ == "__main__":
    main()
