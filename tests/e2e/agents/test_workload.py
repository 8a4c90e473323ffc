"""The workload agent over real PostgreSQL: each job runs once, at its time, whatever fails."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from gridflex.adapters.clock import Clock
from gridflex.adapters.jobs.store import JobStore
from gridflex.agents.cleaning import Cleaner
from gridflex.dispatch import attempt_request
from gridflex.jobs import JobId, JobState, Tier
from gridflex.lifecycle import CAP_CHANGED, AttemptState, Outcome
from gridflex.settings import ClockSettings
from tests.e2e.world import ASK_AGAIN, FLEXIBLE, HOUR, MINUTE, NOON, TRAIN, World

URI = "gcs://_ray_pkg_0123456789abcdef.zip"
PACKED = replace(TRAIN, runtime_env={"working_dir": URI, "env_vars": {"LR": "0.1"}})


async def package(content: bytes = b"PKzip") -> AsyncIterator[bytes]:
    yield content


async def running(world: World, *, half_hours: int = 8) -> None:
    """Bring job-1 to RUNNING at noon by a plan that runs it so long."""
    await world.submit()
    await world.plan({"job-1": [(NOON, half_hours)]})
    await world.tick()
    world.london.run("job-1")
    world.pass_time(MINUTE)
    await world.tick()
    assert (await world.job()).state is JobState.RUNNING


async def test_a_job_is_held_until_its_half_hour_and_then_runs(world: World) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON + HOUR, 4)]})

    report = await world.tick()
    assert (report.open_jobs, report.actions, world.london.accepted) == (1, {}, [])

    world.pass_time(HOUR)
    report = await world.tick()
    assert report.actions == {"job-1": "start"}
    assert world.london.accepted == ["job-1"]
    assert (await world.job()).state is JobState.HELD

    world.london.run("job-1")
    await world.tick()
    assert (await world.job()).state is JobState.RUNNING

    world.pass_time(HOUR)
    world.london.end("job-1")
    await world.tick()
    ended = await world.job()
    assert (ended.state, ended.ended_at) == (JobState.SUCCEEDED, NOON + 2 * HOUR)
    assert world.london.accepted == ["job-1"]


async def test_a_run_on_other_gpus_is_started_metered_and_remembered_as_such(
    world: World,
) -> None:
    elastic = replace(FLEXIBLE, gpus=4, min_gpus=2, max_gpus=4, power_kw=10.0)
    await world.submit(
        flexibility=elastic, request=replace(PACKED, runtime_env={}, resources={"num_gpus": 4})
    )
    await world.plan({"job-1": [(NOON, 8)]})  # on two GPUs

    await world.tick()
    world.london.run("job-1")
    await world.tick()
    world.pass_time(HOUR)
    await world.tick()

    asked = world.london.jobs["job-1"].request
    assert asked["entrypoint_num_gpus"] == 2
    assert asked["runtime_env"]["env_vars"]["GRIDFLEX_GPUS"] == "2"
    (attempt,) = (await world.job()).attempts
    assert attempt.gpus == 2
    assert attempt.speed_fraction == pytest.approx(0.5**0.87)
    energy = await world.jobs.energy(["job-1"])
    assert [row.energy_kwh for row in energy] == pytest.approx([2.75, 2.75])  # 5 kW, PUE 1.1


async def test_a_run_that_may_draw_more_than_the_one_before_says_so(world: World) -> None:
    elastic = replace(FLEXIBLE, gpus=4, min_gpus=2, max_gpus=4, power_kw=10.0)
    await world.submit(flexibility=elastic)
    await world.plan({"job-1": [(NOON, 2), (NOON + 2 * HOUR, 4)]})  # on two GPUs
    await world.tick()
    world.london.run("job-1")
    world.pass_time(MINUTE)
    await world.tick()
    world.pass_time(59 * MINUTE)
    await world.tick()
    await world.tick()
    await world.plan({"job-1": [(NOON + 2 * HOUR, 4)]}, gpus=4)
    world.pass_time(HOUR)

    await world.tick()

    events = await world.jobs.events(JobId("job-1"))
    assert [one.detail for one in events if one.kind == CAP_CHANGED] == [
        {"attempt": 2, "from_kw": 5.5, "to_kw": 11.0}  # PUE 1.1
    ]


async def test_the_cluster_is_asked_for_what_was_submitted(world: World) -> None:
    world.london.packages[URI] = b"PKzip"
    await world.submit(request=replace(PACKED, resources={"num_gpus": 2}))
    await world.plan({"job-1": [(NOON, 4)]})

    await world.tick()

    assert world.london.jobs["job-1"].request == {
        "entrypoint": "python train.py",
        "submission_id": "job-1",
        "runtime_env": {
            "working_dir": URI,
            "env_vars": {
                "GRIDFLEX_JOB_ID": "job-1",
                "GRIDFLEX_CHECKPOINT_DIR": "/checkpoints/job-1",
                "RAY_JOB_STOP_WAIT_TIME_S": "30",
                "GRIDFLEX_GPUS": "2",
                "GRIDFLEX_POWER_CAP_FRACTION": "1",
                "LR": "0.1",
            },
        },
        "metadata": {"gridflex.io/tier": "T3", "gridflex.io/attempt-of": "job-1"},
        "entrypoint_num_gpus": 2,
    }


async def test_a_job_whose_dispatch_reply_was_lost_runs_once(world: World) -> None:
    world.london.lost_replies = 1
    await world.submit()
    await world.plan({"job-1": [(NOON, 4)]})

    report = await world.tick()
    await world.tick()

    assert report.failures == {}
    assert world.london.accepted == ["job-1"]


async def test_a_job_whose_dispatch_hung_is_sent_again(world: World) -> None:
    agent = world.workload()
    await world.tick(agent)
    await world.submit()
    await world.plan({"job-1": [(NOON, 4)]})
    world.london.hangs = True
    report = await world.tick(agent)
    assert "no answer in time" in report.failures["job-1"]

    report = await world.tick()
    assert "no answer in time" in report.unreachable["london"]
    assert report.actions == {}

    world.london.hangs = False
    await world.tick()
    assert world.london.accepted == ["job-1"]
    assert [a.number for a in (await world.job()).attempts] == [1]


async def test_a_job_starts_late_rather_than_never_without_any_plan(world: World) -> None:
    await world.submit(flexibility=replace(FLEXIBLE, deadline=NOON + 4 * HOUR))
    world.pass_time(89 * MINUTE)
    assert (await world.tick()).actions == {}

    world.pass_time(MINUTE)

    assert (await world.tick()).actions == {"job-1": "start"}


async def test_where_starts_are_slow_the_last_moment_to_start_is_earlier(world: World) -> None:
    await world.forecast(price=[100.0] * 48, intensity=[100.0] * 48)
    names = [f"slow-{number}" for number in range(5)]
    for name in names:
        await world.submit(name)
    await world.plan({name: [(NOON, 8)] for name in names})
    await world.tick()
    world.pass_time(25 * MINUTE)
    for name in names:
        world.london.run(name)
    await world.tick()

    await world.submit(flexibility=replace(FLEXIBLE, deadline=NOON + 230 * MINUTE))  # works 2 h
    problem = (await world.orchestrator().position(world.clock.moment)).problem
    world.pass_time(34 * MINUTE)
    assert (await world.tick()).actions == {}
    world.pass_time(MINUTE)

    assert (await world.tick()).actions == {"job-1": "start"}
    assert {job.restart_half_hours for job in problem.jobs} == {25 / 30}


async def test_a_rigid_job_starts_at_once_without_any_plan(world: World) -> None:
    await world.submit(flexibility=replace(FLEXIBLE, tier=Tier.T0, interruptible=False))

    assert (await world.tick()).actions == {"job-1": "start"}


async def test_a_job_pauses_and_resumes_with_its_checkpoints_as_the_plan_says(
    world: World,
) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 2), (NOON + 3 * HOUR, 3)]})
    await world.tick()
    world.london.run("job-1")
    world.pass_time(MINUTE)
    await world.tick()

    world.pass_time(59 * MINUTE)
    assert (await world.tick()).actions == {"job-1": "pause"}
    await world.tick()
    paused = await world.job()
    assert (paused.state, paused.attempts[0].outcome) == (JobState.PAUSED, Outcome.STOPPED)
    assert (await world.tick()).actions == {}

    world.pass_time(2 * HOUR)
    assert (await world.tick()).actions == {"job-1": "start"}
    first, second = (world.london.jobs[name].environment for name in ("job-1", "job-1-a2"))
    assert second == {**first, "GRIDFLEX_RESUME": "1"}
    assert first["GRIDFLEX_CHECKPOINT_DIR"] == "/checkpoints/job-1"
    assert "GRIDFLEX_RESUME" not in first

    world.london.run("job-1-a2")
    await world.tick()
    world.pass_time(HOUR)
    world.london.end("job-1-a2")
    await world.tick()
    assert (await world.job()).state is JobState.SUCCEEDED
    assert world.london.accepted == ["job-1", "job-1-a2"]


async def test_a_plan_cannot_pause_a_run_that_it_did_not_know_of(world: World) -> None:
    await world.submit(flexibility=replace(FLEXIBLE, deadline=NOON + 12 * HOUR))
    await world.plan({"job-1": [(NOON + 6 * HOUR, 4)]})
    world.pass_time(MINUTE)
    attempt = await world.jobs.decide_attempt(JobId("job-1"), site="london", at=world.clock.moment)
    assert attempt is not None
    await world.tick()
    world.london.run("job-1")
    await world.tick()

    assert (await world.tick()).actions == {}

    world.pass_time(MINUTE)
    await world.plan({"job-1": [(NOON + 6 * HOUR, 4)]})
    assert (await world.tick()).actions == {"job-1": "pause"}


async def test_a_pause_that_has_no_effect_is_asked_for_again_and_no_more_often(
    world: World,
) -> None:
    world.london.stops_at_once = False
    await running(world, half_hours=2)
    world.pass_time(HOUR)
    asked = []
    for _ in range(24):
        await world.tick()
        asked.append(world.london.jobs["job-1"].stops_asked)
        world.pass_time(MINUTE)

    assert asked == [1] * 10 + [2] * 10 + [3] * 4


async def test_a_job_that_finishes_while_being_paused_has_finished(world: World) -> None:
    world.london.stops_at_once = False
    await running(world, half_hours=2)
    world.pass_time(HOUR)
    await world.tick()
    world.london.end("job-1")

    await world.tick()

    assert (await world.job()).state is JobState.SUCCEEDED


async def test_an_owner_stops_a_running_job(world: World) -> None:
    await running(world)
    await world.jobs.request_stop(JobId("job-1"), at=world.clock.moment)

    assert (await world.tick()).actions == {"job-1": "stop"}
    await world.tick()

    job = await world.job()
    assert (job.state, job.message) == (JobState.STOPPED, "Job was intentionally stopped.")


async def test_an_owner_stops_a_job_whose_dispatch_never_arrived(world: World) -> None:
    await stopped_after_a_dispatch_without_answer(world)

    for _ in range(2):
        await world.tick()
    assert (await world.job()).state is JobState.HELD  # the request may be on its way
    world.pass_time(ASK_AGAIN)
    await world.tick()

    assert (await world.job()).state is JobState.STOPPED
    assert world.london.accepted == []


async def test_a_dispatch_that_arrives_after_the_job_was_stopped_is_stopped_too(
    world: World,
) -> None:
    agent = world.workload()
    await stopped_after_a_dispatch_without_answer(world)
    await world.tick(agent)
    world.pass_time(ASK_AGAIN)
    await world.tick(agent)
    job = await world.job()
    assert job.state is JobState.STOPPED
    late = attempt_request(job, job.attempts[0], checkpoint_root="/checkpoints")
    await world.jobs.delete(JobId("job-1"), at=world.clock.moment)
    await world.clusters["london"].submit("job-1", late)
    await world.clusters["slough"].submit("job-1", replace(late, entrypoint="python theirs.py"))

    world.pass_time(ASK_AGAIN)
    await world.tick(agent)

    assert world.london.jobs["job-1"].status == "STOPPED"
    assert world.rays["slough"].live == ["job-1"]


async def stopped_after_a_dispatch_without_answer(world: World) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 4)]})
    await world.jobs.decide_attempt(JobId("job-1"), site="london", at=NOON)
    world.london.hangs = True
    await world.tick()
    world.london.hangs = False
    await world.jobs.request_stop(JobId("job-1"), at=world.clock.moment)


async def test_what_happened_to_a_job_is_kept_in_order(world: World) -> None:
    await running(world, half_hours=2)
    world.pass_time(HOUR)
    await world.tick()
    await world.tick()

    kinds = [event.kind for event in await world.jobs.events(JobId("job-1"))]

    assert kinds == [
        *("submitted", "decided", "dispatched", "started", "state"),
        *("stop asked", "ended", "state"),
    ]


async def test_forty_jobs_due_at_once_all_start_once(world: World) -> None:
    names = [f"job-{number}" for number in range(40)]
    for name in names:
        await world.submit(name)
    await world.plan({name: [(NOON, 4)] for name in names})

    report = await world.tick()
    await world.tick()

    assert set(report.actions.values()) == {"start"}
    assert sorted(world.london.accepted) == sorted(names)


async def test_two_agents_at_once_start_a_job_once(world: World) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 4)]})

    await asyncio.gather(*(world.tick() for _ in range(4)))

    assert world.london.accepted == ["job-1"]
    assert len((await world.job()).attempts) == 1


async def test_an_attempt_that_was_never_sent_is_sent_by_the_next_agent(world: World) -> None:
    await world.submit()
    await world.jobs.decide_attempt(JobId("job-1"), site="london", at=NOON)

    report = await world.tick()

    assert report.actions == {"job-1": "resend"}
    assert world.london.accepted == ["job-1"]
    assert (await world.job()).attempts[0].state is AttemptState.SUBMITTED


async def test_a_slow_clock_of_a_cluster_makes_no_negative_history(world: World) -> None:
    await running(world)
    world.london.wall = NOON - HOUR
    world.london.end("job-1")
    await world.tick()

    (past,) = await JobStore(world.engine).past_runs(most=9, entrypoint=TRAIN.entrypoint)
    assert past.run_time == 0 * HOUR
    async with world.engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM energy")) == 0


async def test_packages_that_no_open_job_needs_are_removed_once_a_day(world: World) -> None:
    other = URI.replace("0", "f")
    await world.packages.put(URI, package())
    await world.packages.put(other, package())
    await world.submit(request=PACKED)
    cleaner = Cleaner(jobs=world.jobs, packages=world.packages)
    later = Clock(ClockSettings()).wall_now() + 25 * HOUR

    assert await cleaner.tick(later - 24 * HOUR) == 0
    assert await cleaner.tick(later) == 1
    await world.jobs.request_stop(JobId("job-1"), at=NOON)
    assert await cleaner.tick(later + 23 * HOUR) == 0

    assert await world.packages.has(URI)
    assert not await world.packages.has(other)
