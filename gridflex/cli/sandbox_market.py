"""``gridflex sandbox market``: a simulated energy market behind a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer

from gridflex.adapters.clock import Clock
from gridflex.cli.market_checks import number, read_prices, text_of
from gridflex.cli.options import Config
from gridflex.cli.output import out, say
from gridflex.errors import ContractError
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.registry import UnitId
from gridflex.market.settlement.calendar import published_days
from gridflex.market.working_days import WorkingCalendar, calendar_around
from gridflex.running.launch import in_force
from gridflex.sandbox.market import Mishap, SimulatedAgents
from gridflex.sandbox.market_folder import FolderMarket, Quotation, Round
from gridflex.sandbox.reporting import ReportBasis
from gridflex.settings import Settings
from gridflex.settings_files import load_settings

WELL: Final = "none"
MSID_DIGITS: Final = 13
MOST_GBP_PER_MWH: Final = 99_999
MOST_MW: Final = 100_000
"""More than markets in Great Britain allow, and than Great Britain uses."""


def sandbox_market(
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Where files are exchanged; energy.folder without it.")
    ] = None,
    price: Annotated[str, typer.Option(help="At which it buys, GBP/MWh.")] = "85",
    prices: Annotated[
        Path | None, typer.Option(help="CSV with start_utc and gbp_per_mwh, over --price.")
    ] = None,
    depth_mw: Annotated[str, typer.Option(help="Most it buys in a half-hour.")] = "50",
    mishap: Annotated[
        list[str] | None,
        typer.Option(
            help="What happens to the next files of a kind, such as ecvn=reject,none,lose; kinds "
            f"are {', '.join(ArtefactKind)}; words are {', '.join([*Mishap, WELL])}."
        ),
    ] = None,
    meter: Annotated[
        list[str] | None, typer.Option(help="Import id that is allocated; any without it.")
    ] = None,
    readings: Annotated[
        Path | None,
        typer.Option(help="CSV of meter readings: settlement reports are made from it when due."),
    ] = None,
    system_price: Annotated[str, typer.Option(help="In its reports, GBP/MWh.")] = "100",
    system_prices: Annotated[
        Path | None, typer.Option(help="CSV with start_utc and gbp_per_mwh, over --system-price.")
    ] = None,
    supplier: Annotated[str, typer.Option(help="Of the sites, in its reports.")] = "SUPPLY",
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Answer what is there, and end.")] = False,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a round.")] = False,
) -> None:
    """Play central agents and an exchange: accept, reject, lose, garble or mute files of a folder.

    They know the unit and the credential of the settings (energy), those of the GridFlex that
    ``gridflex up`` started where one runs. A settlement report (S0142) of each run is published
    when it is due and all that was announced is metered. Nothing of it is real.
    """
    settings = in_force(load_settings(config))
    clock = Clock(settings.clock)
    basis = ReportBasis(
        readings or Path(),
        _calendar(clock),
        system_price_gbp_per_mwh=_price("system-price", system_price),
        system_prices=read_prices(system_prices) if system_prices else {},
        supplier=supplier,
        published=published_days(settings.energy.settlement_calendar),
    )
    market = FolderMarket(
        folder or settings.energy_path,
        agents=_agents(settings, clock, meters=meter, mishaps=mishap or []),
        quotation=Quotation(
            _price("price", price),
            read_prices(prices) if prices else {},
            depth_mw=_within("depth-mw", depth_mw, least=0, most=MOST_MW),
            lot_mw=settings.energy.lot_mw,
        ),
        basis=basis if readings else None,
    )
    where = folder or settings.energy_path
    if readings and (once or readings.exists()):
        text_of(readings)
    if not as_json:
        say(f"simulated market on {where}")
        if readings and not readings.exists():
            say(f"{readings} is not there yet: no settlement report is made until it is")
    while True:
        done = market.round(clock.now())
        if done.files or done.orders or done.reports:
            _say(done, as_json=as_json)
        if once:
            return
        time.sleep(every)


def _agents(
    settings: Settings, clock: Clock, *, meters: list[str] | None, mishaps: list[str]
) -> SimulatedAgents:
    energy = settings.energy
    if energy.unit is None or energy.credential is None:
        raise ContractError("energy.unit is not set: the market has nobody to trade with")
    return SimulatedAgents(
        units=[UnitId(energy.unit)],
        keys={energy.authorisation: energy.credential.get_secret_value()},
        meters=[_import_id(one) for one in meters] if meters else None,
        calendar=_calendar(clock),
        mishaps=dict(_planned(one) for one in mishaps),
    )


def _price(name: str, text: str) -> Decimal:
    return _within(name, text, least=-MOST_GBP_PER_MWH, most=MOST_GBP_PER_MWH)


def _within(name: str, text: str, *, least: int, most: int) -> Decimal:
    value = number(name, text)
    if not least <= value <= most:
        raise ContractError(f"{name} {text!r} is not valid; valid is {least} to {most}")
    return value


def _import_id(text: str) -> int:
    if not text.isdecimal() or len(text) > MSID_DIGITS:
        raise ContractError(f"meter {text!r} is not valid; valid are up to {MSID_DIGITS} digits")
    return int(text)


def _calendar(clock: Clock) -> WorkingCalendar:
    return calendar_around(clock.now().date())


def _planned(text: str) -> tuple[ArtefactKind, Iterable[Mishap | None]]:
    kind, _, names = text.partition("=")
    valid = ", ".join([*Mishap, WELL])
    try:
        queue = [None if name == WELL else Mishap(name) for name in names.split(",")]
        return ArtefactKind(kind), queue
    except ValueError as error:
        kinds = ", ".join(ArtefactKind)
        raise ContractError(
            f"mishap {text!r} is not valid; valid is KIND=WHAT,WHAT with KIND of {kinds} and WHAT "
            f"of {valid}"
        ) from error


def _say(done: Round, *, as_json: bool) -> None:
    if as_json:
        files = {name: mishap.value if mishap else WELL for name, mishap in done.files}
        body = {
            "files": files,
            "answers": done.answers,
            "orders": dict(done.orders),
            "reports": list(done.reports),
        }
        typer.echo(json.dumps(body))
        return
    for name, mishap in done.files:
        out.print(f"{name} {mishap.value if mishap else 'taken'}")
    for reference, trade in done.orders:
        out.print(f"order {reference} {trade or 'not taken'}")
    for name in done.reports:
        out.print(f"report {name}")
