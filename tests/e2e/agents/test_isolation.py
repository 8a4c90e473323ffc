"""What fails for one job or one site holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from gridflex.adapters.clusters.ray_jobs import RayJob
from gridflex.agents.workload import AT_ONCE
from gridflex.errors import SourceError
from gridflex.jobs import JobState
from gridflex.lifecycle import JobRequest
from tests.e2e.agents.test_workload import running
from tests.e2e.world import FLEXIBLE, HOUR, MINUTE, NOON, ONE_SERVER, World


class But:
    """Does what its target does, but for some methods."""

    def __init__(self, target: Any, **methods: Any) -> None:  # noqa: ANN401 - any port
        self._target = target
        self._methods = methods

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method
        return self._methods.get(name) or getattr(self._target, name)


def london_but(world: World, **methods: Any) -> Mapping[str, Any]:  # noqa: ANN401
    return {**world.clusters, "london": But(world.clusters["london"], **methods)}


async def due(world: World, *names: str) -> None:
    """Let jobs be there that are to run at London now."""
    for name in names:
        await world.submit(name)
    await world.plan({name: [(NOON, 8)] for name in names})


async def test_a_job_that_ends_with_bytes_in_its_log_has_ended(world: World) -> None:
    await running(world)
    world.london.end("job-1", "FAILED", message="exit code 1: \0\x01")

    report = await world.tick()

    job = await world.job()
    assert report.failures == {}
    assert (job.state, job.message) == (JobState.FAILED, "exit code 1: \ufffd\x01")


@ONE_SERVER
@pytest.mark.parametrize("error", [SourceError("not kept"), RuntimeError("a fault of ours")])
async def test_a_job_that_cannot_be_noted_is_reported_and_the_others_go_on(
    world: World, error: Exception
) -> None:
    await due(world, "job-1", "job-2")
    agent = world.workload(jobs=But(world.jobs, attempt_ended=_failing_for("job-1", error, world)))
    await world.tick(agent)
    world.london.run("job-1")
    world.london.run("job-2")
    await world.tick(agent)
    world.pass_time(HOUR)
    world.london.end("job-1")
    world.london.end("job-2")
    await world.submit("job-3")
    await world.plan({"job-3": [(NOON, 8)]})

    report = await world.tick(agent)

    assert str(error) in report.failures["job-1"]
    assert (await world.job("job-2")).state is JobState.SUCCEEDED
    assert world.london.accepted[-1] == "job-3"
    assert {row.job_id for row in await world.jobs.energy(["job-1", "job-2"])} == {"job-2"}


@ONE_SERVER
async def test_a_run_that_could_not_be_noted_is_metered_when_it_can(world: World) -> None:
    await due(world, "job-1")
    failing = But(world.jobs, attempt_ended=_failing_for("job-1", RuntimeError("a fault"), world))
    agent = world.workload(jobs=failing)
    await world.tick(agent)
    world.london.run("job-1")
    await world.tick(agent)
    world.pass_time(HOUR)
    world.london.end("job-1")
    for _ in range(4):
        await world.tick(agent)
        world.pass_time(HOUR)

    failing._methods.clear()
    await world.tick(agent)

    rows = await world.jobs.energy(["job-1"])
    assert [row.running_s for row in rows] == [1800.0, 1800.0]


def _failing_for(name: str, error: Exception, world: World) -> Any:  # noqa: ANN401 - a method
    async def attempt_ended(job_id: str, *args: Any, **options: Any) -> None:  # noqa: ANN401
        if job_id == name:
            raise error
        await world.jobs.attempt_ended(job_id, *args, **options)  # type: ignore[arg-type]

    return attempt_ended


@ONE_SERVER
async def test_an_action_that_fails_in_a_way_nobody_thought_of_is_that_jobs_failure(
    world: World,
) -> None:
    async def decide_attempt(job_id: str, **options: Any) -> object:  # noqa: ANN401
        if job_id == "job-2":
            raise RuntimeError("a fault of ours")
        await asyncio.sleep(0.2)
        return await world.jobs.decide_attempt(job_id, **options)  # type: ignore[arg-type]

    await running(world)
    agent = world.workload(jobs=But(world.jobs, decide_attempt=decide_attempt))
    await due(world, "job-2", "job-3")
    world.pass_time(HOUR)

    report = await world.tick(agent)

    assert report.failures == {"job-2": "RuntimeError: a fault of ours"}
    assert world.london.accepted == ["job-1", "job-3"]
    assert len(await world.jobs.energy(["job-1"])) == 2


@ONE_SERVER
async def test_a_site_that_fails_between_two_questions_does_not_hold_up_the_other(
    world: World,
) -> None:
    async def nothing() -> Sequence[RayJob]:
        return []

    async def fail(_ray_id: str) -> RayJob | None:
        raise SourceError("london went away")

    await running(world)
    await world.submit("job-2", flexibility=replace(FLEXIBLE, sites=("slough",)))
    await world.plan({"job-2": [(NOON, 4)]}, site="slough")
    agent = world.workload(clusters=london_but(world, list=nothing, get=fail))

    report = await world.tick(agent)

    assert report.unreachable == {"london": "london went away"}
    assert world.rays["slough"].accepted == ["job-2"]
    assert (await world.job()).state is JobState.RUNNING


@ONE_SERVER
async def test_sites_are_asked_at_the_same_time(world: World) -> None:
    both_asked = asyncio.Barrier(2)

    def meeting(name: str) -> But:
        async def ask() -> Sequence[RayJob]:
            await asyncio.wait_for(both_asked.wait(), timeout=60)
            return await world.clusters[name].list()

        return But(world.clusters[name], list=ask)

    await running(world)
    await world.submit("job-2", flexibility=replace(FLEXIBLE, sites=("slough",)))
    await world.plan({"job-2": [(NOON, 4)]}, site="slough")
    await world.tick()

    report = await world.tick(world.workload(clusters={name: meeting(name) for name in world.rays}))

    assert report.unreachable == {}


@ONE_SERVER
async def test_a_site_that_does_not_answer_is_not_asked_for_every_job(world: World) -> None:
    names = [f"job-{number:02}" for number in range(3 * AT_ONCE)]
    agent = world.workload()
    await world.tick(agent)
    await due(world, *names)
    world.london.hangs = True

    report = await world.tick(agent)

    assert len(report.actions) == AT_ONCE
    world.london.hangs = False
    for _ in range(2):
        await world.tick(agent)
    assert sorted(world.london.accepted) == names


@ONE_SERVER
async def test_jobs_that_always_fail_do_not_keep_the_others_of_their_site_waiting(
    world: World,
) -> None:
    async def submit(ray_id: str, request: JobRequest) -> None:
        if ray_id.startswith("bad"):
            raise SourceError("HTTP 500")
        await world.clusters["london"].submit(ray_id, request)

    await due(world, *(f"bad-{number:02}" for number in range(AT_ONCE)), "good")
    agent = world.workload(clusters=london_but(world, submit=submit))

    first, second = await world.tick(agent), await world.tick(agent)

    assert "good" not in first.actions
    assert second.actions["good"] == "start"
    assert world.london.accepted == ["good"]


async def test_a_start_is_stamped_when_it_was_seen(world: World) -> None:
    """And an end that was noted on the way lies before what is decided next."""

    async def slow() -> Sequence[RayJob]:
        world.pass_time(3 * MINUTE)
        return await world.clusters["london"].list()

    asked_at: datetime = await _dispatched(world)
    agent = world.workload(clusters=london_but(world, list=slow))

    await world.tick(agent)

    assert (await world.job()).attempts[0].started_at == asked_at + 3 * MINUTE


async def _dispatched(world: World) -> datetime:
    await due(world, "job-1")
    await world.tick()
    world.london.run("job-1")
    return world.clock.moment
