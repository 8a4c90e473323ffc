"""``gridflex settle baseline``: what a meter would have used, and whether that may be sold."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.instants import span
from gridflex.cli.options import AsJson, Day, MeterId, Unit, Url
from gridflex.cli.output import out, print_json, say
from gridflex.client import Client, path_of
from gridflex.errors import ContractError, SourceError
from gridflex.market.baselines.quality import way_out

baseline_app = typer.Typer(
    no_args_is_help=True, help="What a meter would have used, and whether that may be sold."
)

Rule = Annotated[str, typer.Option(help="Name of the rule; see `rules`.")]
Event = Annotated[
    str | None, typer.Option(help="First half-hour of the activation, such as 2026-07-01T16:00Z.")
]
HalfHours = Annotated[int, typer.Option(min=1, max=50, help="How long the activation lasts.")]


PATH = "/v1/settlement/baselines"
RULES: Final = (Column("rule"), Column("days"), Column("adjustment", narrowest=20))


@baseline_app.command("rules")
def rules(*, url: Url = None, as_json: AsJson = False) -> None:
    """List the methods, how far they look back, and how far they are confirmed."""
    with Client(url) as client:
        found = client.get(f"{PATH}/rules")
    if as_json:
        print_json(found)
        return
    rows = []
    for one in found:
        days = "\n".join(
            f"{kind}: {row['take']} of {row['pool']}, at least {row['minimum']}"
            for kind, row in one["days"].items()
        )
        rows.append((one["name"], days or "the event's own", one["adjustment"]))
    print_fitting(out, RULES, rows)
    for one in found:
        say(f"{one['name']}: {one['source']}")


@baseline_app.command("show")
def show(
    meter: MeterId,
    *,
    day: Day,
    rule: Rule = "BL01",
    event: Event = None,
    half_hours: HalfHours = 1,
    record: Annotated[bool, typer.Option("--record", help="Also record it in the ledger.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a meter's baseline on a day, and how it came about."""
    body = {
        "day": f"{day:%Y-%m-%d}",
        "rule": rule,
        "event_start": event,
        "event_half_hours": half_hours,
    }
    path = PATH + path_of("meters", meter, *([] if record else ["show"]))
    with Client(url) as client:
        found = client.post(path, body)
    if as_json:
        print_json(found)
        return
    state = "defined" if found["is_defined"] else "NOT DEFINED: the out-turn counts"
    out.print(f"{found['method']} of {meter} on {found['day']}: {state}")
    out.print(f"days that count: {', '.join(found['selected']) or 'none'}")
    for excluded, why in found["excluded"].items():
        out.print(f"  not {excluded}: {why}")
    if found["note"]:
        out.print(found["note"])
    table = Table("UTC", "baseline MWh", "unadjusted MWh", "metered MWh")
    for row in found["half_hours"]:
        values = (row[f"{name}_mwh"] for name in ("baseline", "unadjusted", "metered"))
        table.add_row(row["start"], *(value or "-" for value in values))
    out.print(table)
    if record:
        out.print(f"recorded as entry {found['index']}")


@baseline_app.command("declare")
def declare(
    meter: MeterId,
    *,
    day: Day,
    reason: Annotated[str, typer.Option(help="Why, and where the evidence is.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Declare an event day, which counts no longer as history; recorded in the ledger."""
    with Client(url) as client:
        body = {"day": f"{day:%Y-%m-%d}", "reason": reason}
        found = client.post(PATH + path_of("meters", meter, "event-days"), body)
    if as_json:
        print_json(found)
        return
    out.print(f"recorded as entry {found['index']}")


@baseline_app.command("budget")
def budget(
    meter: MeterId, *, day: Day, rule: Rule = "BL01", url: Url = None, as_json: AsJson = False
) -> None:
    """Show how many event days are left before the baseline is lost."""
    with Client(url) as client:
        found = client.get(
            PATH + path_of("meters", meter, "budget"), day=f"{day:%Y-%m-%d}", rule=rule
        )
    if as_json:
        print_json(found)
        return
    state = "EXHAUSTED" if found["is_exhausted"] else f"{found['spare_days']} event days to spare"
    out.print(
        f"{rule} of {meter} on {found['day']}: {state}; {found['eligible']} of "
        f"{found['alike_days']} days count, {found['minimum']} are needed",
    )
    if found["undeclared"]:
        out.print(
            f"{found['undeclared']} days that count had sales and were not declared: they hold "
            f"{found['erosion_fraction']:.0%} of the baseline",
        )
    if found["exhausted_on"]:
        out.print(f"without new days it is lost on {found['exhausted_on']}")


@baseline_app.command("predict")
def predict(
    meter: MeterId, *, until: Day, rule: Rule = "BL01", url: Url = None, as_json: AsJson = False
) -> None:
    """Say whether a rule predicts a meter well enough to trade on; exit code 1 if not."""
    with Client(url) as client:
        found = client.get(
            PATH + path_of("meters", meter, "predictability"), until=f"{until:%Y-%m-%d}", rule=rule
        )
    if as_json:
        print_json(found)
    else:
        verdict = "may be traded on" if found["may_trade"] else f"NOT: {found['reason']}"
        say(f"{rule} of {meter} over {found['days']} days: {_errors(found)}: {verdict}")
    if not found["may_trade"]:
        raise typer.Exit(1)


@baseline_app.command("judge")
def judge(
    unit: Unit,
    *,
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Settlement day; today without.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a unit may be sold, as its seller asks once a day; exit code 1 if not.

    Its baseline is the one that the registry names: a submitted one is held against what was
    committed, a computed one against the days before.
    """
    asked = {} if day is None else {"day": f"{day:%Y-%m-%d}"}
    with Client(url) as client:
        found = client.get(PATH + path_of("units", unit, "predictability"), **asked)
    if as_json:
        print_json(found)
    else:
        verdict = "within the limits" if found["may_trade"] else f"NOT: {found['reason']}"
        say(f"{unit} on {found['day']}: {found['days']} days, {_errors(found)}: {verdict}")
        if found["override"] is not None:
            held = found["override"]
            say(f"sold all the same until {held['until']}: {held['reason']}")
        elif not found["is_sold"]:
            say(f"nothing is sold of it; {way_out(unit)}")
    if not found["is_sold"]:
        raise typer.Exit(1)


@baseline_app.command("allow")
def allow(
    unit: Unit,
    *,
    until: Annotated[
        datetime,
        typer.Option(formats=["%Y-%m-%d"], help="First day on which it is not sold any more."),
    ],
    reason: Annotated[str, typer.Option(help="Why, and who decided it.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have a unit sold however its baseline is judged; recorded in the ledger as an override."""
    with Client(url) as client:
        body = {"until": f"{until:%Y-%m-%d}", "reason": reason}
        found = client.post(PATH + path_of("units", unit, "override"), body)
    if as_json:
        print_json(found)
        return
    says = (
        f"{unit} is sold until {until:%Y-%m-%d} whatever is known of the baseline"
        if found["holds"]
        else f"the override ends, {until:%Y-%m-%d} being past"
    )
    say(f"{says}; recorded as entry {found['index']}")


@baseline_app.command("held-back")
def held_back(
    unit: Unit, *, first: Day, last: Day, url: Url = None, as_json: AsJson = False
) -> None:
    """List the half-hours in which something could have been sold and was not offered, and why."""
    with Client(url) as client:
        found = client.get(PATH + path_of("units", unit, "held-back"), **span(first, last))
    if as_json:
        print_json(found)
        return
    for one in found:
        say(f"{one['start']} {one['free_mwh']} MWh: {one['reason']}")
    if not found:
        out.print("nothing was held back")


@baseline_app.command("honesty")
def honesty(
    unit: Unit,
    *,
    first: Day,
    last: Day,
    caps: Annotated[
        Path | None, typer.Option(help="Log of power caps, JSON: at, job, from_kw, to_kw.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Test a submitted baseline in five ways; exit code 1 if one fails."""
    body = {
        "unit": unit,
        **span(first, last),
        "cap_changes": _json(caps) if caps else None,
    }
    with Client(url) as client:
        found = client.post(f"{PATH}/honesty", body)
    if as_json:
        print_json(found)
    else:
        table = Table("test", "verdict", "what was compared")
        for one in found:
            table.add_row(one["test"], one["verdict"], one["detail"])
        out.print(table)
    if any(one["verdict"] == "failed" for one in found):
        raise typer.Exit(1)


@baseline_app.command("rebound")
def rebound(
    unit: Unit,
    *,
    first: Day,
    last: Day,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what was delivered, and beside it what came back."""
    body = {"unit": unit, **span(first, last)}
    with Client(url) as client:
        found = client.post(f"{PATH}/rebound", body)
    if as_json:
        print_json(found)
        return
    counted = f"over {found['half_hours']} of {found['window_half_hours']} half-hours"
    is_covered = found["is_covered"]
    kept = "saved" if is_covered else "difference"
    say(
        f"delivered {found['delivered_mwh']} MWh, came back {found['rebound_mwh']}, {kept} "
        f"{found['saved_mwh']}, {counted}"
    )
    if not is_covered:
        say(
            f"NOT COVERED: {found['without_reading']} half-hours have no reading and "
            f"{found['without_commitment']} with one have no commitment; what came back in them "
            "is not known, so nothing counts as saved yet"
        )


def _errors(found: dict[str, Any]) -> str:
    """Return bias and error in words; "-" where they are not known."""
    bias, error = found["bias_fraction"], found["rrmse_fraction"]
    return (
        f"bias {'-' if bias is None else f'{bias:+.1%}'}, "
        f"error {'-' if error is None else f'{error:.1%}'}"
    )


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ContractError(f"{path} is not JSON: {error}") from error
