"""What a process loads before it does anything: not what only others need."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from typer.testing import CliRunner

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
    "gridflex.agents.trading_ports": (*LEARNING, *COMPILED, *SERVED, "alembic"),
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
