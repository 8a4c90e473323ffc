"""``gridflex backtest``: what each policy would have made of a recorded trace."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.progress import Progress, TaskID

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.options import between
from gridflex.cli.output import Terminal, out, print_json, say
from gridflex.cli.traces import Trace, read_history, read_trace
from gridflex.errors import ContractError
from gridflex.fleet import MOST_GPUS
from gridflex.planning.backtest import (
    Forecast,
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
    Nsga2,
    Planner,
    RunNow,
    Threshold,
    clairvoyant_gbp,
)
from gridflex.planning.shadow import Assumed
from gridflex.planning.shadow import proof as proof_of
from gridflex.units import KG_PER_TONNE, MOST_PRICE_GBP

KNOWN: Final[Mapping[str, type[Forecast]]] = {
    "perfect": Perfect,
    "profile": Profile,
    "yesterday": Yesterday,
}


MOST_SLACK_H: Final = 8784.0
"""A leap year."""

COLUMNS: Final = (
    Column("policy"),
    Column("cost\nGBP"),
    Column("kgCO2", goes=3),
    Column("both\nGBP"),
    Column("saved"),
    Column("waiting\nGPU h", goes=2),
    Column("late"),
    Column("pauses", goes=1),
)
MEANING: Final = (
    "both: cost, and carbon at its price; saved: of both, against run-now;\n"
    "bound: what nobody can beat"
)


class PolicyName(StrEnum):
    """Policies that can be replayed."""

    RUN_NOW = "run-now"
    THRESHOLD = "threshold"
    LOWEST_WINDOW = "lowest-window"
    CARBON_TIME = "carbon-time"
    GREEDY = "greedy"
    PLANNER = "planner"
    NSGA_2 = "nsga-2"


def _can_be_written(path: Path | None) -> Path | None:
    """Refuse before hours of computing what could not be written after them."""
    if path is not None and (
        path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK)
    ):
        raise typer.BadParameter(
            f"{str(path)!r} is not valid; valid is a file in a folder that can be written to"
        )
    return path


def _can_be_drawn(path: Path | None) -> Path | None:
    """Refuse likewise a picture in a format that nobody draws."""
    if _can_be_written(path) is None:
        return None
    from matplotlib.backend_bases import FigureCanvasBase  # noqa: PLC0415 - slow to import

    endings = sorted(FigureCanvasBase.get_supported_filetypes())
    if path is not None and path.suffix.removeprefix(".").lower() not in endings:
        raise typer.BadParameter(
            f"{str(path)!r} is not valid; valid is an ending out of {', '.join(endings)}"
        )
    return path


def backtest(
    *,
    jobs: Annotated[
        Path | None,
        typer.Option(
            help="CSV with submitted_at (RFC 3339), duration_s and gpus; optional deadline, "
            "power_kw and interruptible.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(
            help="Instead of a CSV the address of a Ray cluster: the jobs in its own history, "
            "with what their metadata allows.",
        ),
    ] = None,
    job_gpus: Annotated[
        int,
        typer.Option(
            help="GPUs of a job in a history whose metadata does not say.", min=0, max=MOST_GPUS
        ),
    ] = 1,
    grid: Annotated[
        Path,
        typer.Option(
            help="CSV with time (RFC 3339), price_gbp_per_mwh and intensity_gco2_per_kwh, hourly "
            "or half-hourly, from a day (better 28) before the first job on.",
            exists=True,
            dir_okay=False,
        ),
    ],
    gpus: Annotated[int, typer.Option(help="Capacity.", min=1, max=MOST_GPUS)],
    policy: Annotated[
        list[PolicyName] | None, typer.Option(help="Repeatable; all if left out.")
    ] = None,
    slack_h: Annotated[
        float,
        typer.Option(
            help="Hours beyond the run time until the deadline, where none is given.",
            callback=between(0.0, MOST_SLACK_H),
        ),
    ] = 24.0,
    forecast: Annotated[str, typer.Option(help="perfect, profile or yesterday.")] = "profile",
    carbon_price: Annotated[
        float,
        typer.Option(help="GBP per tonne of CO2.", callback=between(0.0, MOST_PRICE_GBP)),
    ] = 80.0,
    budget_s: Annotated[
        float,
        typer.Option(help="Seconds to think about one plan.", callback=between(0.001, 3600.0)),
    ] = 0.2,
    proof: Annotated[
        Path | None,
        typer.Option(
            help="Write inputs, their digest and every run, so that others can check.",
            callback=_can_be_written,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write a picture of load over intensity.", callback=_can_be_drawn),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replay a job trace on a grid series with only what was known at the time.

    With --shadow the trace is a Ray cluster's own history, and what comes out is what would have
    been saved on it.
    """
    if forecast not in KNOWN:
        raise ContractError(f"--forecast {forecast!r} is not one of {', '.join(KNOWN)}")
    if (jobs is None) == (shadow is None):
        raise ContractError("give either --jobs or --shadow")
    slack = timedelta(hours=slack_h)
    if jobs is not None:
        trace = read_trace(jobs, grid, slack=slack)
    else:
        trace = read_history(
            shadow or "",
            grid,
            Assumed(
                gpus=job_gpus, slack=slack, gpu_type="H100", interruptible=True, site_gpus=gpus
            ),
        )
    makers: dict[PolicyName, Callable[[], Policy]] = {
        PolicyName.RUN_NOW: RunNow,
        PolicyName.THRESHOLD: Threshold,
        PolicyName.LOWEST_WINDOW: LowestWindow,
        PolicyName.CARBON_TIME: CarbonTime,
        PolicyName.GREEDY: lambda: Planner(budget_s=0.0, carbon_price_gbp_per_tco2=carbon_price),
        PolicyName.PLANNER: lambda: Planner(
            budget_s=budget_s, carbon_price_gbp_per_tco2=carbon_price
        ),
        PolicyName.NSGA_2: lambda: Nsga2(budget_s=budget_s, carbon_price_gbp_per_tco2=carbon_price),
    }
    chosen = {name.value: makers[name]() for name in policy or list(PolicyName)}
    replayed = partial(
        _replayed, trace, gpus=gpus, forecast=KNOWN[forecast](), carbon_price=carbon_price
    )
    found = replayed(chosen)
    with _bars() as progress:
        progress.add_task("bound", total=None)
        bound = clairvoyant_gbp(
            trace.arrivals,
            trace.grid,
            gpus=gpus,
            carbon_price_gbp_per_tco2=carbon_price,
            budget_s=30.0,
        )
    figures = _as_json(found, bound, carbon_price)
    if proof:
        shown = proof_of(trace.arrivals, trace.grid, found, start=trace.start)
        proof.write_text(json.dumps({**shown, "figures": figures}))
    if plot:
        _draw(plot, trace, found, gpus)
    if as_json:
        print_json({**figures, "left_out": trace.left_out})
        return
    run_now = PolicyName.RUN_NOW.value
    known = found if run_now in found else replayed({run_now: RunNow()})
    jobs_told = f"{len(trace.arrivals)} job{'' if len(trace.arrivals) == 1 else 's'}"
    say(
        f"{jobs_told} on {gpus} GPUs, {trace.start} to {trace.start + trace.grid.half_hours}, "
        f"forecast: {forecast}, carbon at {carbon_price:g} GBP/t"
    )
    _show(found, bound, carbon_price, base_gbp=_score(known[run_now], carbon_price))
    _show_missing(found, trace)


def _replayed(
    trace: Trace,
    policies: Mapping[str, Policy],
    *,
    gpus: int,
    forecast: Forecast,
    carbon_price: float,
) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    with _bars() as progress:
        for name, policy in policies.items():
            task = progress.add_task(name, total=trace.grid.half_hours)
            found[name] = replay(
                trace.arrivals,
                trace.grid,
                policy,
                gpus=gpus,
                forecast=forecast,
                carbon_price_gbp_per_tco2=carbon_price,
                told=partial(_advance, progress, task),
            )
    return found


def _bars() -> Progress:
    """Return bars that vanish when all is done; where nobody watches, none."""
    console = Terminal(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _advance(progress: Progress, task: TaskID, now: int) -> None:
    progress.update(task, completed=now + 1)


def _score(outcome: Outcome, carbon_price: float) -> float:
    return outcome.cost_gbp + outcome.carbon_kg * carbon_price / KG_PER_TONNE


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


def _show_missing(found: Mapping[str, Outcome], trace: Trace) -> None:
    """Name the jobs of which the figures count nothing or only a part."""
    for name, one in found.items():
        ran = one.runs
        partly = [job.id for job in trace.arrivals if len(ran.get(job.id, ())) < job.work]
        if partly:
            say(f"not done by the end of the series with {name}: {', '.join(partly)}")
    if trace.left_out:
        say(f"left out, beyond the series or too large: {', '.join(trace.left_out)}")


def _show(
    found: Mapping[str, Outcome],
    bound: Mapping[str, float],
    carbon_price: float,
    *,
    base_gbp: float,
) -> None:
    rows = []
    for name, one in found.items():
        score = _score(one, carbon_price)
        rows.append(
            (
                name,
                f"{one.cost_gbp:.2f}",
                f"{one.carbon_kg:.2f}",
                f"{score:.2f}",
                _saved(score, base_gbp),
                f"{one.waiting_gpu_hours:.1f}",
                str(one.late),
                str(one.pauses),
            )
        )
    late = int(bound["plan_late"])
    for key, label, its_late in (
        ("plan_gbp", "plan, all known", str(late)),
        ("bound_gbp", f"bound, {'however late' if late else 'on time'}", ""),
    ):
        saved = _saved(bound[key], base_gbp)
        rows.append((label, "", "", f"{bound[key]:.2f}", saved, "", its_late, ""))
    print_fitting(out, COLUMNS, rows, caption=MEANING)


def _saved(score_gbp: float, base_gbp: float) -> str:
    return f"{1 - score_gbp / base_gbp:.1%}" if base_gbp > 0 else "-"


def _draw(path: Path, trace: Trace, found: Mapping[str, Outcome], gpus: int) -> None:
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
