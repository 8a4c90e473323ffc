"""A sale from the plan to the settlement, with ledger and counterparties, on real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.energy_book import EnergyBook
from gridflex.adapters.market.position_book import PositionBook
from gridflex.agents.energy.reductions import Reductions
from gridflex.agents.energy.sale import Exchange, Prices
from gridflex.agents.energy.settlement_rules import Rules, account_period
from gridflex.agents.energy.settling import Settler
from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.agents.energy.trader import Trader
from gridflex.counterfactual import RunNow
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, Tier
from gridflex.lifecycle import JobRequest
from gridflex.market.messages.artefacts import ArtefactKind, Channel
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import Msid, MsidPair, UnitId
from gridflex.market.registry_records import reading_event, registry_event
from gridflex.market.settlement.book import settle_book
from gridflex.market.settlement.compensation import MutualisedP415, ReferencePrice
from gridflex.market.settlement.records import book_of, replay
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.exclusivity import Direction, Product, Reservation
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.selling import SalePolicy
from gridflex.market.volumes import ImportMWh
from gridflex.planning.plan import PlannedRun
from gridflex.sandbox.exchange import SimulatedExchange
from gridflex.sandbox.market import Mishap, SimulatedAgents
from tests.unit.market.central import Centre
from tests.unit.market.days import CALENDAR
from tests.unit.market.registered import RECORDS

SIX = datetime(2026, 7, 1, 6, tzinfo=UTC)
TRADED = HalfHour(SIX) + 3
LATE = SIX + timedelta(hours=20)
JOB = JobId("train-7")
DEPTH_MW = Decimal(5)
SITE = TradedSite(
    account="GRIDFLEX",
    unit=UnitId("V__CGRID001"),
    pair=MsidPair(Msid("1200012345679")),
    gsp_group="C",
    supplier="SUPPLY",
    authorisation="AUTH000001",
)
CHANNELS = {
    ArtefactKind.WMAN: Channel("VT", "GRIDFLEX", "EC", "ECVAA", "SIML"),
    ArtefactKind.SEV: Channel("VP", "GRIDFLEX", "SV", "SVAA", "SIML"),
    ArtefactKind.ECVN: Channel("EN", "GRIDFLEX", "EC", "ECVAA", "SIML"),
    ArtefactKind.DVN: Channel("VP", "GRIDFLEX", "SV", "SVAA", "SIML"),
}
BIG = Flexibility(
    tier=Tier.T3,
    deadline=SIX + timedelta(hours=12),
    duration=timedelta(hours=4),
    duration_is_declared=True,
    interruptible=True,
    gpus=8,
    min_gpus=8,
    max_gpus=8,
    power_kw=2000.0,
)
RULES = Rules(MutualisedP415(), ReferencePrice(Decimal("98.53"), is_official=False))


class Market:
    """A trader, its stores and its counterparties; 1 MW for four hours is planned for 12:00."""

    def __init__(
        self, engine: AsyncEngine, mishaps: dict[ArtefactKind, list[Mishap | None]] | None = None
    ) -> None:
        self.jobs = JobStore(engine)
        self.plans = PlanStore(engine)
        self.ledger = LedgerStore(engine)
        site = Site("local", gpus=8, gpu_type="H100", marginal_pue=1.0)
        self.run_now = RunNow([site], restart=timedelta(minutes=1))
        self.centre = Centre(
            SimulatedAgents(
                units=[SITE.unit],
                keys={"AUTH000001": "SECRET"},
                meters=[int(SITE.pair.import_msid)],
                calendar=CALENDAR,
                mishaps=mishaps,
            ),
            now=SIX,
        )
        desk = TradingDesk([], channels=CHANNELS, keys={"AUTH000001": "SECRET"}, calendar=CALENDAR)
        self.use(
            Messenger(desk, ledger=self.ledger, mailbox=self.centre),
            ledger=self.ledger,
            exchange=SimulatedExchange({TRADED: Decimal(140)}, depth_mw=DEPTH_MW),
        )
        self.prices = {TRADED: Prices(Decimal(140), (Decimal(100), Decimal(210)))}

    def use(self, trading: Messenger, *, ledger: LedgerStore, exchange: Exchange) -> None:
        """Trade by these ways."""
        self.trading = trading
        self.trader = Trader(
            SITE,
            trading=trading,
            ledger=ledger,
            exchange=exchange,
            jobs=self.jobs,
            plans=self.plans,
            run_now=self.run_now,
            policy=SalePolicy(sale_fraction=Decimal("0.8"), lot_mwh=Decimal("0.05")),
        )

    async def plan(self, start: HalfHour) -> None:
        await self.jobs.add(JOB, JobRequest("x"), BIG, submitted_at=SIX)
        await self.plans.commit(
            {JOB: (PlannedRun(JOB, "local", start, 8, 8),)},
            made_at=SIX,
            start=HalfHour(SIX),
            reason="job",
            result={},
            inputs={},
        )


@pytest.fixture
def market(engine: AsyncEngine) -> Market:
    return Market(engine)


async def test_what_the_plan_leaves_free_is_sold_before_the_gate_closes(market: Market) -> None:
    await market.plan(HalfHour(SIX) + 12)

    sold = await market.trader.tick(SIX, prices=market.prices)

    assert sold is not None
    assert sold.half_hour == TRADED
    assert (sold.expected, sold.planned) == (ImportMWh(Decimal("1.0000")), ImportMWh(Decimal(0)))
    assert sold.trade is not None
    assert sold.trade.mwh == Decimal("0.8")
    book = market.centre.agents.book
    assert book.is_active(TRADED, SITE.unit)
    assert book.contracted_mwh(TRADED) == Decimal("0.800")
    kinds = [one.event["event_type"] for one in await market.ledger.find()]
    assert kinds[:4] == [
        "baseline.computed",
        "sev.submitted",
        "wman.submitted",
        "energy.reserved",
    ]
    assert kinds.count("ecvn.submitted") == 1
    assert "ack.received" in kinds


async def test_a_half_hour_is_traded_once(market: Market) -> None:
    await market.plan(HalfHour(SIX) + 12)
    await market.trader.tick(SIX, prices=market.prices)

    assert await market.trader.tick(SIX + timedelta(minutes=5), prices=market.prices) is None


async def test_nothing_is_sold_where_the_plan_moves_nothing(market: Market) -> None:
    await market.plan(HalfHour(SIX))

    assert await market.trader.tick(SIX, prices=market.prices) is None
    (entry,) = await market.ledger.find()
    assert entry.event["event_type"] == "baseline.computed"
    assert entry.event["body"]["is_traded"] is False


async def settle(market: Market, metered_mwh: str, *, now: datetime = LATE) -> Decimal:
    """Read the meter, notify the delivery, settle it at 210 GBP/MWh, and return the net."""
    market.centre.now = now
    await market.ledger.append([registry_event(one) for one in RECORDS], now=now)
    reading = Reading(
        meter=SITE.pair.import_msid,
        half_hour=TRADED,
        import_kwh=Decimal(metered_mwh) * 1000,
        export_kwh=Decimal(0),
        evidence=Evidence.SETTLEMENT,
        is_substituted=False,
        received_at=LATE,
    )
    await market.ledger.append([reading_event(reading)], now=now)
    book = PositionBook(market.ledger, calendar=CALENDAR)
    (before,) = await book.positions(first=TRADED, last=TRADED)
    assert before.claim is not None
    delivered = before.claim.deliveries[0].volumes
    await market.trader.deliver(delivered, now=now)
    (tracked,) = await book.positions(first=TRADED, last=TRADED)
    assert tracked.reading is not None
    period = account_period(
        SITE, tracked, tracked.reading, system_gbp_per_mwh=Decimal(210), rules=RULES
    )
    settler = Settler(ledger=market.ledger, reductions=Reductions(market.jobs, market.run_now))
    await settler.record([period], site=SITE, now=now, since=await market.ledger.size())
    entries = [one.event for one in await market.ledger.find()]
    assert all(one.is_same for one in replay(entries))
    (result,) = settle_book(book_of(entries)).results
    return result.net_gbp


async def test_what_was_delivered_is_settled_from_the_ledger(market: Market) -> None:
    await market.plan(HalfHour(SIX) + 12)
    await market.trader.tick(SIX, prices=market.prices)

    # 1.0 expected and 0.1 metered: 0.9 delivered, 0.8 sold at 140, 0.1 paid at 210
    assert await settle(market, "0.1") == Decimal("0.8") * 140 + Decimal("0.1") * 210
    (job,) = book_of(one.event for one in await market.ledger.find()).contributions
    assert (job.job, job.reduction_mwh) == (str(JOB), Decimal("1.0000"))
    assert market.centre.agents.book.delivered[TRADED, 1200012345679].mwh == Decimal("0.9000")


async def test_a_rejected_activity_notice_has_its_price(engine: AsyncEngine) -> None:
    market = Market(engine, {ArtefactKind.WMAN: [Mishap.REJECT]})
    await market.plan(HalfHour(SIX) + 12)
    await market.trader.tick(SIX, prices=market.prices)

    # nothing is measured: the sale is bought back at 210
    assert await settle(market, "0.1") == Decimal("0.8") * (140 - 210)


async def test_a_rejected_contract_notice_leaves_the_deviation_to_the_system_price(
    engine: AsyncEngine,
) -> None:
    market = Market(engine, {ArtefactKind.ECVN: [Mishap.REJECT]})
    await market.plan(HalfHour(SIX) + 12)
    await market.trader.tick(SIX, prices=market.prices)

    assert await settle(market, "0.1") == Decimal("0.9") * 210


async def test_energy_that_another_product_holds_is_not_sold_again(market: Market) -> None:
    await market.plan(HalfHour(SIX) + 12)
    promised = Reservation(
        SITE.pair.import_msid, TRADED, Direction.DOWN, Product.DFS, Decimal("0.2"), "DFS-7"
    )
    await EnergyBook(market.ledger).reserve(promised, flexible_mwh=Decimal(1), now=SIX)

    sold = await market.trader.tick(SIX, prices=market.prices)

    assert sold is not None
    assert sold.trade is None
    assert market.centre.agents.book.contracted_mwh(TRADED) == 0


async def test_energy_that_the_exchange_does_not_take_is_free_again(market: Market) -> None:
    await market.plan(HalfHour(SIX) + 12)
    market.use(
        market.trading, ledger=market.ledger, exchange=SimulatedExchange({}, depth_mw=DEPTH_MW)
    )

    await market.trader.tick(SIX, prices=market.prices)

    found = await EnergyBook(market.ledger).held(SITE.pair.import_msid, TRADED)
    assert (found.held, found.refused) == ((), {})
    kinds = [one.event["event_type"] for one in await market.ledger.find()]
    assert kinds.count("energy.reserved") == kinds.count("energy.released") == 1
