"""A site opts a job into an agreed answer, by ``update`` to a utility in a process of its own."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import uvicorn

from gridflex.adapters.clock import Clock
from gridflex.beckn.contracts.states import ContractState, Side
from gridflex.beckn.flexibility.needs import NEED_TYPE, OFFERED, read_bid
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.participant import screen_contract
from gridflex.beckn.messaging.reacting import Trader
from gridflex.beckn.messaging.writing import Peer
from gridflex.beckn.roles.answering import Answerer
from gridflex.beckn.roles.buying import discovery
from gridflex.beckn.roles.trading import Desk, amend_all
from gridflex.sandbox.beckn.network import SandboxNetwork
from gridflex.sandbox.beckn.node import Node, Place, create_node_app
from gridflex.sandbox.beckn.parts import Part
from gridflex.settings import ClockSettings
from tests.unit.beckn.house import House

SITE = "site.example"
AFTERNOON = datetime(2026, 7, 1, 15, 35, tzinfo=UTC)
EVERY = timedelta(seconds=1)


class Site:
    """A participant that answers needs with its jobs."""

    def __init__(self, url: str, network: SandboxNetwork, clock: Clock) -> None:
        given = network.environment()
        self._service = Peer(
            given["GRIDFLEX_MARKET__SERVICE_ID"],
            given["GRIDFLEX_MARKET__SERVICE_URL"],
            is_service=True,
        )
        registry = given["GRIDFLEX_MARKET__REGISTRY_URL"]
        self._clock = clock
        self._last = clock.wall_now() - EVERY
        self.node = Node(
            Place(SITE, f"{url}/beckn", "BAP", given["GRIDFLEX_MARKET__NETWORK_ID"], registry),
            clock=clock.wall_now,
            trader=self._trader,
            screen=screen_contract,
            ttl=timedelta(seconds=3),
            extra=self._act,
        )
        record = self.node.registration()
        httpx.put(f"{registry}/records", json=record, timeout=30).raise_for_status()

    def _trader(self, store: MemoryStore) -> Trader:
        self.house = House(self._clock.now, store, jobs=("train-1",))
        self.answerer = Answerer(SITE, house=self.house, store=store)
        return Desk(answerer=self.answerer)

    async def _act(self, node: Node, now: datetime) -> None:
        if now - self._last < EVERY:
            return
        self._last = now
        await amend_all(node.participant, self.answerer, node.store, now=now)
        if not node.store._contracts:
            await node.participant.start(
                "discover", discovery(NEED_TYPE), peer=self._service, now=now
            )

    def offered(self) -> tuple[float | None, ...]:
        """Return what is agreed on now; nothing before."""
        agreed = [one for one in self._states() if one.stage.value == "active"]
        return read_bid(agreed[0].contract).table.column(OFFERED).values if agreed else ()

    def _states(self) -> list[ContractState]:
        return [one for one in list(self.node.store._contracts.values()) if one.side is Side.BAP]

    def wait(self, kw: float) -> None:
        deadline = time.monotonic() + 60
        while self.offered() != (kw,) * 4:
            assert time.monotonic() < deadline, (self._states(), self.node.store.failures)
            time.sleep(0.1)


@contextmanager
def serving(network: SandboxNetwork, clock: Clock) -> Iterator[Site]:
    """Serve a site in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = Site(f"http://127.0.0.1:{listener.getsockname()[1]}", network, clock)
        app = create_node_app(site.node, now=clock.wall_now)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield site
        finally:
            server.should_exit = True
            thread.join(20)


def test_a_job_that_is_submitted_later_joins_the_agreed_answer() -> None:
    settings = ClockSettings(origin=AFTERNOON, origin_wall=datetime.now(UTC), speed=1)
    with (
        SandboxNetwork(
            parts=frozenset({Part.UTILITY}), every_s=1, clock=settings, wanted_hours=(22, 23)
        ) as net,
        serving(net, Clock(settings)) as site,
    ):
        site.wait(37.5)
        site.house.jobs = ("train-1", "train-2")
        site.wait(75.0)
        state = httpx.get(f"{net.base_urls[Part.UTILITY]}/_sandbox", timeout=30).json()

    assert [one["stage"] for one in state["contracts"] if one["side"] == "bpp"] == ["active"]
    assert len(state["holds"]) == 2
    said = [one.message.action for one in site.node.store.sent]
    assert said.count("update") == 1
    assert said.count("confirm") == 1
