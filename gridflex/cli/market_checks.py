"""``gridflex settle``: readings, central reports, reconciliation, DFS and the cost of delivery."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gridflex.cli.instants import span
from gridflex.cli.options import AsJson, Day, MeterId, Url
from gridflex.cli.output import out, print_json, say
from gridflex.cli.report_table import print_summary, print_units
from gridflex.client import Client, path_of
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import digest
from gridflex.market.amounts import amount
from gridflex.market.columns import refuse_twice
from gridflex.market.delivered_cost import DeliveredCost, delivered_costs
from gridflex.market.settlement.authority import AUTHORITY
from gridflex.market.settlement.book import SettlementBook, read_book
from gridflex.market.settlement.dfs import dfs_payment
from gridflex.market.settlement.reported import Difference, unconfirmed, unit_reports
from gridflex.market.settlement.s0142 import SettlementReport, read_s0142
from gridflex.market.settlement.s0142_report import report_json
from gridflex.market.tariff import read_tariff
from gridflex.market.trading.exclusivity import Product
from gridflex.market.trading.selling import Outlook, SalePolicy, decide_sale
from gridflex.market.volumes import Rounding


def register(
    file: Annotated[Path, typer.Argument(help="Records, JSON, as in docs/settlement.md.")],
    *,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register sites, units, consents and allocations, all of them or none."""
    try:
        body = json.loads(text_of(file))
    except ValueError as error:
        raise ContractError(f"{file} is not JSON: {error}") from error
    with Client(url) as client:
        found = client.post("/v1/settlement/registry", body)
    if as_json:
        print_json(found)
        return
    out.print(f"recorded as {_entries(found['indexes'])}")


def readings(
    file: Annotated[Path, typer.Argument(help="CSV, as in docs/settlement.md.")],
    *,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Import meter readings from a CSV file, all of them or none."""
    with Client(url) as client:
        found = client.post_text("/v1/settlement/readings.csv", text_of(file), kind="text/csv")
    if as_json:
        print_json(found)
        return
    out.print(
        f"{len(found['indexes'])} readings: {found['new']} new, {found['known']} known",
    )
    if found["unallocated"]:
        say(
            f"warning: no allocation in the registry for {', '.join(found['unallocated'])}: "
            "recorded, but no unit is settled by it (gridflex settle register)"
        )


def meter(
    meter_id: MeterId,
    *,
    day: Day,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a meter's settlement day, gaps and substitutions included."""
    with Client(url) as client:
        found = client.get(path_of("v1", "settlement", "readings", meter_id), day=f"{day:%Y-%m-%d}")
    if as_json:
        print_json(found)
        return
    table = Table("UTC", "net import MWh", "evidence", "substituted", "versions")
    for row in found:
        table.add_row(
            row["half_hour"],
            row["net_import_mwh"] or "gap",
            row["evidence"] or "-",
            "yes" if row["is_substituted"] else "-",
            str(row["versions"]),
        )
    out.print(table)


def report(
    file: Annotated[Path, typer.Argument(help="S0142 report, unpacked.")],
    *,
    party: Annotated[str | None, typer.Option(help="Show the rows of this party alone.")] = None,
    book: Annotated[
        Path | None, typer.Option(help="Compare with these settlement inputs, from a file.")
    ] = None,
    is_read_only: Annotated[
        bool, typer.Option("--read-only", help="Show it; nothing is recorded or compared.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Record a central settlement report and compare it with our own; exit code 1 if they differ.

    A running GridFlex settles its day and run by it. From a file nothing is recorded.
    """
    text = text_of(file)
    read = read_s0142(text)
    shown = report_json(read, party=party)
    differ: list[dict[str, Any]] = []
    recorded: list[int] = []
    if book is None and not is_read_only:
        with Client(url) as client:
            found = client.post_text("/v1/settlement/reports", text, kind="text/plain")
        differ, recorded = found["differences"], found["recorded"]
    elif book is not None:
        differ = [
            {"start": str(one.half_hour), **one.as_json()}
            for one in _off(read, book=read_book(text_of(book)), file_sha256=digest(text.encode()))
        ]
    if as_json:
        told = {"report": shown, "differences": differ, "recorded": recorded}
        print_json(told)
    else:
        print_summary(shown)
        if recorded:
            out.print(f"recorded as {_entries(recorded)}")
        for one in differ:
            out.print(
                f"DIFFERENT {one['start']} {one['what']}: ours {one['ours']}, "
                f"reported {one['reported'] or 'nothing'}",
            )
        print_units(shown)
    if differ:
        raise typer.Exit(1)


def _entries(indexes: Sequence[int]) -> str:
    """Return how entries are named: ``entry 7``, ``entries 17 to 20`` or ``entries 2, 5``."""
    first, last = indexes[0], indexes[-1]
    if len(indexes) == 1:
        return f"entry {first}"
    if list(indexes) == list(range(first, last + 1)):
        return f"entries {first} to {last}"
    return f"entries {', '.join(map(str, indexes))}"


def _off(report: SettlementReport, *, book: SettlementBook, file_sha256: str) -> list[Difference]:
    """Return which figures of a book a report does not confirm, in the report's day and run."""
    mine = [
        one
        for one in book.periods
        if one.run is report.run and one.half_hour.settlement[0] == report.day
    ]
    units = {one.unit for period in mine for one in period.units}
    said = {one.unit: one for one in unit_reports(report, units=units, file_sha256=file_sha256)}
    return [found for one in mine for found in unconfirmed(one, said, AUTHORITY)]


def shares(
    *,
    account: Annotated[str, typer.Option(help="Energy Account.")],
    first: Day,
    last: Day,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what contracts, jobs and teams earned, each half-hour in its newest paying run."""
    with Client(url) as client:
        found = client.get(
            "/v1/settlement/shares",
            account=account,
            **span(first, last),
        )
    if as_json:
        print_json(found)
        return
    out.print(f"net {found['total_gbp']} GBP")
    kinds = {kind: found[f"by_{kind}_gbp"] for kind in ("contract", "team", "job")}
    if not any(kinds.values()):
        out.print(f"no half-hour of {account} in these days has a run that pays yet")
    for kind, shared in kinds.items():
        if not shared:
            continue
        table = Table(kind, "GBP")
        for name, gbp in shared.items():
            table.add_row(name, gbp)
        out.print(table)


def reserve(
    meter_id: MeterId,
    *,
    at: Annotated[str, typer.Option(help="Half-hour, such as 2026-07-01T16:00Z.")],
    product: Annotated[Product, typer.Option(help="To whom.")],
    mwh: Annotated[str, typer.Option(help="How much.")],
    flexible_mwh: Annotated[str, typer.Option(help="What the meter can deliver in it.")],
    contract: Annotated[str, typer.Option(help="Under which contract.")],
    up: Annotated[bool, typer.Option("--up", help="More import instead of less.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Promise energy to one product; refused where it would be sold twice."""
    body = {
        "meter": meter_id,
        "start": at,
        "direction": "up" if up else "down",
        "product": product.value,
        "mwh": mwh,
        "contract": contract,
        "flexible_mwh": flexible_mwh,
    }
    with Client(url) as client:
        found = client.post("/v1/settlement/reservations", body)
    if as_json:
        print_json(found)
        return
    out.print(
        f"{found['mwh']} MWh held for {found['product']} by {found['contract']}, entry "
        f"{found['index']}",
    )


def sale(
    *,
    delivery: Annotated[str, typer.Option(help="Equally likely deliveries, MWh: 0.7,0.8,0.9.")],
    system_prices: Annotated[str, typer.Option(help="Equally likely system prices, GBP/MWh.")],
    price: Annotated[str, typer.Option(help="At which energy can be sold, GBP/MWh.")],
    fraction: Annotated[str, typer.Option(help="Greatest share of the mean delivery.")] = "1",
    risk: Annotated[str, typer.Option(help="Risk aversion, 0 to 1.")] = "0.5",
    as_json: AsJson = False,
) -> None:
    """Say how much of an expected delivery to sell, and what it is expected to bring."""
    outlook = Outlook(
        _numbers("delivery", delivery),
        _numbers("system-prices", system_prices),
        number("price", price),
    )
    policy = SalePolicy(
        risk_aversion=number("risk", risk), sale_fraction=number("fraction", fraction)
    )
    made = decide_sale(outlook, policy, rounding=Rounding())
    if as_json:
        print_json({name: str(value) for name, value in asdict(made).items()})
        return
    out.print(
        f"sell {made.mwh} MWh ({made.binding}): {made.expected_net_gbp:,.2f} GBP expected, "
        f"{made.bad_case_gbp:,.2f} in the bad case, {made.nothing_sold_gbp:,.2f} without a sale",
    )


def reconcile(*, first: Day, last: Day, url: Url = None, as_json: AsJson = False) -> None:
    """Compare trades with accepted contract notices; exit code 1 if they differ."""
    with Client(url) as client:
        found = client.get("/v1/settlement/reconciliation", **span(first, last))
    if as_json:
        print_json(found)
    else:
        for one in found:
            out.print(
                f"{one['start']} {one['buyer']}: traded {one['traded_mwh']} MWh, accepted "
                f"{one['accepted_mwh']}: {one['why']}",
            )
        if not found:
            out.print("what was traded is what was accepted")
    if found:
        raise typer.Exit(1)


def dfs(
    *,
    contracted_mw: Annotated[str, typer.Option(help="Accepted volume.")],
    price: Annotated[str, typer.Option(help="Accepted bid, GBP/MWh.")],
    delivered_mwh: Annotated[str, typer.Option(help="Delivered; negative is the wrong way.")],
    as_json: AsJson = False,
) -> None:
    """Say what a settlement period of the Demand Flexibility Service pays."""
    made = dfs_payment(
        contracted_mw=number("contracted-mw", contracted_mw),
        price_gbp_per_mwh=number("price", price),
        delivered_mwh=number("delivered-mwh", delivered_mwh),
    )
    if as_json:
        body = {
            "delivered_percent": str(made.delivered_percent),
            "factor": str(made.factor),
            "payment_gbp": str(made.gbp),
        }
        print_json(body)
        return
    out.print(
        f"delivered {made.delivered_percent:.1f} %, factor {made.factor:.2f}: {made.gbp:,.2f} GBP",
    )


def cost(
    *,
    tariff: Annotated[Path, typer.Option(help="Tariff file of the site, YAML.")],
    prices: Annotated[
        Path | None, typer.Option(help="CSV with start_utc and gbp_per_mwh, wholesale.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="One half-hour, such as 2026-07-01T16:00Z.")
    ] = None,
    wholesale: Annotated[str | None, typer.Option(help="Its wholesale price, GBP/MWh.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what energy costs at the meter: wholesale alone, and with networks and levies."""
    if prices is not None:
        if given := [
            name for name, value in (("--at", at), ("--wholesale", wholesale)) if value is not None
        ]:
            raise ContractError(
                f"{' and '.join(given)} beside --prices {prices} is not valid; valid is --prices "
                "alone, or --at with --wholesale"
            )
        wanted = read_prices(prices)
    elif at is not None and wholesale is not None:
        wanted = {HalfHour.parse(at): number("wholesale", wholesale)}
    else:
        raise ContractError("give --prices, or --at with --wholesale")
    found = delivered_costs(read_tariff(text_of(tariff)), wanted)
    if as_json:
        print_json([one.as_json() for one in found])
        return
    _print_costs(found)


def text_of(path: Path) -> str:
    """Return the text of a file.

    Raises:
        SourceError: It cannot be read.
        ContractError: It is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ContractError(f"{path} is not UTF-8 text") from error


def _print_costs(costs: list[DeliveredCost]) -> None:
    table = Table("UTC", "band", "wholesale", "delivered GBP/MWh", "fixed GBP/day")
    for one in costs:
        table.add_row(
            str(one.half_hour),
            one.cost.duos_band,
            f"{one.cost.commodity_gbp_per_mwh:.2f}",
            f"{one.cost.delivered_gbp_per_mwh:.2f}",
            f"{one.fixed_gbp_per_day:.2f}",
        )
    out.print(table)


def read_prices(path: Path) -> dict[HalfHour, Decimal]:
    """Return the prices of a CSV file, GBP/MWh.

    Raises:
        ContractError: A column is missing or there twice, or a value is not valid.
    """
    rows = csv.DictReader(StringIO(text_of(path)))
    columns = rows.fieldnames or ()
    missing = [name for name in ("start_utc", "gbp_per_mwh") if name not in columns]
    if missing:
        has = ", ".join(columns) or "none"
        raise ContractError(f"{path}: no {' and no '.join(missing)} among its columns ({has})")
    refuse_twice(columns, what=str(path))
    return {
        HalfHour.parse(row["start_utc"]): number("gbp_per_mwh", row["gbp_per_mwh"]) for row in rows
    }


def _numbers(name: str, text: str) -> tuple[Decimal, ...]:
    return tuple(number(name, one) for one in text.split(","))


def number(name: str, text: str) -> Decimal:
    """Return the amount that an option gives.

    Raises:
        ContractError: It is none; names the option.
    """
    try:
        return amount(text)
    except ValueError as error:
        raise ContractError(f"{name} {text!r} is not valid; {error}") from error
