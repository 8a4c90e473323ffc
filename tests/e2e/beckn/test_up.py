"""`gridflex up` beside `gridflex sandbox beckn`: a real job on a real Ray cluster is sold.

It takes over two minutes: ``python -m pytest -m long tests/e2e/beckn``.
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

SPEED = 360.0
"""A half-hour in five seconds of wall time."""

LEAD = timedelta(seconds=60)
"""Wall time in which everything starts; a slower machine begins later in the same night."""

EVENING = datetime(2026, 7, 1, 23, tzinfo=UTC)
START = timedelta(minutes=10)
"""What the start of a job is reckoned to take."""

TWO_HOURS = timedelta(hours=2)
ONE_AM = datetime(2026, 7, 2, 1, tzinfo=UTC)
TWO_AM = datetime(2026, 7, 2, 2, tzinfo=UTC)
CLI = (sys.executable, "-c", "from gridflex.cli import main; main()")
SANDBOX = ("sandbox", "beckn", "--port=0", "--every=1", "--json", "--without=aggregator")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name in {"GRIDFLEX_SHARED", "PYTHONWARNINGS"} or not name.startswith(("GRIDFLEX_", "RAY_"))
} | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}


def gridflex(*arguments: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [*CLI, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=240,
    )
    return done.stdout


class System:
    """A GridFlex and a Beckn network, on one clock."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{processes.free_port()}"
        self.clock_settings = ClockSettings(
            origin=EVENING, origin_wall=datetime.now(UTC) + LEAD, speed=SPEED
        )
        self.clock = Clock(self.clock_settings)
        self.environment = ENVIRONMENT | {
            "RAY_TMPDIR": str(folder),
            "GRIDFLEX_CONFIG": str(folder / "gridflex.yaml"),
        }
        self._folder = folder
        self._network: subprocess.Popen[str] | None = None

    def start(self) -> None:
        config: dict[str, Any] = {
            "state_dir": str(self._folder / "state"),
            "clock": self.clock_settings.model_dump(mode="json"),
            "http": {"port": int(self.url.rpartition(":")[2]), "auth": "disabled"},
            "sites": [
                {
                    "name": "local",
                    "gpus": 4,
                    "marginal_pue": 1.0,
                    "ray_url": f"http://127.0.0.1:{processes.free_port()}",
                }
            ],
            "planner": {
                "waiting_gbp_per_gpu_hour": 100.0,
                "restart_s": START.total_seconds(),
                "budget_s": 0.5,
            },
        }
        self._write(config)
        self._network = subprocess.Popen(
            [*CLI, *SANDBOX],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._network.stdout is not None
        said = json.loads(self._network.stdout.readline())
        self.utility = said["utility"]
        self.environment |= said["environment"]
        config["market"] = {
            "subscriber_id": "site.example",
            "url": f"{self.url}/beckn",
            "publish_s": 600,
            "buys": False,
            "answers": False,
        }
        self._write(config)
        gridflex("market", "keys", "new", "one", environment=self.environment)
        gridflex("market", "keys", "register", environment=self.environment)
        gridflex("up", "--sandbox", "--json", environment=self.environment)

    def stop(self) -> None:
        gridflex("down", environment=self.environment)
        if self._network is not None:
            self._network.terminate()
            self._network.wait(20)
            assert self._network.stdout is not None
            self._network.stdout.close()

    def submit(self, name: str, *, tier: str, runs: timedelta, **metadata: str) -> None:
        """Hand a job in over Ray's own API; it sleeps for as long as it says it runs."""
        wall_s = runs.total_seconds() / SPEED
        given = {"tier": tier, "duration": iso(runs), "gpus": "4", "power-kw": "37.5", **metadata}
        job = {
            "submission_id": name,
            "entrypoint": f"sleep {wall_s:g}",
            "metadata": {f"gridflex.io/{key}": value for key, value in given.items()},
        }
        answer = httpx.post(f"{self.url}/api/jobs/", json=job, timeout=30)
        assert answer.status_code == 200, answer.text

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        answer = httpx.get(f"{self.url}{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def wait(self, until: Callable[[], bool], *, at_most_s: float = 200) -> None:
        deadline = time.monotonic() + at_most_s
        while not until():
            assert time.monotonic() < deadline, (
                self.get("/v1/market/contracts"),
                self.get("/v1/market/messages"),
                self.get("/v1/agents"),
            )
            time.sleep(0.5)

    def _write(self, config: dict[str, Any]) -> None:
        Path(self.environment["GRIDFLEX_CONFIG"]).write_text(yaml.safe_dump(config))


def iso(duration: timedelta) -> str:
    return f"PT{int(duration.total_seconds() // 60)}M"


@pytest.fixture
def system() -> Iterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="gf-up-", dir="/tmp"))
    running = System(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_job_is_published_sold_moved_metered_and_settled(system: System) -> None:
    """The site is full until 01:00; the job after that is sold into the good hours from 02:00."""
    system.wait(lambda: system.clock.now() >= EVENING)
    system.submit("before", tier="T0", runs=ONE_AM - system.clock.now())
    system.submit("train", tier="T3", runs=TWO_HOURS - START, deadline="2026-07-02T06:00:00Z")

    system.wait(lambda: bool(system.get("/v1/market/offers")["offers"]))
    (offer,) = system.get("/v1/market/offers")["offers"]
    assert datetime.fromisoformat(offer["planned"]) < TWO_AM
    assert offer["energy_kwh"] == 75.0
    system.wait(lambda: "complete" in stages(system))

    (contract,) = [
        one for one in system.get("/v1/market/contracts")["contracts"] if one["stage"] == "complete"
    ]
    job = system.get("/v1/jobs/train")
    (attempt,) = job["attempts"]
    assert datetime.fromisoformat(attempt["started_at"]) >= TWO_AM
    assert job["state"] == "succeeded"
    assert contract["energy_kwh"] == 75.0
    said = system.get(f"/v1/market/contracts/{contract['transaction_id']}")["messages"]
    requests = {one["action"] for one in said if one["way"] == "in"}
    answers = {one["action"] for one in said if one["way"] == "out"}
    assert {"select", "init", "confirm"} <= requests
    assert {"on_select", "on_init", "on_confirm", "on_status"} <= answers
    assert Decimal(0) < Decimal(contract["due_gbp"]) <= Decimal("11.25")  # 75 kWh at 0.15
    utility = httpx.get(f"{system.utility}/_sandbox", timeout=30).json()
    bought = {one["transaction_id"]: one["stage"] for one in utility["contracts"]}
    assert bought[contract["transaction_id"]] == "complete"


def stages(system: System) -> set[str]:
    return {one["stage"] for one in system.get("/v1/market/contracts")["contracts"]}
