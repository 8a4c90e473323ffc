"""The ``gridflex`` command.

Exit codes: 0 done; 1 a promise was broken or a check failed; 2 wrong usage; 3 something
outside did not answer; 4 the input is not valid; 5 no schedule meets the limits.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridflex.adapters.database import without_password
from gridflex.cli.backfill import backfill
from gridflex.cli.backtest import backtest
from gridflex.cli.demo import demo
from gridflex.cli.grid import grid_app, sandbox_app
from gridflex.cli.jobs_table import print_jobs
from gridflex.cli.market import market_app, sandbox_beckn
from gridflex.cli.options import AsJson, Url
from gridflex.cli.plan import plan_app
from gridflex.cli.sandbox_market import sandbox_market
from gridflex.cli.settlement import settlement_app
from gridflex.cli.train import train_app
from gridflex.client import Client
from gridflex.errors import ContractError, GridFlexError, InfeasibleError, SourceError
from gridflex.settings import Settings
from gridflex.settings_files import load_settings

EXIT_CODES: Final = ((InfeasibleError, 5), (ContractError, 4), (SourceError, 3), (GridFlexError, 1))

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
jobs_app = typer.Typer(no_args_is_help=True, help="Jobs that GridFlex holds, runs or has run.")
app.command()(demo)
app.command("backtest")(backtest)
app.add_typer(jobs_app, name="jobs")
app.add_typer(plan_app, name="plan")
grid_app.command("backfill")(backfill)
app.add_typer(grid_app, name="grid")
app.add_typer(train_app, name="train")
app.add_typer(market_app, name="market")
app.add_typer(settlement_app, name="settle")
sandbox_app.command("beckn")(sandbox_beckn)
sandbox_app.command("market")(sandbox_market)
app.add_typer(sandbox_app, name="sandbox")

out = Console()
err = Console(stderr=True)

Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file; else GRIDFLEX_CONFIG or gridflex.yaml.")
]


def main() -> None:
    """Run the command line; errors become one line and an exit code."""
    try:
        app()
    except GridFlexError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))


@app.command()
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
    from gridflex.running.up import bring_up  # noqa: PLC0415 - imports Ray

    say = _say_nothing if as_json else _say
    run = bring_up(load_settings(config), sandbox=sandbox, say=say)
    if as_json:
        _print_json(asdict(run))


@app.command()
def down(*, config: Config = None, as_json: AsJson = False) -> None:
    """End what ``gridflex up`` started; held jobs stay in the database."""
    from gridflex.running.up import bring_down  # noqa: PLC0415 - imports Ray

    ended = bring_down(load_settings(config), say=_say_nothing if as_json else _say)
    if as_json:
        _print_json({"ended": asdict(ended) if ended else None})


@app.command()
def check(*, config: Config = None, as_json: AsJson = False) -> None:
    """Print the settings in force and whether everything they name works."""
    from gridflex.running.check import in_force, run_checks  # noqa: PLC0415

    settings = in_force(load_settings(config))
    results = run_checks(settings)
    if as_json:
        body = {"settings": _shown(settings), "checks": [asdict(result) for result in results]}
        _print_json(body)
    else:
        out.print_json(json.dumps(_shown(settings)))
        table = Table("check", "state", "what was found", title="Checks")
        for result in results:
            table.add_row(
                escape(result.name),
                "[green]ok[/]" if result.is_ok else "[red]failed[/]",
                escape(result.detail),
            )
        out.print(table)
    if not all(result.is_ok for result in results):
        raise typer.Exit(1)


@app.command(context_settings={"ignore_unknown_options": True})
def submit(
    *,
    entrypoint: Annotated[list[str], typer.Argument(help="Command to run, after --.")],
    tier: Annotated[str, typer.Option(help="Flexibility class, T0 to T5.")] = "T2",
    duration: Annotated[str | None, typer.Option(help="Expected run time, such as PT4H.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Latest finish, RFC 3339.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs while running.")] = None,
    working_dir: Annotated[str | None, typer.Option(help="Folder to upload.")] = None,
    submission_id: Annotated[
        str | None, typer.Option(help="Id to use; also makes a retry safe.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--meta", help="key=value; gridflex.io/ may be left out.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job with flexibility metadata, through Ray's own client."""
    from gridflex.cli.submitting import submit_job  # noqa: PLC0415 - imports Ray

    given = {"tier": tier, "duration": duration, "deadline": deadline}
    job_id = submit_job(
        Client(url).url,
        entrypoint=entrypoint,
        flexibility={key: value for key, value in given.items() if value}
        | ({"gpus": str(gpus)} if gpus is not None else {})
        | dict(_pairs(metadata or [])),
        working_dir=working_dir,
        submission_id=submission_id,
    )
    if as_json:
        _print_json({"submission_id": job_id})
    else:
        _say(f"submitted {job_id}; see: gridflex jobs explain {job_id}")


@jobs_app.command("ls")
def jobs_ls(*, url: Url = None, limit: int = 50, as_json: AsJson = False) -> None:
    """List jobs, newest first."""
    with Client(url) as client:
        page = client.get("/v1/jobs", limit=limit)
    if as_json:
        _print_json(page)
        return
    print_jobs(out, page["jobs"])


@jobs_app.command("explain")
def jobs_explain(job_id: str, *, url: Url = None, as_json: AsJson = False) -> None:
    """Say why a job runs when and where it does."""
    with Client(url) as client:
        explanation = client.get(f"/v1/jobs/{job_id}/explain")
    if as_json:
        _print_json(explanation)
        return
    for line in explanation["lines"]:
        out.print(line, highlight=False, markup=False)


def _pairs(items: list[str]) -> list[tuple[str, str]]:
    pairs = [item.partition("=") for item in items]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise typer.BadParameter(f"--meta {key!r} must be key=value")
    return [(key.removeprefix("gridflex.io/"), value) for key, _, value in pairs]


def _shown(settings: Settings) -> dict[str, Any]:
    shown: dict[str, Any] = settings.model_dump(mode="json")
    if settings.database_url:
        shown["database_url"] = without_password(settings.database_url.get_secret_value())
    return shown


def _say(text: object) -> None:
    out.print(text, highlight=False, soft_wrap=True)


def _say_nothing(_text: object) -> None:
    return


def _print_json(body: object) -> None:
    out.print_json(json.dumps(body, default=str))
