"""Agents, gateway and database may die at any moment: no job is lost, and none runs twice."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.shared import ROOT

PROMISES = {
    "no job is lost",
    "no job runs that was not asked for",
    "no job runs twice at the same time",
    "every job is done once",
}
"""Deadlines are not among them: at 360 times the speed of the wall an agent is gone for hours."""


@pytest.fixture(scope="module")
def outcome() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.short_demo", "--kill"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=600, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("agent", ["workload", "grid", "orchestrator"])
@pytest.mark.parametrize("how", ["ray.kill", "SIGKILL"])
def test_every_agent_was_killed_and_came_back(
    outcome: dict[str, Any], agent: str, how: str
) -> None:
    kills = [k for k in outcome["kills"] if (k["victim"], k["how"]) == (agent, how) and k["caught"]]

    assert kills
    assert all(kill["back_after_s"] is not None for kill in kills)


@pytest.mark.parametrize("service", ["gateway", "database"])
def test_gateway_and_database_were_killed_while_jobs_ran_and_came_back_by_themselves(
    outcome: dict[str, Any], service: str
) -> None:
    (kill,) = [k for k in outcome["kills"] if k["victim"] == service]

    assert kill["caught"]
    assert kill["back_after_s"] is not None


def test_a_dispatch_was_cut_in_the_middle(outcome: dict[str, Any]) -> None:
    states = {kill["attempt_state"] for kill in outcome["kills"] if "decided" in kill["moment"]}

    assert "decided" in states


@pytest.mark.parametrize("promise", sorted(PROMISES))
def test_a_promise_survives_it(outcome: dict[str, Any], promise: str) -> None:
    broken = {p["text"]: p["broken_by"] for p in outcome["report"]["promises"]}

    assert broken[promise] == []
