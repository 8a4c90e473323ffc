"""The trade log as the API tells it, after a trade over PostgreSQL."""

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.beckn.log import BecknLog
from gridflex.adapters.beckn.store import BecknStore
from gridflex.serve.market_api import create_market_router
from gridflex.serve.problems import install_problems
from tests.unit.beckn.house import SIX_AM, Trade
from tests.unit.beckn.network import Network, buy, network
from tests.unit.beckn.wire import BAP, BPP


def client(engine: AsyncEngine) -> httpx.AsyncClient:
    app = FastAPI()
    install_problems(app)
    router = create_market_router(
        BecknLog(engine), house=Trade().house, subscriber_id=BPP.subscriber_id
    )
    app.include_router(router, prefix="/v1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x/v1/market")


@pytest.fixture
async def traded(engine: AsyncEngine) -> tuple[Network, str]:
    net = network(
        lambda action, attempt: "lose" if (action, attempt) == ("on_init", 1) else None,
        stores=(None, BecknStore(engine)),
    )
    return net, await buy(net)


async def test_a_contract_is_told_with_everything_that_was_said(
    engine: AsyncEngine, traded: tuple[Network, str]
) -> None:
    async with client(engine) as http:
        (listed,) = (await http.get("/contracts")).json()["contracts"]
        told = (await http.get(f"/contracts/{traded[1]}")).json()

    assert (listed["stage"], listed["side"], listed["peer"]) == ("active", "bpp", BAP.subscriber_id)
    assert listed["energy_kwh"] == 150
    said = [(one["way"], one["action"], one["status"]) for one in reversed(told["messages"])]
    assert said == [
        ("in", "select", 200),
        ("out", "on_select", 200),
        ("in", "init", 200),
        ("out", "on_init", 200),
        ("in", "confirm", 200),
        ("out", "on_confirm", 200),
    ]
    tries = {one["action"]: one["tries"] for one in told["messages"]}
    assert (tries["on_init"], tries["on_select"]) == (2, 1)
    by_signature = {one["signature"]: one["action"] for one in told["messages"]}
    answers = {one["action"]: one["answers"] for one in told["messages"] if one["answers"]}
    assert {a: by_signature[s] for a, s in answers.items()} == {
        "on_select": "select",
        "on_init": "init",
        "on_confirm": "confirm",
    }


@pytest.mark.usefixtures("traded")
async def test_the_log_is_read_page_by_page(engine: AsyncEngine) -> None:
    async with client(engine) as http:
        first = (await http.get("/messages", params={"limit": 4})).json()
        rest = (await http.get("/messages", params={"before": first["next_before"]})).json()

    assert [len(first["messages"]), len(rest["messages"])] == [4, 2]
    assert rest["next_before"] is None
    numbers = [one["number"] for one in (*first["messages"], *rest["messages"])]
    assert numbers == sorted(numbers, reverse=True)


async def test_a_person_reads_what_was_traded_without_opening_a_message(
    engine: AsyncEngine,
) -> None:
    trade = Trade(store=BecknStore(engine))
    await trade.discover()
    await trade.go_to(SIX_AM + 2)

    async with client(engine) as http:
        log = (await http.get("/messages", params={"limit": 500})).json()["messages"]

    block = "150 kWh from 2026-07-02T02:00Z"
    said = [(one["action"], one["says"]) for one in reversed(log)]
    assert said[:6] == [
        ("select", f"draft, {block}"),
        ("on_select", f"draft, {block}"),
        ("init", f"draft, {block}"),
        ("on_init", f"draft, {block}"),
        ("confirm", f"draft, {block}"),
        ("on_confirm", f"active, {block}"),
    ]
    assert said[6] == ("on_status", f"active, {block}")
    assert said[-1] == ("on_status", f"complete, {block}, 22.5 GBP due")


async def test_what_is_on_offer_is_told_to_its_owner_by_name(engine: AsyncEngine) -> None:
    async with client(engine) as http:
        answer = (await http.get("/offers")).json()

    (offer,) = answer["offers"]
    assert (offer["job_id"], offer["energy_kwh"], offer["price_gbp_per_kwh"]) == (
        "train-1",
        150.0,
        "0.15",
    )
    assert offer["latest_start"] == "2026-07-02T02:00:00+00:00"


async def test_an_unknown_contract_is_a_problem(engine: AsyncEngine) -> None:
    async with client(engine) as http:
        answer = await http.get("/contracts/3d39df73-a4c0-4374-9836-ec6c365a7ecc")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
