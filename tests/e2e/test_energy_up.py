"""`gridflex up` that sells energy, beside `gridflex sandbox market`: from the plan to the proof.

Everything is a process of its own and reached as a user reaches it: commands, HTTP and the folder
in which files and orders are exchanged. It takes four minutes: ``-m long``.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gridflex.adapters.clock import Clock
from gridflex.running import processes
from gridflex.settings import ClockSettings
from tests.shared import ROOT

pytestmark = pytest.mark.long

SPEED = 300.0
"""A half-hour in six seconds of wall time."""

LEAD = timedelta(seconds=75)
"""Wall time in which everything starts; a slower machine begins later in the same evening."""

EVENING = datetime(2026, 1, 20, 19, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 21, tzinfo=UTC)
DAY, NEXT_DAY = "2026-01-20", "2026-01-21"
METER, UNIT, ACCOUNT = "1200012345679", "V__CGRID001", "GRIDFLEX"
RUNS = timedelta(hours=6)
REPORT = f"report of {DAY} in SF"
METERED_KWH = Decimal(20)
"""In each traded half-hour: the job is elsewhere in the night, the lights are on."""

CLI = (sys.executable, "-c", "from gridflex.cli import main; main()")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name == "PYTHONWARNINGS" or not name.startswith(("GRIDFLEX_", "RAY_"))
} | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
SINCE = {"start": "2026-01-05"}
PAIR = {"import_msid": METER, "export_msid": None}
SITE = {
    "name": "london",
    "gsp_group": "C",
    "connection_mw": "5.5",
    "supplier": "SUPPLY",
    "pairs": [PAIR],
}
UNIT_RECORD = {"id": UNIT, "party": ACCOUNT, "validity": SINCE}
CONSENT = {
    "site": "london",
    "signed_on": "2025-12-01",
    "document_sha256": "0" * 64,
    "validity": SINCE,
}
ALLOCATION = {
    "pair": PAIR,
    "unit": UNIT,
    "type": "T",
    "indicator": "S",
    "registered_on": "2025-12-01",
    "validity": SINCE,
}
RECORDS = {
    "records": [
        {"kind": "site", "record": SITE},
        {"kind": "unit", "record": UNIT_RECORD},
        {"kind": "consent", "record": CONSENT},
        {"kind": "allocation", "record": ALLOCATION},
    ]
}
CONTRACT = {
    "seller": {"name": "GridFlex Ltd", "address": ["1 Example Street", "London"]},
    "customer": {"name": "Data Centre Ltd", "address": ["2 Example Road"]},
    "account": ACCOUNT,
    "gpus": {"2026-01": 499},
    "settlement_calendar": [{"settlement_date": DAY, "run": "SF", "paid_on": NEXT_DAY}],
}


class System:
    """A GridFlex that sells energy, and a simulated market, on one clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{processes.free_port()}"
        clock = ClockSettings(origin=EVENING, origin_wall=datetime.now(UTC) + LEAD, speed=SPEED)
        self.clock = Clock(clock)
        self._market: subprocess.Popen[bytes] | None = None
        self.environment = ENVIRONMENT | {
            "RAY_TMPDIR": str(folder),
            "GRIDFLEX_CONFIG": str(folder / "gridflex.yaml"),
            "GRIDFLEX_ENERGY__CREDENTIAL": "SECRET",
            "GRIDFLEX_URL": self.url,
        }
        config = {
            "state_dir": str(folder / "state"),
            "clock": clock.model_dump(mode="json"),
            "http": {"port": int(self.url.rpartition(":")[2]), "auth": "disabled"},
            "sites": [
                {
                    "name": "local",
                    "gpus": 4,
                    "marginal_pue": 1.0,
                    "ray_url": f"http://127.0.0.1:{processes.free_port()}",
                }
            ],
            "planner": {"budget_s": 0.5, "restart_s": 60},
            "energy": {
                "unit": UNIT,
                "authorisation": "ECVNAA0001",
                "phase": "SIML",
                "settlement_calendar": CONTRACT["settlement_calendar"],
            },
        }
        (folder / "gridflex.yaml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        self.gridflex("up", "--sandbox", "--json")
        self._market = subprocess.Popen(
            [
                *(*CLI, "sandbox", "market", "--price", "85", "--every", "0.2", "--json"),
                *("--readings", str(self.folder / "readings.csv"), "--system-price", "100"),
            ],
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._market is not None:
            self._market.kill()
            self._market.wait(20)
        self.gridflex("down")

    def gridflex(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*CLI, *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == code, (arguments, done.stdout)
        return done.stdout

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.gridflex(*arguments, "--json"))

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        answer = httpx.get(f"{self.url}{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def stages(self) -> set[str]:
        found = self.get(f"/v1/settlement/positions?first={DAY}&last={DAY}")
        return {one["stage"] for one in found}

    def energy(self) -> dict[str, Any]:
        found: dict[str, Any] = next(
            one for one in self.get("/v1/agents")["agents"] if one["name"] == "energy"
        )
        return found

    def wait(self, until: Callable[[], object], *, at_most_s: float = 200) -> None:
        deadline = time.monotonic() + at_most_s
        while not until():
            assert time.monotonic() < deadline, (self.clock.now(), self.get("/v1/agents"))
            time.sleep(0.5)

    def submit(self, name: str) -> None:
        """Hand in a job that would run through the evening, had it run at once."""
        job = {
            "submission_id": name,
            "entrypoint": f"sleep {RUNS.total_seconds() / SPEED:g}",
            "metadata": {
                "gridflex.io/tier": "T3",
                "gridflex.io/duration": f"PT{int(RUNS.total_seconds() // 60)}M",
                "gridflex.io/deadline": "2026-01-21T07:30:00Z",
                "gridflex.io/gpus": "4",
                "gridflex.io/power-kw": "800",
                "gridflex.io/team": "vision",
            },
        }
        answer = httpx.post(f"{self.url}/api/jobs/", json=job, timeout=30)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def system() -> Iterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="gf-energy-", dir="/tmp"))
    running = System(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_from_the_plan_to_a_verified_ledger(system: System) -> None:
    system.file("records.json", json.dumps(RECORDS))
    system.gridflex("settle", "register", "records.json")
    allow_the_first_start(system)
    system.submit("mistake")
    httpx.post(f"{system.url}/api/jobs/mistake/stop", timeout=30).raise_for_status()
    system.wait(lambda: system.clock.now() >= MIDNIGHT - RUNS)  # else it would end before the day
    system.submit("train")
    system.wait(lambda: system.clock.now() >= MIDNIGHT)

    traded = system.json("settle", "positions", "--first", DAY)
    sold = {one["start"]: Decimal(one["sold_mwh"]) for one in traded}
    assert set(sold.values()) == {Decimal("0.3")}, system.energy()  # 80 % of 0.4, lots of 0.05
    for one in traded:
        assert {kind: said["status"] for kind, said in one["messages"].items()} == {
            "wman": "received",
            "sev": "accepted",
            "ecvn": "accepted",
            "dvn": "none",
        }

    rows = "".join(f"{METER},{METERED_KWH},{start},settlement\n" for start in sold)
    system.file("readings.csv", f"meter,import_kwh,start_utc,evidence\n{rows}")
    system.gridflex("settle", "readings", "readings.csv")
    system.wait(lambda: system.stages() == {"SF"})
    system.wait(lambda: REPORT in system.energy()["detail"]["degraded"])

    delivered = system.json("settle", "deliveries", "--day", DAY)
    assert {(one["notified_mwh"], one["status"]) for one in delivered} == {("0.3800", "accepted")}
    assert system.json("settle", "reconcile", "--first", DAY, "--last", DAY) == []
    (day,) = system.json("settle", "show")["days"]
    assert (day["run"], day["half_hours"]) == ("SF", len(sold))
    assert Decimal(day["sold_mwh"]) == sum(sold.values())
    # 0.3 sold at 85, and 0.38 - 0.3 too much at the price of the central report
    assert Decimal(day["net_gbp"]) == len(sold) * (Decimal("0.3") * 85 + Decimal("0.08") * 100)
    shares = system.json("settle", "shares", "--account", ACCOUNT, "--first", DAY, "--last", DAY)
    assert shares["by_team_gbp"] == {"vision": shares["total_gbp"]}
    assert shares["by_contract_gbp"] == {f"wholesale:{UNIT}": shares["total_gbp"]}

    system.wait(lambda: system.get("/v1/jobs/train")["state"] == "succeeded")
    system.wait(lambda: earned(system) == Decimal(day["net_gbp"]))
    degraded = system.energy()["detail"]["degraded"]
    assert degraded.keys() == {REPORT}
    assert "reported 100" in degraded[REPORT]

    system.file("contract.yaml", yaml.safe_dump(CONTRACT))
    billed = system.json(
        *("settle", "invoice", "--contract", "contract.yaml"),
        *("--month", "2026-01", "--on", NEXT_DAY, "--out", "bills"),
    )
    (invoice,) = billed["documents"]
    assert [one["settlement_month"] for one in invoice["lines"]] == ["", "2026-01"]
    assert billed["unbilled"] == []
    check_the_proof(system)


def allow_the_first_start(system: System) -> None:
    """Say that the unit is sold although nothing is known of its baseline; the evening is short."""
    path = f"/v1/settlement/baselines/units/{UNIT}"
    judged = system.get(f"{path}/predictability")
    assert (judged["is_sold"], judged["reason"]) == (False, "0 days to judge by, 10 needed")
    sent = {"until": "2026-03-01", "reason": "first start"}
    httpx.post(f"{system.url}{path}/override", json=sent, timeout=30).raise_for_status()


def check_the_proof(system: System) -> None:
    """Export the ledger and verify it with the one file that is handed to an auditor."""
    kinds = {
        "plan.committed", "baseline.computed", "wman.submitted", "sev.submitted",
        "ecvn.submitted", "dv.notified", "ack.received", "meter.received", "contract.message",
        "energy.reserved", "settlement.run", "receipt.issued", "invoice.issued",
        "site.registered", "consent.recorded", "job.changed", "override.made", "report.received",
    }  # fmt: skip
    size = system.get("/v1/settlement/ledger")["size"]
    system.wait(lambda: system.get("/v1/settlement/ledger")["signed_size"] >= size)
    system.gridflex("settle", "receipt", "train", "--out", "receipt.json")
    system.gridflex("settle", "export", "--out", "ledger")
    system.gridflex("settle", "verifier", "--out", "verify.pyz")
    key = next((system.folder / "state").rglob("key.pub"))
    done = subprocess.run(
        [sys.executable, "-I", "verify.pyz", "ledger", "receipt.json", "--key", str(key)],
        cwd=system.folder,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    found = system.json(
        "settle", "verify", "ledger", "receipt.json", "--key", str(key), "--run-again"
    )
    assert found["inputs"]["alone"] == 0
    assert found["settlements"] > 0
    (ledger,) = found["ledgers"]
    assert set(ledger["event_types"]) >= kinds
    assert ledger["after_gate"] == []


def earned(system: System) -> Decimal | None:
    """Return what the job's newest receipt says it earned."""
    answer = httpx.get(f"{system.url}/v1/settlement/receipts/train", timeout=30)
    if answer.status_code != 200:
        return None
    figure = answer.json()["entry"]["body"]["figures"]["earned_gbp"]
    return Decimal(figure["value"]) if figure else None
