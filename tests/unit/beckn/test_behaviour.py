"""A sandbox counterparty misbehaves as it is told, at the messages that it is told."""

from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from gridflex.beckn.messaging.participant import screen_contract
from gridflex.sandbox.beckn.behaviour import Behaviour, Mood, MoodyServer
from gridflex.sandbox.beckn.node import Node, Place, create_node_app
from tests.unit.beckn.network import ScriptedSeller
from tests.unit.beckn.wire import BPP, NETWORK


@pytest.mark.parametrize(
    ("at", "action", "is_done"),
    [
        (None, "select", True),
        (None, "on_confirm", True),
        (None, "discover", False),
        (None, "catalog/on_publish", False),
        ("confirm", "confirm", True),
        ("confirm", "on_confirm", False),
    ],
)
def test_a_behaviour_is_for_all_messages_of_a_trade_or_for_one_action(
    at: str | None, action: str, *, is_done: bool
) -> None:
    mood = Mood(Behaviour.REFUSE, at)

    assert mood.does(Behaviour.REFUSE, action) is is_done
    assert not mood.does(Behaviour.HAGGLE, action)


@pytest.mark.parametrize(
    ("action", "status"), [("on_confirm", 504), ("on_select", 200), ("confirm", 200)]
)
async def test_a_callback_that_is_not_answered_times_out(action: str, status: int) -> None:
    app = FastAPI()

    @app.post("/beckn/{name}")
    async def take(name: str) -> str:
        return name

    silent = MoodyServer(app, Mood(Behaviour.TIME_OUT, "on_confirm"), silent_s=0)
    transport = httpx.ASGITransport(app=silent)
    async with httpx.AsyncClient(transport=transport, base_url="http://utility") as http:
        answer = await http.post(f"/beckn/{action}")

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"behaviour": "refuse"}, 200),
        ({"behaviour": "time-out", "at": "on_confirm"}, 200),
        ({"behaviour": "time-out", "at": "on_monday"}, 422),
        ({"behaviour": "sulk"}, 422),
    ],
)
async def test_a_counterparty_is_told_how_to_behave_while_it_runs(
    order: dict[str, str], status: int
) -> None:
    place = Place(BPP.subscriber_id, BPP.url, "BPP", NETWORK, "http://127.0.0.1:9/dedi")
    node = Node(
        place,
        clock=lambda: datetime.now(UTC),
        trader=lambda _store: ScriptedSeller(),
        screen=screen_contract,
    )
    transport = httpx.ASGITransport(app=create_node_app(node, now=lambda: datetime.now(UTC)))

    async with httpx.AsyncClient(transport=transport, base_url="http://utility") as http:
        answer = await http.put("/_sandbox/behaviour", json=order)
        state = (await http.get("/_sandbox")).json()
    await node.close()

    assert answer.status_code == status
    told = order if status == 200 else {"behaviour": "accept"}
    assert (state["behaviour"], state["at"]) == (told["behaviour"], told.get("at"))
