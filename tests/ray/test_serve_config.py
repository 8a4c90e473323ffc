"""``serve run serve_config.yaml`` and Ray's own command line against it."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import psutil

from gridflex.adapters.ray_auth import find_token, token_headers
from gridflex.running import processes
from gridflex.settings_files import dump_settings
from tests.ray.conftest import Deployed

RAY = str(Path(sys.executable).with_name("ray"))
FLEXIBLE = {"gridflex.io/tier": "T1", "gridflex.io/duration": "PT10M"}


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


def get(deployed: Deployed, path: str) -> httpx.Response:
    return httpx.get(f"{deployed.url}{path}", headers=token_headers(find_token()), timeout=30)


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

    submitted = submit(deployed, *where, "--no-wait", "--", "python", "job.py", metadata=FLEXIBLE)
    waiting = ray_job(deployed, "status", "shifted")
    followed = ray_job(deployed, "logs", "--follow", "shifted")

    assert "'shifted' submitted successfully" in submitted
    assert re.search(r"PENDING\b.*\n.*(Held by GridFlex|Being started)", waiting)
    assert "found what was packed" in followed
    assert "job shifted resumes False" in followed
    assert "'shifted' succeeded" in ray_job(deployed, "status", "shifted")
    assert "'shifted'" in ray_job(deployed, "list")
    assert "deleted successfully" in ray_job(deployed, "delete", "shifted")
    assert "does not exist" in ray_job(deployed, "status", "shifted")


def test_a_job_that_is_not_flexible_runs_at_once(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("print('untouched')\n")

    printed = submit(
        deployed, "--working-dir", str(tmp_path), "--", "python", "job.py", metadata={"team": "a"}
    )

    assert "untouched" in printed
    assert "succeeded" in printed
    assert get(deployed, "/v1/jobs").json()["jobs"] == []


def test_a_held_job_can_be_stopped_before_it_ever_ran(deployed: Deployed) -> None:
    metadata = {"gridflex.io/tier": "T3", "gridflex.io/duration": "PT4H"}
    submit(deployed, "--submission-id", "never", "--no-wait", "--", "true", metadata=metadata)

    stopped = ray_job(deployed, "stop", "never")

    assert "'never' was stopped" in stopped
    assert get(deployed, "/v1/jobs/never").json()["attempts"] == []


def test_rays_own_client_shows_what_is_wrong(deployed: Deployed) -> None:
    metadata = {"gridflex.io/duration": "4 hours"}

    printed = submit(deployed, "--no-wait", "--", "true", metadata=metadata)

    assert "status code 400" in printed
    assert "gridflex.io/duration: '4 hours' is not valid" in printed
    assert "such as PT4H" in printed


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
