"""The README's figures are those of the last run of each benchmark, its commands as it says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from typer.main import get_command

from gridflex import cli
from gridflex.agents.roles import BOOKS, ENERGY, GRID, ORCHESTRATOR, TRADING, WORKLOAD
from gridflex.jobs import PREFIX, Submission, Tier, parse_flexibility
from tests.shared import ROOT

WINDOWS: Final = {
    timedelta(0): "nothing: starts at once, always",
    timedelta(hours=1): "1 hour",
    timedelta(hours=24): "24 hours",
    timedelta(days=7): "7 days",
}


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


def test_the_readme_says_what_each_agent_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, below = text.partition("`/v1/agents` lists six names")
    table, _, _ = below.partition("\n\nWhere ")

    agents = {WORKLOAD, GRID, BOOKS, TRADING, ENERGY, ORCHESTRATOR}

    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == agents


@pytest.mark.parametrize("tier", Tier)
def test_the_readme_says_what_a_tier_means(tier: Tier) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    known = Submission(
        submitted_at=datetime(2026, 7, 1, tzinfo=UTC),
        entrypoint_gpus=0,
        likely_duration=timedelta(hours=1),
        site_gpus={"london": 64, "slough": 64},
    )
    found = parse_flexibility({f"{PREFIX}tier": tier, f"{PREFIX}gpus": "8"}, known)
    assert found is not None
    later = found.deadline - known.submitted_at - found.duration
    runs_on = {(8, 8): "the GPUs asked for", (4, 16): "half to double the GPUs asked for"}

    [row] = [line for line in text.splitlines() if line.startswith(f"| {tier} |")]

    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        tier,
        WINDOWS[later],
        "yes" if found.interruptible else "no",
        "yes" if len(found.sites) > 1 else "no",
        runs_on[found.min_gpus, found.max_gpus],
    ]
