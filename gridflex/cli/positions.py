"""``gridflex settle``: traded half-hours, what threatens them, and what was delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.instants import minute, span
from gridflex.cli.options import AsJson, Day, Url
from gridflex.cli.output import out, print_json, say
from gridflex.client import Client
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.settlement.runs import Run
from gridflex.market.trading.alarms import Urgency

KINDS: Final = tuple(kind.value for kind in ArtefactKind)
POSITIONS: Final = (
    Column("start (UTC)"),
    Column("unit"),
    Column("stage", goes=2),
    Column("expected\nMWh", goes=1),
    Column("sold\nMWh"),
    *(Column(kind.upper()) for kind in KINDS),
)
DELIVERIES: Final = (
    Column("start (UTC)"),
    Column("unit"),
    Column("expected\nMWh"),
    Column("delivered\nMWh"),
    Column("notified\nMWh"),
    Column("status"),
)


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
    asked = span(first, last or first)
    with Client(url) as client:
        found = client.get(
            "/v1/settlement/positions", **asked, **({"unit": unit} if unit is not None else {})
        )
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"no half-hour is traded{_days(asked)}{_of(unit)}")
        return
    rows = [
        (
            minute(row["start"], zone=""),
            row["unit"],
            row["stage"],
            row["expected_mwh"],
            row["sold_mwh"],
            *(row["messages"][kind]["status"] for kind in KINDS),
        )
        for row in found
    ]
    _print_rows(POSITIONS, rows)
    for row in found:
        for kind in KINDS:
            if row["messages"][kind]["status"] == "rejected":
                _why(row, f"{kind} was rejected: {row['messages'][kind]['reason']}")


def alarms(*, url: Url = None, as_json: AsJson = False) -> None:
    """Show which messages may miss their deadline or did; exit code 1 if there are any."""
    with Client(url) as client:
        found = client.get("/v1/settlement/alarms")
    if as_json:
        print_json(found)
    else:
        for one in found:
            is_missed = one["urgency"] == Urgency.MISSED
            due, comes = ("was due", "so") if is_missed else ("due", "else")
            say(
                f"{one['urgency'].upper()} {one['start']} {one['unit']} {one['message']}: "
                f"{one['problem']}, {due} {minute(one['due'])}; {comes} {one['consequence']}"
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
        print_json(found)
    else:
        for one in found:
            say(
                f"{one['day']} {one['run']} {one['unit']}: {len(one['half_hours'])} half-hours "
                f"left, for {one['missing']}"
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
    as_json: AsJson = False,
) -> None:
    """Have a run that was given up settled after all; recorded in the ledger as an override."""
    body = {"unit": unit, "day": f"{day:%Y-%m-%d}", "run": run.value, "reason": reason}
    with Client(url) as client:
        found = client.post("/v1/settlement/late", body)
    if as_json:
        print_json(found)
        return
    say(
        f"recorded as entry {found['index']}; who sells {unit} (energy.unit in the settings) "
        "settles it as soon as its data are there"
    )


def deliveries(*, day: Day, url: Url = None, as_json: AsJson = False) -> None:
    """Show what may be claimed as delivered in a day, and what was notified of it."""
    with Client(url) as client:
        found = client.get("/v1/settlement/deliveries", day=f"{day:%Y-%m-%d}")
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"no half-hour of {day:%Y-%m-%d} was traded, so nothing is claimed")
        return
    rows = [
        (
            minute(row["start"], zone=""),
            row["unit"],
            row["expected_import_mwh"],
            ", ".join(row["delivered_mwh"].values()) or "-",
            row["notified_mwh"] or "-",
            row["status"],
        )
        for row in found
    ]
    _print_rows(DELIVERIES, rows)
    for row in found:
        if row["why_not"]:
            _why(row, "; ".join(row["why_not"]))


def _print_rows(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table by half-hour and unit; a unit that is in every row, in a line above it."""
    units = {unit for _, unit, *_ in rows}
    if len(units) > 1:
        print_fitting(out, columns, rows)
        return
    out.print(*units)
    print_fitting(out, (columns[0], *columns[2:]), [(row[0], *row[2:]) for row in rows])


def _why(row: Mapping[str, Any], text: str) -> None:
    """Print below a table what is to be said of one of its half-hours."""
    told = f"{minute(row['start'])} {row['unit']}: {text}"
    out.print(told, soft_wrap=True)


def _days(asked: Mapping[str, str]) -> str:
    first, last = asked["first"], asked["last"]
    return f" on {first}" if first == last else f" from {first} to {last}"


def _of(unit: str | None) -> str:
    return f" by {unit}" if unit else ""
