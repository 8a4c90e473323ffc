"""``gridflex up``, ``down`` and ``check``: a whole system on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from gridflex.adapters.database import without_password
from gridflex.cli.options import AsJson, Config
from gridflex.cli.output import out, print_json, say, say_nothing, styled
from gridflex.running.launch import in_force
from gridflex.running.up import bring_down, bring_up
from gridflex.settings import Settings
from gridflex.settings_files import load_settings


def up(
    *,
    config: Config = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Serve recorded or simulated grid data on this machine."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start GridFlex on this machine: database, Ray if none runs, Serve and the agents."""
    tell = say_nothing if as_json else say
    run = bring_up(load_settings(config), sandbox=sandbox, say=tell)
    if as_json:
        print_json(asdict(run))


def down(*, config: Config = None, as_json: AsJson = False) -> None:
    """End what ``gridflex up`` started; held jobs stay in the database."""
    ended = bring_down(load_settings(config), say=say_nothing if as_json else say)
    if as_json:
        print_json({"ended": asdict(ended) if ended else None})


def check(*, config: Config = None, as_json: AsJson = False) -> None:
    """Print the settings in force and whether everything they name works."""
    from gridflex.running.check import run_checks  # noqa: PLC0415 - imports all that it tries

    settings = in_force(load_settings(config))
    results = run_checks(settings)
    if as_json:
        body = {"settings": _settings(settings), "checks": [asdict(result) for result in results]}
        print_json(body)
    else:
        print_json(_settings(settings))
        found = Column("what was found", overflow="fold")  # addresses and paths keep their end
        table = Table("check", "state", found, title="Checks")
        for result in results:
            table.add_row(
                result.name,
                styled(("ok", "green") if result.is_ok else ("failed", "red")),
                result.detail,
            )
        out.print(table)
    if not all(result.is_ok for result in results):
        raise typer.Exit(1)


def _settings(settings: Settings) -> dict[str, Any]:
    told: dict[str, Any] = settings.model_dump(mode="json")
    if settings.database_url:
        told["database_url"] = without_password(settings.database_url.get_secret_value())
    return told
