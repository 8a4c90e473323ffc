"""The orchestration engine over real PostgreSQL: what it plans, when it commits, what it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridflex.adapters.market.tariff_files import TariffFiles
from gridflex.agents import orchestrator
from gridflex.agents.shed_desk import PRICED_OVER, ShedDesk
from gridflex.errors import StaleDataError
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, JobState, Tier
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import PlanningProblem
from gridflex.planning.record import problem_from_record
from gridflex.planning.standing import LATER
from tests.e2e.world import FLEXIBLE, HOUR, MINUTE, NOON, ONE_SERVER, World
from tests.unit.market.test_tariff import tariff_text

NOON_HALF_HOUR = HalfHour.containing(NOON)
HALF_HOUR = timedelta(minutes=30)
VALLEY = [90.0] * 8 + [10.0] * 8 + [80.0] * 32
"""Cheap from 16:00 to 20:00."""

FLAT = [100.0] * 48
CONTIGUOUS = replace(FLEXIBLE, interruptible=False)


async def planned(world: World, name: str = "job-1") -> list[tuple[str, str, int]]:
    plan = await world.plans.newest()
    assert plan is not None
    return [(str(run.start), run.site, run.half_hours) for run in plan.runs[JobId(name)]]


async def test_a_job_is_planned_into_the_cheapest_half_hours(world: World) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)

    report = await world.replan("job")

    assert (report.is_new, report.jobs, report.late, report.unreachable) == (True, 1, (), {})
    assert 0 <= report.gap_fraction < 1e-6
    (run,) = await planned(world)
    assert run[1:] == ("london", 5)  # 2 h and a minute to start
    assert "2026-07-01T16:00Z" <= run[0] <= "2026-07-01T17:30Z"


async def test_a_plan_decides_from_the_next_half_hour_on_and_keeps_what_it_was_made_from(
    world: World,
) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)
    world.pass_time(10 * MINUTE)
    report = await world.replan("forecast, job")

    plan = await world.plans.newest()
    assert plan is not None
    assert report.plan_id == plan.id
    assert (plan.start, plan.made_at) == (NOON_HALF_HOUR + 1, world.clock.moment)
    assert plan.reason == "forecast, job"
    problem = problem_from_record(await world.plans.inputs(plan.id) or {})
    assert [demand.id for demand in problem.jobs] == ["job-1"]
    assert problem.sites[0].price_gbp_per_mwh[:9].tolist() == VALLEY[1:10]


async def test_a_tariff_moves_a_job_out_of_the_red_band(world: World, tmp_path: Path) -> None:
    path = tmp_path / "london.yaml"
    path.write_text(tariff_text())
    await world.forecast(price=[90.0] * 8 + [10.0] * 12 + [80.0] * 28, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)

    tariffs = TariffFiles({"london": path})
    report = await world.orchestrator(tariffs=tariffs).tick(world.clock.moment, reason="job")

    assert list(report.unreachable) == ["tariff of slough"]
    (run,) = await planned(world)
    # 16:00 to 19:00 in London costs 60 GBP/MWh more: 15:00 to 18:00 UTC in July
    assert "2026-07-01T18:00Z" <= run[0] <= "2026-07-01T19:30Z"  # cheap from 16:00 to 22:00
    plan = await world.plans.newest()
    assert plan is not None
    assert plan.result["price_basis"] == {"london": "delivered", "slough": "commodity"}
    problem = problem_from_record(await world.plans.inputs(plan.id) or {})
    there = {site.site.name: site.price_gbp_per_mwh for site in problem.sites}
    assert there["london"][0] == pytest.approx(there["slough"][0] * 1.0504 + 75.365 + 6)  # amber


async def test_the_shed_order_counts_energy_at_what_plans_count_it(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "london.yaml"
    path.write_text(tariff_text())
    await world.forecast(price=VALLEY, intensity=FLAT)
    tariffs = TariffFiles({"london": path})
    desk = ShedDesk(
        jobs=world.jobs,
        curtailments=world.curtailments,
        grid=world.grid(),
        sites=world.ports().sites,
        now=lambda: world.clock.moment,
        restart=MINUTE,
        tariffs=tariffs,
    )

    prices = (await desk.renew()).price_gbp_per_kwh

    wholesale = np.array(VALLEY)
    delivered = tariffs.delivered(
        "london", start=NOON_HALF_HOUR, wholesale_gbp_per_mwh=wholesale[:PRICED_OVER]
    )
    assert delivered is not None
    assert prices == {
        "london": pytest.approx(delivered.gbp_per_mwh.mean() / 1000),
        "slough": pytest.approx(wholesale.mean() / 1000),
    }


async def test_a_tariff_that_cannot_be_used_is_told_and_stops_no_plan(
    world: World, tmp_path: Path
) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)

    tariffs = TariffFiles({"london": tmp_path / "none.yaml"})
    report = await world.orchestrator(tariffs=tariffs).tick(world.clock.moment, reason="job")

    assert report.is_new
    assert "cannot be read" in report.unreachable["tariff of london"]
    plan = await world.plans.newest()
    assert plan is not None
    assert plan.result["price_basis"]["london"] == "commodity"


async def test_nothing_new_is_not_committed_again(world: World) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)
    first = await world.replan("job")
    for _ in range(3):
        world.pass_time(HALF_HOUR)
        again = await world.replan("tick")

        assert (again.plan_id, again.is_new) == (first.plan_id, False)


async def test_a_plan_is_read_back_as_it_was_made(world: World) -> None:
    await world.submit()
    run = PlannedRun(JobId("job-1"), "slough", NOON_HALF_HOUR + 3, 5, 7, power_cap_fraction=0.65)
    usual = {field.name: field.default for field in fields(PlannedRun)}
    assert all(getattr(run, name) != value for name, value in usual.items())
    plan_id = await world.plans.commit(
        {JobId("job-1"): (run,)},
        made_at=NOON,
        start=NOON_HALF_HOUR,
        reason="test",
        result={},
        inputs={},
    )

    plan = await world.plans.get(plan_id)

    assert plan is not None
    assert plan.runs == {JobId("job-1"): (run,)}
    found = await world.plans.next_run(JobId("job-1"), after=NOON_HALF_HOUR)
    assert found is not None
    assert found[1] == run


async def test_a_plan_begins_with_the_prices_of_the_last_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noting(problem: PlanningProblem, *, budget_s: float, standing: Any = None) -> Plan:  # noqa: ANN401 - planner's own
        given.append(standing)
        return make_plan(problem, budget_s=budget_s, standing=standing)

    monkeypatch.setattr(orchestrator, "make_plan", noting)
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=replace(CONTIGUOUS, deadline=NOON + 3 * HOUR))
    await world.replan("job")
    await world.submit("job-2")
    world.pass_time(HOUR)

    await world.replan("forecast, job")

    first, second = given
    assert first is None
    assert isinstance(second, Plan)
    assert second.start == NOON_HALF_HOUR + 1
    assert all(run.start >= NOON_HALF_HOUR + 3 for runs in second.runs.values() for run in runs)
    assert set(second.shadow_prices_gbp_per_gpu) == {"london", "slough"}


async def test_an_arriving_job_takes_its_place_on_the_plan_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)
    await world.replan("job")
    before = await planned(world)
    monkeypatch.setattr(orchestrator, "make_plan", None)
    await world.submit("job-2", flexibility=CONTIGUOUS)

    report = await world.replan("job")

    plan = await world.plans.newest()
    assert plan is not None
    assert (report.is_new, report.plan_id) == (True, plan.id)
    assert plan.result["method"] == LATER
    assert await planned(world) == before
    assert "2026-07-01T16:00Z" <= (await planned(world, "job-2"))[0][0] <= "2026-07-01T17:30Z"


async def test_the_front_of_a_committed_plan_is_kept(world: World) -> None:
    await world.forecast(price=VALLEY, intensity=[50.0] * 8 + [200.0] * 8 + [100.0] * 32)
    await world.submit(flexibility=CONTIGUOUS)
    settings = world.settings.planner.model_copy(update={"front_budget_s": 0.3})

    report = await world.orchestrator(settings=settings).tick(world.clock.moment, reason="forecast")

    assert report.plan_id is not None
    kept = await world.plans.front(report.plan_id)
    assert kept is not None
    cheapest, cleanest = kept["points"][0], kept["points"][-1]
    assert cheapest["cost_gbp"] < cleanest["cost_gbp"]
    assert cheapest["carbon_kg"] > cleanest["carbon_kg"]
    await world.plans.save_front(report.plan_id, {"points": []})
    assert await world.plans.front(report.plan_id) == kept


async def test_no_front_is_drawn_while_jobs_arrive(world: World) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)

    report = await world.replan("job")

    assert report.plan_id is not None
    assert await world.plans.front(report.plan_id) is None


async def test_a_new_forecast_moves_a_job(world: World) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit(flexibility=CONTIGUOUS)
    await world.replan("job")
    world.pass_time(MINUTE)
    await world.forecast(price=[90.0] * 16 + [5.0] * 6 + [90.0] * 26, intensity=FLAT)

    report = await world.replan("forecast")

    assert report.is_new
    assert (await planned(world))[0][0] >= "2026-07-01T20:00Z"


async def test_a_job_that_its_owner_stopped_is_planned_no_more(world: World) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit()
    await world.submit("job-2")
    await world.jobs.request_stop(JobId("job-1"), at=NOON)

    assert (await world.replan()).jobs == 1


async def test_a_job_that_cannot_be_on_time_is_named_and_planned_all_the_same(
    world: World,
) -> None:
    await world.forecast(price=VALLEY, intensity=FLAT)
    await world.submit("late", flexibility=replace(CONTIGUOUS, deadline=NOON + HOUR))

    report = await world.replan()

    assert report.late == ("late",)
    assert await planned(world, "late")


async def test_without_any_forecast_there_is_no_plan_and_the_old_one_stays(world: World) -> None:
    await world.submit()

    with pytest.raises(StaleDataError):
        await world.replan()

    assert await world.plans.newest() is None


async def test_the_plan_in_force_is_the_newest_that_has_begun(world: World) -> None:
    await world.submit()
    first = await world.plan({"job-1": [(NOON, 4)]})
    world.pass_time(HOUR)
    second = await world.plan({"job-1": [(NOON + HOUR, 4)]})
    third = await world.plan({"job-1": []})

    found = [await world.plans.in_force(NOON_HALF_HOUR + later) for later in (-1, 0, 1, 2, 9)]

    assert [plan.id if plan else None for plan in found] == [None, first, first, third, third]
    orders = await world.plans.orders(NOON_HALF_HOUR + 1)
    assert orders.made_at == NOON
    assert [run.half_hours for run in orders.plan[JobId("job-1")]] == [4]
    last = await world.plans.last_with(JobId("job-1"))
    assert last is not None
    assert last.id == second
    assert await world.plans.get(10**9) is None
    assert await world.plans.inputs(10**9) is None
    assert await world.plans.outlooks(10**9) == {}


async def test_the_next_run_is_the_first_that_is_not_over(world: World) -> None:
    await world.submit()
    await world.plan({"job-1": [(NOON, 2), (NOON + 2 * HOUR, 3)]})

    starts = []
    for later in (0, 1, 2, 6, 7):
        found = await world.plans.next_run(JobId("job-1"), after=NOON_HALF_HOUR + later)
        starts.append(found and NOON_HALF_HOUR.until(found[1].start))

    assert starts == [0, 0, 4, 4, None]


async def live_a_day(world: World, work: Mapping[str, int]) -> dict[str, Sequence[HalfHour]]:
    """Let both agents and the cluster live a day; return the half-hours each job ran in."""
    ran: dict[str, list[HalfHour]] = {name: [] for name in work}
    for _ in range(44):
        await world.tick()
        world.pass_time(MINUTE)
        await world.replan()
        for ray_id in world.london.live:
            world.london.run(ray_id)
        await world.tick()
        world.pass_time(HALF_HOUR - 2 * MINUTE)
        for ray_id in world.london.live:
            name = ray_id.partition("-a")[0]
            ran[name].append(HalfHour.containing(world.clock.moment))
            if len(ran[name]) == work[name]:
                world.london.end(ray_id)
        await world.tick()
        world.pass_time(MINUTE)
    return dict(ran)


@ONE_SERVER
async def test_a_day_of_mixed_jobs_is_on_time_once_each_and_cheap(world: World) -> None:
    prices = [60.0, 90.0, 90.0, 20.0, 90.0, 90.0, 15.0, 15.0] * 6
    await world.forecast(price=prices, intensity=FLAT)
    hour = replace(FLEXIBLE, duration=58 * MINUTE, deadline=NOON + 20 * HOUR)
    jobs: dict[str, Flexibility] = {
        "rigid": replace(hour, tier=Tier.T0, interruptible=False, deadline=NOON + HOUR),
        "whole": replace(hour, interruptible=False),
        "split": replace(hour, duration=86 * MINUTE),
        "soon": replace(hour, deadline=NOON + 2 * HOUR, interruptible=False),
        "large": replace(hour, gpus=8, min_gpus=8, max_gpus=8, interruptible=False),
    }
    for name, flexibility in jobs.items():
        await world.submit(name, flexibility=flexibility)

    ran = await live_a_day(world, {"rigid": 2, "whole": 2, "split": 3, "soon": 2, "large": 2})

    for name, flexibility in jobs.items():
        job = await world.job(name)
        assert job.state is JobState.SUCCEEDED, name
        assert job.ended_at is not None
        assert job.ended_at <= flexibility.deadline, name
    assert len(world.london.accepted) == len(set(world.london.accepted))
    assert ran["rigid"] == [NOON_HALF_HOUR, NOON_HALF_HOUR + 1]
    spent = {
        name: [prices[NOON_HALF_HOUR.until(half_hour)] for half_hour in half_hours]
        for name, half_hours in ran.items()
    }
    assert spent["whole"] == [15.0, 15.0]
    assert spent["large"] == [15.0, 15.0]
    assert max(spent["split"]) <= 20.0
