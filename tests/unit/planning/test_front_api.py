"""A stored plan over HTTP: its front, and what if."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gridflex.adapters.jobs.plan_store import PlanStore, StoredPlan
from gridflex.halfhour import HALF_HOUR
from gridflex.planning.planner import make_plan
from gridflex.planning.record import problem_record, result_record
from gridflex.serve.plans_api import create_plans_router
from gridflex.serve.problems import install_problems
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem

GIVEN = problem(
    [job("a"), job("b")],
    outlook([60, 60, 10, 10, 40, 40, 80, 80], intensity=[250, 250, 200, 200, 150, 150, 20, 20]),
)
MADE = make_plan(GIVEN, budget_s=0.0)


class OnePlan(PlanStore):
    """A store that holds one plan, number 7, in memory."""

    def __init__(self) -> None:
        self.kept: list[Mapping[str, Any]] = []

    async def newest(self) -> StoredPlan | None:
        return StoredPlan(
            id=7,
            made_at=MIDNIGHT.start - HALF_HOUR,
            start=MIDNIGHT,
            reason="tick",
            result=result_record(MADE),
            runs=MADE.runs,
        )

    async def inputs(self, _plan_id: int) -> dict[str, object] | None:
        return problem_record(GIVEN)

    async def front(self, _plan_id: int) -> Mapping[str, Any] | None:
        return self.kept[0] if self.kept else None

    async def save_front(self, _plan_id: int, front: Mapping[str, Any]) -> None:
        self.kept.append(front)


def asking(store: OnePlan) -> httpx.AsyncClient:
    """Return a client of the API over a store."""
    api = FastAPI()
    install_problems(api)
    api.include_router(create_plans_router(store))
    transport = httpx.ASGITransport(app=api)
    return httpx.AsyncClient(transport=transport, base_url="http://gridflex.test")


async def test_a_front_is_served_with_its_knee_and_what_given_prices_prefer() -> None:
    store = OnePlan()
    async with asking(store) as client:
        clean = (await client.get("/plans/newest/front?gbp_per_tco2=100000")).json()
        cheap = (await client.get("/plans/newest/front?gbp_per_tco2=0")).json()

    assert clean["points"] == cheap["points"]
    assert clean["points"][clean["preferred"]]["carbon_kg"] == pytest.approx(0.08)
    assert cheap["points"][cheap["preferred"]]["cost_gbp"] == pytest.approx(0.04)
    assert 0 <= clean["knee"] < len(clean["points"])
    assert clean["evaluated"] >= len(clean["points"])
    assert len(store.kept) == 1
    for point in clean["points"]:
        assert point["moved_jobs"] == len(point["moved"])
        assert set(point["moved"]) <= {"a", "b"}
    assert {job for point in clean["points"] for job in point["moved"]} == {"a", "b"}


async def test_where_no_plan_was_made_yet_what_is_missing_can_be_found() -> None:
    class NoPlan(OnePlan):
        async def newest(self) -> StoredPlan | None:
            return None

    async with asking(NoPlan()) as client:
        answer = await client.get("/plans/newest")

    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("there is no plan yet: the first is made once")
    assert "gridflex check says what is missing" in answer.json()["detail"]


@pytest.mark.parametrize(("broken", "each"), [(0, 0), (3, None)])
async def test_a_front_kept_with_one_sum_of_broken_promises_tells_no_kind_of_them(
    broken: int, each: int | None
) -> None:
    store = OnePlan()
    async with asking(store) as client:
        fresh = (await client.get("/plans/newest/front")).json()["points"][0]
        kept = {name: fresh[name] for name in fresh if "over_cap" not in name} | {"late": broken}
        store.kept = [{"points": [kept], "knee": 0, "evaluated": 1}]
        point = (await client.get("/plans/newest/front")).json()["points"][0]

    assert (fresh["late"], fresh["over_cap"], fresh["sites_over_cap"]) == (0, 0, 0)
    assert (point["late"], point["over_cap"], point["sites_over_cap"]) == (each, each, each)


@pytest.mark.parametrize("deadline", ["9999-12-31T23:30:00-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_deadline_that_utc_cannot_tell_is_refused_by_its_name(deadline: str) -> None:
    async with asking(OnePlan()) as client:
        answer = await client.post("/plans/newest/what-if", json={"deadlines": {"a": deadline}})

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"deadlines.a: '{deadline}': valid is an instant")


@pytest.mark.parametrize("price", ["nan", "inf", "-1", "1e308"])
@pytest.mark.parametrize("name", ["gbp_per_tco2", "gbp_per_gpu_hour"])
async def test_a_price_that_is_none_is_refused_by_its_name(name: str, price: str) -> None:
    async with asking(OnePlan()) as client:
        answer = await client.get("/plans/newest/front", params={name: price})

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"carbon_price_gbp_per_tco2": 1e308}', "carbon_price_gbp_per_tco2: 1e+308 is"),
        ('{"carbon_price_gbp_per_tco2": NaN}', "carbon_price_gbp_per_tco2: nan is"),
        ('{"carbon_caps_gco2_per_kwh": {"a": Infinity}}', "carbon_caps_gco2_per_kwh.a: inf is"),
        (f'{{"gpus": {{"london": 1{"0" * 400}}}}}', "gpus.london: "),
    ],
)
async def test_what_cannot_be_assumed_is_refused_by_its_name(body: str, field: str) -> None:
    async with asking(OnePlan()) as client:
        headers = {"content-type": "application/json"}
        answer = await client.post("/plans/newest/what-if", content=body, headers=headers)

    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"].startswith(field)
