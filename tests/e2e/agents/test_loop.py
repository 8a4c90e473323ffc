"""One process leads a role, wakes when something is announced, and goes on after every failure."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import psycopg
import pytest

from gridflex.adapters.agent_store import AgentStore
from gridflex.adapters.clock import Clock
from gridflex.adapters.wakeups import leading
from gridflex.agents.loop import FAILED, Next, rest_s, run_forever
from gridflex.errors import SourceError
from gridflex.settings import ClockSettings
from tests.e2e.world import World

REASONS = frozenset({"job"})


class Agent:
    """Notes why it was called; fails when told to."""

    def __init__(self, fails: Callable[[int], Exception | None] = lambda _count: None) -> None:
        self.reasons: list[frozenset[str]] = []
        self._fails = fails
        self._ticked = asyncio.Condition()

    async def tick(self, _now: datetime, reasons: frozenset[str]) -> Next:
        self.reasons.append(reasons)
        async with self._ticked:
            self._ticked.notify_all()
        failure = self._fails(len(self.reasons))
        if failure:
            raise failure
        return Next(3600.0, {"ticks": len(self.reasons)})

    async def ticks(self, count: int) -> None:
        async def wait() -> None:
            async with self._ticked:
                await self._ticked.wait_for(lambda: len(self.reasons) >= count)

        await asyncio.wait_for(wait(), timeout=60)


def run(world: World, agent: Agent, name: str = "tester") -> asyncio.Task[None]:
    return asyncio.create_task(
        run_forever(
            name,
            agent.tick,
            url=world.url,
            clock=Clock(ClockSettings()),
            heartbeats=AgentStore(world.engine),
            wanted=REASONS,
            retry_s=0.05,
        )
    )


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def detail(world: World) -> object:
    for _ in range(100):
        rows = await AgentStore(world.engine).all()
        if rows:
            return rows[0].detail
        await asyncio.sleep(0.05)
    raise AssertionError("no heartbeat")


@pytest.mark.parametrize(("took_s", "expected"), [(0.0, 0.25), (1.0, 3.0), (60.0, 5.0)])
def test_the_rest_after_a_tick_has_a_limit(took_s: float, expected: float) -> None:
    assert rest_s(took_s) == expected


async def test_an_agent_ticks_at_start_and_when_a_job_arrives(world: World) -> None:
    agent = Agent()
    task = run(world, agent)
    await agent.ticks(1)
    assert await detail(world) == {"ticks": 1}

    await world.submit()
    await agent.ticks(2)

    await end(task)
    assert agent.reasons == [frozenset({"start"}), frozenset({"job"})]


async def test_what_an_agent_does_not_want_wakes_it_not_but_is_told_later(world: World) -> None:
    agent = Agent()
    task = run(world, agent)
    await agent.ticks(1)
    await asyncio.sleep(0.4)

    await world.plan({})
    await asyncio.sleep(0.4)
    assert len(agent.reasons) == 1
    await world.submit()
    await agent.ticks(2)

    await end(task)
    assert agent.reasons[1] == {"job", "plan"}


@pytest.mark.parametrize("error", [SourceError("away"), RuntimeError("a fault of ours")])
async def test_a_tick_that_fails_is_noted_and_tried_again(world: World, error: Exception) -> None:
    agent = Agent(lambda count: error if count == 1 else None)
    task = run(world, agent)
    await agent.ticks(1)
    noted = await detail(world)
    await agent.ticks(2)

    await end(task)
    assert isinstance(noted, dict)
    assert str(error) in noted[FAILED]


async def test_only_one_leads_and_the_next_takes_over(world: World) -> None:
    first, second = Agent(), Agent()
    leader = run(world, first)
    await first.ticks(1)
    follower = run(world, second)
    await asyncio.sleep(0.7)
    assert second.reasons == []

    await end(leader)
    await second.ticks(1)

    await end(follower)


async def test_an_agent_whose_connection_is_cut_leads_again(world: World) -> None:
    agent = Agent()
    task = run(world, agent)
    await agent.ticks(1)
    await asyncio.sleep(0.4)

    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await agent.ticks(2)

    await end(task)
    assert agent.reasons[1] == {"start"}


async def test_an_agent_whose_heartbeat_cannot_be_kept_goes_on(world: World) -> None:
    class Unkept(Agent):
        async def tick(self, now: datetime, reasons: frozenset[str]) -> Next:
            following = await super().tick(now, reasons)
            first = len(self.reasons) == 1
            return Next(following.within_s, {"gap": float("nan")} if first else {})

    agent = Unkept()
    task = run(world, agent)

    await agent.ticks(2)

    assert not task.done()
    await end(task)


async def test_a_database_that_is_away_is_a_source_error() -> None:
    with pytest.raises(SourceError, match="connecting as tester"):
        async with leading("postgresql://nobody@127.0.0.1:1/none", "tester"):
            pass
