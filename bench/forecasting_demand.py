"""Demand for GPUs and run times of jobs, forecast on recorded clusters beside simple rules.

``python bench/forecasting_demand.py [--jobs]`` prints the figures; ``bench/forecasting.py``
publishes them beside those of carbon and price. Models learn only from what lies before each test
half-hour; settings were chosen on the first part of each trace, scores are of the last part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from results_file import Figure
from rich.console import Console
from rich.table import Table
from run_time_traces import run_time_figures
from staying import aaic_jobs, staying_input

from gridflex.forecasting.backtest import score
from gridflex.forecasting.demand import Demand
from gridflex.forecasting.demand_features import QUEUED, STAYING
from gridflex.forecasting.history import Array, History, Input
from gridflex.halfhour import HalfHour
from gridflex.quantiles import LEVELS

DAY = 48
REFIT, REFIT_LONG, LONG = 7 * DAY, 28 * DAY, 60 * DAY
"""Fitted again every week, or every four where more than sixty days are tested."""
STEP = 5
"""Half-hours between two issue times; prime to a day."""

LEADS = {"24 h": 47, "4 h": 7}
"""Half-hours ahead whose newest known value is a day or four hours old."""

SAFE = LEVELS.index(0.9)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One recorded cluster.

    Args:
        name: Of the cluster and the months.
        history: Its demand and what else is known.
        test: First half-hour to forecast and the one after the last.
    """

    name: str
    history: History
    test: tuple[int, int]


def demand_figures(*, with_jobs: bool = False) -> list[Figure]:
    """Return the figures of demand and run times; empty where the traces are absent.

    Args:
        with_jobs: Let what running jobs will leave be an input of AAIC; takes minutes more.
    """
    folder = Path(os.environ.get("GRIDFLEX_SHARED", "../shared")) / "data" / "gpu"
    if not (folder / "demand").exists():
        return []
    scores = {trace.name: scores_of(trace) for trace in traces(folder, with_jobs=with_jobs)}
    return [
        *_gains(scores),
        *_by_trace(scores),
        *run_time_figures(folder / "jobs"),
    ]


def traces(folder: Path, *, with_jobs: bool = False) -> Iterator[Trace]:
    """Yield the recorded clusters, half-hourly.

    Args:
        folder: With the traces.
        with_jobs: Let what running jobs will leave be an input where they are recorded.
    """
    demand = folder / "demand"
    earth = _half_hourly(demand / "helios_earth_16vc_10min.csv.gz")
    yield _trace("Helios Earth, 17-31 May 2020", earth, "running_gpus", "2020-05-17", "2020-06-01")
    nodes = _half_hourly(demand / "philly_nodes_10min.csv.gz")
    yield _trace(
        "Philly nodes, 9 Nov-15 Dec 2017", nodes, "active_nodes", "2017-11-09", "2017-12-16"
    )
    aaic = _half_hourly(demand / "aaic_10min_to_2018-09.csv.gz")
    more = {}
    if with_jobs:
        log = aaic_jobs(folder / "jobs" / "aaic_2017-07_2018-09.parquet")
        more[STAYING] = staying_input(log, aaic.index[0], len(aaic))
    for name, first, after in (
        ("AAIC, Jan-Mar 2018", "2018-01-01", "2018-04-01"),
        ("AAIC, Jun-Sep 2018", "2018-06-01", "2018-10-01"),
    ):
        yield _trace(name, aaic, "running_gpus", first, after, more=more)
    yield _alibaba(demand / "alibaba_spot_2026_hourly.csv.gz")


def scores_of(trace: Trace) -> dict[str, dict[str, float]]:
    """Return by lead what the forecaster and the simple rules miss, in shares of mean demand."""
    target = trace.history.inputs[trace.history.target]
    truth = target.at(np.iinfo(np.int64).max, 0, trace.test[1])
    found: dict[str, list[tuple[int, Array]]] = {lead: [] for lead in LEADS}
    refit = REFIT_LONG if trace.test[1] - trace.test[0] > LONG else REFIT
    for fitted_at in range(trace.test[0], trace.test[1], refit):
        model = Demand()
        first_issue = fitted_at - max(LEADS.values())
        model.fit(trace.history.known_at(trace.history.start + first_issue))
        for about in range(fitted_at, min(fitted_at + refit, trace.test[1]), STEP):
            for name, lead in LEADS.items():
                known = trace.history.known_at(trace.history.start + (about - lead))
                found[name].append((about, model.predict(known, lead + 1).values[lead]))
    return {name: _score(truth, found[name], LEADS[name]) for name in LEADS}


def _score(truth: Array, told: list[tuple[int, Array]], lead: int) -> dict[str, float]:
    about = np.array([index for index, _ in told])
    values = np.array([row for _, row in told])
    rules = {
        "as now": truth[about - lead - 1],
        "yesterday": truth[about - DAY],
        "last week": truth[np.maximum(about - 7 * DAY, 0)],
    }
    known = np.isfinite(truth[about]) & np.isfinite(np.array(list(rules.values()))).all(axis=0)
    outturn = truth[about][known]
    mean = float(outturn.mean())
    scored = score(values[known], outturn)
    return {
        "demand": scored.mae / mean,
        **{
            name: float(np.abs(rule[known] - outturn).mean()) / mean for name, rule in rules.items()
        },
        "pinball": scored.pinball / mean,
        "safe_cover": float((outturn <= values[known, SAFE]).mean()),
        "band90": scored.coverage_fraction[90],
    }


def _gains(scores: dict[str, dict[str, dict[str, float]]]) -> list[Figure]:
    """Return the mean gain over the older of "as now" and "yesterday", which are one at 24 h."""
    figures = []
    for lead, name in (("24 h", "demand_nmae_gain_pct"), ("4 h", "demand_nmae_gain_4h_pct")):
        gains = {
            trace: 100 * (1 - of[lead]["demand"] / of[lead]["as now"])
            for trace, of in scores.items()
        }
        peers = {"persistence": 0.0}
        for rule in ("yesterday", "last week"):
            gain = [100 * (1 - of[lead][rule] / of[lead]["as now"]) for of in scores.values()]
            peers[rule] = float(np.mean(gain))
        peers |= {f"demand on {trace}": gain for trace, gain in gains.items()}
        mean = float(np.mean(list(gains.values())))
        figures.append(
            Figure(name, mean, "%", "> 0", peers, f"{lead} ahead, mean of {len(scores)} traces")
        )
    return figures


def _by_trace(scores: dict[str, dict[str, dict[str, float]]]) -> Iterator[Figure]:
    for lead, label in (("24 h", "24h"), ("4 h", "4h")):
        for number, (trace, of) in enumerate(scores.items(), start=1):
            found = of[lead]
            rules = ("as now", "yesterday", "last week")
            yield Figure(
                f"demand_nmae_{label}_trace_{number}",
                found["demand"],
                "of mean demand",
                f"< {found['as now']:.4f}",
                {rule: found[rule] for rule in rules} | {"pinball of demand": found["pinball"]},
                f"{trace}, {lead} ahead",
            )
    cover = [100 * of[lead]["safe_cover"] for of in scores.values() for lead in LEADS]
    peers = {
        f"{trace}, {lead}": 100 * of[lead]["safe_cover"]
        for trace, of in scores.items()
        for lead in LEADS
    }
    yield Figure(
        "demand_safe_cover_pct",
        float(np.mean(cover)),
        "%",
        "88-92",
        peers,
        "0.9 quantile, all traces",
    )


def _trace(
    name: str,
    table: pd.DataFrame,
    column: str,
    first: str,
    after: str,
    *,
    more: Mapping[str, Input] | None = None,
) -> Trace:
    start = HalfHour(table.index[0].to_pydatetime().replace(tzinfo=UTC))
    inputs = {column: Input.outturn(table[column].to_numpy(dtype=float))}
    for queue in ("pending_gpus", "queued_gpus"):
        if queue in table:
            inputs[QUEUED] = Input.outturn(table[queue].to_numpy(dtype=float))
    inputs |= more or {}
    test = tuple(int(table.index.searchsorted(pd.Timestamp(day))) for day in (first, after))
    return Trace(name, History(start, column, inputs), (test[0], min(test[1], len(table))))


def _alibaba(path: Path) -> Trace:
    """Return the hourly trace with each hour twice, both halves known at its end."""
    hourly = pd.read_csv(path)["gpus_active_requested"].to_numpy(dtype=float)
    values = np.repeat(hourly, 2)
    about = np.arange(values.size)
    told = Input(about, about // 2 * 2 + 2, values)
    start = HalfHour(datetime(2026, 1, 1, tzinfo=UTC))
    history = History(start, "requested_gpus", {"requested_gpus": told})
    return Trace("Alibaba, second half of 184 days", history, (values.size // 2, values.size))


def _half_hourly(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, parse_dates=["time"]).set_index("time")
    return table.resample("30min").mean()


def main() -> None:
    """Print the figures."""
    figures = demand_figures(with_jobs="--jobs" in sys.argv)
    if not figures:
        sys.exit("no recorded traces; set GRIDFLEX_SHARED")
    table = Table("figure", "value", "target", "peers")
    for figure in figures:
        peers = ", ".join(f"{peer} {value:.4g}" for peer, value in figure.peers.items())
        table.add_row(figure.name, f"{figure.value:.4g} {figure.unit}", figure.target or "-", peers)
    Console().print(table)


if __name__ == "__main__":
    main()
