"""The ``gridflex`` command.

Exit codes: 0 done; 1 a promise was broken or a check failed; 2 wrong usage; 3 something
outside did not answer; 4 the input is not valid; 5 no schedule meets the limits; and as shells
have them 130 Ctrl-C; 141 nobody reads the output any more.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from gridflex.cli.jobs_table import print_jobs
from gridflex.cli.on_demand import Elsewhere, on_demand
from gridflex.cli.options import AsJson, Url
from gridflex.cli.output import err, give_up_output, out, print_json, say, show_all_text, styled
from gridflex.client import Client, path_of
from gridflex.errors import ContractError, GridFlexError, InfeasibleError, SourceError
from gridflex.job_ids import refuse_no_job_id

EXIT_CODES: Final = ((InfeasibleError, 5), (ContractError, 4), (SourceError, 3), (GridFlexError, 1))
UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of a file that is open: no command opens one that it does not look after itself."""

ON_DEMAND: Final = {
    "up": Elsewhere(
        "gridflex.cli.system:up",
        "Start GridFlex on this machine: database, Ray if none runs, Serve and the agents.",
    ),
    "down": Elsewhere(
        "gridflex.cli.system:down", "End what gridflex up started; held jobs stay in the database."
    ),
    "check": Elsewhere(
        "gridflex.cli.system:check",
        "Print the settings in force and whether everything they name works.",
    ),
    "demo": Elsewhere(
        "gridflex.cli.demo:demo",
        "Run the main job on one accelerated day of the grid: real Ray jobs, against run-now.",
    ),
    "backtest": Elsewhere(
        "gridflex.cli.backtest:backtest",
        "Replay a job trace on a grid series with only what was known at the time.",
    ),
    "plan": Elsewhere("gridflex.cli.plan:plan_app", "The plan in force, and what if."),
    "grid": Elsewhere(
        "gridflex.cli.grid:grid_app", "Price and carbon intensity, as GridFlex knows."
    ),
    "train": Elsewhere(
        "gridflex.cli.train:train_app", "Trained forecasters, and which of them count."
    ),
    "market": Elsewhere("gridflex.cli.market:market_app", "Flexibility offered, sold and bought."),
    "settle": Elsewhere(
        "gridflex.cli.settlement:settlement_app",
        "What was earned, the bills for it, and the proof.",
    ),
}
DEFAULT_TIER: Final = "T2"
SANDBOX: Final = {
    "grid": Elsewhere(
        "gridflex.cli.sandbox_grid:sandbox_grid",
        "Serve what the grid data providers would say at the clock's time, over HTTP.",
    ),
    "errors": Elsewhere(
        "gridflex.cli.sandbox_grid:sandbox_errors",
        "Measure the sandbox's synthetic carbon forecasts against what is published of real ones.",
    ),
    "beckn": Elsewhere(
        "gridflex.cli.sandbox_beckn:sandbox_beckn",
        "Run a Beckn network: registry, discovery service, utility and aggregator, a process each.",
    ),
    "market": Elsewhere(
        "gridflex.cli.sandbox_market:sandbox_market",
        "Play central agents and an exchange: accept, reject, lose, garble or mute files of a "
        "folder.",
    ),
}

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, cls=on_demand(ON_DEMAND)
)
jobs_app = typer.Typer(no_args_is_help=True, help="Jobs that GridFlex holds, runs or has run.")


def _version(is_asked: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if is_asked:
        out.print(f"gridflex {version('gridflex')}")
        raise typer.Exit


app.add_typer(jobs_app, name="jobs")
sandbox_app = typer.Typer(
    no_args_is_help=True, help="Stand-ins for outside services.", cls=on_demand(SANDBOX)
)
app.add_typer(sandbox_app, name="sandbox")


@app.callback()
def root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Take what is said before a command."""


def main() -> None:
    """Run the command line; errors become one line and an exit code."""
    logging.getLogger("stamina").addHandler(logging.NullHandler())  # a retry is nobody's news
    show_all_text()
    try:
        app()
    except GridFlexError as error:
        _fail(error)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        give_up_output()
        _fail(SourceError(f"output cannot be written: {error.strerror}"))


def _fail(error: GridFlexError) -> NoReturn:
    err.print(styled(("error:", "red"), f" {error}"), soft_wrap=True)
    sys.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))


@app.command(context_settings={"ignore_unknown_options": True})
def submit(
    *,
    entrypoint: Annotated[list[str], typer.Argument(help="Command to run, after --.")],
    tier: Annotated[
        str | None, typer.Option(help="Flexibility class, T0 to T5; T2 if left out.")
    ] = None,
    duration: Annotated[str | None, typer.Option(help="Expected run time, such as PT4H.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Latest finish, RFC 3339.")] = None,
    gpus: Annotated[
        int | None,
        typer.Option(help="GPUs while running; T4 also half to double, see min-gpus and max-gpus."),
    ] = None,
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

    options = {"tier": tier, "duration": duration, "deadline": deadline, "gpus": gpus}
    given = {key: str(value) for key, value in options.items() if value not in {None, ""}}
    job_id = submit_job(
        Client(url).url,
        entrypoint=entrypoint,
        flexibility={"tier": DEFAULT_TIER, **_with(given, metadata or [])},
        working_dir=working_dir,
        submission_id=submission_id,
    )
    if as_json:
        print_json({"submission_id": job_id})
    else:
        say(f"submitted {job_id}; see: gridflex jobs explain {job_id}")


@jobs_app.command("ls")
def jobs_ls(
    *,
    url: Url = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many jobs at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with Client(url) as client:
        page = client.get("/v1/jobs", limit=limit)
    if as_json:
        print_json(page)
        return
    print_jobs(out, page["jobs"])
    if page["next_cursor"]:
        say(f"there are older jobs; --limit shows more than these {limit}")


@jobs_app.command("explain")
def jobs_explain(
    job_id: Annotated[str, typer.Argument(help="Its id; see: gridflex jobs ls")],
    *,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say why a job runs when and where it does."""
    refuse_no_job_id(job_id, name="job_id")
    with Client(url) as client:
        explanation = client.get(path_of("v1", "jobs", job_id, "explain"))
    if as_json:
        print_json(explanation)
        return
    for line in explanation["lines"]:
        out.print(line)


def _with(given: Mapping[str, str], items: list[str]) -> dict[str, str]:
    """Return metadata of options and of ``--meta``; whoever says a key twice may mean either."""
    found = dict(given)
    for item in items:
        name, equals, value = item.partition("=")
        key = name.removeprefix("gridflex.io/")
        if not key or not equals:
            raise typer.BadParameter(f"--meta {item!r} is not valid; valid is key=value")
        if key in found:
            raise typer.BadParameter(
                f"--meta {item!r} is not valid; valid is a key once, and {key} is {found[key]!r} "
                "already"
            )
        found[key] = value
    return found
