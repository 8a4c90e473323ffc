"""``gridflex plan``: the plan in force, and what another plan would be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.instants import minute
from gridflex.cli.options import AsJson, Url, between
from gridflex.cli.output import out, print_json
from gridflex.cli.shedding import plan_shed, plan_shed_end, plan_shed_orders
from gridflex.client import Client, path_of
from gridflex.errors import ContractError
from gridflex.units import MOST_PRICE_GBP, TEN_PENCE

plan_app = typer.Typer(no_args_is_help=True)


PlanId = Annotated[str, typer.Option("--plan", help="Number of a plan; the newest if left out.")]

plan_app.command("shed")(plan_shed)
plan_app.command("shed-orders")(plan_shed_orders)
plan_app.command("shed-end")(plan_shed_end)

RUNS: Final = (
    Column("job"),
    Column("site", goes=4),
    Column("start (UTC)"),
    Column("half-hours", goes=2),
    Column("GPUs", goes=3),
    Column("power", goes=1),
)
FRONT: Final = (
    Column(""),
    Column("cost\nGBP", is_number=True),
    Column("carbon\nkgCO2", is_number=True),
    Column("waiting\nGPU h", is_number=True),
    Column("jobs\nmoved", is_number=True),
)
HOLDS: Final = (
    "a run holds its GPUs for every half-hour that it touches, its start included;\n"
    "power: the limit of each GPU, as a share of its default"
)

COUNTS: Final = (
    "cost, carbon and energy of both count whole half-hours at full power;\n"
    "a run that ends within one draws less"
)

FIGURES = (
    ("cost_gbp", "cost", "GBP"),
    ("carbon_kg", "carbon", "kgCO2"),
    ("energy_kwh", "energy", "kWh"),
    ("waiting_gpu_hours", "waiting", "GPU h"),
    ("objective_gbp", "objective", "GBP"),
)


MARKS: Final = (("knee", "knee"), ("preferred", "best at these prices"))
LEAST_GBP: Final = 0.00005
"""Below it an amount is none: half of the last digit that is shown."""

PRICE: Final = between(0.0, MOST_PRICE_GBP)

PROMISES: Final = (
    ("late", "late"),
    ("over_cap", "over their carbon cap"),
    ("sites_over_cap", "sites over their carbon cap"),
)
"""What a plan keeps wherever possible, and how those are called with whom it does not."""


@plan_app.command("show")
def plan_show(plan: PlanId = "newest", url: Url = None, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Show a plan: what runs when, what it saves, how far it is from the optimum."""
    with Client(url) as client:
        shown = client.get(path_of("v1", "plans", plan))
    if as_json:
        print_json(shown)
        return
    out.print(_heading(shown))
    rows = [
        (
            job["id"],
            run["site"],
            minute(run["start"], zone=""),
            str(run["half_hours"]),
            str(run["gpus"]),
            _share(run["power_cap_fraction"]),
        )
        for job in shown["jobs"]
        for run in job["runs"]
    ]
    print_fitting(out, RUNS, rows, caption=HOLDS)
    _print_figures(shown["result"], against=shown["run_now"])


@plan_app.command("front")
def plan_front(
    plan: PlanId = "newest",
    carbon_price: Annotated[
        float, typer.Option(help="GBP per tonne of CO2.", callback=PRICE)
    ] = 80.0,
    waiting_price: Annotated[
        float, typer.Option(help="GBP per GPU-hour of waiting.", callback=PRICE)
    ] = 0.0,
    url: Url = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what other plans trade off: cost against carbon against waiting."""
    with Client(url) as client:
        front = client.get(
            path_of("v1", "plans", plan, "front"),
            gbp_per_tco2=carbon_price,
            gbp_per_gpu_hour=waiting_price,
        )
    if as_json:
        print_json(front)
        return
    _print_front(front)
    if broken := _counts_broken(front["points"]):
        out.print(f"promises that each of these leaves unkept: {broken}")


@plan_app.command("what-if")
def plan_what_if(  # noqa: PLR0917 - options, not arguments
    plan: PlanId = "newest",
    gpus: Annotated[
        list[str] | None, typer.Option("--gpus", help="site=GPUs to assume, repeatable.")
    ] = None,
    carbon_price: Annotated[
        float | None, typer.Option(help="GBP per tonne of CO2 to assume.", callback=PRICE)
    ] = None,
    deadline: Annotated[
        list[str] | None, typer.Option("--deadline", help="job=RFC 3339 instant, repeatable.")
    ] = None,
    carbon_cap: Annotated[
        list[str] | None, typer.Option("--carbon-cap", help="job=gCO2/kWh, repeatable.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Plan the same jobs under other conditions and compare; nothing is changed."""
    body: dict[str, Any] = {
        "gpus": {site: _whole("--gpus", value) for site, value in _pairs("--gpus", gpus)},
        "deadlines": dict(_pairs("--deadline", deadline)),
        "carbon_caps_gco2_per_kwh": {
            job: _number("--carbon-cap", value) for job, value in _pairs("--carbon-cap", carbon_cap)
        },
    }
    if carbon_price is not None:
        body["carbon_price_gbp_per_tco2"] = carbon_price
    with Client(url) as client:
        answer = client.post(path_of("v1", "plans", plan, "what-if"), body)
    if as_json:
        print_json(answer)
        return
    _print_figures(answer["result"], against=answer["unchanged"], name="as it is")
    moved = ", ".join(answer["moved_jobs"]) or "none"
    for_nothing = ", with nothing gained by it" if _is_for_nothing(answer) else ""
    out.print(f"jobs that would move{for_nothing}: {moved}")
    if answer["not_run"]:
        stopped = ", ".join(answer["not_run"])
        out.print(
            f"jobs without room for all of their work, left out of all figures: {stopped}",
        )
    for name, result in (("", answer["result"]), (" as it is", answer["unchanged"])):
        if broken := _broken(result):
            out.print(f"not kept{name}: {broken}")


def _heading(shown: dict[str, Any]) -> str:
    result = shown["result"]
    broken = f"; {told}" if (told := _broken(result)) else ""
    return (
        f"plan {shown['id']} of {minute(shown['made_at'])} ({shown['reason']}), "
        f"{result['method']}, within {result['gap_fraction']:.2%} of the optimum{broken}"
    )


def _broken(result: dict[str, Any]) -> str:
    """Return which promises a plan does not keep, and with whom; empty if it keeps all."""
    return "; ".join(
        f"{label}: {', '.join(result[key])}" for key, label in PROMISES if result.get(key)
    )


def _counts_broken(points: list[dict[str, Any]]) -> str:
    """Return how many promises the points of a front do not keep; empty if they keep all."""
    told = []
    for key, label in PROMISES:
        if any(point.get(key) is None for point in points):
            return "not known"
        counts: list[int] = [point[key] for point in points]
        least, most = min(counts), max(counts)
        if most:
            told.append(f"{label}: {least}" + (f" to {most}" if most > least else ""))
    return "; ".join(told)


def _print_figures(
    result: dict[str, Any], *, against: dict[str, Any], name: str = "run now"
) -> None:
    table = Table("", "plan", name, "difference", "unit")
    units = [unit for _, _, unit in FIGURES]
    mine = [result[key] for key, _, _ in FIGURES]
    other = [against[key] for key, _, _ in FIGURES]
    differences = [one - its for one, its in zip(mine, other, strict=True)]
    columns = (
        _at_one_precision(mine, units),
        _at_one_precision(other, units),
        [_signed(text) for text in _at_one_precision(differences, units)],
    )
    for (_, label, unit), *shown in zip(FIGURES, *columns, strict=True):
        table.add_row(label, *shown, unit)
    out.print(table)
    out.print(COUNTS, style="dim italic")


def _print_front(front: dict[str, Any]) -> None:
    """Print the points of a front, those that print alike once."""
    points = front["points"]
    costs = _at_one_precision([one["cost_gbp"] for one in points], ["GBP"] * len(points))
    marks: dict[tuple[str, ...], list[str]] = {}
    for index, (point, cost) in enumerate(zip(points, costs, strict=True)):
        carbon, waiting = f"{point['carbon_kg']:.2f}", f"{point['waiting_gpu_hours']:.1f}"
        found = marks.setdefault((cost, carbon, waiting, str(point["moved_jobs"])), [])
        found += [text for name, text in MARKS if front[name] == index]
    print_fitting(out, FRONT, [(", ".join(found), *row) for row, found in marks.items()])
    if more := len(points) - len(marks):
        plans = "plan that prints" if more == 1 else "plans that print"
        out.print(
            f"{more} more {plans} alike {'is' if more == 1 else 'are'} left out; --json has all"
        )


def _at_one_precision(amounts: Sequence[float], units: Sequence[str]) -> list[str]:
    """Return a column of amounts: to hundredths, or finer where GBP below ten pence are in it."""
    is_fine = any(
        unit == "GBP" and LEAST_GBP <= abs(amount) < TEN_PENCE
        for amount, unit in zip(amounts, units, strict=True)
    )
    places = 4 if is_fine else 2
    return [f"{round(amount, places) + 0.0:,.{places}f}" for amount in amounts]  # -0 + 0 is 0


def _signed(text: str) -> str:
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def _is_for_nothing(answer: dict[str, Any]) -> bool:
    """Whether jobs would move for no gain that counts: neither objective nor promises change."""
    result, unchanged = answer["result"], answer["unchanged"]
    gained_gbp = unchanged["objective_gbp"] - result["objective_gbp"]
    is_alike = _broken(result) == _broken(unchanged)
    return bool(answer["moved_jobs"]) and is_alike and gained_gbp < LEAST_GBP


def _pairs(option: str, items: list[str] | None) -> list[tuple[str, str]]:
    """Return names and values; whoever gives a name twice may mean either value."""
    pairs: dict[str, str] = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise ContractError(f"{option} {item!r} must be name=value")
        if name in pairs:
            raise ContractError(
                f"{option}: {item!r} is not valid; valid is a name once, and {name} is "
                f"{pairs[name]!r} already"
            )
        pairs[name] = value
    return list(pairs.items())


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ContractError(f"{option}: {text!r} is not valid; valid is a number")
    return value


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ContractError(f"{option}: {text!r} is not valid; valid is a whole number") from error


def _share(fraction: float) -> str:
    return "-" if fraction == 1 else f"{fraction:.0%}"
