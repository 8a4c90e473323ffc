"""Ray's Job API as GridFlex serves it, over real PostgreSQL and clusters in memory."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from gridflex.jobs import JobState
from gridflex.serve.api import create_api
from gridflex.settings import HttpSettings
from tests.e2e.world import HOUR, NOON, World
from tests.fake_ray import VERSION
from tests.websockets import Connection

NAME = "_ray_pkg_0123456789abcdef.zip"
FLEX = {"gridflex.io/tier": "T3", "gridflex.io/duration": "PT2H", "gridflex.io/gpus": "2"}
TRAIN: dict[str, Any] = {
    "entrypoint": "python train.py",
    "submission_id": "job-1",
    "metadata": FLEX,
}
PLAIN = {"entrypoint": "python plain.py", "submission_id": "plain"}


async def submit(http: httpx.AsyncClient, **changes: Any) -> httpx.Response:  # noqa: ANN401
    return await http.post("/api/jobs/", json={**TRAIN, **changes})


async def status(http: httpx.AsyncClient, job_id: str = "job-1") -> dict[str, Any]:
    answer = await http.get(f"/api/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def start(world: World, *, prints: str = "") -> None:
    """Bring job-1 to RUNNING now."""
    await world.plan({"job-1": [(world.clock.moment, 8)]})
    await world.tick()
    world.london.run("job-1", prints=prints)
    await world.tick()


async def test_a_job_is_held_runs_and_ends_as_rays_clients_see_it(
    world: World, http: httpx.AsyncClient
) -> None:
    answer = await submit(http)
    assert answer.json() == {"job_id": "job-1", "submission_id": "job-1"}
    held = await status(http)
    assert held["status"] == "PENDING"
    assert held["message"].startswith("Held by GridFlex until the next plan")

    await world.plan({"job-1": [(NOON + 2 * HOUR, 4)]})
    assert "starts at 2026-07-01 14:00 UTC at site london" in (await status(http))["message"]
    assert (await http.get("/api/jobs/job-1/logs")).json()["logs"] == (
        "[gridflex] Held by GridFlex for a better half-hour: starts at 2026-07-01 14:00 UTC at "
        "site london; will finish by 2026-07-08 14:00 UTC.\n"
    )

    world.pass_time(2 * HOUR)
    await start(world, prints="epoch 1\n")
    running = await status(http)
    assert (running["status"], running["message"]) == ("RUNNING", "Job is currently running.")
    assert running["driver_node_id"] == "ab" * 28
    assert (await http.get("/api/jobs/job-1/logs")).json() == {"logs": "epoch 1\n"}

    world.london.end("job-1")
    await world.tick()
    ended = await status(http)
    assert (ended["status"], ended["driver_exit_code"]) == ("SUCCEEDED", 0)
    assert ended["metadata"] == FLEX


async def test_a_repeated_submission_is_one_job_and_another_under_its_id_is_refused(
    world: World, http: httpx.AsyncClient
) -> None:
    first = await submit(http)
    world.pass_time(3 * HOUR)
    again = await submit(http)
    other = await submit(http, entrypoint="python other.py")

    assert first.json() == again.json()
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert "submission_id job-1 already exists" in other.json()["detail"]
    assert len(await world.jobs.newest()) == 1


async def test_a_retry_of_an_accepted_job_is_not_judged_again(
    world: World, http: httpx.AsyncClient
) -> None:
    soon = {"gridflex.io/tier": "T3", "gridflex.io/deadline": "2026-07-01T14:00:00Z"}
    assert (await submit(http, metadata=soon)).status_code == 200
    for number in range(3):
        await world.submit(f"past-{number}")
        await world.jobs.decide_attempt(
            (await world.job(f"past-{number}")).id, site="london", at=NOON
        )
        world.london.wall = NOON + 6 * HOUR
    await world.tick()
    for number in range(3):
        world.london.run(f"past-{number}")
    await world.tick()
    for number in range(3):
        world.london.end(f"past-{number}")
    await world.tick()

    assert (await submit(http, submission_id="job-2", metadata=soon)).status_code == 400
    assert (await submit(http, metadata=soon)).status_code == 200


async def test_a_deleted_job_does_not_swallow_the_next_one_under_its_id(
    world: World, http: httpx.AsyncClient
) -> None:
    await submit(http)
    await http.post("/api/jobs/job-1/stop")
    assert (await http.delete("/api/jobs/job-1")).json() == {"deleted": True}
    assert (await http.get("/api/jobs/job-1")).status_code == 404

    again = await submit(http)

    assert again.status_code == 409
    assert await world.jobs.open_jobs() == []


async def test_an_id_that_the_cluster_already_has_is_refused(
    world: World, http: httpx.AsyncClient
) -> None:
    await http.post("/api/jobs/", json={**PLAIN, "submission_id": "job-1"})

    assert (await submit(http)).status_code == 409
    assert world.london.accepted == ["job-1"]


async def test_without_an_id_each_submission_is_a_job(http: httpx.AsyncClient) -> None:
    ids = {(await submit(http, submission_id=None)).json()["submission_id"] for _ in range(3)}

    assert len(ids) == 3


async def test_a_job_without_our_metadata_goes_straight_through(
    world: World, http: httpx.AsyncClient
) -> None:
    answer = await http.post("/api/jobs/", json=PLAIN)
    again = await http.post("/api/jobs/", json=PLAIN)

    assert answer.json() == {"job_id": "plain", "submission_id": "plain"}
    assert world.london.jobs["plain"].request == PLAIN
    assert (again.status_code, "already exists" in again.text) == (500, True)
    assert (await status(http, "plain"))["status"] == "PENDING"
    assert (await http.post("/api/jobs/plain/stop")).json() == {"stopped": True}
    assert (await http.get("/api/jobs/plain/logs")).json() == {"logs": ""}
    assert (await http.delete("/api/jobs/plain")).json() == {"deleted": True}
    assert await world.jobs.newest() == []


@pytest.mark.parametrize("chosen", ["job-1", "job-1-a2"], ids=["its id", "its next attempt's id"])
async def test_a_plain_job_cannot_take_the_place_of_a_flexible_one(
    world: World, http: httpx.AsyncClient, chosen: str
) -> None:
    await submit(http)

    answer = await http.post("/api/jobs/", json={**PLAIN, "submission_id": chosen})

    assert answer.status_code == 409
    assert world.london.accepted == []


async def test_the_list_shows_each_job_once(world: World, http: httpx.AsyncClient) -> None:
    await submit(http)
    await http.post("/api/jobs/", json=PLAIN)
    await start(world)
    world.rays["slough"].is_down = True

    listed = (await http.get("/api/jobs/")).json()

    assert sorted(job["submission_id"] for job in listed) == ["job-1", "plain"]


async def test_a_cluster_that_is_away_holds_up_no_flexible_job(
    world: World, http: httpx.AsyncClient
) -> None:
    assert (await http.get("/api/version")).json() == VERSION
    world.london.is_down = True

    assert (await submit(http)).status_code == 200
    assert (await status(http))["status"] == "PENDING"
    assert (await http.get("/api/version")).json() == VERSION
    plain = await http.post("/api/jobs/", json=PLAIN)
    assert plain.status_code == 503
    assert plain.headers["retry-after"] == "2"
    assert "london.test" in plain.json()["detail"]


async def test_packages_are_kept_and_follow_their_job(
    world: World, http: httpx.AsyncClient
) -> None:
    path = f"/api/packages/gcs/{NAME}"
    assert (await http.get(path)).status_code == 404
    assert (await http.put(path, content=b"PKzip")).status_code == 200
    assert (await http.get(path)).status_code == 200
    assert (await http.put("/api/packages/gcs/evil.zip", content=b"PK")).status_code == 400

    packed = {"working_dir": f"gcs://{NAME}"}
    assert (await submit(http, runtime_env=packed)).status_code == 200
    assert world.london.packages == {}
    await start(world)
    assert world.london.packages == {f"gcs://{NAME}": b"PKzip"}

    world.london.restart()
    await http.post("/api/jobs/", json={**PLAIN, "runtime_env": packed})
    assert world.london.packages == {f"gcs://{NAME}": b"PKzip"}


async def test_a_held_job_is_stopped_at_once_and_a_running_one_at_the_next_look(
    world: World, http: httpx.AsyncClient
) -> None:
    await submit(http)
    await submit(http, submission_id="job-2")
    await start(world)

    assert (await http.post("/api/jobs/job-2/stop")).json() == {"stopped": True}
    assert (await status(http, "job-2"))["status"] == "STOPPED"
    assert (await http.post("/api/jobs/job-2/stop")).json() == {"stopped": False}
    assert (await http.post("/api/jobs/job-1/stop")).json() == {"stopped": True}
    assert "as asked by its owner" in (await status(http))["message"]
    assert (await http.delete("/api/jobs/job-1")).status_code == 409
    await world.tick()
    await world.tick()
    assert (await status(http))["status"] == "STOPPED"


async def test_deleting_a_job_deletes_its_attempts_too(
    world: World, http: httpx.AsyncClient
) -> None:
    await submit(http)
    await start(world)
    world.london.end("job-1")
    await world.tick()

    assert (await http.delete("/api/jobs/job-1")).json() == {"deleted": True}

    assert world.london.jobs == {}


async def test_a_job_at_a_site_that_left_the_settings_can_still_be_asked_for(
    world: World, http: httpx.AsyncClient
) -> None:
    await submit(http)
    await start(world)
    del world.clusters["london"]
    world.clusters["other"] = world.clusters["slough"]

    assert (await status(http))["status"] == "RUNNING"
    logs = await http.get("/api/jobs/job-1/logs")
    assert (logs.status_code, "not in the settings" in logs.text) == (503, True)


async def test_a_browser_does_not_see_the_values_of_variables(http: httpx.AsyncClient) -> None:
    await submit(http, runtime_env={"env_vars": {"KEY": "abc"}})

    browser = await http.get("/api/jobs/job-1", headers={"User-Agent": "Mozilla/5.0"})

    assert "abc" not in browser.text
    assert (await status(http))["runtime_env"]["env_vars"] == {"KEY": "abc"}


async def test_logs_are_followed_through_hold_and_end(world: World) -> None:
    await world.submit()
    await start(world, prints="epoch 1\nepoch 2\n")
    world.london.end("job-1")
    await world.tick()

    async with Connection(create_api(world.ports()), "/api/jobs/job-1/logs/tail") as socket:
        assert await socket.text() == ("epoch 1\nepoch 2\n", 1000)


async def test_a_client_that_leaves_while_it_follows_a_held_job_leaves_nothing_behind(
    world: World,
) -> None:
    await world.submit()

    async with Connection(create_api(world.ports()), "/api/jobs/job-1/logs/tail") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        assert (await socket.receive())["text"].startswith("[gridflex] Held by GridFlex until")
        await socket.send({"type": "websocket.receive", "bytes": b"hello"})

    assert (await world.job()).state is JobState.HELD


async def test_logs_of_an_unknown_job_are_refused(world: World) -> None:
    async with Connection(create_api(world.ports()), "/api/jobs/ghost/logs/tail") as socket:
        refused, body = await socket.refusal()

    assert (refused, json.loads(body)["detail"]) == (404, "Job ghost does not exist")


async def test_logs_that_break_off_on_a_plain_job_close_with_a_reason(world: World) -> None:
    await world.clusters["london"].forward("POST", "/api/jobs/", json=PLAIN)
    world.london.run("plain", prints="a\n")

    async with Connection(create_api(world.ports()), "/api/jobs/plain/logs/tail") as socket:
        assert await socket.text() == ("a\n", 1011)


async def test_every_way_in_asks_for_the_token(world: World) -> None:
    world.http = HttpSettings(auth="token", token=SecretStr("s3cret"))
    world.__post_init__()
    app = create_api(world.ports())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as http:
        for method, path in (
            *(("GET", "/api/version"), ("GET", "/api/jobs/"), ("POST", "/api/jobs/")),
            *(("GET", "/v1/jobs"), ("GET", "/v1/plans/newest"), ("GET", "/v1/grid/now")),
            *(("GET", "/metrics"), ("PUT", f"/api/packages/gcs/{NAME}")),
        ):
            assert (await http.request(method, path)).status_code == 401, path
            wrong = await http.request(method, path, headers={"Authorization": "Bearer x"})
            assert wrong.status_code == 403, path
        for path in ("/", "/healthz", "/openapi.json"):
            assert (await http.get(path)).status_code == 200, path
        right = {"Authorization": "Bearer s3cret"}
        assert (await http.get("/v1/jobs", headers=right)).status_code == 200

    async with Connection(app, "/api/jobs/job-1/logs/tail") as socket:
        assert (await socket.refusal())[0] == 401


async def test_forty_jobs_submitted_twice_at_once_are_forty_jobs(
    world: World, http: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(
        *(submit(http, submission_id=f"job-{n % 40}") for n in range(80))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len(await world.jobs.newest()) == 40
