"""Clusters that fail, forget, hang or talk nonsense: each job still runs once."""

from dataclasses import replace

import httpx
import pytest

from gridflex.agents import site_sizes
from gridflex.agents.beckn.ports import SizedPlanner
from gridflex.agents.ticks import books_tick, orchestrator_tick, workload_tick
from gridflex.jobs import JobId, JobState
from gridflex.lifecycle import JobRequest, Outcome
from gridflex.planning.plan import PlannedRun
from gridflex.serve.api import create_api
from tests.e2e.agents.test_workload import PACKED, URI, package, running
from tests.e2e.world import ASK_AGAIN, FLEXIBLE, HOUR, MINUTE, NOON, TRAIN, World


async def test_a_run_that_fails_because_of_its_cluster_runs_again(world: World) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 8)]})
    await world.tick()
    world.london.end(
        "job-1", "FAILED", message="no room", error_type="JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
    )
    world.pass_time(MINUTE)

    await world.tick()

    job = await world.job()
    assert (job.attempts[0].outcome, job.attempts[0].started_at) == (Outcome.LOST, None)
    assert job.message == "site london could not run it, it will run again: no room"
    assert world.london.live == ["job-1-a2"]


async def test_a_run_that_its_cluster_never_manages_fails_in_the_end(world: World) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 8)]})
    for _ in range(12):
        await world.tick()
        for ray_id in world.london.live:
            world.london.end(
                ray_id, "FAILED", message="dead", error_type="JOB_SUPERVISOR_ACTOR_DIED"
            )
        world.pass_time(MINUTE)

    job = await world.job()
    assert (job.state, len(job.attempts)) == (JobState.FAILED, 6)
    assert job.message == "site london could not run it, 6 times in a row: dead"


async def test_a_run_in_its_clusters_queue_is_pulled_back_when_its_time_has_passed(
    world: World,
) -> None:
    await world.submit(flexibility=replace(FLEXIBLE, interruptible=False))
    await world.plan({"job-1": [(NOON, 1), (NOON + 2 * HOUR, 4)]})
    await world.tick()
    world.pass_time(29 * MINUTE)
    assert (await world.tick()).actions == {}

    world.pass_time(MINUTE)
    assert (await world.tick()).actions == {"job-1": "pause"}
    await world.tick()

    job = await world.job()
    assert (job.state, job.run_time(world.clock.moment)) == (JobState.HELD, 0 * MINUTE)


async def test_a_job_that_its_cluster_forgot_runs_again(world: World) -> None:
    await running(world)
    world.london.restart()

    await world.tick()
    await world.tick()

    job = await world.job()
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.LOST, None]
    assert world.london.live == ["job-1-a2"]
    assert world.london.jobs["job-1-a2"].environment["GRIDFLEX_RESUME"] == "1"


async def test_a_cluster_that_does_not_answer_is_waited_for(world: World) -> None:
    await running(world)
    world.london.is_down = True

    for _ in range(3):
        world.pass_time(HOUR)
        report = await world.tick()
        assert "london.test" in report.unreachable["london"]

    world.london.is_down = False
    world.london.end("job-1")
    await world.tick()
    assert (await world.job()).state is JobState.SUCCEEDED
    assert world.london.accepted == ["job-1"]


async def test_a_cluster_that_answers_garbage_is_waited_for(world: World) -> None:
    await running(world)
    world.london.garbage = "<html>maintenance</html>"

    report = await world.tick()

    assert "not JSON" in report.unreachable["london"]
    assert (await world.job()).state is JobState.RUNNING


async def test_one_cluster_that_is_down_does_not_hold_up_the_other(world: World) -> None:
    await running(world)
    world.london.is_down = True
    await world.submit("job-2", flexibility=replace(FLEXIBLE, sites=("slough",)))
    await world.plan({"job-2": [(NOON, 4)]}, site="slough")

    await world.tick()

    assert world.rays["slough"].accepted == ["job-2"]


EITHER = replace(FLEXIBLE, sites=("slough", "london"), interruptible=False)


async def test_a_job_that_may_run_elsewhere_does_not_wait_for_a_site_that_is_away(
    world: World,
) -> None:
    await world.forecast(price=[50.0] * 8 + [10.0] * 8 + [50.0] * 32, intensity=[100.0] * 48)
    await world.submit(flexibility=EITHER)
    await world.replan("job")
    assert {run.site for run in await planned(world)} == {"slough"}
    world.rays["slough"].is_down = True
    world.pass_time(MINUTE)

    report = await world.replan()

    assert {run.site for run in await planned(world)} == {"london"}
    assert list(report.unreachable) == ["slough"]
    world.rays["slough"].is_down = False
    assert (await world.replan()).unreachable == {}


async def test_a_job_that_must_start_does_so_where_a_site_answers(world: World) -> None:
    await world.submit(flexibility=replace(EITHER, deadline=NOON + 5 * HOUR))
    await world.plan({"job-1": [(NOON, 8)]}, site="slough")
    world.rays["slough"].is_down = True
    assert (await world.tick()).actions == {}  # the next plan still may bring it in time
    world.pass_time(2 * HOUR + 40 * MINUTE)

    await world.tick()

    assert world.london.accepted == ["job-1"]


async def test_a_site_that_was_away_from_the_start_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_sizes, "ASKED_EVERY_S", 0.0)
    world.forget_size("slough")
    world.rays["slough"].is_down = True
    await world.forecast(price=[50.0] * 48, intensity=[100.0] * 48)
    await world.submit()
    await world.submit("job-2", flexibility=replace(FLEXIBLE, sites=("slough",), gpus=8))
    works, plans, books = [
        await make(world.ports()) for make in (workload_tick, orchestrator_tick, books_tick)
    ]

    away = [await tick(world.clock.moment, frozenset()) for tick in (works, plans, books)]

    assert all(list(one.detail["degraded"]) == ["size of slough"] for one in away)
    first = await world.plans.newest()
    assert first is not None
    assert first.runs[JobId("job-1")]
    assert not first.runs[JobId("job-2")]

    world.rays["slough"].is_down = False
    back = [await tick(world.clock.moment, frozenset()) for tick in (works, plans, books)]

    assert [one.detail["degraded"] for one in back] == [{}, {}, {}]
    then = await world.plans.newest()
    assert then is not None
    assert then.runs[JobId("job-2")]


async def test_what_runs_at_a_site_that_is_away_from_the_start_is_not_planned_away(
    world: World,
) -> None:
    await world.forecast(price=[10.0] * 9 + [50.0] * 39, intensity=[100.0] * 48)
    await world.submit(flexibility=replace(FLEXIBLE, sites=("slough",)))
    await world.replan("job")
    world.pass_time(2 * HOUR)
    await world.tick()
    assert world.rays["slough"].accepted == ["job-1"]
    world.forget_size("slough")
    world.rays["slough"].is_down = True

    core, _ = await SizedPlanner(world.ports()).now()
    await core.tick(world.clock.moment, reason="start")

    plan = await world.plans.newest()
    assert plan is not None
    assert [run.site for run in plan.runs[JobId("job-1")]] == ["slough"]


async def planned(world: World) -> tuple[PlannedRun, ...]:
    plan = await world.plans.newest()
    assert plan is not None
    return plan.runs[JobId("job-1")]


async def test_a_site_that_left_the_settings_does_not_hold_up_the_rest(world: World) -> None:
    await running(world)
    await world.submit("job-2", flexibility=replace(FLEXIBLE, sites=("slough",)))
    await world.plan({"job-1": [], "job-2": [(NOON, 4)]}, site="slough")
    only_slough = world.workload(
        clusters={"slough": world.clusters["slough"]}, sites=world.sites[1:]
    )

    report = await only_slough.tick(world.clock.moment)

    assert "not in the settings" in report.unreachable["london"]
    assert world.rays["slough"].accepted == ["job-2"]


async def test_a_package_that_ray_dropped_is_put_again_at_dispatch(world: World) -> None:
    await world.packages.put(URI, package())
    await world.submit(request=PACKED)
    await world.plan({"job-1": [(NOON, 4)]})

    await world.tick()

    assert world.london.packages == {URI: b"PKzip"}
    assert world.london.jobs["job-1"].status == "PENDING"


async def test_a_job_whose_package_is_nowhere_fails_and_says_so(world: World) -> None:
    await world.submit(request=PACKED)
    await world.plan({"job-1": [(NOON, 4)]})

    await world.tick()

    job = await world.job()
    assert (job.state, job.message) == (JobState.FAILED, f"package {URI} never arrived at GridFlex")
    assert world.london.accepted == []


async def test_a_job_that_ray_refuses_fails_and_does_not_come_back(world: World) -> None:
    refused = replace(TRAIN, resources={"label_selector": {"zone": "a b"}})
    await world.submit(request=refused)
    await world.submit("job-2")
    await world.plan({"job-1": [(NOON, 4)], "job-2": [(NOON, 4)]})

    await world.tick()
    await world.tick()

    job = await world.job()
    assert job.state is JobState.FAILED
    assert "Invalid label selector value `a b`" in str(job.message)
    assert world.london.accepted == ["job-2"]


async def test_another_job_under_the_same_id_on_the_cluster_is_left_alone(world: World) -> None:
    await world.clusters["london"].submit("job-1", JobRequest("python theirs.py"))
    await world.submit()
    await world.plan({"job-1": [(NOON, 4)]})

    await world.tick()

    assert (await world.job()).state is JobState.FAILED
    assert world.london.live == ["job-1"]
    assert world.london.jobs["job-1"].stops_asked == 0


@pytest.mark.parametrize("died", [False, True], ids=["", "after an agent died with the intent"])
async def test_a_later_run_whose_id_another_job_has_takes_the_next(
    world: World, *, died: bool
) -> None:
    await running(world)
    await world.clusters["london"].submit("job-1-a2", JobRequest("python theirs.py"))
    world.london.run("job-1-a2", prints="theirs")
    del world.london.jobs["job-1"]
    if died:
        await world.jobs.attempt_ended(
            JobId("job-1"), 1, outcome=Outcome.LOST, at=world.clock.moment, driver={}
        )
        await world.jobs.decide_attempt(JobId("job-1"), site="london", at=world.clock.moment)

    for _ in range(3):
        await world.tick()
    world.london.run("job-1-a3", prints="ours")
    await world.tick()

    job = await world.job()
    transport = httpx.ASGITransport(create_api(world.ports()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        logs = (await client.get("/api/jobs/job-1/logs")).json()["logs"]
        for ended in ("job-1-a2", "job-1-a3"):
            world.london.end(ended)
        await world.tick()
        deleted = (await client.delete("/api/jobs/job-1")).json()
    assert (job.state, logs) == (JobState.RUNNING, "ours")
    assert [(one.outcome, one.started_at is None) for one in job.attempts[1:]] == [
        (Outcome.LOST, True),
        (None, False),
    ]
    assert (
        "another job under the submission id job-1-a2" in (job.attempts[1].driver or {})["message"]
    )
    assert world.london.accepted == ["job-1", "job-1-a2", "job-1-a3"]
    assert (deleted, list(world.london.jobs)) == ({"deleted": True}, ["job-1-a2"])
    assert world.london.jobs["job-1-a2"].stops_asked == 0


async def test_another_job_under_the_id_of_a_run_that_was_never_sent_is_not_stopped(
    world: World,
) -> None:
    await world.clusters["london"].submit("job-1", JobRequest("python theirs.py"))
    await world.submit()
    await world.jobs.decide_attempt(JobId("job-1"), site="london", at=world.clock.moment)
    await world.jobs.request_stop(JobId("job-1"), at=world.clock.moment)

    for _ in range(3):
        await world.tick()
        world.pass_time(ASK_AGAIN)

    assert world.london.jobs["job-1"].stops_asked == 0
    assert (await world.job()).state is JobState.STOPPED


async def test_a_job_that_failed_before_it_was_seen_running_has_failed(world: World) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 4)]})
    await world.tick()
    world.london.end("job-1", "FAILED", message="exit code 1")

    await world.tick()

    job = await world.job()
    assert (job.state, job.message) == (JobState.FAILED, "exit code 1")
    assert job.attempts[0].started_at == NOON
