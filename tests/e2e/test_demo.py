"""The demo, from set-up to the savings: a short day, and an early end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.shared import ROOT

LONGEST_S = 600
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.short_demo"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=LONGEST_S, check=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    body: dict[str, Any] = json.loads(done.stdout)["report"]
    return body


def test_every_promise_is_kept(report: dict[str, Any]) -> None:
    broken = [promise for promise in report["promises"] if promise["broken_by"]]

    assert len(report["promises"]) == 7
    assert not broken


def test_every_job_is_accounted_for(report: dict[str, Any]) -> None:
    *tiers, everything = report["rows"]

    assert [row["name"] for row in report["rows"]] == ["T0", "T1", "T2", "T3", "T4", "all"]
    assert everything["jobs"] == sum(row["jobs"] for row in tiers) == 10
    assert everything["deadlines_met"] == 10
    kwh = everything["run_now"]["energy_kwh"]
    assert everything["ran"]["energy_kwh"] == pytest.approx(kwh, rel=0.15)


def test_waiting_for_better_half_hours_pays(report: dict[str, Any]) -> None:
    amounts = report["cost_and_carbon_gbp"]

    assert amounts["bound"] <= amounts["ran"] < amounts["run_now"]


def test_training_jobs_do_no_step_twice(report: dict[str, Any]) -> None:
    assert report["batches"] == 20 * 2 * (3 + 2 + 3 + 2)
    assert report["redone_batches"] == 0


def test_it_says_what_its_figures_rest_on(report: dict[str, Any]) -> None:
    assert report["grid"] in {"recorded", "simulated"}
    assert report["comes_from"]["energy"].startswith("modelled")
    assert report["comes_from"]["price and carbon intensity"] == report["grid"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_an_early_end_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    output = tmp_path / "output"
    program = str(Path(sys.executable).with_name("gridflex"))
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path)}  # too long a name for Ray
    with output.open("wb") as file:
        demo = subprocess.Popen(
            [program, "demo"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
    _wait_for("GridFlex answers", output, demo)
    state = _state_folder(demo.pid)

    demo.send_signal(number)

    assert demo.wait(timeout=120) == 130, output.read_text()
    assert not state.exists()
    assert not _processes_that_name(state)


def _state_folder(pid: int) -> Path:
    lines = [" ".join(child.cmdline()) for child in psutil.Process(pid).children()]
    found = re.search(r"(/\S*/gridflex-demo-\w+)/settings.yaml", " ".join(lines))
    assert found, lines
    return Path(found[1])


def _wait_for(text: str, output: Path, demo: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while text not in output.read_text() and time.monotonic() < deadline:
        assert demo.poll() is None, output.read_text()
        time.sleep(0.2)


def _processes_that_name(folder: Path) -> list[str]:
    named = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            named.append(line)
    return named
