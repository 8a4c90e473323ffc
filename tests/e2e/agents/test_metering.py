"""Energy over real PostgreSQL: every half-hour once, whoever meters it and whenever."""

from datetime import datetime

import pytest

from gridflex.adapters.jobs.store import JobStore
from gridflex.lifecycle import Job
from tests.e2e.agents.test_workload import running
from tests.e2e.world import HOUR, MINUTE, NOON, World


async def test_energy_is_metered_by_the_half_hour_once(world: World) -> None:
    await running(world)
    agent = world.workload()
    for _ in range(5):
        world.pass_time(17 * MINUTE)
        await world.tick(agent)
        await world.tick()
    world.london.end("job-1")
    await world.tick(agent)
    await world.tick()

    rows = await world.jobs.energy(["job-1"])

    # running from 12:01 to 13:26 at 10 kW times a marginal PUE of 1.1
    assert [row.running_s for row in rows] == [29 * 60.0, 1800.0, 26 * 60.0]
    assert sum(row.energy_kwh for row in rows) == pytest.approx(11.0 * 85 / 60)
    assert {row.method for row in rows} == {"declared"}


async def test_a_new_agent_meters_on_from_where_the_last_one_was(world: World) -> None:
    await running(world)
    world.pass_time(3 * HOUR)
    await world.tick()
    asked: list[tuple[datetime, str]] = []

    class Asked(JobStore):
        async def ended_since(self, moment: datetime, *, site: str | None = None) -> list[Job]:
            asked.append((moment, str(site)))
            return await super().ended_since(moment, site=site)

    world.pass_time(20 * MINUTE)
    world.london.end("job-1")
    await world.tick(world.workload(jobs=Asked(world.engine)))

    rows = await world.jobs.energy(["job-1"])
    assert sum(row.running_s for row in rows) == (3 * HOUR + 20 * MINUTE).total_seconds()
    assert (NOON + 2 * HOUR, "london") in asked
    assert {site for moment, site in asked if moment < NOON} == {"slough"}


async def test_a_run_that_ended_unseen_is_metered_to_its_end_and_not_beyond(world: World) -> None:
    agent = world.workload()
    await running(world)
    world.pass_time(29 * MINUTE)
    await world.tick(agent)
    world.london.is_down = True
    world.pass_time(HOUR)
    world.london.end("job-1")
    for _ in range(4):
        world.pass_time(HOUR)
        await world.tick(agent)
    world.london.is_down = False
    await world.tick(agent)

    rows = await world.jobs.energy(["job-1"])

    # running from 12:01 to 13:30
    assert [row.running_s for row in rows] == [29 * 60.0, 1800.0, 1800.0]
