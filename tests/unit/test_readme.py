"""The README's figures are those of the last run of each benchmark, its commands as it says."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from gridflex import cli
from tests.shared import ROOT


def test_the_readme_shows_what_the_benchmarks_found() -> None:
    check = [sys.executable, "bench/readme_table.py", "--check"]

    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_commands_take_json_but_for_those_that_the_readme_names() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    without = sorted(without_json(get_command(cli.app), ()))

    named = " and ".join(f"`{one}`" for one in without)
    assert f"Every command takes `--json`, except {named}, which only write a file." in text


def without_json(command: Any, words: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401 - of click
    """Yield the commands below one that do not take ``--json``."""
    for name, one in getattr(command, "commands", {}).items():
        yield from without_json(one, (*words, name))
    if not hasattr(command, "commands") and "--json" not in {
        name for one in command.params for name in one.opts
    }:
        yield " ".join(words)
