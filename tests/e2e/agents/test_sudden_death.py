"""An agent that dies between any two lines neither loses nor doubles a job."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from gridflex.agents.workload import Workload
from gridflex.jobs import JobState
from tests.e2e.agents.test_workload import PACKED, URI, package
from tests.e2e.world import FLEXIBLE, HOUR, NOON, ONE_SERVER, World

HALF_HOUR: Final = timedelta(minutes=30)
WORK: Final = 3
"""Half-hours of running after which the job has done its work."""

ACTS: Final = frozenset(
    {
        *("decide_attempt", "attempt_submitted", "attempt_started", "attempt_stopping"),
        *("attempt_ended", "add_energy", "submit", "stop", "supply"),
    }
)
"""What changes something; dying before a question is dying after the act before it."""


class DeathError(BaseException):
    """The process is gone."""


class Life:
    """So many acts are left; after the last one, every further act fails."""

    def __init__(self, acts: int) -> None:
        self.acts_left = acts

    def spend(self) -> None:
        """Act once more, or die."""
        if self.acts_left == 0:
            raise DeathError
        self.acts_left -= 1


class Mortal:
    """Passes everything on, at the cost of a life."""

    def __init__(self, target: Any, life: Life) -> None:  # noqa: ANN401 - any port
        self._target = target
        self._life = life

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method
        method = getattr(self._target, name)
        return partial(self._act, method) if name in ACTS else method

    async def _act(self, method: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        self._life.spend()
        return await method(*args, **options)


def mortal(world: World, life: Life) -> Workload:
    return world.workload(
        jobs=Mortal(world.jobs, life),
        packages=Mortal(world.packages, life),
        clusters={name: Mortal(cluster, life) for name, cluster in world.clusters.items()},
    )


async def live_through(world: World, name: str, agent: Workload) -> bool:
    """Run one job through start, pause, resume and end; return whether the agent died of it."""
    world.clock.moment = NOON
    await world.submit(name, request=PACKED)
    await world.plan({name: [(NOON, 2), (NOON + 2 * HOUR, 8)]})
    died = False
    ran: Counter[str] = Counter()
    while world.clock.moment < FLEXIBLE.deadline:
        for _ in range(2):
            try:
                await world.tick(agent)
            except DeathError:
                agent, died = world.workload(), True
        _let_the_cluster_work(world, name, ran)
        if (await world.job(name)).state.is_final:
            return died
        world.pass_time(HALF_HOUR)
    raise AssertionError(f"{name} was not done by its deadline")


def _let_the_cluster_work(world: World, name: str, ran: Counter[str]) -> None:
    london = world.london
    live = [ray_id for ray_id in london.live if ray_id.startswith(name)]
    assert len(live) <= 1, "two runs of one job at the same time"
    for ray_id in live:
        london.run(ray_id)
        ran[ray_id] += 1
        if ran.total() == WORK:
            london.wall = world.clock.moment + HALF_HOUR
            london.end(ray_id)


@ONE_SERVER
async def test_whenever_the_agent_dies_the_job_runs_once_to_its_end(world: World) -> None:
    await world.packages.put(URI, package())
    acts, died = 0, True
    while died:
        world.london.packages.clear()
        name = f"job-x{acts:03}"

        died = await live_through(world, name, mortal(world, Life(acts)))

        job = await world.job(name)
        assert job.state is JobState.SUCCEEDED, f"dead before act {acts}"
        mine = [ray_id for ray_id in world.london.accepted if ray_id.startswith(name)]
        assert mine == [attempt.ray_id for attempt in job.attempts], f"dead before act {acts}"
        assert _never_two_at_once(job.attempts)
        assert len(await world.jobs.energy([name])) >= WORK - 1
        acts += 1

    assert acts > 15


def _never_two_at_once(attempts: Any) -> bool:  # noqa: ANN401 - a job's attempts
    ends: list[datetime] = [attempt.ended_at for attempt in attempts]
    begins = [attempt.decided_at for attempt in attempts]
    return all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))


async def test_an_orchestrator_that_dies_before_it_commits_leaves_the_old_plan(
    world: World,
) -> None:
    await world.forecast(price=[50.0] * 48, intensity=[100.0] * 48)
    await world.submit()
    before = (await world.replan()).plan_id
    await world.submit("job-2", flexibility=replace(FLEXIBLE, deadline=NOON + 6 * HOUR))

    class Dead:
        async def commit(self, *_args: object, **_options: object) -> int:
            raise DeathError

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method
            return getattr(world.plans, name)

    died = False
    try:
        await world.orchestrator(plans=Dead()).tick(NOON, reason="job")
    except DeathError:
        died = True

    assert died
    newest = await world.plans.newest()
    assert newest is not None
    assert newest.id == before
    again = await world.replan("job")
    assert again.is_new
    assert again.jobs == 2
