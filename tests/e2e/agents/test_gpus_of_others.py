"""GPUs that others use are left to them by every plan."""

from dataclasses import replace
from datetime import timedelta

import numpy as np

from gridflex.agents.other_load import OBSERVED
from gridflex.jobs import JobId
from gridflex.lifecycle import Outcome
from gridflex.planning.record import problem_from_record
from gridflex.signals import Kind, Origin, Series, Signal
from tests.e2e.agents.test_orchestrator import CONTIGUOUS, FLAT, NOON_HALF_HOUR, VALLEY, planned
from tests.e2e.world import MINUTE, NOON, World


async def test_gpus_in_use_by_others_are_left_to_them_for_four_hours(world: World) -> None:
    await world.forecast(price=[10.0] * 48, intensity=FLAT)
    world.london.used_gpus = 7.0
    await world.submit(flexibility=CONTIGUOUS)

    await world.replan()

    assert (await planned(world))[0][0] >= "2026-07-01T16:30Z"


async def test_gpus_that_others_need_every_afternoon_are_left_to_them(world: World) -> None:
    past = NOON_HALF_HOUR - 12 * 48
    busy = np.tile(np.where((np.arange(48) >= 4) & (np.arange(48) < 12), 7.0, 0.0), 12)
    await world.grid_store.save_series(
        [
            Series(
                signal=Signal.OTHER_GPUS,
                kind=Kind.OUTTURN,
                source=OBSERVED,
                origin=Origin.LIVE,
                region="london",
                start=past,
                values=busy,
                issued_at=NOON,
                available_at=NOON,
            )
        ]
    )
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)

    await world.replan()

    plan = await world.plans.newest()
    assert plan is not None
    free = problem_from_record(await world.plans.inputs(plan.id) or {}).sites[0].free_gpus
    assert (free[5:10] <= 1).all()  # 15:00 to 17:30, in the seven GPUs of others
    (said,) = await world.grid_store.series_known_at(
        Signal.OTHER_GPUS, region="london", now=world.clock.moment
    )
    assert said.source == "gridflex/demand"
    assert said.quantiles is not None


async def test_what_others_use_is_observed_at_every_plan(world: World) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    world.london.used_gpus = 3.0

    await world.replan()

    seen = await world.grid_store.outturn(
        Signal.OTHER_GPUS,
        region="london",
        source=OBSERVED,
        start=NOON_HALF_HOUR,
        half_hours=1,
        known_at=NOON,
    )
    assert seen is not None
    assert seen.values.tolist() == [3.0]


async def test_gpus_of_a_run_that_has_just_ended_are_not_taken_for_those_of_others(
    world: World,
) -> None:
    await world.forecast(price=[10.0] * 8 + [90.0] * 40, intensity=FLAT)
    over = await world.submit("over")
    await world.jobs.decide_attempt(over, site="london", at=NOON)
    await world.jobs.attempt_ended(
        over, 1, outcome=Outcome.SUCCEEDED, at=NOON + MINUTE, driver={}, started_at=NOON
    )
    await world.submit(flexibility=replace(CONTIGUOUS, gpus=8, min_gpus=8, max_gpus=8))
    world.london.used_gpus = 2.0

    world.pass_time(MINUTE + timedelta(seconds=5))
    await world.replan()
    at_once = await planned(world)
    world.pass_time(timedelta(seconds=10))
    await world.replan()

    assert at_once[0][0] == "2026-07-01T12:30Z"
    assert (await planned(world))[0][0] >= "2026-07-01T16:30Z"


async def test_a_run_that_still_waits_in_the_queue_uses_no_gpus(world: World) -> None:
    await world.forecast(price=[10.0] * 48, intensity=FLAT)
    world.london.used_gpus = 8.0
    await world.submit("queued", flexibility=replace(CONTIGUOUS, gpus=8, min_gpus=8, max_gpus=8))
    await world.jobs.decide_attempt(JobId("queued"), site="london", at=NOON)
    await world.tick()
    await world.submit(flexibility=CONTIGUOUS)

    await world.replan()

    assert (await planned(world))[0][0] >= "2026-07-01T16:30Z"


async def test_a_cluster_that_does_not_say_is_taken_to_be_free_and_named(world: World) -> None:
    await world.forecast(price=[10.0] * 8 + [90.0] * 40, intensity=FLAT)
    world.london.is_down = True
    await world.submit(flexibility=CONTIGUOUS)

    report = await world.replan()

    assert list(report.unreachable) == ["london"]
    assert (await planned(world))[0][0] <= "2026-07-01T13:30Z"
