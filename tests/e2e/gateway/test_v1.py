"""``/v1``, health and metrics over real PostgreSQL."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gridflex.adapters import database
from gridflex.adapters.agent_store import AgentStore
from gridflex.agents.roles import BOOKS, GRID, ORCHESTRATOR, WORKLOAD
from gridflex.errors import SourceError
from gridflex.jobs import JobId
from gridflex.lifecycle import Outcome
from gridflex.serve.api import create_api
from tests.e2e.world import FLEXIBLE, HOUR, MINUTE, NOON, ONE_SERVER, World

VALLEY = [90.0] * 8 + [10.0] * 8 + [80.0] * 32
FLAT = [100.0] * 48


async def get(http: httpx.AsyncClient, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def planned(world: World) -> int:
    """Have job-1 planned into the valley from 16:00 to 20:00 and return the plan."""
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=replace(FLEXIBLE, interruptible=False))
    report = await world.replan("job")
    assert report.plan_id is not None
    return report.plan_id


async def test_a_job_is_shown_with_its_flexibility_attempts_events_and_energy(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 8)]})
    await world.tick()
    world.london.run("job-1")
    await world.tick()
    world.pass_time(30 * MINUTE)
    await world.tick()

    shown = await get(http, "/v1/jobs/job-1")

    assert (shown["id"], shown["state"], shown["entrypoint"]) == (
        "job-1",
        "running",
        "python train.py",
    )
    assert shown["flexibility"]["deadline"] == "2026-07-02T00:00:00Z"
    assert shown["flexibility"]["duration"] == "PT2H"
    assert shown["flexibility"]["premium_gbp_per_kwh"] == "0"
    assert [attempt["ray_id"] for attempt in shown["attempts"]] == ["job-1"]
    kinds = [event["kind"] for event in shown["events"]]
    assert kinds == ["submitted", "decided", "dispatched", "started", "state"]
    (energy,) = shown["energy"]
    assert (energy["running_s"], energy["method"]) == (1800.0, "declared")
    assert energy["energy_kwh"] == pytest.approx(5.5)
    assert shown["next_run"] is None


async def test_jobs_come_in_pages_newest_first_without_gaps_or_repeats(
    world: World, http: httpx.AsyncClient
) -> None:
    for number in range(7):
        await world.submit(f"job-{number}")

    pages, cursor = [], None
    while True:
        page = await get(http, f"/v1/jobs?limit=3{f'&cursor={cursor}' if cursor else ''}")
        pages.append([job["id"] for job in page["jobs"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert pages == [["job-6", "job-5", "job-4"], ["job-3", "job-2", "job-1"], ["job-0"]]


async def test_a_last_page_that_is_full_is_the_last(world: World, http: httpx.AsyncClient) -> None:
    await world.submit("a")
    await world.submit("b")

    page = await get(http, "/v1/jobs?limit=2")

    assert (len(page["jobs"]), page["next_cursor"]) == (2, None)


@ONE_SERVER
@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "cursor=0", "cursor=-1", "cursor=a", f"cursor={2**63}"],
)
async def test_a_page_that_cannot_be_is_refused(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"/v1/jobs?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]


@ONE_SERVER
async def test_a_plan_before_any_number_that_is_kept_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"/v1/plans?before={'9' * 30}")

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("before: '999")


async def test_a_held_job_says_when_it_runs_and_at_what_price(
    world: World, http: httpx.AsyncClient
) -> None:
    await planned(world)

    shown = (await get(http, "/v1/jobs"))["jobs"][0]

    assert shown["next_run"]["site"] == "london"
    assert shown["next_run"]["price_gbp_per_mwh"] == pytest.approx(10.0)
    assert shown["next_run"]["intensity_gco2_per_kwh"] == pytest.approx(100.0)
    assert shown["message"].startswith("Held by GridFlex for a better half-hour")


async def running(world: World, *, is_priced: bool = True) -> None:
    """Have job-1, 10 kW before PUE and with a checkpoint every 10 minutes, run since noon."""
    if is_priced:
        await world.forecast(price=FLAT, intensity=FLAT)
    await world.submit(flexibility=replace(FLEXIBLE, checkpoint_every=10 * MINUTE))
    await world.plan({"job-1": [(NOON, 8)]})
    await world.tick()
    world.london.run("job-1")
    await world.tick()
    world.pass_time(15 * MINUTE)


async def test_what_to_shed_is_answered_with_what_it_costs_and_what_comes_back(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world)

    found = await get(http, "/v1/plans/shed?kw=5&within=PT1M&hold=PT2H&site=london")

    assert (found["is_enough"], found["freed_kw"]) == (True, pytest.approx(11.0))
    (cut,) = found["cuts"]
    assert (cut["job_id"], cut["action"], cut["acts_in"]) == ("job-1", "pause", "PT30S")
    # at work since 12:01, so 14 min of work: 4 min since the last checkpoint and 1 min to start
    assert cut["lost_kwh"] == pytest.approx(11.0 * 5 / 60)
    assert cut["cost_gbp"] == pytest.approx(11.0 * 5 / 60 * 0.1)
    (back,) = found["rebound"]
    assert back["resumes_at"] == "2026-07-01T14:15:00Z"
    assert found["running_kw"] == pytest.approx(11.0)


async def test_too_much_to_shed_is_said_to_be_and_nothing_slow_is_counted(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world)

    much = await get(http, "/v1/plans/shed?kw=50&within=PT1M&hold=PT2H")
    soon = await get(http, "/v1/plans/shed?kw=5&within=PT10S&hold=PT2H")

    assert (much["is_enough"], much["freed_kw"]) == (False, pytest.approx(11.0))
    assert (soon["is_enough"], soon["cuts"]) == (False, [])


@ONE_SERVER
async def test_what_to_shed_is_answered_although_no_price_is_known(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world, is_priced=False)

    found = await get(http, "/v1/plans/shed?kw=5&within=PT1M&hold=PT2H")

    assert found["is_enough"]
    assert set(found["price_gbp_per_kwh"].values()) == {0.1}


@ONE_SERVER
async def test_a_site_that_is_not_ours_sheds_nothing(world: World, http: httpx.AsyncClient) -> None:
    await running(world)

    answer = await http.get("/v1/plans/shed?kw=5&site=paris")

    assert answer.status_code == 400
    assert "'paris' is not one of london, slough" in answer.json()["detail"]


async def test_what_to_shed_is_answered_from_memory_while_the_database_is_away(
    world: World, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await running(world)
    known = await get(http, "/v1/plans/shed?kw=5&within=PT1M&hold=PT2H")

    async def away() -> None:
        raise SourceError("gone")

    monkeypatch.setattr(world.jobs, "open_jobs", away)
    again = await get(http, "/v1/plans/shed?kw=5&within=PT1M&hold=PT2H")

    assert again["cuts"] == known["cuts"]


async def test_a_plan_is_shown_beside_running_everything_at_once(
    world: World, http: httpx.AsyncClient
) -> None:
    plan_id = await planned(world)

    newest = await get(http, "/v1/plans/newest")

    assert newest == await get(http, f"/v1/plans/{plan_id}")
    assert (newest["id"], newest["reason"]) == (plan_id, "job")
    listed = {name: newest[name] for name in ("id", "made_at", "start", "reason")}
    assert await get(http, "/v1/plans") == [listed]
    assert await get(http, f"/v1/plans?before={plan_id}") == []
    assert newest["start"] == "2026-07-01T12:30:00Z"
    (job,) = newest["jobs"]
    assert (job["id"], [run["half_hours"] for run in job["runs"]]) == ("job-1", [5])
    # five half-hours at 11 kW: 27.5 kWh at 10 GBP/MWh against 90
    assert newest["result"]["cost_gbp"] == pytest.approx(0.275)
    assert newest["run_now"]["cost_gbp"] == pytest.approx(27.5 * 0.09)
    assert newest["result"]["carbon_kg"] == pytest.approx(2.75)


async def test_why_a_job_is_where_it_is(world: World, http: httpx.AsyncClient) -> None:
    plan_id = await planned(world)

    why = await get(http, "/v1/jobs/job-1/explain")

    assert (why["id"], why["state"], why["plan_id"]) == ("job-1", "held", plan_id)
    assert why["chosen"]["cost_gbp"] == pytest.approx(0.275)
    assert why["chosen"]["is_on_time"]
    assert why["run_now"]["cost_gbp"] == pytest.approx(27.5 * 0.09)
    assert len(why["lines"]) == 4
    assert why["lines"][0].startswith("Held by GridFlex")
    assert why["history"]["run_time"] is None
    assert why["lines"][2] == "Run time 2.0 h, as its owner says."


async def test_a_job_without_a_run_time_gets_that_of_earlier_runs(
    world: World, http: httpx.AsyncClient
) -> None:
    for number in range(6):
        await world.submit(f"past-{number}")
        await world.jobs.decide_attempt(JobId(f"past-{number}"), site="london", at=NOON)
        await world.jobs.attempt_started(JobId(f"past-{number}"), 1, at=NOON + HOUR, driver={})
        end = NOON + HOUR + 20 * MINUTE
        await world.jobs.attempt_ended(
            JobId(f"past-{number}"), 1, outcome=Outcome.SUCCEEDED, at=end, driver={}
        )
    world.pass_time(2 * HOUR)
    body = {"entrypoint": "python train.py", "submission_id": "job-1"}
    metadata = {"gridflex.io/tier": "T1", "gridflex.io/gpus": "2"}

    answer = await http.post("/api/jobs/", json={**body, "metadata": metadata})
    why = await get(http, "/v1/jobs/job-1/explain")

    assert answer.status_code == 200
    assert (await world.job()).flexibility.duration == 20 * MINUTE
    assert why["history"]["run_time"]["runs"] == 6
    assert why["history"]["run_time"]["safe_s"] > 1_200
    assert why["history"]["suggestion"]["accepted_wait_s"] == 3_600
    assert "6 runs of the same command waited 1.0 h or longer" in why["lines"][-1]


async def test_before_the_first_plan_the_reason_is_that_there_is_none(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.submit()

    why = await get(http, "/v1/jobs/job-1/explain")

    assert (why["plan_id"], why["chosen"], why["binding"]) == (None, None, None)
    assert "until the next plan" in why["lines"][0]


async def test_after_its_end_a_job_is_explained_by_what_it_did(
    world: World, http: httpx.AsyncClient
) -> None:
    plan_id = await planned(world)
    assert (await get(http, "/v1/jobs/job-1/explain"))["plan_id"] == plan_id
    await world.jobs.decide_attempt(JobId("job-1"), site="london", at=NOON)
    await world.jobs.attempt_started(JobId("job-1"), 1, at=NOON + HOUR, driver={})
    end = NOON + 3 * HOUR
    await world.jobs.attempt_ended(
        JobId("job-1"), 1, outcome=Outcome.SUCCEEDED, at=end, driver={"message": "done"}
    )

    why = await get(http, "/v1/jobs/job-1/explain")

    assert (why["plan_id"], why["chosen"], why["second"]) == (None, None, None)
    assert why["lines"][:3] == [
        "done",
        "Run 1 at london: 2026-07-01 13:00 UTC to 2026-07-01 15:00 UTC, succeeded.",
        "It ended at 2026-07-01 15:00 UTC, in time for 2026-07-02 00:00 UTC, after 2.0 h of runs.",
    ]


async def test_what_if_a_deadline_were_earlier(world: World, http: httpx.AsyncClient) -> None:
    await planned(world)
    body = {"deadlines": {"job-1": "2026-07-01T15:00:00Z"}}

    answer = (await http.post("/v1/plans/newest/what-if", json=body)).json()

    assert answer["moved_jobs"] == ["job-1"]
    assert answer["unchanged"]["cost_gbp"] == pytest.approx(0.275)
    assert answer["result"]["cost_gbp"] == pytest.approx(27.5 * 0.09)
    newest = await world.plans.newest()
    assert newest is not None
    assert newest.runs[JobId("job-1")][0].start.start >= NOON + 4 * HOUR


async def test_what_finds_no_room_is_not_counted_as_saved(
    world: World, http: httpx.AsyncClient
) -> None:
    await planned(world)

    answer = (await http.post("/v1/plans/newest/what-if", json={"gpus": {"london": 0}})).json()

    assert answer["not_run"] == ["job-1"]
    for name in ("energy_kwh", "cost_gbp", "carbon_kg", "waiting_gpu_hours", "objective_gbp"):
        assert answer["result"][name] == answer["unchanged"][name] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"gpus": {"paris": 3}}, 400, "'paris' is not part"),
        ({"gpus": {"london": -1}}, 400, "gpus.london"),
        ({"gpus": {"london": True}}, 400, "gpus.london: True: valid is a whole number"),
        ({"deadlines": {"ghost": "2026-07-01T15:00:00Z"}}, 400, "'ghost'"),
        ({"deadlines": {"job-1": "2026-07-01T15:00:00"}}, 400, "deadlines.job-1"),
        ({"carbon_price_gbp_per_tco2": -1}, 400, "carbon_price"),
        ({"bogus": 1}, 400, "bogus"),
        ({}, 200, ""),
    ],
)
@ONE_SERVER
async def test_a_what_if_that_cannot_be_is_refused(
    world: World, http: httpx.AsyncClient, body: dict[str, Any], status: int, says: str
) -> None:
    await planned(world)

    answer = await http.post("/v1/plans/newest/what-if", json=body)

    assert answer.status_code == status, answer.text
    assert says in answer.text


@ONE_SERVER
async def test_a_plan_is_named_by_number_or_as_newest(
    world: World, http: httpx.AsyncClient
) -> None:
    await planned(world)
    for name, status in (("0", 404), ("999999999999999999", 404), ("last", 400), ("1e3", 400)):
        answer = await http.get(f"/v1/plans/{name}")

        assert answer.status_code == status
        assert name in answer.json()["detail"]


async def test_the_page_that_describes_the_api_needs_nothing_from_elsewhere(
    http: httpx.AsyncClient,
) -> None:
    page = await http.get("/docs")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert [link for link in links if not link.startswith("/static/docs/")] == []
    assert {(await http.get(link)).status_code for link in links} == {200}


async def test_readiness_waits_for_every_agent_and_names_the_degraded(
    world: World, http: httpx.AsyncClient
) -> None:
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "waiting")
    assert set(answer.json()["silent"]) == {WORKLOAD, GRID, ORCHESTRATOR, BOOKS}

    agents = AgentStore(world.engine)
    for name in (WORKLOAD, GRID, ORCHESTRATOR, BOOKS):
        await agents.beat(name, at=NOON, detail={})
    await agents.beat(GRID, at=NOON + MINUTE, detail={"degraded": {"elexon/mid": "HTTP 503"}})
    ready = await get(http, "/readyz")
    views = (await get(http, "/v1/agents"))["agents"]

    assert ready == {"status": "ready", "silent": {}, "degraded": [GRID]}
    assert [view["degraded"] for view in views if view["name"] == GRID] == ["elexon/mid: HTTP 503"]

    long_ago = datetime.now(UTC) - timedelta(hours=2)
    async with world.engine.begin() as connection:
        await connection.execute(
            text("UPDATE agent SET ticked_wall = :at WHERE name = 'workload'"), {"at": long_ago}
        )
    answer = await http.get("/readyz")
    assert (answer.status_code, set(answer.json()["silent"])) == (503, {WORKLOAD})
    assert answer.json()["silent"][WORKLOAD].startswith("last ticked 7")


async def test_metrics_count_jobs_agents_and_the_plan(
    world: World, http: httpx.AsyncClient
) -> None:
    await AgentStore(world.engine).beat(WORKLOAD, at=NOON, detail={})
    before = (await http.get("/metrics")).text
    assert "gridflex_plan_cost_gbp" not in before
    await planned(world)
    await world.submit("job-2")

    lines = (await http.get("/metrics")).text.splitlines()

    assert 'gridflex_open_jobs{state="held"} 2.0' in lines
    assert 'gridflex_open_jobs{state="running"} 0.0' in lines
    assert any(
        line.startswith('gridflex_agent_silence_seconds{agent="workload"}') for line in lines
    )
    values = dict(line.split(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values["gridflex_plan_cost_gbp"]) == pytest.approx(0.275)
    assert values["gridflex_plan_late_jobs"] == "0.0"


async def test_without_a_database_it_lives_and_says_what_is_wrong(tmp_path: Path) -> None:
    engine = database.connect("postgresql://nobody:hunter2@127.0.0.1:1/none")
    world = World(engine, "postgresql://nobody:hunter2@127.0.0.1:1/none", tmp_path)
    transport = httpx.ASGITransport(create_api(world.ports()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        for path in ("/readyz", "/metrics", "/v1/jobs", "/api/jobs/job-1", "/v1/plans/newest"):
            answer = await http.get(path)

            assert answer.status_code == 503, path
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"].startswith("database: ")
            assert "hunter2" not in answer.text
    await engine.dispose()
