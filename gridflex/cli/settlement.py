"""``gridflex settle``: show what was earned, and write the bills; the ledger's commands too.

``show`` and ``invoice`` ask a running GridFlex, or read a book of settlement inputs: the same
file shows the same figures anywhere, with no server and no database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter

from gridflex.cli import ledger, market_checks, positions
from gridflex.cli.baselines import baseline_app
from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.ledger import write
from gridflex.cli.market_checks import text_of
from gridflex.cli.options import AsJson, Url
from gridflex.cli.output import out, print_json, print_json_text, say
from gridflex.client import Client
from gridflex.errors import ContractError
from gridflex.market.billing.fees import Month
from gridflex.market.billing.invoice import Document
from gridflex.market.billing.invoice_files import (
    document_html,
    document_json,
    documents_csv,
    read_document,
)
from gridflex.market.billing.monthly import (
    BillingContract,
    Unbilled,
    monthly_bill,
    parse_month,
    read_contract,
)
from gridflex.market.settlement.account import AccountResult
from gridflex.market.settlement.book import (
    DayTotal,
    SettlementBook,
    Statement,
    read_book,
    settle_book,
    write_statement,
)
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import Rounding
from gridflex.market.working_days import england_and_wales
from gridflex.units import gbp_text

settlement_app = typer.Typer(no_args_is_help=True)
for command in (
    *(
        ledger.verify,
        ledger.extends,
        ledger.export,
        ledger.receipt,
        ledger.verifier,
        ledger.rotate_key,
    ),
    *(market_checks.register, market_checks.readings, market_checks.meter),
    *(market_checks.report, market_checks.reconcile, market_checks.dfs, market_checks.cost),
    *(market_checks.shares, market_checks.reserve, market_checks.sale),
    *(positions.positions, positions.alarms, positions.deliveries, positions.late),
):
    settlement_app.command()(command)
settlement_app.command("given-up")(positions.given_up)
settlement_app.add_typer(baseline_app, name="baseline")

DAYS: Final = (
    Column("account"),
    Column("day"),
    Column("run"),
    Column("half-hours", is_number=True),
    Column("delivered\nMWh", is_number=True),
    Column("sold\nMWh", is_number=True),
    Column("net\nGBP", is_number=True),
)
HALF_HOURS: Final = (
    Column("account"),
    Column("UTC"),
    Column("period", is_number=True),
    Column("run"),
    Column("delivered\nMWh", is_number=True),
    Column("sold\nMWh", is_number=True),
    Column("imbalance\nGBP", is_number=True),
    Column("trades\nGBP", is_number=True),
    Column("net\nGBP", is_number=True),
)

_UNBILLED: Final = TypeAdapter(Unbilled)

Book = Annotated[
    Path | None,
    typer.Option("--book", help="Settlement inputs, as JSON; else those of a running GridFlex."),
]


@settlement_app.command("show")
def show(
    *,
    book: Book = None,
    url: Url = None,
    account: Annotated[str | None, typer.Option(help="Only this Energy Account.")] = None,
    day: Annotated[str | None, typer.Option(help="Settlement day, YYYY-MM-DD.")] = None,
    run: Annotated[Run | None, typer.Option(help="Settlement run; all without it.")] = None,
    statement: Annotated[
        Path | None, typer.Option(help="Also write the exact outcome to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the settled totals of a running GridFlex, or of a book, by day, or a day by half-hour.

    They are computed again from the inputs, and are the same anywhere.
    """
    outcome = settle_book(_read(book, url))
    chosen = None if day is None else _day(day)
    if statement is not None:
        write(statement, write_statement(outcome))
    if account is not None:
        outcome = outcome.of(account)
    if as_json:
        print_json_text(_selected(outcome, chosen, run))
        return
    say(f"inputs SHA-256 {outcome.inputs_sha256}")
    days = [one for one in outcome.days if run in {None, one.run} and chosen in {None, one.day}]
    if not days:
        asked = f"{f' of {chosen}' if chosen else ''}{f' in {run}' if run else ''}"
        out.print(f"nothing{asked} is settled yet")
    elif chosen is None:
        _print_days(days)
    else:
        _print_half_hours(_results(outcome, chosen, run), day=chosen)


@settlement_app.command("invoice")
def invoice(
    *,
    book: Book = None,
    url: Url = None,
    contract: Annotated[Path, typer.Option(help="Billing contract, as YAML.")],
    month: Annotated[str, typer.Option(help="Billing month, YYYY-MM.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the documents.")],
    on: Annotated[
        str | None,
        typer.Option(
            help="Date of issue, not later than today; runs paid by then count. "
            "Without it the day after the month."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a month's invoice and credit note as PDF, HTML, JSON and CSV.

    A running GridFlex records the documents in its ledger, and refuses a contract that does not
    know what the ledger says was charged before. From a file nothing is recorded or compared.
    Runs that are settled and pay after the date of issue are named, with the bill they will be in.
    """
    billed = parse_month(month)
    known_on = _day(on) if on else billed.end
    terms = read_contract(text_of(contract))
    if book is None:
        made, later = _issue(terms, month=str(billed), known_on=known_on, url=url)
    else:
        made, later = _from_file(_read(book, None), terms, billed, known_on)
    files = _write_documents(folder, made, month=month)
    if as_json:
        print_json(
            {
                "documents": [json.loads(document_json(one)) for one in made],
                "files": [str(one) for one in files],
                "is_recorded": book is None,
                "unbilled": later,
            }
        )
        return
    if not made:
        out.print("nothing to bill")
    for one in made:
        out.print(
            f"{one.kind} {one.number} of {one.issued_on}: net {one.net_gbp} GBP, "
            f"VAT {one.vat_gbp}, total {one.gross_gbp}",
        )
    for path in files:
        say(str(path))
    for row in later:
        say(_unbilled(row))
    if book is not None:
        out.print("from a file: nothing is recorded, and nothing compared with what was charged")


def _issue(
    terms: BillingContract, *, month: str, known_on: date, url: str | None
) -> tuple[tuple[Document, ...], list[dict[str, Any]]]:
    """Have a running GridFlex bill a month; return the documents and what they do not count yet."""
    asked = {
        "contract": terms.model_dump(mode="json"),
        "month": month,
        "known_on": known_on.isoformat(),
    }
    with Client(url) as client:
        answered = client.post("/v1/settlement/invoices", asked)
        later = client.post("/v1/settlement/invoices/unbilled", asked)
    return tuple(read_document(json.dumps(one).encode()) for one in answered), later


def _from_file(
    inputs: SettlementBook, terms: BillingContract, month: Month, known_on: date
) -> tuple[tuple[Document, ...], list[dict[str, Any]]]:
    calendar = england_and_wales(_first_day(inputs), date(known_on.year + 4, 12, 31))
    known = sorted({one.account for one in inputs.periods})
    if terms.account not in known:
        raise ContractError(
            f"billing contract: account {terms.account} has no settlement in the book; valid is "
            + ", ".join(known)
        )
    bill = monthly_bill(
        inputs,
        contract=terms,
        month=month,
        known_on=known_on,
        calendar=calendar,
        rounding=Rounding(),
    )
    return bill.documents, [_UNBILLED.dump_python(one, mode="json") for one in bill.unbilled]


def _unbilled(row: Mapping[str, Any]) -> str:
    calendar = "settlement_calendar" if row["is_published"] else "the usual lags"
    return (
        f"not billed yet: {row['day']} {row['run']}, net {gbp_text(Decimal(row['net_gbp']))} GBP, "
        f"pays on {row['paid_on']} by {calendar}: in the bill of {row['in_bill_of']}"
    )


def _write_documents(folder: Path, documents: Iterable[Document], *, month: str) -> list[Path]:
    made = list(documents)
    from gridflex.adapters.market.invoice_pdf import document_pdf  # noqa: PLC0415 - loads fonts

    contents = {
        f"{one.number}{suffix}": body
        for one in made
        for suffix, body in (
            (".html", document_html(one).encode()),
            (".pdf", document_pdf(one)),
            (".json", document_json(one)),
        )
    }
    if made:
        contents[f"{month}.csv"] = documents_csv(made).encode()
    paths = [folder / name for name in sorted(contents)]
    for path in paths:
        write(path, contents[path.name])
    return paths


def _print_days(days: Iterable[DayTotal]) -> None:
    say("Settlement")
    rows = [
        (
            one.account,
            str(one.day),
            one.run,
            str(one.half_hours),
            f"{one.delivered_mwh:.4f}",
            f"{one.sold_mwh:.3f}",
            gbp_text(one.net_gbp),
        )
        for one in days
    ]
    _print_by_account(DAYS, rows)


def _print_half_hours(results: Iterable[AccountResult], *, day: date) -> None:
    say(f"Settlement of {day} by half-hour")
    shown = list(results)
    rows = [
        (
            one.account,
            f"{one.half_hour.start:%H:%M}",
            str(one.half_hour.settlement[1]),
            one.run,
            f"{one.credited_mwh:.4f}",
            f"{one.sold_mwh:.3f}",
            gbp_text(-one.imbalance_charge_gbp),
            gbp_text(one.trade_revenue_gbp),
            gbp_text(one.net_gbp),
        )
        for one in shown
    ]
    _print_by_account(HALF_HOURS, rows)
    for one in shown:
        for unit in one.units:
            for note in unit.notes:
                say(f"{one.half_hour} {one.run} {unit.unit}: {note}")


def _print_by_account(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is the account, without it where there is one alone."""
    since = 0 if len({account for account, *_ in rows}) > 1 else 1
    print_fitting(out, columns[since:], [row[since:] for row in rows])


def _selected(outcome: Statement, day: date | None, run: Run | None) -> str:
    body = json.loads(write_statement(outcome))
    for part in ("results", "days"):
        body[part] = [
            one
            for one, kept in zip(body[part], _kept(outcome, part, day, run), strict=True)
            if kept
        ]
    return json.dumps(body)


def _kept(outcome: Statement, part: str, day: date | None, run: Run | None) -> list[bool]:
    rows = (
        [(one.half_hour.settlement[0], one.run) for one in outcome.results]
        if part == "results"
        else [(one.day, one.run) for one in outcome.days]
    )
    return [day in {None, at} and run in {None, which} for at, which in rows]


def _results(outcome: Statement, day: date, run: Run | None) -> list[AccountResult]:
    return [
        one
        for one in outcome.results
        if one.half_hour.settlement[0] == day and run in {None, one.run}
    ]


def _first_day(book: SettlementBook) -> date:
    days = [one.half_hour.settlement[0] for one in book.periods]
    if not days:
        raise ContractError("the settlement book holds no half-hour")
    return min(days)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ContractError(f"day {text!r} is not valid; valid is YYYY-MM-DD") from error


def _read(path: Path | None, url: str | None) -> SettlementBook:
    if path is not None:
        return read_book(text_of(path))
    with Client(url) as client:
        return read_book(json.dumps(client.get("/v1/settlement/book")))
