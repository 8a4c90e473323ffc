"""A trader that dies between any two steps, and another one that goes on, on real PostgreSQL."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.ledger.event import Event, EventType
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.trading.desk import OutgoingFile, TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.reconciliation import Trade
from gridflex.sandbox.exchange import SimulatedExchange
from gridflex.sandbox.market import Mishap, SimulatedAgents
from tests.e2e.database.test_trader import CHANNELS, LATE, SITE, SIX, TRADED, Market, settle
from tests.shared import ROOT
from tests.unit.market.days import CALENDAR

KEYS = {"AUTH000001": "SECRET"}
MINUTE = timedelta(minutes=1)
STEPS = 15
"""Of one sale: baseline recorded; three messages recorded and sent; energy reserved, the order
placed and the trade recorded; five answers recorded."""


class Killed(Exception):  # noqa: N818 - what happened, not what went wrong
    """The process is no more."""


class Fuse:
    """Kills at the n-th step, before or after it took effect."""

    def __init__(self, step: int, *, is_after: bool) -> None:
        self._left = step
        self._is_after = is_after

    @contextmanager
    def step(self) -> Iterator[None]:
        self._left -= 1
        if self._left == 0 and not self._is_after:
            raise Killed
        yield
        if self._left == 0:
            raise Killed


class FusedLedger(LedgerStore):
    def __init__(self, engine: AsyncEngine, fuse: Fuse) -> None:
        super().__init__(engine)
        self._fuse = fuse

    async def append(self, events: Sequence[Event], *, now: datetime) -> list[int]:
        with self._fuse.step():
            return await super().append(events, now=now)


class FusedExchange:
    def __init__(self, exchange: SimulatedExchange, fuse: Fuse) -> None:
        self._exchange = exchange
        self._fuse = fuse

    def sell(self, **order: object) -> Trade | None:
        with self._fuse.step():
            return self._exchange.sell(**order)  # type: ignore[arg-type]


class Post:
    """The agents' side of the mailbox: what is not collected stays, whoever died."""

    def __init__(self, agents: SimulatedAgents) -> None:
        self.agents = agents
        self.now = SIX
        self.waiting: deque[bytes] = deque()
        self.taken: dict[str, bytes] = {}

    def send(self, file: OutgoingFile) -> None:
        if file.name in self.taken:
            assert self.taken[file.name] == file.payload, "another file under the same number"
            return
        self.taken[file.name] = file.payload
        self.waiting += self.agents.deliver(file.payload, now=self.now)

    def collect(self) -> Iterator[bytes]:
        while self.waiting:
            yield self.waiting[0]
            self.waiting.popleft()

    def refuse(self, why: str) -> None:
        raise AssertionError(why)

    def refused(self) -> dict[str, str]:
        return {}


class FusedPost:
    def __init__(self, post: Post, fuse: Fuse) -> None:
        self._post = post
        self._fuse = fuse

    def send(self, file: OutgoingFile) -> None:
        with self._fuse.step():
            self._post.send(file)

    def collect(self) -> Iterator[bytes]:
        return self._post.collect()

    def refuse(self, why: str) -> None:
        self._post.refuse(why)

    def refused(self) -> dict[str, str]:
        return self._post.refused()


class World:
    """What outlives a trader: the database, the exchange and the central agents."""

    def __init__(
        self, engine: AsyncEngine, mishaps: dict[ArtefactKind, list[Mishap | None]] | None = None
    ) -> None:
        self.engine = engine
        self.exchange = SimulatedExchange({TRADED: Decimal(140)}, depth_mw=Decimal(5))
        self.post = Post(
            SimulatedAgents(
                units=[SITE.unit],
                keys=KEYS,
                meters=[int(SITE.pair.import_msid)],
                calendar=CALENDAR,
                mishaps=mishaps,
            )
        )
        self.ledger = LedgerStore(engine)

    def trader(self, fuse: Fuse | None = None) -> Market:
        """Return a trader of a new process, and the stores to plan with."""
        fuse = fuse or Fuse(0, is_after=False)
        market = Market(self.engine)
        ledger = FusedLedger(self.engine, fuse)
        desk = TradingDesk([], channels=CHANNELS, keys=KEYS, calendar=CALENDAR)
        trading = Messenger(desk, ledger=ledger, mailbox=FusedPost(self.post, fuse))
        market.use(trading, ledger=ledger, exchange=FusedExchange(self.exchange, fuse))
        return market

    async def count(self, *kinds: EventType) -> int:
        return len(await self.ledger.find(*kinds))


@pytest.fixture
async def world(engine: AsyncEngine) -> World:
    made = World(engine)
    await made.trader().plan(TRADED + 9)
    return made


async def assert_sold_once(world: World) -> None:
    book = world.post.agents.book
    assert book.is_active(TRADED, SITE.unit)
    expected = book.expected_of(TRADED, SITE.unit)
    assert expected is not None
    assert expected.mwh == Decimal("-1.0000")
    assert book.contracted_mwh(TRADED) == Decimal("0.800")
    for kind in (
        EventType.BASELINE_COMPUTED,
        EventType.ENERGY_RESERVED,
        EventType.SEV_SUBMITTED,
        EventType.WMAN_SUBMITTED,
        EventType.ECVN_SUBMITTED,
        EventType.CONTRACT_MESSAGE,
    ):
        assert await world.count(kind) == 1, kind
    assert len(world.post.taken) == 3


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
async def test_whoever_goes_on_sells_once(world: World, step: int, is_after: bool) -> None:
    first = world.trader(Fuse(step, is_after=is_after))
    with pytest.raises(Killed):
        await first.trader.tick(SIX, prices=first.prices)

    second = world.trader()
    await second.trader.resume(SIX + MINUTE)
    await second.trader.tick(SIX + MINUTE, prices=second.prices)

    await assert_sold_once(world)


async def test_what_a_dead_trader_sold_is_delivered_and_settled_by_the_next(world: World) -> None:
    first = world.trader()
    await first.trader.tick(SIX, prices=first.prices)
    world.post.now = LATE

    for again in (world.trader(), world.trader()):  # the second one finds everything done
        await again.trader.resume(LATE)
        assert again.trader.sold == first.trader.sold
        net_gbp = await settle(again, "0.1")

    assert await world.count(EventType.DVN_SUBMITTED) == 1
    assert await world.count(EventType.SETTLEMENT_RUN) == 1
    assert net_gbp == Decimal("0.8") * 140 + Decimal("0.1") * 210


async def test_a_rejection_before_the_end_is_known_after_it(engine: AsyncEngine) -> None:
    world = World(engine, {ArtefactKind.ECVN: [Mishap.REJECT]})
    first = world.trader()
    await first.plan(TRADED + 9)
    await first.trader.tick(SIX, prices=first.prices)

    second = world.trader()
    await second.trader.resume(SIX + MINUTE)

    position = second.trading.desk.position(SITE.unit, TRADED)
    assert position == first.trading.desk.position(SITE.unit, TRADED)
    assert position.sold_mwh == 0


async def test_it_does_not_trade_what_another_traded_after_its_gate(world: World) -> None:
    first = world.trader(Fuse(2, is_after=False))  # the baseline is recorded, nothing is sent
    with pytest.raises(Killed):
        await first.trader.tick(SIX, prices=first.prices)

    second = world.trader()
    after = TRADED.start - timedelta(minutes=59)
    await second.trader.resume(after)
    await second.trader.tick(after, prices=second.prices)

    assert not world.post.taken
    (sold,) = second.trader.sold
    assert sold.trade is None


@pytest.mark.parametrize("entries", [1, 3, 4, 5, 6])
async def test_a_killed_process_leaves_all_that_the_next_one_needs(
    world: World, entries: int, tmp_path: Path
) -> None:
    url = world.engine.url.render_as_string(hide_password=False)
    program = [sys.executable, "-m", "tests.e2e.database.dying_trader"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *program, url, str(entries), str(tmp_path), cwd=ROOT, env=environment
    )
    assert await process.wait() == -signal.SIGKILL
    for file in sorted((tmp_path / "outbox").iterdir()):
        world.post.send(OutgoingFile(file.name, file.read_bytes()))
    if (order := tmp_path / "order.json").exists():
        placed = json.loads(order.read_text())
        world.exchange.sell(
            first=TRADED,
            half_hours=1,
            mw=Decimal(placed["mw"]),
            limit_gbp_per_mwh=Decimal(0),
            reference=placed["reference"],
        )

    second = world.trader()
    await second.trader.resume(SIX + MINUTE)
    await second.trader.tick(SIX + MINUTE, prices=second.prices)

    await assert_sold_once(world)
