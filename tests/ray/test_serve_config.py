"""``serve run serve_config.yaml`` and Ray's own command line against it."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from gridflex.adapters.clusters.ray_auth import find_token, token_headers
from gridflex.running import processes
from gridflex.settings_files import dump_settings
from tests.ray.conftest import Deployed

T = TypeVar("T")

RAY = str(Path(sys.executable).with_name("ray"))
FLEXIBLE = {
    "gridflex.io/tier": "T1",
    "gridflex.io/duration": "PT10M",
    "gridflex.io/max-deferral": "PT30M",
}


def ray_job(deployed: Deployed, verb: str, *arguments: str) -> str:
    """Run ``ray job VERB`` and return all it printed."""
    command = [RAY, "job", verb, "--address", deployed.url, *arguments]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def submit(deployed: Deployed, *arguments: str, metadata: dict[str, str]) -> str:
    """Run ``ray job submit`` with metadata."""
    return ray_job(deployed, "submit", "--metadata-json", json.dumps(metadata), *arguments)


def what_is_told(deployed: Deployed, job_id: str) -> set[str]:
    """Return every status and message that Ray's Job API tells of a job until it has ended."""
    told = set[str]()

    def has_ended() -> bool:
        answer = get(deployed, f"/api/jobs/{job_id}")
        if answer.is_success:
            told.add("{status}: {message}".format_map(answer.json()))
        return answer.is_success and answer.json()["status"] in ("SUCCEEDED", "FAILED", "STOPPED")

    until(has_ended, within_s=180)
    return told


def get(deployed: Deployed, path: str) -> httpx.Response:
    return httpx.get(f"{deployed.url}{path}", headers=token_headers(find_token()), timeout=30)


def post(
    deployed: Deployed, path: str, body: dict[str, Any], *, key: str | None = None
) -> httpx.Response:
    headers = token_headers(find_token()) | ({"Idempotency-Key": key} if key else {})
    return httpx.post(f"{deployed.url}{path}", json=body, headers=headers, timeout=30)


def test_both_applications_answer_through_haproxy(deployed: Deployed) -> None:
    ready = httpx.get(f"{deployed.url}/readyz", timeout=30).json()
    names = {psutil.Process(pid).name() for pid in processes.session(deployed.ray_pid)}

    assert ready == {"status": "ready", "silent": {}, "degraded": []}
    assert httpx.get(f"{deployed.url}/beckn/healthz", timeout=30).is_success
    assert "haproxy" in names


def test_a_flexible_job_waits_says_why_and_runs_later_with_its_folder(
    deployed: Deployed, tmp_path: Path
) -> None:
    script = """
        import pathlib, os
        print("found", pathlib.Path("data.txt").read_text().strip())
        print("job", os.environ["GRIDFLEX_JOB_ID"], "resumes", "GRIDFLEX_RESUME" in os.environ)
    """
    (tmp_path / "job.py").write_text(textwrap.dedent(script))
    (tmp_path / "data.txt").write_text("what was packed\n")
    where = ("--submission-id", "shifted", "--working-dir", str(tmp_path))

    with ThreadPoolExecutor() as pool:
        told = pool.submit(what_is_told, deployed, "shifted")
        submitted = submit(
            deployed, *where, "--no-wait", "--", "python", "job.py", metadata=FLEXIBLE
        )
        followed = ray_job(deployed, "logs", "--follow", "shifted")

    assert "'shifted' submitted successfully" in submitted
    assert any(re.match("PENDING: (Held by GridFlex|Being started)", one) for one in told.result())
    assert "found what was packed" in followed
    assert "job shifted resumes False" in followed
    assert "'shifted' succeeded" in ray_job(deployed, "status", "shifted")
    assert "'shifted'" in ray_job(deployed, "list")
    assert "deleted successfully" in ray_job(deployed, "delete", "shifted")
    assert "does not exist" in ray_job(deployed, "status", "shifted")


def test_a_job_that_is_not_flexible_runs_at_once(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("print('untouched')\n")
    where = ("--submission-id", "untouched", "--working-dir", str(tmp_path))

    printed = submit(deployed, *where, "--", "python", "job.py", metadata={"team": "a"})

    assert "\nuntouched\n" in printed
    assert "'untouched' succeeded" in printed
    assert "untouched" not in [one["id"] for one in get(deployed, "/v1/jobs").json()["jobs"]]


def test_a_held_job_says_why_and_can_be_stopped_before_it_ever_ran(deployed: Deployed) -> None:
    metadata = {"gridflex.io/tier": "T3", "gridflex.io/duration": "PT4H"}
    submit(deployed, "--submission-id", "never", "--no-wait", "--", "true", metadata=metadata)

    waiting = ray_job(deployed, "status", "never")
    stopped = ray_job(deployed, "stop", "never")

    assert re.search(r"PENDING\b.*\n.*Held by GridFlex", waiting)
    assert "'never' was stopped" in stopped
    assert get(deployed, "/v1/jobs/never").json()["attempts"] == []


def test_rays_own_client_shows_what_is_wrong(deployed: Deployed) -> None:
    metadata = {"gridflex.io/duration": "4 hours"}

    printed = submit(deployed, "--no-wait", "--", "true", metadata=metadata)

    assert "status code 400" in printed
    assert "gridflex.io/duration: '4 hours' is not valid" in printed
    assert "such as PT4H" in printed


STEPS = """
    import os, pathlib, sys, time
    folder = pathlib.Path(os.environ["GRIDFLEX_CHECKPOINT_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    steps = folder / "steps"
    done = len(steps.read_text().splitlines()) if "GRIDFLEX_RESUME" in os.environ else 0
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.1)
        done += 1
        with steps.open("a") as file:
            print(done, os.getpid(), file=file)
"""
"""A job that counts, from where it was, until a file exists."""


def until(found: Callable[[], T], *, within_s: float = 90) -> T:
    """Return what is found as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (one := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert one, found
    return one


def jobs(deployed: Deployed) -> dict[str, dict[str, Any]]:
    found = {one["id"]: one for one in get(deployed, "/v1/jobs").json()["jobs"]}
    return {name: found[name] for name in ("freed-1", "freed-2", "capped")}


def are(deployed: Deployed, state: str, *names: str) -> bool:
    found = jobs(deployed)
    return all(found[name]["state"] == state for name in names or found)


def test_a_capped_run_and_an_order_to_free_power_survive_the_death_of_the_planner(
    deployed: Deployed, tmp_path: Path
) -> None:
    """Power limits are simulated: the driver is a stand-in, all else is real."""
    (tmp_path / "steps.py").write_text(textwrap.dedent(STEPS))
    enough = tmp_path / "enough"
    freed = {"gridflex.io/tier": "T3", "gridflex.io/duration": "PT6H", "gridflex.io/power-kw": "10"}
    capped = {
        "gridflex.io/tier": "T3",
        "gridflex.io/duration": "PT50M",
        "gridflex.io/max-deferral": "PT2H30M",
        "gridflex.io/interruptible": "false",
        "gridflex.io/power-kw": "5000",
    }
    for name, metadata in {"freed-1": freed, "freed-2": freed, "capped": capped}.items():
        body = {
            "submission_id": name,
            "entrypoint": f"python {tmp_path / 'steps.py'} {enough}",
            "entrypoint_num_gpus": 2,
            "metadata": metadata,
        }
        assert post(deployed, "/api/jobs/", body).is_success

    until(lambda: sorted(deployed.gpus.limits_w) == [399.0] * 2 + [700.0] * 6)
    order = {"kw": 15, "within": "PT10M", "hold": "PT1H", "reason": "low frequency"}
    placed = until(lambda: taken(deployed, order) if are(deployed, "running") else {})
    until(lambda: any(is_stopping(deployed, name) for name in ("freed-1", "freed-2")))
    killed = planner(deployed)
    os.kill(killed, signal.SIGKILL)

    assert {name for name, _, _ in given(placed)} == {"freed-1", "freed-2"}
    until(lambda: all(stands_still(deployed, name) for name in ("freed-1", "freed-2")))
    again = post(deployed, "/v1/plans/shed", order, key="order-1")
    shown = get(deployed, "/v1/plans/shed/orders/order-1").json()
    assert again.status_code == 200
    assert given(again.json()) == given(placed)
    assert shown["freed_now_kw"] == placed["freed_kw"] == pytest.approx(22.0)  # PUE 1.1

    until(lambda: are(deployed, "running"))
    assert until(lambda: planner(deployed)) != killed
    enough.touch()
    until(lambda: are(deployed, "succeeded"))
    until(lambda: deployed.gpus.limits_w == [700.0] * 8)
    assert len(jobs(deployed)["capped"]["attempts"]) == 1
    for name in ("freed-1", "freed-2"):
        decided = [one["decided_at"] for one in jobs(deployed)[name]["attempts"]]
        after = [
            at for at in map(datetime.fromisoformat, decided) if at > instant(placed, "placed_at")
        ]
        assert min(after) >= instant(placed, "until")
        lines = (Path(deployed.settings.checkpoint_root) / name / "steps").read_text().splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
        assert 2 <= len({line.split()[1] for line in lines}) <= len(decided)
    kinds = [one["kind"] for one in get(deployed, "/v1/jobs/capped").json()["events"]]
    assert [kind for kind in kinds if kind.startswith("power")] == [
        "power limited",
        "power restored",
    ]
    assert deployed.gpus.changes_w[-1][1] == 700.0


def given(order: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return which jobs give how much to an order, and what that loses."""
    return [(one["job_id"], one["freed_kw"], one["lost_kwh"]) for one in order["jobs"]]


def taken(deployed: Deployed, order: dict[str, Any]) -> dict[str, Any]:
    """Give an order and return it; nothing while there is nothing that could be freed."""
    answer = post(deployed, "/v1/plans/shed", order, key="order-1")
    shown: dict[str, Any] = answer.json() if answer.is_success else {}
    return shown


def instant(shown: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(shown[name])


def is_stopping(deployed: Deployed, name: str) -> bool:
    """Return whether its newest run has been asked to pause, or has ended by it."""
    return bool(jobs(deployed)[name]["attempts"][-1]["stop_reason"] == "pause")


def stands_still(deployed: Deployed, name: str) -> bool:
    """Return whether it is paused by the order, and says so."""
    job = jobs(deployed)[name]
    return job["state"] == "paused" and "by order order-1 (low frequency)" in job["message"]


def planner(deployed: Deployed) -> int:
    """Return the process of the orchestration engine; 0 while there is none."""
    named = {pid for pid in processes.session(deployed.ray_pid) if is_planner(pid)}
    return max(named, default=0)


def is_planner(pid: int) -> bool:
    try:
        return psutil.Process(pid).cmdline()[:1] == ["ray::OrchestratorActor"]
    except psutil.Error:
        return False


def test_agents_are_replaced_only_where_the_settings_have_changed(deployed: Deployed) -> None:
    script = """
        import sys
        import ray
        from gridflex.agents.actors import deploy_agents, ensure_agents
        from gridflex.errors import SourceError
        from gridflex.agents.roles import GRID, NAMESPACE, ORCHESTRATOR, WORKLOAD
        from gridflex.settings_files import parse_settings

        ray.init(address=sys.argv[1], namespace=NAMESPACE, log_to_driver=False)
        names = (WORKLOAD, GRID, ORCHESTRATOR)
        before = [ray.get_actor(name) for name in names]
        settings = parse_settings(sys.stdin.read())
        ensure_agents(settings)
        after = [ray.get_actor(name) for name in names]
        print("same" if before == after else "others")
        print(*ray.get([actor.ping.remote() for actor in after]))
        deploy_agents(settings)
        print("same" if before == [ray.get_actor(name) for name in names] else "others")
        planner = settings.planner.model_copy(update={"carbon_price_gbp_per_tco2": 81.0})
        deploy_agents(settings.model_copy(update={"planner": planner}))
        print("same" if before == [ray.get_actor(name) for name in names] else "others")
        try:
            elsewhere = {"state_dir": settings.state_path / "elsewhere"}
            deploy_agents(settings.model_copy(update=elsewhere))
        except SourceError as error:
            print("refused" if "another GridFlex runs" in str(error) else error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), deployed.gcs_address],
        input=dump_settings(deployed.settings),
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )

    roles = ["workload", "grid", "orchestrator"]
    assert done.stdout.split() == ["same", *roles, "same", "others", "refused"]
