"""The demo, from set-up to the savings: a short day, and an early end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from gridflex.ledger.verify.folder import read_entries, verify_ledger
from gridflex.ledger.verify.notes import parse_key
from gridflex.ledger.verify.reading import VerificationError
from tests.shared import ROOT

LONGEST_S = 600
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo leaves its ledger, key and receipts."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def report(kept: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.short_demo", "--keep", str(kept)],
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
    assert report["batches"] == 20 * 2 * (5 + 2 + 4 + 3)
    assert report["redone_batches"] == 0


def test_it_says_what_its_figures_rest_on(report: dict[str, Any]) -> None:
    assert report["grid"] in {"recorded", "simulated"}
    assert report["comes_from"]["energy"].startswith("modelled")
    assert report["comes_from"]["price and carbon intensity"] == report["grid"]


def test_everything_that_happened_is_in_the_ledger(report: dict[str, Any]) -> None:
    """What a day of the demo brings about; a person stops no job in it."""
    recorded = report["market"]["ledger"]["event_types"]

    assert recorded.keys() >= {
        *("site.registered", "consent.recorded", "job.changed", "plan.committed"),
        *("baseline.computed", "sev.submitted", "wman.submitted", "ecvn.submitted"),
        *("ack.received", "contract.message", "meter.received", "dv.notified"),
        *("settlement.run", "receipt.issued", "invoice.issued"),
    }
    assert recorded["baseline.computed"] > recorded["wman.submitted"]
    assert recorded["receipt.issued"] >= 10


def test_its_history_settles_again_to_the_same_bytes_elsewhere(
    report: dict[str, Any], kept: Path
) -> None:
    """A fresh process has the ledger's files and the key, and no GridFlex that runs."""
    program = str(Path(sys.executable).with_name("gridflex"))
    receipts = sorted((kept / "receipts").glob("*.json"))
    done = subprocess.run(
        [program, "settle", "verify", kept / "ledger", *receipts,
         "--key", kept / "key.pub", "--run-again", "--json"],
        cwd=kept, stdout=subprocess.PIPE, text=True, timeout=120, check=True,
        env={**ENVIRONMENT, "GRIDFLEX_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"},
    )  # fmt: skip
    found = json.loads(done.stdout)

    market = report["market"]
    assert found["settlements"] == market["traded_half_hours"] > 0
    assert found["inputs"]["alone"] == 0
    assert found["inputs"]["same"] >= 3 * found["settlements"]
    assert len(found["receipts"]) == market["receipts_verified"] == 10
    assert found["ledgers"][0]["root"] == market["ledger"]["root"]
    assert found["ledgers"][0]["after_gate"] == []


def test_what_jobs_earned_is_what_was_settled(report: dict[str, Any], kept: Path) -> None:
    entries = list(read_entries(kept / "ledger"))
    settled = [entry["body"] for entry in entries if entry["event_type"] == "settlement.run"]
    net_gbp = sum(Decimal(one["net_gbp"]) for one in settled)
    earned_gbp = Decimal(report["market"]["earned_by_jobs_gbp"])

    without_a_job = sum(
        Decimal(one["net_gbp"])
        for one in settled
        if not any(Decimal(c["reduction_mwh"]) > 0 for c in one["inputs"]["contributions"])
    )
    assert earned_gbp == pytest.approx(net_gbp - without_a_job, abs=Decimal("0.0001"))


def test_a_changed_figure_of_its_history_is_found(
    report: dict[str, Any], kept: Path, tmp_path: Path
) -> None:
    assert report["market"]["traded_half_hours"]
    copy = tmp_path / "ledger"
    shutil.copytree(kept / "ledger", copy)
    for bundle in (path for path in (copy / "tile" / "entries").rglob("*") if path.is_file()):
        raw = bundle.read_bytes()
        changed = re.sub(rb'"net_gbp":"(-?)\d', rb'"net_gbp":"\g<1>8', raw)
        bundle.write_bytes(changed)

    with pytest.raises(VerificationError, match=r"other hashes|not those of a signed checkpoint"):
        verify_ledger(copy, keys=[parse_key((kept / "key.pub").read_text())])


def test_an_early_end_leaves_nothing_but_the_demo_beside_it(tmp_path: Path) -> None:
    outputs = {number: tmp_path / number.name for number in (signal.SIGINT, signal.SIGTERM)}
    demos = {number: _start_demo(output) for number, output in outputs.items()}
    states = {}
    for number, demo in demos.items():
        _wait_for("GridFlex answers", outputs[number], demo)
        states[number] = _state_folder(demo.pid)

    for number, demo in demos.items():
        demo.send_signal(number)

        assert demo.wait(timeout=120) == 130, outputs[number].read_text()
        ended = states.pop(number)
        assert not ended.exists()
        assert not _processes_that_name(ended)
        assert all(_processes_that_name(running) for running in states.values())


def _start_demo(output: Path) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).with_name("gridflex"))
    environment = {**ENVIRONMENT, "TMPDIR": str(output.parent)}  # too long a name for Ray
    with output.open("wb") as file:
        return subprocess.Popen(
            [program, "demo"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )


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
