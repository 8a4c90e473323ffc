"""What a process loads before it does anything: not what only others need."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import pytest
import typer
from typer.testing import CliRunner

from gridflex.cli import grid
from gridflex.cli.on_demand import Elsewhere, shown
from gridflex.cli.root import ON_DEMAND, SANDBOX, app

LEARNING: Final = ("lightgbm", "pandas", "prophet", "pymoo", "torch")
COMPILED: Final = ("numba", "highspy")
SERVED: Final = ("fastapi", "uvicorn")
STORED: Final = ("alembic", "sqlalchemy", "psycopg")

MUST_NOT_LOAD: Final[Mapping[str, Sequence[str]]] = {
    "gridflex.cli.root": (*LEARNING, *COMPILED, *SERVED, *STORED, "ray", "numpy"),
    "gridflex.settings": ("holidays", *LEARNING, *COMPILED, *SERVED, *STORED, "ray"),
    "gridflex.cli.grid": (*LEARNING, *COMPILED, *SERVED, *STORED, "ray"),
    "gridflex.running.up": (*LEARNING, *COMPILED, *SERVED, "alembic", "ray"),
    "gridflex.agents.actors": (*LEARNING, *COMPILED, *SERVED, "alembic"),
    "gridflex.agents.workload": (*LEARNING, *COMPILED, *SERVED, "alembic"),
    "gridflex.agents.beckn.ports": (*LEARNING, *COMPILED, *SERVED, "alembic"),
    "gridflex.serve.api": (*LEARNING, "alembic"),
    "gridflex.agents.orchestrator": (*LEARNING, "alembic"),
}
"""In this order, each on top of those before it."""

LOADING: Final = """
import importlib, json, sys
table, loaded = json.loads(sys.argv[1]), {}
for module, heavy in table.items():
    importlib.import_module(module)
    loaded[module] = sorted(set(heavy) & set(sys.modules))
print(json.dumps(loaded))
"""


def test_a_process_does_not_load_what_only_others_need() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOADING, json.dumps(MUST_NOT_LOAD)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    assert json.loads(told) == {module: [] for module in MUST_NOT_LOAD}


HELP: Final = """
import io, json, sys
from contextlib import redirect_stdout, suppress
from gridflex.cli import main
sys.argv[1:], shown = json.loads(sys.argv[1]), io.StringIO()
with redirect_stdout(shown), suppress(SystemExit):
    main()
print(json.dumps([shown.getvalue(), sorted(sys.modules)]))
"""

HEAVY: Final = (*LEARNING, *COMPILED, *SERVED, *STORED, "ray", "scipy")


@pytest.mark.parametrize(
    ("arguments", "says", "light"),
    [
        pytest.param(["--help"], "Replay a job trace on a grid", ["numpy", "holidays"], id="all"),
        pytest.param(["sandbox", "--help"], "Stand-ins for outside", ["numpy"], id="sandbox"),
        pytest.param(["grid", "now", "--help"], "grid now [OPTIONS]", ["holidays"], id="grid now"),
    ],
)
def test_help_loads_nothing_that_it_does_not_show(
    arguments: list[str], says: str, light: list[str]
) -> None:
    """``light`` are packages that load fast, and are not needed either."""
    shown, loaded = json.loads(
        subprocess.run(
            [sys.executable, "-c", HELP, json.dumps(arguments)],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip

    assert says in shown
    assert {*HEAVY, *light}.isdisjoint(loaded)


COMMANDS: Final = [*ON_DEMAND.values(), *SANDBOX.values(), *grid.ON_DEMAND.values()]


@pytest.mark.parametrize("one", [pytest.param(one, id=one.place) for one in COMMANDS])
def test_what_a_list_says_of_a_command_is_what_its_own_help_begins_with(one: Elsewhere) -> None:
    module, _, name = one.place.partition(":")

    found = getattr(import_module(module), name)

    if isinstance(found, typer.Typer):
        assert not isinstance(found.info.help, str)  # the list's is shown
    else:
        assert (shown(found.__doc__) or "").partition("\n\n")[0] == one.says


def test_no_help_shows_the_quotes_of_docstrings() -> None:
    seen = [(name, text) for name, text in texts_of(typer.main.get_command(app), "gridflex")]

    assert len(seen) > 300
    assert [name for name, text in seen if "``" in text] == []


def texts_of(
    command: Any,  # noqa: ANN401 - Typer does not name the type
    name: str,
) -> Iterator[tuple[str, str]]:
    """Yield the help of a command, of its options and of all commands below."""
    yield name, command.help or ""
    for one in command.params:
        yield f"{name} {one.name}", getattr(one, "help", None) or ""
    for below in getattr(command, "commands", {}):
        yield from texts_of(command.commands[below], f"{name} {below}")


def test_the_help_names_every_command_whether_loaded_or_not() -> None:
    shown = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"}).invoke(app, ["--help"]).output

    assert {"submit", "jobs", *ON_DEMAND, "sandbox"} <= set(shown.split())


def test_a_command_elsewhere_answers_by_its_own_name() -> None:
    shown = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["sandbox", "errors", "--help"])

    assert "sandbox errors [OPTIONS]" in shown.output
    assert set(SANDBOX) == {"grid", "errors", "beckn", "market"}


@pytest.mark.parametrize("arguments", [["plam"], ["sandbox", "gird"]])
def test_a_misspelt_command_is_answered_with_its_neighbour(arguments: list[str]) -> None:
    shown = CliRunner(env={"COLUMNS": "120"}).invoke(app, arguments)

    assert shown.exit_code == 2
    assert "Did you mean" in shown.output
