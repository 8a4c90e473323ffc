"""Two GridFlex processes with keys of their own trade through registry and discovery service."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from gridflex.adapters.beckn_http import BecknClient
from gridflex.adapters.beckn_keys import BecknKeys
from gridflex.adapters.beckn_log import BecknLog, due_to_us_gbp
from gridflex.adapters.beckn_registration import register, registration_of, require_known
from gridflex.adapters.database import connect
from gridflex.beckn import demand_flex
from gridflex.beckn.buying import block_settlement_fault
from gridflex.beckn.reporting import due_gbp
from gridflex.beckn.states import ContractState, Side, Stage
from gridflex.sandbox.beckn.behaviour import Behaviour
from gridflex.sandbox.beckn.network import SandboxNetwork
from gridflex.sandbox.beckn.parts import Part
from gridflex.settings import ClockSettings, Settings
from tests.e2e.beckn.plant import arguments

SPEED = 600.0
"""A half-hour in three seconds of wall time."""

PAUSE = timedelta(seconds=20)
"""Wall time in which jobs are offered and bought before it is evening."""

EVENING = datetime(2026, 7, 1, 20, 35, tzinfo=UTC)
AFTERNOON = EVENING - timedelta(hours=5)
SLOW = ClockSettings(origin=AFTERNOON, origin_wall=datetime.now(UTC), speed=1)
SELLER_PRICES = {-1: 100.0, **dict.fromkeys((21, 22, 23, 0), 20.0)}
BUYER_PRICES = {-1: 140.0, **dict.fromkeys((2, 3, 4, 5), 80.0)}
FLAT = {-1: 250.0}
CLEAN = {-1: 250.0, **dict.fromkeys((2, 3, 4, 5), 90.0)}


@dataclass
class Plant:
    """One GridFlex process and its database."""

    settings: Settings
    process: subprocess.Popen[bytes]
    url: str

    def contracts(self) -> list[ContractState]:
        async def read() -> list[ContractState]:
            engine = connect(self.url)
            found = await BecknLog(engine).contracts(limit=100)
            await engine.dispose()
            return found

        return asyncio.run(read())

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def wait(self, until: Callable[[list[ContractState]], bool], *, timeout_s: float = 240) -> None:
        deadline = time.monotonic() + timeout_s
        while not until(self.contracts()):
            assert self.process.poll() is None, "the process ended"
            assert time.monotonic() < deadline, self.rows(
                "SELECT m.way, m.action, m.reply_status, d.status, d.failure, t.failure, count(*) "
                "FROM beckn_message m JOIN beckn_task t ON t.message = m.id "
                "LEFT JOIN beckn_delivery d ON d.message = m.id GROUP BY 1, 2, 3, 4, 5, 6"
            )
            time.sleep(0.5)


class Plants:
    """Starts GridFlex processes on one network, and ends them."""

    def __init__(self, server: str, network: SandboxNetwork, folder: Path) -> None:
        self._server = server
        self._network = network
        self._folder = folder
        self._started: list[Plant] = []
        self.clock = ClockSettings(origin=EVENING, origin_wall=datetime.now(UTC), speed=SPEED)

    def start(
        self,
        name: str,
        *,
        prices: dict[int, float],
        intensity: dict[int, float],
        jobs: list[str],
        **market: Any,  # noqa: ANN401 - settings
    ) -> Plant:
        listener = socket.create_server(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        url = self._database(name)
        given = self._network.environment()
        settings = Settings(
            state_dir=self._folder / name,
            database_url=url,
            sites=[{"name": "london", "gpus": 8, "marginal_pue": 1.0}],
            planner={"restart_s": 0, "budget_s": 1, "replan_s": 1800},
            market={
                "subscriber_id": f"{name}.example",
                "url": f"{base}/",
                "network_id": given["GRIDFLEX_MARKET__NETWORK_ID"],
                "registry_url": given["GRIDFLEX_MARKET__REGISTRY_URL"],
                "service_id": given["GRIDFLEX_MARKET__SERVICE_ID"],
                "service_url": given["GRIDFLEX_MARKET__SERVICE_URL"],
                "publish_s": 300,
                "discover_s": 300,
                "ttl_s": 6,
                "draft_s": 12,
                **market,
            },
        )
        self._register(settings)
        argument = arguments(
            settings,
            descriptor=listener.fileno(),
            jobs=jobs,
            price_gbp_per_mwh=prices,
            intensity_gco2_per_kwh=intensity,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.beckn.plant", argument],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ.copy(),
        )
        listener.close()
        self._started.append(Plant(settings, process, url))
        return self._started[-1]

    def go(self, *, clock: ClockSettings | None = None) -> None:
        """Wait until all can plan, and let the clock run for all of them."""
        for plant in self._started:
            assert plant.process.stdout is not None
            assert plant.process.stdout.readline() == b"ready\n"
        if clock is None:
            begins = datetime.now(UTC) + PAUSE
            clock = ClockSettings(origin=EVENING, origin_wall=begins, speed=SPEED)
        for plant in self._started:
            assert plant.process.stdin is not None
            plant.process.stdin.write(clock.model_dump_json().encode() + b"\n")
            plant.process.stdin.flush()

    def stop(self) -> None:
        for plant in self._started:
            plant.process.terminate()
        for plant in self._started:
            plant.process.wait(20)
            for stream in (plant.process.stdin, plant.process.stdout):
                if stream is not None:
                    stream.close()

    def _database(self, name: str) -> str:
        unique = f"beckn_{name}_{os.getpid()}_{time.monotonic_ns()}"
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{unique}" TEMPLATE postgres')
        return self._server.replace("/postgres?", f"/{unique}?")

    def _register(self, settings: Settings) -> None:
        name = str(settings.market.subscriber_id)
        key = BecknKeys(settings.market_key_path, subscriber_id=name).new("k1")
        ours = registration_of(settings.market, key.key_id, key.public_base64)

        async def put() -> None:
            async with BecknClient() as client:
                await register(ours, settings.market, client=client)
                now = datetime.now(UTC)
                await require_known(ours, settings.market, client=client, now=now)

        asyncio.run(put())


@pytest.fixture
def network() -> Iterator[SandboxNetwork]:
    with SandboxNetwork(parts=frozenset({Part.REGISTRY, Part.SERVICE}), ttl_s=5) as net:
        yield net


@pytest.fixture
def plants(embedded_server: str, network: SandboxNetwork, tmp_path: Path) -> Iterator[Plants]:
    made = Plants(embedded_server, network, tmp_path)
    yield made
    made.stop()


def some_newly(stage: Stage, before: list[ContractState]) -> Callable[[list[ContractState]], bool]:
    """Return whether a contract that had not ended before ended in a stage."""
    known = {one.transaction_id for one in before if one.stage.is_final}
    return lambda found: any(
        one.stage is stage and one.transaction_id not in known for one in found
    )


def complete(found: list[ContractState]) -> bool:
    return bool(found) and all(one.stage is Stage.COMPLETE for one in found)


def test_from_catalogue_to_settlement_and_the_job_really_moves(plants: Plants) -> None:
    seller = plants.start(
        "seller", prices=SELLER_PRICES, intensity=FLAT, jobs=["train-1"], buys=False
    )
    buyer = plants.start("buyer", prices=BUYER_PRICES, intensity=CLEAN, jobs=[], sells=False)
    plants.go()

    buyer.wait(complete)
    seller.wait(complete)

    (bought,), (sold,) = buyer.contracts(), seller.contracts()
    assert bought.contract == sold.contract
    assert block_settlement_fault(bought.contract) is None
    ((metered_kwh,),) = seller.rows(
        "SELECT sum(energy_kwh) FROM energy WHERE start >= '2026-07-02T02:00Z' "
        "AND start < '2026-07-02T06:00Z'"
    )
    assert 50 < metered_kwh <= 150  # 37.5 kW for 4 h, less a start that a busy machine delays
    due = due_gbp(bought.contract)
    assert due == pytest.approx(Decimal("0.15") * Decimal(metered_kwh), abs=Decimal("0.01"))
    planned = seller.rows("SELECT start FROM plan_run ORDER BY plan_id")
    assert planned[0][0].hour == 21
    assert datetime(2026, 7, 2, 2, tzinfo=UTC) in {one[0] for one in planned}
    ((started, outcome),) = seller.rows("SELECT started_at, outcome FROM attempt")
    assert started >= datetime(2026, 7, 2, 2, tzinfo=UTC)
    assert outcome == "succeeded"
    assert seller.rows("SELECT 1 FROM beckn_hold WHERE NOT freed") == []


def test_no_misbehaviour_of_a_buyer_sells_twice_or_leaves_anything_open(
    embedded_server: str, tmp_path: Path
) -> None:
    with SandboxNetwork(
        parts=frozenset({Part.UTILITY}),
        ttl_s=3,
        every_s=1,
        clock=SLOW,
    ) as net:
        utility = f"{net.base_urls[Part.UTILITY]}/_sandbox"

        def behave(behaviour: Behaviour) -> None:
            order = {"behaviour": behaviour.value}
            httpx.put(f"{utility}/behaviour", json=order).raise_for_status()

        plants = Plants(embedded_server, net, tmp_path)
        try:
            behave(Behaviour.TIME_OUT)
            seller = plants.start(
                "seller",
                prices=SELLER_PRICES,
                intensity=FLAT,
                jobs=["train-1"],
                buys=False,
                publish_s=1,
            )
            plants.go(clock=SLOW)
            for behaviour in (Behaviour.REFUSE, Behaviour.SIGN_WRONGLY, Behaviour.HAGGLE):
                behave(behaviour)
                time.sleep(8)
            behave(Behaviour.TWICE)
            seller.wait(lambda found: any(one.stage is Stage.ACTIVE for one in found))
            seller.wait(lambda found: all(not one.stage.is_draft for one in found))
            found = seller.contracts()
            bought = httpx.get(utility).json()["contracts"]
        finally:
            plants.stop()

    active = [one.transaction_id for one in found if one.stage is Stage.ACTIVE]
    assert len(active) == 1
    assert seller.rows("SELECT thing FROM beckn_hold WHERE NOT freed") == [("train-1",)]
    assert [one["transaction_id"] for one in bought if one["stage"] == "active"] == active
    assert {"AUT_SIGNATURE_INVALID", "BIZ_PRICE_MISMATCH"} <= {one["reason_code"] for one in bought}


def test_no_misbehaviour_of_a_seller_buys_twice_or_leaves_anything_open(
    embedded_server: str, tmp_path: Path
) -> None:
    with SandboxNetwork(parts=frozenset({Part.AGGREGATOR}), ttl_s=3, every_s=1, clock=SLOW) as net:
        aggregator = f"{net.base_urls[Part.AGGREGATOR]}/_sandbox"

        def behave(behaviour: Behaviour) -> None:
            order = {"behaviour": behaviour.value}
            httpx.put(f"{aggregator}/behaviour", json=order).raise_for_status()

        plants = Plants(embedded_server, net, tmp_path)
        try:
            behave(Behaviour.TIME_OUT)
            buyer = plants.start(
                "buyer",
                prices=BUYER_PRICES,
                intensity=CLEAN,
                jobs=[],
                sells=False,
                discover_s=1,
                ttl_s=3,
            )
            plants.go(clock=SLOW)
            for behaviour, stage in (
                (Behaviour.TIME_OUT, Stage.EXPIRED),
                (Behaviour.REFUSE, Stage.REFUSED),
                (Behaviour.HAGGLE, Stage.CANCELLED),
                (Behaviour.SIGN_WRONGLY, Stage.EXPIRED),
            ):
                ends_now = some_newly(stage, buyer.contracts())
                behave(behaviour)
                buyer.wait(ends_now)
            behave(Behaviour.TWICE)
            buyer.wait(lambda found: sum(one.stage is Stage.ACTIVE for one in found) >= 3)
            buyer.wait(lambda found: all(not one.stage.is_draft for one in found))
            found = buyer.contracts()
            state = httpx.get(aggregator).json()
        finally:
            plants.stop()

    active = [one for one in found if one.stage is Stage.ACTIVE]
    bought = [one.contract.commitments[0].resources[0].id for one in active]
    assert len(bought) == len(set(bought)) == 3
    assert sorted(state["holds"]) == ["simulated-1", "simulated-2", "simulated-3"]
    sold = {one["transaction_id"] for one in state["contracts"] if one["stage"] == "active"}
    assert sold == {one.transaction_id for one in active}
    stages = {one.stage for one in found}
    assert {Stage.EXPIRED, Stage.REFUSED, Stage.CANCELLED} <= stages
    assert "POL_ENGAGEMENT_REFUSED" in {one.reason_code for one in found}
    assert all(one.reason for one in found if one.stage is not Stage.ACTIVE)


def test_a_utility_that_wants_less_load_gets_it_and_pays(
    embedded_server: str, tmp_path: Path
) -> None:
    begins = datetime.now(UTC) + timedelta(seconds=45)
    clock = ClockSettings(origin=EVENING, origin_wall=begins, speed=SPEED)
    with SandboxNetwork(
        parts=frozenset({Part.UTILITY}), ttl_s=6, every_s=1, clock=clock, wanted_hours=(22, 23)
    ) as net:
        plants = Plants(embedded_server, net, tmp_path)
        try:
            seller = plants.start(
                "seller",
                prices=SELLER_PRICES | {1: 20.0},
                intensity=FLAT,
                jobs=["train-1"],
                sells=False,
                buys=False,
            )
            plants.go(clock=clock)
            seller.wait(complete)
            started_at = "SELECT started_at FROM attempt WHERE started_at IS NOT NULL"
            seller.wait(lambda _: bool(seller.rows(started_at)))
            (sold,) = seller.contracts()
        finally:
            plants.stop()

    assert sold.side is Side.BAP
    assert due_to_us_gbp(sold) == Decimal("45.0")  # 37.5 kW less for 2 h at 0.60
    assert demand_flex.need_settlement_fault(sold.contract) is None
    planned = seller.rows("SELECT start FROM plan_run ORDER BY plan_id")
    assert planned[0][0].hour == 21
    ((started,),) = seller.rows(started_at)
    assert started >= datetime(2026, 7, 2, tzinfo=UTC)
    assert seller.rows("SELECT 1 FROM beckn_hold WHERE NOT freed") == []
