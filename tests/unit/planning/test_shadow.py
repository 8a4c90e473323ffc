"""A cluster's own history replayed: what its jobs allowed, and what that would have saved."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.cli import traces
from gridflex.cli.root import app
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import JobRequest
from gridflex.planning.backtest import Arrival, GridSeries
from gridflex.planning.shadow import Assumed, PastJob, arrivals_of
from tests.fake_ray import FakeRay

START = HalfHour(datetime(2026, 7, 1, tzinfo=UTC))
NOON = datetime(2026, 7, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRID = GridSeries(np.ones(48 * 6), np.ones(48 * 6))
ASSUMED = Assumed(gpus=2, slack=12 * HOUR, gpu_type="H100", interruptible=True, site_gpus=8)


def past(name: str = "a", *, at: datetime = NOON, hours: float = 2, **meta: str) -> PastJob:
    metadata = {f"gridflex.io/{key.replace('_', '-')}": value for key, value in meta.items()}
    return PastJob(JobId(name), at, at + hours * HOUR, metadata)


def arrived(job: PastJob) -> Arrival:
    (found,), _ = arrivals_of([job], ASSUMED, start=START, grid=GRID)
    return found


def test_a_job_without_metadata_gets_what_is_assumed() -> None:
    found = arrived(past())

    assert (found.at, found.work, found.gpus, found.deadline) == (72, 4, 2, 72 + 4 + 24)
    assert found.power_kw == pytest.approx(2 * 0.56)
    assert found.interruptible


def test_a_job_with_metadata_gets_what_that_allows() -> None:
    found = arrived(past(tier="T2", gpus="4", max_deferral="PT6H", power_kw="3.5"))

    assert (found.gpus, found.deadline, found.power_kw) == (4, 72 + 12, 3.5)
    assert not found.interruptible


def test_a_rigid_job_stays_where_it_was() -> None:
    found = arrived(past(tier="T0"))

    assert found.deadline == found.at + found.work


def test_metadata_that_cannot_be_read_counts_as_none() -> None:
    assert arrived(past(tier="T9")) == arrived(past())


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(past(at=NOON - 24 * HOUR), id="on the first day"),
        pytest.param(past(at=NOON + 96 * HOUR), id="due beyond the end"),
        pytest.param(past(hours=200), id="too long"),
    ],
)
def test_a_job_that_the_series_does_not_hold_is_named(job: PastJob) -> None:
    assert arrivals_of([job], ASSUMED, start=START, grid=GRID) == ((), (job.id,))


def test_the_command_says_what_a_cluster_would_have_saved_and_proves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay(wall=NOON)

    class Cluster(RayJobs):
        def __init__(self, url: str, token: str | None) -> None:
            super().__init__(url, token, transport=ray.transport)

    async def live() -> None:
        async with Cluster("http://shadow.test:8265", None) as cluster:
            for name in ("a", "b"):
                await cluster.submit(name, JobRequest("python train.py"))
        for name in ("a", "b"):
            ray.run(name)
        ray.wall += 2 * HOUR
        ray.end("a")

    asyncio.run(live())
    monkeypatch.setattr(traces, "RayJobs", Cluster)
    grid, proof = tmp_path / "grid.csv", tmp_path / "proof.json"
    rows = [
        f"{(START + 2 * h).start.isoformat()},{20 if h % 24 < 6 else 80},100" for h in range(96)
    ]
    grid.write_text("time,price_gbp_per_mwh,intensity_gco2_per_kwh\n" + "\n".join(rows))
    command = ["backtest", "--shadow", "http://shadow.test:8265", "--grid", str(grid)]
    options = [
        "--gpus",
        "8",
        "--job-gpus",
        "2",
        "--carbon-price",
        "0",
        "--budget-s",
        "0.01",
        "--json",
    ]
    policies = ["--policy", "run-now", "--policy", "planner", "--policy", "nsga-2"]

    result = CliRunner().invoke(app, [*command, *options, *policies, "--proof", str(proof)])

    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    kwh = 2 * 0.56 * 2  # b still runs and is not counted
    assert found["policies"]["run-now"]["cost_gbp"] == pytest.approx(kwh * 0.08)
    assert found["policies"]["planner"]["cost_gbp"] == pytest.approx(kwh * 0.02)
    assert found["policies"]["nsga-2"]["cost_gbp"] == pytest.approx(kwh * 0.02)
    assert found["clairvoyant"]["bound_gbp"] == pytest.approx(kwh * 0.02)
    shown = json.loads(proof.read_text())
    text = json.dumps(shown["inputs"], sort_keys=True, separators=(",", ":"))
    assert shown["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert shown["half_hours_run"]["run-now"] == {"a": [72, 73, 74, 75]}
    assert [job["id"] for job in shown["inputs"]["jobs"]] == ["a"]


@pytest.mark.parametrize("given", [[], ["--jobs", "pyproject.toml", "--shadow", "http://x"]])
def test_a_trace_or_a_cluster_is_replayed_not_both_or_none(given: list[str]) -> None:
    result = CliRunner().invoke(
        app, ["backtest", "--grid", "pyproject.toml", "--gpus", "8", *given]
    )

    assert "either --jobs or --shadow" in str(result.exception)
