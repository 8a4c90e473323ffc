"""``gridflex plan shed``: free power at once, and the orders that do."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Final

import isodate
import typer

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.instants import minute
from gridflex.cli.options import AsJson, Url
from gridflex.cli.output import out, print_json, styled
from gridflex.client import Client, path_of
from gridflex.curtailment import valid_hold, valid_within
from gridflex.errors import ContractError, SourceError
from gridflex.units import gbp_text

ORDERS_PATH: Final = ("v1", "plans", "shed", "orders")
ORDERS: Final = (
    Column("order"),
    Column("placed (UTC)", goes=1),
    Column("until (UTC)"),
    Column("freed\nkW"),
    Column("of"),
    Column("in\nforce"),
    Column("reason", goes=2, narrowest=12),
)


def plan_shed(  # noqa: PLR0917 - options, not arguments
    kw: Annotated[float, typer.Option(help="Power to free, kW.", min=0.001)],
    within: Annotated[str, typer.Option(help="How soon, ISO 8601.")] = "PT30S",
    hold: Annotated[str, typer.Option("--for", help="How long, ISO 8601.")] = "PT1H",
    site: Annotated[str | None, typer.Option(help="Where; anywhere if left out.")] = None,
    carry_out: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--carry-out", help="Pause those jobs now; without it, only say which.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    order: Annotated[
        str | None, typer.Option(help="Id of the order; the same again sheds nothing more.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Say which running jobs would give up power first, or pause them."""
    _require_duration("--within", within, valid_within)
    _require_duration("--for", hold, valid_hold)
    query: dict[str, str | float] = {"kw": kw, "within": within, "hold": hold}
    where = {"site": site} if site else {}
    if carry_out:
        _carry_out({**query, **where, "reason": reason}, order=order, url=url, as_json=as_json)
        return
    with Client(url) as client:
        found = client.get("/v1/plans/shed", **query, **where)
    if as_json:
        print_json(found)
        return
    until = {back["job_id"]: back["until"] for back in found["rebound"]}
    if found["cuts"]:
        rows = [_row(cut, cut["action"], back_by=until[cut["job_id"]]) for cut in found["cuts"]]
        print_fitting(out, _jobs("action"), rows)
    else:
        out.print("no running job would give up power")
    cost = gbp_text(found["cost_gbp"])
    back_kwh = sum(back["extra_kwh"] for back in found["rebound"])
    out.print(
        styled(
            f"{found['freed_kw']:.2f} of {kw:g} kW",
            _enough(found),
            f" for {cost} GBP; {back_kwh:.2f} kWh come back after it; "
            f"{found['running_kw']:.2f} kW ran at {minute(found['read_at'])}, modelled",
        )
    )


def plan_shed_orders(
    order: Annotated[str | None, typer.Argument(help="Id of one; the last 50 if left out.")] = None,
    url: Url = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show the orders that were carried out."""
    with Client(url) as client:
        found = client.get(path_of(*ORDERS_PATH, order) if order else path_of(*ORDERS_PATH))
    if as_json:
        print_json(found)
    elif order:
        _show(found)
    else:
        print_fitting(out, ORDERS, [_order_row(one) for one in found["orders"]])


def plan_shed_end(
    order: Annotated[str, typer.Argument(help="Id of the order.")],
    url: Url = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """End an order before its time; its jobs run again as planned."""
    with Client(url) as client:
        found = client.post(path_of(*ORDERS_PATH, order, "end"), {})
    if as_json:
        print_json(found)
    else:
        _show(found)


def _carry_out(body: dict[str, Any], *, order: str | None, url: str | None, as_json: bool) -> None:
    key = order or uuid.uuid4().hex
    with Client(url) as client:
        try:
            found = client.post("/v1/plans/shed", body, key=key)
        except SourceError as error:
            raise SourceError(
                f"{error}. Whether the order was given is not known: give it again with "
                f"--order {key}, which sheds nothing twice"
            ) from error
    if as_json:
        print_json(found)
    else:
        _show(found)


def _require_duration(option: str, text: str, valid: Callable[[timedelta], timedelta]) -> None:
    """Refuse what is no duration under the name of its option, which the API does not know."""
    try:
        found = isodate.parse_duration(text)
    except (ValueError, OverflowError):
        found = None
    if not isinstance(found, timedelta):
        raise ContractError(
            f"{option}: {text!r} is not valid; valid is an ISO 8601 duration, such as PT1M"
        )
    try:
        valid(found)
    except ValueError as error:
        raise ContractError(f"{option}: {text!r} is not valid; {error}") from error


def _show(found: dict[str, Any]) -> None:
    rows = [_row(one, one["state"], back_by=one["back_by"]) for one in found["jobs"]]
    print_fitting(out, _jobs("state"), rows)
    said = "in force" if found["is_active"] else "over"
    out.print(
        styled(
            f"order {found['id']} is {said}, until {minute(found['until'])}: "
            f"{found['freed_kw']:.2f} of {found['asked_kw']:g} kW",
            _enough(found),
            f", {found['freed_now_kw']:.2f} kW now, for {gbp_text(found['cost_gbp'])} GBP; "
            "modelled",
        )
    )


def _jobs(what: str) -> tuple[Column, ...]:
    """The columns of jobs that give up power, of which one says what is or was done."""
    return (
        Column("job"),
        Column("site", goes=2),
        Column(what),
        Column("frees\nkW"),
        Column("lost\nkWh", goes=1),
        Column("GBP", goes=3),
        Column("back by (UTC)"),
    )


def _row(job: dict[str, Any], what: str, *, back_by: str) -> tuple[str, ...]:
    return (
        job["job_id"],
        job["site"],
        what,
        f"{job['freed_kw']:.2f}",
        f"{job['lost_kwh']:.2f}",
        gbp_text(job["cost_gbp"]),
        minute(back_by, zone=""),
    )


def _order_row(order: dict[str, Any]) -> tuple[str, ...]:
    return (
        order["id"],
        minute(order["placed_at"], zone=""),
        minute(order["until"], zone=""),
        f"{order['freed_kw']:.2f}",
        f"{order['asked_kw']:g}",
        "yes" if order["is_active"] else "no",
        order["reason"],
    )


def _enough(found: dict[str, Any]) -> tuple[str, str]:
    """Return what to say beside the power that is freed, and its style."""
    return ("", "") if found["is_enough"] else (" (no more without a late job)", "red")
