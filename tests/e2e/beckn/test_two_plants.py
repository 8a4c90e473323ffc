"""Two GridFlex processes with keys of their own trade through registry and discovery service.

First each in turn misbehaves, in each way and at the messages where that hurts most, and the other
must be left with nothing open, nothing held and a reason. Then they trade to the end, though both
say everything twice. All of it is one pair of processes and one job: whatever a misbehaviour left
behind would be in the way of the next trade.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gridflex.adapters.beckn.http import BecknClient
from gridflex.adapters.beckn.keys import BecknKeys
from gridflex.adapters.beckn.log import BecknLog, due_to_us_gbp
from gridflex.adapters.beckn.registration import register, registration_of, require_known
from gridflex.adapters.database import connect
from gridflex.beckn.contracts.states import ContractState, Side, Stage
from gridflex.beckn.flexibility import demand_flex
from gridflex.beckn.flexibility.reporting import due_gbp
from gridflex.beckn.roles.buying import block_settlement_fault
from gridflex.sandbox.beckn.behaviour import Behaviour
from gridflex.sandbox.beckn.network import SandboxNetwork
from gridflex.sandbox.beckn.parts import Part
from gridflex.settings import ClockSettings, Settings
from tests.e2e.beckn.plant import Order, arguments

SPEED = 600.0
"""A half-hour in three seconds of wall time."""

PAUSE = timedelta(seconds=20)
"""Wall time in which a need is answered before it is evening."""

EVENING = datetime(2026, 7, 1, 20, 35, tzinfo=UTC)
AFTERNOON = EVENING - timedelta(hours=5)
SELLER_PRICES = {-1: 100.0, **dict.fromkeys((21, 22, 23, 0, 1), 20.0)}
BUYER_PRICES = {-1: 140.0, **dict.fromkeys((2, 3, 4, 5), 80.0)}
FLAT = {-1: 250.0}
CLEAN = {-1: 250.0, **dict.fromkeys((2, 3, 4, 5), 90.0)}
DRAFT_S = 8.0
"""After which a seller forgets who went silent."""

ALL = 500


@dataclass
class Plant:
    """One GridFlex process and its database."""

    settings: Settings
    process: subprocess.Popen[bytes]
    url: str

    def hear(self, word: bytes) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == word + b"\n", "the process ended"

    def order(self, order: Order) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(order.model_dump_json().encode() + b"\n")
        self.process.stdin.flush()
        self.hear(b"done")

    def behave(self, behaviour: Behaviour, at: str | None = None) -> None:
        self.order(Order(behaviour=behaviour, at=at))

    def contracts(self) -> list[ContractState]:
        async def read() -> list[ContractState]:
            engine = connect(self.url)
            found = await BecknLog(engine).contracts(limit=ALL)
            await engine.dispose()
            return found

        return asyncio.run(read())

    def contract(self, transaction_id: str) -> ContractState | None:
        found = [one for one in self.contracts() if one.transaction_id == transaction_id]
        return found[0] if found else None

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def wait(
        self, until: Callable[[list[ContractState]], bool], *, timeout_s: float = 240
    ) -> list[ContractState]:
        deadline = time.monotonic() + timeout_s
        while not until(found := self.contracts()):
            assert self.process.poll() is None, "the process ended"
            assert time.monotonic() < deadline, self.rows(
                "SELECT m.way, m.action, m.reply_status, d.status, d.failure, t.failure, count(*) "
                "FROM beckn_message m JOIN beckn_task t ON t.message = m.id "
                "LEFT JOIN beckn_delivery d ON d.message = m.id GROUP BY 1, 2, 3, 4, 5, 6"
            )
            time.sleep(0.3)
        return found


class Plants:
    """Starts GridFlex processes on one network, and ends them."""

    def __init__(self, server: str, network: SandboxNetwork, folder: Path) -> None:
        self._server = server
        self._network = network
        self._folder = folder
        self._started: list[Plant] = []

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
            planner={"restart_s": 0, "budget_s": 1, "front_budget_s": 0, "replan_s": 1800},
            market={
                "subscriber_id": f"{name}.example",
                "url": f"{base}/",
                "network_id": given["GRIDFLEX_MARKET__NETWORK_ID"],
                "registry_url": given["GRIDFLEX_MARKET__REGISTRY_URL"],
                "service_id": given["GRIDFLEX_MARKET__SERVICE_ID"],
                "service_url": given["GRIDFLEX_MARKET__SERVICE_URL"],
                "ttl_s": 3,
                "draft_s": DRAFT_S,
                "timeout_s": 2,
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
                await require_known(ours, settings.market, client=client, now=now())

        asyncio.run(put())


@dataclass
class Pair:
    """A seller and a buyer, and what became of the trades in which one misbehaved."""

    network: SandboxNetwork
    seller: Plant
    buyer: Plant
    answerer: Plant
    spoilt: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def pair(embedded_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with SandboxNetwork(
        parts=frozenset({Part.REGISTRY, Part.SERVICE}),
        ttl_s=6,
        every_s=1,
        premium_gbp_per_kwh="0.01",
        wanted_hours=(22, 23),
    ) as network:
        plants = Plants(embedded_server, network, tmp_path_factory.mktemp("plants"))
        try:
            seller = plants.start(
                "seller",
                prices=SELLER_PRICES,
                intensity=FLAT,
                jobs=["train-1"],
                buys=False,
                answers=False,
            )
            buyer = plants.start(
                "buyer", prices=BUYER_PRICES, intensity=CLEAN, jobs=[], sells=False, answers=False
            )
            answerer = plants.start(
                "answerer",
                prices=SELLER_PRICES,
                intensity=FLAT,
                jobs=["train-2"],
                sells=False,
                buys=False,
            )
            for plant in (seller, buyer, answerer):
                plant.hear(b"ready")
            seller.behave(Behaviour.REFUSE)
            for plant in (seller, buyer):
                plant.order(Order(clock=ClockSettings(origin=AFTERNOON, origin_wall=now())))
            yield Pair(network, seller, buyer, answerer)
        finally:
            plants.stop()


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Misdeed:
    """What one of the pair does, and how the trade must end on either side.

    Args:
        who: ``seller`` or ``buyer``.
        behaviour: What it does.
        at: The message that it refuses, does not answer or spoils.
        bought: How the contract ends at the buyer.
        code: Why, there.
        sold: How it ends at the seller; None if it never had one.
        cause: Why, there.
    """

    who: str
    behaviour: Behaviour
    at: str
    bought: Stage
    code: str | None
    sold: Stage | None
    cause: str | None = None

    @property
    def name(self) -> str:
        return f"{self.who} {self.behaviour} {self.at}"


REFUSED, EXPIRED, CANCELLED = Stage.REFUSED, Stage.EXPIRED, Stage.CANCELLED
ENGAGEMENT, PRICE = "POL_ENGAGEMENT_REFUSED", "BIZ_PRICE_MISMATCH"
FORGED = "AUT_SIGNATURE_INVALID"
MISDEEDS = [
    Misdeed("seller", Behaviour.REFUSE, "select", REFUSED, ENGAGEMENT, None),
    Misdeed("seller", Behaviour.REFUSE, "confirm", REFUSED, ENGAGEMENT, EXPIRED),
    Misdeed("seller", Behaviour.TIME_OUT, "select", EXPIRED, None, EXPIRED),
    Misdeed("seller", Behaviour.TIME_OUT, "confirm", EXPIRED, None, CANCELLED),
    Misdeed("seller", Behaviour.HAGGLE, "on_select", CANCELLED, None, CANCELLED),
    Misdeed("seller", Behaviour.SIGN_WRONGLY, "on_confirm", EXPIRED, None, CANCELLED),
    Misdeed("buyer", Behaviour.REFUSE, "on_select", EXPIRED, None, EXPIRED),
    Misdeed("buyer", Behaviour.REFUSE, "on_confirm", EXPIRED, None, CANCELLED),
    Misdeed("buyer", Behaviour.TIME_OUT, "on_select", EXPIRED, None, EXPIRED),
    Misdeed("buyer", Behaviour.TIME_OUT, "on_confirm", EXPIRED, None, CANCELLED),
    Misdeed("buyer", Behaviour.HAGGLE, "confirm", REFUSED, PRICE, REFUSED, PRICE),
    Misdeed("buyer", Behaviour.SIGN_WRONGLY, "confirm", REFUSED, FORGED, EXPIRED),
]


@pytest.mark.parametrize("misdeed", MISDEEDS, ids=lambda one: one.name)
def test_a_misdeed_ends_its_own_trade_with_a_reason(pair: Pair, misdeed: Misdeed) -> None:
    bad, good = pair.seller, pair.buyer
    if misdeed.who == "buyer":
        bad, good = pair.buyer, pair.seller
    bad.behave(misdeed.behaviour, misdeed.at)
    good.behave(Behaviour.ACCEPT)
    began = now()

    def ended(found: list[ContractState]) -> list[ContractState]:
        return [
            one
            for one in found
            if one.opened_at > began
            and (one.stage, one.reason_code) == (misdeed.bought, misdeed.code)
        ]

    (*_, spoilt) = ended(pair.buyer.wait(lambda found: bool(ended(found)), timeout_s=60))

    assert spoilt.reason
    pair.spoilt[misdeed.name] = spoilt.transaction_id


def test_no_misdeed_leaves_a_contract_or_a_job_in_limbo(pair: Pair) -> None:
    pair.seller.behave(Behaviour.REFUSE)
    pair.buyer.behave(Behaviour.ACCEPT)
    time.sleep(DRAFT_S)

    sold = pair.seller.wait(lambda found: all(one.stage.is_final for one in found), timeout_s=60)

    by_transaction = {one.transaction_id: one for one in sold}
    ends = {
        one.name: by_transaction.get(pair.spoilt[one.name])
        for one in MISDEEDS
        if one.name in pair.spoilt
    }
    assert {name: end and (end.stage, end.reason_code) for name, end in ends.items()} == {
        one.name: one.sold and (one.sold, one.cause) for one in MISDEEDS if one.name in ends
    }
    assert not [one for one in sold if one.stage is Stage.COMPLETE]
    assert all(one.reason for one in sold)
    assert pair.seller.rows("SELECT 1 FROM beckn_hold WHERE NOT freed") == []
    answers = pair.buyer.rows("SELECT body FROM beckn_delivery WHERE status >= 400")
    assert all(json.loads(body)["message"]["error"]["message"] for (body,) in answers)


def test_from_catalogue_to_settlement_though_all_is_said_twice(pair: Pair) -> None:
    for plant in (pair.seller, pair.buyer):
        plant.behave(Behaviour.TWICE)
    for plant in (pair.seller, pair.buyer):
        plant.wait(lambda found: any(one.stage is Stage.ACTIVE for one in found))
    begins = now() + PAUSE
    clock = ClockSettings(origin=EVENING, origin_wall=begins, speed=SPEED)
    pair.network.add(Part.UTILITY, clock=clock)
    for plant in (pair.seller, pair.buyer, pair.answerer):
        plant.order(Order(clock=clock))

    (bought,) = agreed(pair.buyer.wait(complete))
    (sold,) = agreed(pair.seller.wait(complete))

    assert bought.contract == sold.contract
    assert block_settlement_fault(bought.contract) is None
    seller = pair.seller
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


def test_a_utility_that_wants_less_load_gets_it_and_pays(pair: Pair) -> None:
    answerer = pair.answerer

    answerer.wait(complete)
    started_at = "SELECT started_at FROM attempt WHERE started_at IS NOT NULL"
    answerer.wait(lambda _: bool(answerer.rows(started_at)))

    (sold,) = agreed(answerer.contracts())
    assert sold.side is Side.BAP
    assert due_to_us_gbp(sold) == Decimal("45.0")  # 37.5 kW less for 2 h at 0.60
    assert demand_flex.need_settlement_fault(sold.contract) is None
    planned = answerer.rows("SELECT start FROM plan_run ORDER BY plan_id")
    assert planned[0][0].hour == 21
    ((started,),) = answerer.rows(started_at)
    assert started >= datetime(2026, 7, 2, tzinfo=UTC)
    assert answerer.rows("SELECT 1 FROM beckn_hold WHERE NOT freed") == []


def agreed(found: list[ContractState]) -> list[ContractState]:
    """Return the contracts that came about."""
    return [one for one in found if one.stage in {Stage.ACTIVE, Stage.COMPLETE}]


def complete(found: list[ContractState]) -> bool:
    return bool(agreed(found)) and all(one.stage is Stage.COMPLETE for one in agreed(found))
