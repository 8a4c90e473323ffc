"""The demo's figures, and how long a fresh clone takes to be ready for it.

``python bench/demo.py`` plays the day of ``gridflex demo``, as often as ``--repeats`` says, and
writes the medians. ``--setup`` also clones the repository and times ``make env`` there. What a
run does not measure stays as the last one found it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from results_file import RESULTS, Figure, publish

ROOT = Path(__file__).parents[1]
NAME = "demo"


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1, help="Days to play.")
    parser.add_argument("--setup", action="store_true", help="Time the set-up of a fresh clone.")
    options = parser.parse_args()
    runs = [play() for _ in range(options.repeats)]
    played = figures(runs) if runs else kept(is_setup=False)
    setup = [measure_setup()] if options.setup else kept(is_setup=True)
    publish(NAME, [*played, *setup])


def play() -> dict[str, Any]:
    """Play one day and return its report; ends with an error if a promise was broken."""
    command = [str(Path(sys.executable).with_name("gridflex")), "demo", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def figures(runs: list[dict[str, Any]]) -> list[Figure]:
    """Return the medians of the runs, with their spread where it says something."""
    first = runs[0]
    day, gpus, busy = first["day"]["start"], first["gpus"], first["busy_fraction"]
    data = (
        f"{first['rows'][-1]['jobs']} Ray jobs on {gpus} modelled GPUs ({100 * busy:.0f} % busy), "
        f"{first['grid']} GB grid from {day}, {len(runs)} run(s)"
    )

    def figure(name: str, unit: str, target: str | None, **peers: float) -> Figure:
        values = [run["figures"][name] for run in runs]
        spread = {"lowest run": min(values), "highest run": max(values)} if len(runs) > 1 else {}
        return Figure(name, median(values), unit, target, {**peers, **spread}, data)

    bound = saved_by_bound_pct(first)
    return [
        figure("deadlines_met_pct", "%", "100"),
        figure("t0_start_p99_s", "s", "< 10"),
        figure("cost_saved_pct", "%", "> 0", run_now=0.0),
        figure("carbon_saved_pct", "%", "> 0", run_now=0.0),
        figure("gap_to_bound_pct", "%", None, run_now=bound),
        figure("demo_s", "s", None),
    ]


def saved_by_bound_pct(report: dict[str, Any]) -> float:
    """Return how far run-now is above the bound, in percent of run-now."""
    amounts = report["cost_and_carbon_gbp"]
    return float(100 * (1 - amounts["bound"] / amounts["run_now"]))


def measure_setup() -> Figure:
    """Return how long ``make env`` takes in a fresh clone."""
    with tempfile.TemporaryDirectory(prefix="gridflex-clone-") as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
        began = time.monotonic()
        subprocess.run(["make", "--silent", "env"], cwd=folder, check=True, env=_plain())
        took_s = time.monotonic() - began
    return Figure("setup_s", took_s, "s", "< 360", data="make env in a fresh clone, warm pip cache")


def kept(*, is_setup: bool) -> list[Figure]:
    """Return the figures of the last run that measured them."""
    path = RESULTS / f"{NAME}.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [
        Figure(**{key: value for key, value in row.items() if key != "cores"})
        for row in rows
        if (row["name"] == "setup_s") is is_setup
    ]


def _plain() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


if __name__ == "__main__":
    main()
