"""What has grown old is removed once a day, and nothing that is still needed."""

from datetime import timedelta

import httpx
from sqlalchemy import text

from gridflex.adapters.grid.store import GridStore
from gridflex.agents.cleaning import Retention
from gridflex.serve.api import create_api
from tests.e2e.world import HOUR, NOON, ONE_SERVER, World

DAY = timedelta(days=1)
RECORDED = text("""
    INSERT INTO ledger_entry (index, id, event_type, recorded_at, entry, leaf)
    VALUES (:plan, 'plan:' || :plan, 'plan', now(), '', sha256(''))
""")
WITH_INPUTS = text("SELECT id FROM plan WHERE inputs IS NOT NULL ORDER BY id")

pytestmark = ONE_SERVER


async def plans_made(world: World, *ages: timedelta) -> None:
    """Commit plan 1, 2, … for one job, so old at noon; every second one is in the ledger."""
    await world.submit()
    for number, age in enumerate(ages, start=1):
        world.clock.moment = NOON - age
        await world.plan({"job-1": [(NOON, 4)]})
        if number % 2:
            async with world.engine.begin() as connection:
                await connection.execute(RECORDED, {"plan": number})
    world.clock.moment = NOON


async def with_inputs(world: World) -> list[int]:
    async with world.engine.connect() as connection:
        return list((await connection.execute(WITH_INPUTS)).scalars())


async def test_old_plans_that_the_ledger_knows_lose_what_they_were_made_from(world: World) -> None:
    await plans_made(world, 40 * DAY, 39 * DAY, 31 * DAY, 2 * DAY, 0 * DAY)
    retention = Retention("inputs", world.plans.forget_inputs, kept_days=30.0)

    assert await retention.tick(NOON) == 2
    assert await retention.tick(NOON + 23 * HOUR) == 0
    assert await with_inputs(world) == [2, 4, 5]
    first = await world.plans.get(1)
    assert first is not None
    assert list(first.runs) == ["job-1"]


async def test_the_newest_plans_keep_what_they_were_made_from_however_old(world: World) -> None:
    await plans_made(world, 80 * DAY, 60 * DAY + HOUR, 60 * DAY, 60 * DAY - HOUR)

    assert await world.plans.forget_inputs(before=NOON) == 1
    assert await with_inputs(world) == [2, 3, 4]


async def test_a_plan_without_inputs_says_why_it_cannot_be_explained(world: World) -> None:
    await plans_made(world, 40 * DAY, 0 * DAY)
    await world.plans.forget_inputs(before=NOON - DAY)
    transport = httpx.ASGITransport(create_api(world.ports()))

    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as http:
        answer = await http.get("/v1/plans/1")

    assert answer.status_code == 410
    assert "plan 1 was made from is not kept any more" in answer.json()["detail"]


async def test_old_raw_responses_are_deleted(world: World) -> None:
    store = GridStore(world.engine)
    for age in (100 * DAY, 91 * DAY, 89 * DAY, 0 * DAY):
        await store.keep("p", url=str(age), status=200, body=b"", fetched_at=NOON - age)

    assert await Retention("r", store.forget_responses, kept_days=90.0).tick(NOON) == 2
    assert await store.forget_responses(before=NOON + 9 * DAY) == 1  # all but the last day's
