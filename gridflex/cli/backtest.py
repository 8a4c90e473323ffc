"""``gridflex backtest``: what each policy would have made of a recorded trace."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from gridflex.errors import ContractError
from gridflex.fleet import GPU_TYPES
from gridflex.halfhour import HALF_HOUR, HalfHour, half_hours_needed
from gridflex.jobs import JobId
from gridflex.planning.backtest import (
    Arrival,
    Forecast,
    GridSeries,
    Outcome,
    Perfect,
    Policy,
    Profile,
    Yesterday,
    replay,
)
from gridflex.planning.policies import (
    CarbonTime,
    LowestWindow,
    Planner,
    RunNow,
    Threshold,
    clairvoyant_gbp,
)

out = Console()

KNOWN: Final[Mapping[str, type[Forecast]]] = {
    "perfect": Perfect,
    "profile": Profile,
    "yesterday": Yesterday,
}


class PolicyName(StrEnum):
    """Policies that can be replayed."""

    RUN_NOW = "run-now"
    THRESHOLD = "threshold"
    LOWEST_WINDOW = "lowest-window"
    CARBON_TIME = "carbon-time"
    GREEDY = "greedy"
    PLANNER = "planner"


@dataclass(frozen=True, slots=True)
class _Trace:
    start: HalfHour
    grid: GridSeries
    arrivals: tuple[Arrival, ...]


def backtest(  # noqa: PLR0917 - options, not arguments
    jobs: Annotated[
        Path,
        typer.Option(
            help="CSV with submitted_at (RFC 3339), duration_s and gpus; optional deadline, "
            "power_kw and interruptible.",
            exists=True,
        ),
    ],
    grid: Annotated[
        Path,
        typer.Option(
            help="CSV with time (RFC 3339), price_gbp_per_mwh and intensity_gco2_per_kwh, hourly "
            "or half-hourly, from a day (better 28) before the first job on.",
            exists=True,
        ),
    ],
    gpus: Annotated[int, typer.Option(help="Capacity.", min=1)],
    policy: Annotated[
        list[PolicyName] | None, typer.Option(help="Repeatable; all if left out.")
    ] = None,
    slack_h: Annotated[
        float,
        typer.Option(help="Hours beyond the run time until the deadline, where none is given."),
    ] = 24.0,
    forecast: Annotated[str, typer.Option(help="perfect, profile or yesterday.")] = "profile",
    carbon_price: Annotated[float, typer.Option(help="GBP per tonne of CO2.")] = 80.0,
    budget_s: Annotated[float, typer.Option(help="Thinking time of one plan.")] = 0.2,
    plot: Annotated[
        Path | None, typer.Option(help="Write a picture of load over intensity.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Replay a job trace on a grid series with only what was known at the time."""
    if forecast not in KNOWN:
        raise ContractError(f"--forecast {forecast!r} is not one of {', '.join(KNOWN)}")
    trace = _read(jobs, grid, slack=timedelta(hours=slack_h))
    makers: dict[PolicyName, Callable[[], Policy]] = {
        PolicyName.RUN_NOW: RunNow,
        PolicyName.THRESHOLD: Threshold,
        PolicyName.LOWEST_WINDOW: LowestWindow,
        PolicyName.CARBON_TIME: CarbonTime,
        PolicyName.GREEDY: lambda: Planner(budget_s=0.0, carbon_price_gbp_per_tco2=carbon_price),
        PolicyName.PLANNER: lambda: Planner(
            budget_s=budget_s, carbon_price_gbp_per_tco2=carbon_price
        ),
    }
    found: dict[str, Outcome] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in policy or list(PolicyName):
            task = progress.add_task(name.value, total=trace.grid.half_hours)
            found[name.value] = replay(
                trace.arrivals,
                trace.grid,
                makers[name](),
                gpus=gpus,
                forecast=KNOWN[forecast](),
                carbon_price_gbp_per_tco2=carbon_price,
                told=partial(_advance, progress, task),
            )
    bound = clairvoyant_gbp(
        trace.arrivals,
        trace.grid,
        gpus=gpus,
        carbon_price_gbp_per_tco2=carbon_price,
        budget_s=30.0,
    )
    if plot:
        _draw(plot, trace, found, gpus)
    if as_json:
        out.print_json(json.dumps(_as_json(found, bound, carbon_price)))
    else:
        _show(found, bound, carbon_price)


def _advance(progress: Progress, task: TaskID, now: int) -> None:
    progress.update(task, completed=now + 1)


def _read(jobs: Path, grid: Path, *, slack: timedelta) -> _Trace:
    start, series = _read_grid(grid)
    arrivals = []
    for number, row in enumerate(_rows(jobs, ("submitted_at", "duration_s", "gpus")), start=1):
        at = start.until(HalfHour.at_or_after(_instant(row["submitted_at"])))
        work = max(1, half_hours_needed(timedelta(seconds=float(row["duration_s"]))))
        given = row.get("deadline")
        deadline = (
            start.until(HalfHour.containing(_instant(given)))
            if given
            else at + work + int(slack / HALF_HOUR)
        )
        gpus = int(row["gpus"])
        arrivals.append(
            Arrival(
                id=JobId(row.get("id") or f"job-{number}"),
                at=at,
                work=work,
                gpus=gpus,
                power_kw=float(row.get("power_kw") or gpus * GPU_TYPES["H100"].dynamic_kw),
                deadline=deadline,
                interruptible=(row.get("interruptible") or "true").lower() == "true",
            )
        )
    return _Trace(start, series, tuple(arrivals))


def _read_grid(path: Path) -> tuple[HalfHour, GridSeries]:
    rows = _rows(path, ("time", "price_gbp_per_mwh", "intensity_gco2_per_kwh"))
    times = [_instant(row["time"]) for row in rows]
    step = (times[1] - times[0]) if len(times) > 1 else HALF_HOUR
    each = int(step / HALF_HOUR)
    if each < 1 or any(later - time != step for time, later in pairwise(times)):
        raise ContractError(f"{path}: times must be evenly spaced, an hour or a half-hour apart")
    columns = [
        np.repeat(np.array([float(row[name]) for row in rows]), each)
        for name in ("price_gbp_per_mwh", "intensity_gco2_per_kwh")
    ]
    return HalfHour(times[0]), GridSeries(*columns)


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in needed if rows and name not in rows[0]]
    if missing or not rows:
        raise ContractError(f"{path}: needs rows with the columns {', '.join(needed)}")
    return rows


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ContractError(f"{text!r} has no time zone; write 2026-07-01T12:00:00Z")
    return instant


def _score(outcome: Outcome, carbon_price: float) -> float:
    return outcome.cost_gbp + outcome.carbon_kg * carbon_price / 1000


def _as_json(
    found: Mapping[str, Outcome], bound: Mapping[str, float], carbon_price: float
) -> dict[str, object]:
    return {
        "policies": {
            name: {
                "cost_gbp": one.cost_gbp,
                "carbon_kg": one.carbon_kg,
                "score_gbp": _score(one, carbon_price),
                "waiting_gpu_hours": one.waiting_gpu_hours,
                "late": one.late,
                "pauses": one.pauses,
                "peak_gpus": float(one.load_gpus.max(initial=0.0)),
            }
            for name, one in found.items()
        },
        "clairvoyant": dict(bound),
    }


def _show(found: Mapping[str, Outcome], bound: Mapping[str, float], carbon_price: float) -> None:
    table = Table(
        "policy", "cost GBP", "kgCO2", "both GBP", "saved", "waiting GPU h", "late", "pauses"
    )
    first = next(iter(found.values()))
    base = _score(first, carbon_price)
    for name, one in found.items():
        score = _score(one, carbon_price)
        table.add_row(
            name,
            f"{one.cost_gbp:.2f}",
            f"{one.carbon_kg:.2f}",
            f"{score:.2f}",
            f"{1 - score / base:.1%}" if base else "-",
            f"{one.waiting_gpu_hours:.1f}",
            str(one.late),
            str(one.pauses),
        )
    for name, label in (("plan_gbp", "plan, all known"), ("bound_gbp", "nobody can beat")):
        saved = f"{1 - bound[name] / base:.1%}" if base else "-"
        table.add_row(label, "", "", f"{bound[name]:.2f}", saved, "", "", "")
    out.print(table)


def _draw(path: Path, trace: _Trace, found: Mapping[str, Outcome], gpus: int) -> None:
    """Draw load over intensity, and cost against carbon."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(11, 2.2 * (len(found) + 1)), layout="constrained")
    panels = figure.subplots(len(found) + 1, 1)
    hours = np.arange(trace.grid.half_hours) / 2
    first = min(job.at for job in trace.arrivals) / 2
    for panel, (name, one) in zip(panels, found.items(), strict=False):
        panel.imshow(
            trace.grid.intensity_gco2_per_kwh[None, :],
            aspect="auto",
            extent=(0, hours[-1], 0, gpus),
            cmap="RdYlGn_r",
            alpha=0.5,
        )
        panel.step(hours, one.load_gpus, where="post", color="black", linewidth=0.8)
        panel.set(title=name, ylabel="GPUs", xlim=(first, hours[-1]))
    panels[-2].set_xlabel(f"hours from {trace.start}; colour: gCO2/kWh, red is dirty")
    for name, one in found.items():
        panels[-1].scatter(one.cost_gbp, one.carbon_kg)
        panels[-1].annotate(name, (one.cost_gbp, one.carbon_kg))
    panels[-1].set(xlabel="cost GBP", ylabel="kgCO2")
    figure.savefig(path)
