"""An order to free power over real PostgreSQL: paused, remembered, planned around, resumed."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.database import psycopg_url
from gridflex.adapters.jobs.curtailment_store import CurtailmentStore
from gridflex.adapters.ledger.feed import LedgerFeed
from gridflex.curtailment import CurtailedJob, Curtailment, CurtailmentRequest
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, JobState
from gridflex.ledger.event import EventType
from gridflex.serve.api import create_api
from tests.e2e.world import FLEXIBLE, HOUR, MINUTE, NOON, ONE_SERVER, World

FLAT = [100.0] * 48
ORDER = {"kw": 15, "within": "PT1M", "hold": "PT1H", "reason": "low frequency"}
HEADERS = {"Idempotency-Key": "order-1"}


async def post(http: httpx.AsyncClient, path: str, body: Any = None, **more: Any) -> Any:  # noqa: ANN401 - JSON
    answer = await http.post(path, json=body or {}, **more)
    assert answer.is_success, answer.text
    return answer.json()


async def get(http: httpx.AsyncClient, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def running(world: World, *names: str, **changes: Any) -> None:  # noqa: ANN401 - of Flexibility
    """Have jobs of 11 kW each, with a checkpoint every 10 minutes, run at london since noon."""
    await world.forecast(price=FLAT, intensity=FLAT)
    for name in names:
        changed = {"checkpoint_every": 10 * MINUTE, **changes}
        await world.submit(name, flexibility=replace(FLEXIBLE, **changed))
    await world.plan({name: [(NOON, 8)] for name in names})
    await world.tick()
    for name in names:
        world.london.run(name)
    await world.tick()
    world.pass_time(15 * MINUTE)


async def states(world: World, *names: str) -> list[JobState]:
    return [(await world.job(name)).state for name in names]


async def test_the_cheapest_jobs_are_paused_and_run_again_when_it_is_over(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world, "job-1", "job-2", "job-3")

    placed = await post(http, "/v1/plans/shed", ORDER, headers=HEADERS)
    left = await get(http, "/v1/plans/shed?kw=50&within=PT1M")
    report = await world.tick()  # a new agent, which knows nothing but the database
    await world.tick()

    names = [one["job_id"] for one in placed["jobs"]]
    assert (placed["id"], placed["freed_kw"], placed["is_enough"]) == ("order-1", 22.0, True)
    assert {*names, *(cut["job_id"] for cut in left["cuts"])} == {"job-1", "job-2", "job-3"}
    assert len(left["cuts"]) == 1
    assert placed["until"] == "2026-07-01T13:15:00Z"
    assert report.actions == dict.fromkeys(names, "pause")
    assert await states(world, *names) == [JobState.PAUSED] * 2
    told = {one["id"]: one["message"] for one in (await get(http, "/v1/jobs"))["jobs"]}
    to_ray = {one["submission_id"]: one["message"] for one in await get(http, "/api/jobs/")}
    why = "to free power until 2026-07-01 13:15 UTC, by order order-1 (low frequency)"
    for name in names:
        one = await get(http, f"/v1/jobs/{name}")
        single = await get(http, f"/api/jobs/{name}")
        log = (await get(http, f"/api/jobs/{name}/logs"))["logs"]
        for said in (told[name], to_ray[name], one["message"], single["message"], log):
            assert why in said
    (other,) = {"job-1", "job-2", "job-3"} - set(names)
    assert told[other] == to_ray[other] == "Job is currently running."
    shown = await get(http, "/v1/plans/shed/orders/order-1")
    assert (shown["is_active"], shown["freed_now_kw"]) == (True, 22.0)

    world.pass_time(59 * MINUTE)
    assert (await world.tick()).actions == {}

    world.pass_time(MINUTE)
    assert (await world.tick()).actions == dict.fromkeys(names, "start")
    shown = await get(http, "/v1/plans/shed/orders/order-1")
    assert (shown["is_active"], shown["freed_now_kw"]) == (False, 0.0)


async def test_a_plan_made_meanwhile_keeps_to_the_power_that_is_left(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.forecast(price=[10.0] * 8 + [90.0] * 40, intensity=FLAT)
    names = {"job-1", "job-2"}
    for name in names:
        await world.submit(name)
    await world.replan("start")
    world.pass_time(30 * MINUTE)
    await world.tick()
    for name in names:
        world.london.run(name)
    await world.tick()
    await world.submit("waits")
    world.pass_time(15 * MINUTE)
    placed = await post(http, "/v1/plans/shed", {**ORDER, "kw": 5})
    await world.tick()

    await world.replan("curtailment")

    plan = await world.plans.newest()
    assert plan is not None
    (paused,) = (one["job_id"] for one in placed["jobs"])
    over = NOON + 2 * HOUR  # the first half-hour after 13:45
    assert min(run.start.start for run in plan.runs[JobId(paused)]) == over
    during = [HalfHour.containing(NOON) + t for t in (2, 3)]
    runs = [run for of_job in plan.runs.values() for run in of_job]
    assert [sum(run.covers(t) for run in runs) for t in during] == [1, 1]
    assert placed["limits_kw"] == {"london": pytest.approx(11.0), "slough": 0.0}


async def test_nothing_begins_by_a_plan_that_does_not_know_the_order(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world, "job-1")
    await world.submit("later")
    await world.plan({"job-1": [(NOON, 8)], "later": [(NOON + 30 * MINUTE, 4)]})
    world.pass_time(MINUTE)
    await post(http, "/v1/plans/shed", ORDER)
    await world.tick()
    await world.tick()
    world.pass_time(20 * MINUTE)

    assert (await world.tick()).actions == {}

    world.pass_time(45 * MINUTE)
    assert (await world.tick()).actions == {"job-1": "start", "later": "start"}


async def test_a_job_that_would_be_late_gives_nothing(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world, "job-1", deadline=NOON + 150 * MINUTE)

    answer = await http.post("/v1/plans/shed", json=ORDER)

    assert answer.status_code == 422
    assert "no job that runs can give up power" in answer.json()["detail"]
    assert await world.curtailments.newest(limit=1) == []


async def test_the_same_order_again_sheds_nothing_more(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world, "job-1", "job-2", "job-3")
    first = await post(http, "/v1/plans/shed", {**ORDER, "kw": 5}, headers=HEADERS)
    world.pass_time(MINUTE)

    again = await http.post("/v1/plans/shed", json={**ORDER, "kw": 5}, headers=HEADERS)
    other = await http.post("/v1/plans/shed", json={**ORDER, "kw": 6}, headers=HEADERS)

    assert (again.status_code, again.json()["jobs"]) == (200, first["jobs"])
    assert other.status_code == 409
    assert "asked for something else" in other.json()["detail"]
    assert len(await world.curtailments.active(world.clock.moment)) == 1


async def test_orders_given_at_once_take_different_jobs(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world, "job-1", "job-2", "job-3")
    elsewhere = httpx.ASGITransport(create_api(world.ports()))

    async with httpx.AsyncClient(transport=elsewhere, base_url="http://gf.test") as other:
        placed = await asyncio.gather(
            *(post(one, "/v1/plans/shed", {**ORDER, "kw": 5}) for one in (http, other, http))
        )

    assert {job["job_id"] for order in placed for job in order["jobs"]} == {
        "job-1",
        "job-2",
        "job-3",
    }


async def test_what_waits_in_a_cluster_does_not_draw_what_was_freed(
    world: World, http: httpx.AsyncClient
) -> None:
    await running(world, "job-1", "job-2")
    for name, deadline in (("waits", FLEXIBLE.deadline), ("late", NOON + 180 * MINUTE)):
        await world.submit(name, flexibility=replace(FLEXIBLE, deadline=deadline))
    names = ("job-1", "job-2", "waits", "late")
    await world.plan({name: [(NOON, 8)] for name in names})
    await world.tick()

    placed = await post(http, "/v1/plans/shed", {**ORDER, "kw": 5})
    report = await world.tick()

    cut, held = placed["jobs"]
    assert (held["job_id"], held["freed_kw"], placed["freed_kw"]) == ("waits", 0.0, 11.0)
    assert placed["limits_kw"]["london"] == pytest.approx(22.0)  # one that runs, one that is late
    assert report.actions == {cut["job_id"]: "pause", "waits": "pause"}
    await world.tick()
    assert (await world.job("waits")).live_attempt is None
    assert (await world.job("late")).live_attempt is not None
    world.pass_time(HOUR)
    assert (await world.tick()).actions["waits"] == "start"


async def test_an_order_that_waited_for_its_turn_knows_what_was_given_meanwhile(
    world: World,
) -> None:
    await running(world, "job-1")
    request = CurtailmentRequest(kw=5, within=MINUTE, hold=HOUR)
    known: dict[str, list[str]] = {}

    async def place(name: str, at: datetime) -> None:
        def choose(standing: Sequence[Curtailment]) -> Curtailment:
            known[name] = [one.id for one in standing]
            job = CurtailedJob(JobId("job-1"), "london", 11.0, 0, 0, MINUTE, at + HOUR)
            return Curtailment(name, request, at, (job,), {"london": 0.0})

        await world.curtailments.place(name, request, choose, now=at)

    await place("overtook", NOON + timedelta(milliseconds=5))
    await place("waited", NOON)

    assert known == {"overtook": [], "waited": ["overtook"]}


async def test_an_order_can_be_ended_before_its_time(world: World, http: httpx.AsyncClient) -> None:
    await running(world, "job-1")
    await post(http, "/v1/plans/shed", ORDER, headers=HEADERS)
    await world.tick()
    await world.tick()
    world.pass_time(5 * MINUTE)

    ended = await post(http, "/v1/plans/shed/orders/order-1/end")
    report = await world.tick()
    again = await post(http, "/v1/plans/shed/orders/order-1/end")

    assert (ended["is_active"], ended["until"]) == (False, "2026-07-01T12:20:00Z")
    assert report.actions == {"job-1": "start"}
    assert again["ended_at"] == ended["ended_at"]
    assert [one["id"] for one in (await get(http, "/v1/plans/shed/orders"))["orders"]] == [
        "order-1"
    ]


@ONE_SERVER
async def test_an_order_is_an_override_in_the_ledger(world: World, http: httpx.AsyncClient) -> None:
    await running(world, "job-1")
    await post(http, "/v1/plans/shed", ORDER, headers=HEADERS)
    await post(http, "/v1/plans/shed/orders/order-1/end")

    events = await LedgerFeed(world.engine).unrecorded(limit=100)

    found = [one for one in events if one.event_type is EventType.OVERRIDE_MADE]
    assert [one.body["kind"] for one in found] == ["curtailed", "curtailment ended"]
    assert {one.subject for one in found} == {"job:job-1"}
    detail: Any = found[0].body["detail"]
    assert (detail["order"], detail["reason"]) == ("order-1", "low frequency")


@ONE_SERVER
@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        ({**ORDER, "kw": 0}, {}, "kw"),
        ({**ORDER, "reason": "half a letter: \ud800"}, {}, "reason"),
        ({**ORDER, "reason": "NUL: \0"}, {}, "reason"),
        ({**ORDER, "hold": "PT0S"}, {}, "hold"),
        ({**ORDER, "site": "paris"}, {}, "'paris' is not one of london, slough"),
        ({**ORDER, "site": None, "also": 1}, {}, "also"),
        (ORDER, {"Idempotency-Key": "a/b"}, "Idempotency-Key"),
    ],
)
async def test_an_order_that_means_nothing_is_refused(
    world: World,
    http: httpx.AsyncClient,
    body: dict[str, object],
    headers: dict[str, str],
    message: str,
) -> None:
    await running(world, "job-1")

    answer = await http.post(
        "/v1/plans/shed",
        content=json.dumps(body),
        headers={"Content-Type": "application/json", **headers},
    )

    assert answer.status_code == 400
    assert message.lower() in answer.json()["detail"].lower()


@ONE_SERVER
async def test_an_order_that_nobody_gave_is_unknown(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/plans/shed/orders/none")).status_code == 404
    assert (await http.post("/v1/plans/shed/orders/none/end")).status_code == 404


@ONE_SERVER
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE curtailment SET until = until + interval '1 hour'",
        "UPDATE curtailment SET jobs = '[]'",
        "DELETE FROM curtailment",
        "TRUNCATE curtailment",
    ],
)
async def test_an_order_cannot_be_changed_behind_our_back(
    world: World, http: httpx.AsyncClient, change: str
) -> None:
    await running(world, "job-1")
    await post(http, "/v1/plans/shed", ORDER)

    with (
        psycopg.connect(psycopg_url(world.url)) as connection,
        pytest.raises(psycopg.errors.RestrictViolation),
    ):
        connection.execute(change)


async def test_an_order_is_read_back_as_it_was_given(
    world: World, http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    await running(world, "job-1")
    await post(http, "/v1/plans/shed", {**ORDER, "site": "london"}, headers=HEADERS)

    found = await CurtailmentStore(engine).get("order-1")

    assert found is not None
    assert found.request.hold == timedelta(hours=1)
    assert (found.placed_at, found.until) == (NOON + 15 * MINUTE, NOON + 15 * MINUTE + HOUR)
    (one,) = found.jobs
    assert (one.job_id, one.site) == (JobId("job-1"), "london")
    assert one.freed_kw == pytest.approx(11.0)
    assert one.acts_in == timedelta(seconds=30)
    # 4 min of work since the last checkpoint and 1 min to start are done again
    assert one.lost_kwh == pytest.approx(11.0 * 5 / 60)
