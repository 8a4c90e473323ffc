"""Beckn contracts and P415 sales over one energy book, on real PostgreSQL; worked by hand."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.beckn.reserving_store import ReservingStore
from gridflex.adapters.beckn.store import BecknStore
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.energy_book import EnergyBook, Refused
from gridflex.beckn.messaging.keeping import Decision, HeldError, Hold
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.trading.exclusivity import Direction, Product, Reservation
from tests.e2e.database.test_trader import JOB, SITE, SIX, TRADED, Market

SOLD = str(uuid.UUID(int=7))
NOON = HalfHour(SIX) + 12
METER = SITE.pair.import_msid
MOVED = Hold(SOLD, str(JOB), NOON + -2, 8, 8000.0)
"""A job of 1 MWh a half-hour, planned from noon for four hours, is to run an hour earlier."""


class Desk:
    """A store whose contracts hold energy, and the book."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.market = Market(engine)
        self.ledger = LedgerStore(engine)
        self.energy = EnergyBook(self.ledger)
        self.is_traded = True
        self.store = ReservingStore(
            engine,
            ledger=self.ledger,
            plans=self.market.plans,
            meter_of=self._meter,
            now=lambda: SIX,
        )

    async def _meter(self, site: str, _half_hour: HalfHour) -> str | None:
        return METER if site == "local" and self.is_traded else None

    async def held(self, half_hour: HalfHour) -> list[tuple[Product, Direction, Decimal]]:
        found = await self.energy.held(METER, half_hour)
        some = (one.reservation for one in found.held)
        return [(one.product, one.direction, one.mwh) for one in some]

    async def reserve(self, at: HalfHour, mwh: str, of: str) -> bool:
        """Promise less import to the energy market."""
        wanted = Reservation(METER, at, Direction.DOWN, Product.P415, Decimal(mwh), "P1")
        held = await self.energy.reserve(wanted, flexible_mwh=Decimal(of), now=SIX)
        return not isinstance(held, Refused)


@pytest.fixture
async def desk(engine: AsyncEngine) -> Desk:
    made = Desk(engine)
    await made.market.plan(NOON)
    return made


async def test_a_contract_holds_what_leaves_its_half_hours_and_what_comes(desk: Desk) -> None:
    assert await desk.store.decide(Decision(holds=(MOVED,)))

    assert await desk.held(NOON + -1) == [(Product.BECKN, Direction.UP, Decimal("1.0000"))]
    assert await desk.held(NOON) == []  # it runs there either way
    assert await desk.held(NOON + 7) == [(Product.BECKN, Direction.DOWN, Decimal("1.0000"))]
    assert [one.thing for one in await desk.store.holds()] == [str(JOB)]


async def test_energy_that_a_contract_moved_is_not_sold_to_the_market_too(desk: Desk) -> None:
    await desk.store.decide(Decision(holds=(MOVED,)))

    assert not await desk.reserve(NOON + 7, "0.5", of="1.0")
    assert await desk.reserve(NOON + 7, "0.5", of="1.5")
    assert not await desk.reserve(NOON + -1, "0.1", of="5.0")  # promised more import


async def test_a_contract_records_no_figure_of_what_its_meter_could_deliver(desk: Desk) -> None:
    assert await desk.reserve(NOON + 7, "0.5", of="1.0")

    assert await desk.store.decide(Decision(holds=(MOVED,)))

    found = await desk.ledger.find(EventType.ENERGY_RESERVED, first=NOON + 7, last=NOON + 7)
    assert [one.event["body"]["flexible_mwh"] for one in found] == ["1.0", None]
    assert await desk.held(NOON + 7) == [
        (Product.P415, Direction.DOWN, Decimal("0.5")),
        (Product.BECKN, Direction.DOWN, Decimal("1.0000")),
    ]


async def test_a_half_hour_that_the_market_bought_takes_no_more_load(desk: Desk) -> None:
    assert await desk.reserve(NOON + -1, "0.5", of="1.0")

    with pytest.raises(HeldError):
        await desk.store.decide(Decision(holds=(MOVED,)))

    assert await desk.store.holds() == []
    for at in (NOON + 7, NOON + -2):
        assert await desk.held(at) == []


async def test_what_another_contract_holds_is_given_back_at_once(desk: Desk) -> None:
    await desk.store.decide(Decision(holds=(MOVED,)))
    other = Hold(str(uuid.UUID(int=8)), str(JOB), NOON + 2, 8, 8000.0)

    with pytest.raises(HeldError):
        await desk.store.decide(Decision(holds=(other,)))

    assert await desk.held(NOON + 9) == []
    assert len(await desk.held(NOON + 7)) == 1


async def test_a_contract_that_ends_gives_its_energy_back(desk: Desk) -> None:
    await desk.store.decide(Decision(holds=(MOVED,)))

    await desk.store.decide(Decision(freed=(SOLD,)))

    assert await desk.held(NOON + 7) == []
    assert await desk.reserve(NOON + -1, "0.5", of="1.0")


async def test_a_process_that_dies_before_it_promises_leaves_what_the_next_one_finds(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(BecknStore, "decide", die)
        with pytest.raises(KeyboardInterrupt):
            await desk.store.decide(Decision(holds=(MOVED,)))
    size = len(await desk.ledger.find())

    await desk.store.decide(Decision(holds=(MOVED,)))

    assert len(await desk.ledger.find()) == size
    assert len(await desk.held(NOON + 7)) == 1


async def test_a_site_that_is_not_traded_holds_nothing(desk: Desk) -> None:
    desk.is_traded = False

    assert await desk.store.decide(Decision(holds=(MOVED,)))

    assert await desk.held(NOON + 7) == []


async def test_the_trader_sells_what_contracts_leave(engine: AsyncEngine) -> None:
    market = Market(engine)
    await market.plan(NOON)
    promised = Reservation(METER, TRADED, Direction.DOWN, Product.BECKN, Decimal("0.5"), "beckn:x")
    await EnergyBook(market.ledger).reserve(promised, flexible_mwh=Decimal("0.5"), now=SIX)

    sold = await market.trader.tick(SIX, prices=market.prices)

    assert sold is not None
    assert sold.trade is not None
    # 1.0 MWh is free by the plan and half of it promised: 80 % of the rest
    assert sold.trade.mwh == Decimal("0.4")
    assert await market.trader.tick(SIX + timedelta(minutes=1), prices=market.prices) is None
