"""``gridflex settle``: traded half-hours, what threatens them, and what was delivered."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from gridflex.cli.instants import minute
from gridflex.client import Client
from gridflex.market.alarms import Urgency
from gridflex.market.artefacts import ArtefactKind
from gridflex.market.runs import Run

out = Console()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str | None, typer.Option("--url", help="Where GridFlex answers.")]
Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Settlement day.")]

KINDS: Final = tuple(kind.value for kind in ArtefactKind)


def positions(
    *,
    first: Day,
    last: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first one without it.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Only this Secondary BM Unit.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show each traded half-hour with its messages and how they were answered."""
    asked = {"first": f"{first:%Y-%m-%d}", "last": f"{last or first:%Y-%m-%d}"}
    with Client(url) as client:
        found = client.get(
            "/v1/settlement/positions", **asked, **({"unit": unit} if unit is not None else {})
        )
    if as_json:
        out.print_json(json.dumps(found))
        return
    table = _table("stage", "expected MWh", "sold MWh", *(k.upper() for k in KINDS))
    for row in found:
        shown = (row["messages"][kind] for kind in KINDS)
        table.add_row(
            row["start"],
            row["unit"],
            row["stage"],
            row["expected_mwh"],
            row["sold_mwh"],
            *(_status(one) for one in shown),
        )
    out.print(table)


def alarms(*, url: Url = None, as_json: AsJson = False) -> None:
    """Show which messages may miss their deadline or did; exit code 1 if there are any."""
    with Client(url) as client:
        found = client.get("/v1/settlement/alarms")
    if as_json:
        out.print_json(json.dumps(found))
    else:
        for one in found:
            is_missed = one["urgency"] == Urgency.MISSED
            due, comes = ("was due", "so") if is_missed else ("due", "else")
            out.print(
                f"{one['urgency'].upper()} {one['start']} {one['unit']} {one['message']}: "
                f"{one['problem']}, {due} {minute(one['due'])}; {comes} {one['consequence']}",
                highlight=False,
                soft_wrap=True,
            )
        if not found:
            out.print("no message is missing, rejected or unanswered")
    if found:
        raise typer.Exit(1)


def given_up(*, url: Url = None, as_json: AsJson = False) -> None:
    """Show settlement runs that lacked something for too long; exit code 1 if any is left."""
    with Client(url) as client:
        found = client.get("/v1/settlement/given-up")
    if as_json:
        out.print_json(json.dumps(found))
    else:
        for one in found:
            out.print(
                f"{one['day']} {one['run']} {one['unit']}: {len(one['half_hours'])} half-hours "
                f"left, for {one['missing']}",
                highlight=False,
                soft_wrap=True,
            )
        if not found:
            out.print("no run was given up that is not settled")
    if found:
        raise typer.Exit(1)


def late(
    *,
    unit: Annotated[str, typer.Option(help="Secondary BM Unit.")],
    day: Day,
    run: Annotated[Run, typer.Option(help="Settlement run.")],
    reason: Annotated[str, typer.Option(help="Why, and who decided it.")],
    url: Url = None,
) -> None:
    """Have a run that was given up settled after all; recorded in the ledger as an override."""
    body = {"unit": unit, "day": f"{day:%Y-%m-%d}", "run": run.value, "reason": reason}
    with Client(url) as client:
        found = client.post("/v1/settlement/late", body)
    out.print(
        f"recorded as entry {found['index']}; who sells {unit} (energy.unit in the settings) "
        "settles it as soon as its data are there",
        highlight=False,
        soft_wrap=True,
    )


def deliveries(*, day: Day, url: Url = None, as_json: AsJson = False) -> None:
    """Show what may be claimed as delivered in a day, and what was notified of it."""
    with Client(url) as client:
        found = client.get("/v1/settlement/deliveries", day=f"{day:%Y-%m-%d}")
    if as_json:
        out.print_json(json.dumps(found))
        return
    table = _table("expected MWh", "delivered MWh", "notified", "status", "why not")
    for row in found:
        table.add_row(
            row["start"],
            row["unit"],
            row["expected_import_mwh"],
            ", ".join(row["delivered_mwh"].values()) or "-",
            row["notified_mwh"] or "-",
            row["status"],
            "; ".join(row["why_not"]) or "-",
        )
    out.print(table)


def _table(*titles: str) -> Table:
    """A table by half-hour and unit, which stay whole where the terminal is narrow."""
    whole = (Column(title, no_wrap=True) for title in ("UTC", "unit"))
    others = (Column(title, overflow="fold") for title in titles)
    return Table(*whole, *others, box=box.SIMPLE_HEAD, show_edge=False, padding=0)


def _status(message: dict[str, Any]) -> str:
    reason = f": {message['reason']}" if message["status"] == "rejected" else ""
    return f"{message['status']}{reason}"
