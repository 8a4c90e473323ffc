"""A seller of energy in a running system, with a simulated market behind its folder."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.baseline_facts import BaselineFacts
from gridflex.adapters.market.exchange import FolderExchange
from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.adapters.market.position_book import PositionBook
from gridflex.agents.energy.admission import Admissions
from gridflex.agents.energy.reductions import Reductions
from gridflex.agents.energy.sale import Prices
from gridflex.agents.energy.seller import EnergyReport, EnergySeller
from gridflex.agents.energy.settlement_rules import SettlementTerms
from gridflex.agents.energy.settling import Settlements, Settler
from gridflex.agents.energy.traded_sites import EnergyTerms, TradedSite
from gridflex.agents.energy.trader import Trader
from gridflex.counterfactual import RunNow
from gridflex.errors import StaleDataError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import JobRequest
from gridflex.market.baselines.waivers import Waiver, waiver_event
from gridflex.market.messages.artefacts import ArtefactKind, channels_of
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry_records import reading_event, registry_event
from gridflex.market.settlement.compensation import REFERENCE_PRICES
from gridflex.market.settlement.losses import Losses
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.position import Stage, Status
from gridflex.market.trading.selling import SalePolicy
from gridflex.market.working_days import half_hours_of
from gridflex.planning.plan import PlannedRun
from gridflex.sandbox.market import Mishap, SimulatedAgents
from gridflex.sandbox.market_folder import FolderMarket, Quotation
from tests.e2e.database.test_trader import BIG, JOB, SITE, SIX, TRADED
from tests.unit.market.days import CALENDAR
from tests.unit.market.registered import RECORDS

KEYS = {"AUTH000001": "SECRET"}
TERMS = SettlementTerms(REFERENCE_PRICES)
MINUTE = timedelta(minutes=1)
CLOSED = SIX + timedelta(minutes=30)
NEXT_DAY = SIX + timedelta(hours=27)
LATER = SIX + timedelta(days=40)
WMAN, SEV, ECVN, DVN = ArtefactKind


class Imbalance:
    """One imbalance price, where there is one."""

    def __init__(self) -> None:
        self.gbp_per_mwh: Decimal | None = Decimal(210)

    async def of(self, day: date, *, now: datetime) -> dict[HalfHour, Decimal]:  # noqa: ARG002
        if self.gbp_per_mwh is None:
            return {}
        return dict.fromkeys(half_hours_of(day), self.gbp_per_mwh)


class System:
    """A seller in a running system, and a simulated market behind its folder."""

    def __init__(
        self,
        engine: AsyncEngine,
        root: Path,
        mishaps: dict[ArtefactKind, list[Mishap | None]] | None = None,
    ) -> None:
        self.root = root
        self.engine = engine
        self.now = SIX
        self.ledger = LedgerStore(engine)
        self.jobs = JobStore(engine)
        self.plans = PlanStore(engine)
        self.is_priced = True
        self.imbalance = Imbalance()
        self.losses = Losses()
        self.run_now = RunNow(
            [Site("local", gpus=8, gpu_type="H100", marginal_pue=1.0)], restart=MINUTE
        )
        self.market = FolderMarket(
            root,
            agents=SimulatedAgents(
                units=[SITE.unit], keys=KEYS, meters=None, calendar=CALENDAR, mishaps=mishaps
            ),
            quotation=Quotation(Decimal(140), {}),
        )
        self.start()

    def start(self) -> None:
        """Start the seller, as a new process would."""
        self.book = PositionBook(self.ledger, calendar=CALENDAR)
        self.seller = EnergySeller(
            EnergyTerms(SITE.unit, "local", "AUTH000001"),
            book=self.book,
            quotes=self,
            make_trader=self._trader,
            settlements=self.settlements(),
            admissions=Admissions(BaselineFacts(LedgerStore(self.engine))),
            calendar=CALENDAR,
            losses=self.losses,
        )

    def settlements(
        self,
        ledger: LedgerStore | None = None,
        terms: SettlementTerms = TERMS,
    ) -> Settlements:
        """Return what settles, as a new process would have it."""
        kept = ledger or self.ledger
        return Settlements(
            book=self.book,
            ledger=kept,
            settler=Settler(ledger=kept, reductions=Reductions(self.jobs, self.run_now)),
            prices=self.imbalance,
            terms=terms,
            calendar=CALENDAR,
        )

    async def of(self, _half_hour: HalfHour, *, now: object) -> Prices:  # noqa: ARG002
        if not self.is_priced:
            raise StaleDataError("no price is known")
        return Prices(Decimal(140), (Decimal(100), Decimal(210)))

    def _trader(self, site: TradedSite) -> Trader:
        desk = TradingDesk([], channels=channels_of(site.account), keys=KEYS, calendar=CALENDAR)
        return Trader(
            site,
            trading=Messenger(
                desk, ledger=self.ledger, mailbox=MarketFolder(self.root), units=[site.unit]
            ),
            ledger=self.ledger,
            exchange=FolderExchange(self.root, now=lambda: self.now),
            jobs=self.jobs,
            plans=self.plans,
            run_now=self.run_now,
            policy=SalePolicy(sale_fraction=Decimal("0.8"), lot_mwh=Decimal("0.05")),
        )

    async def register(self, *, is_allowed: bool = True) -> None:
        await self.ledger.append([registry_event(one) for one in RECORDS], now=SIX)
        if is_allowed:
            await self.allow()

    async def allow(self) -> None:
        """Say that the unit is sold although nothing is known of its baseline yet."""
        event = waiver_event(Waiver(SITE.unit, date(2027, 1, 1), "first start"))
        await self.ledger.append([event], now=SIX)

    async def plan(self, name: str = JOB, at: datetime = SIX) -> None:
        """Hold a job of 2 MW for six hours that would run for four at once."""
        job, due = JobId(name), at + timedelta(hours=12)
        await self.jobs.add(job, JobRequest("x"), replace(BIG, deadline=due), submitted_at=at)
        await self.plans.commit(
            {job: (PlannedRun(job, "local", HalfHour(at) + 12, 8, 8),)},
            made_at=at,
            start=HalfHour(at),
            reason="job",
            result={},
            inputs={},
        )

    async def tick(self, after: timedelta = MINUTE, *, market: bool = True) -> EnergyReport:
        """Let the market answer, and tick."""
        if market:
            self.market.round(self.now)
        self.now += after
        return await self.seller.tick(self.now)

    async def sell(self) -> None:
        """Sell the first half-hour, register and plan before."""
        await self.register()
        await self.plan()
        for _ in range(3):
            await self.tick()

    async def read(self, kwh: int, at: HalfHour = TRADED, *, export_kwh: int = 0) -> None:
        reading = Reading(
            meter=SITE.pair.import_msid,
            half_hour=at,
            import_kwh=Decimal(kwh),
            export_kwh=Decimal(export_kwh),
            evidence=Evidence.SETTLEMENT,
            is_substituted=False,
            received_at=self.now,
        )
        await self.ledger.append([reading_event(reading)], now=self.now)

    async def statuses(self) -> dict[ArtefactKind, Status]:
        (one,) = await self.book.positions(first=TRADED, last=TRADED)
        return {kind: one.position.track(kind).status for kind in ArtefactKind}

    async def stage(self) -> Stage:
        (one,) = await self.book.positions(first=TRADED, last=TRADED)
        return one.position.stage(self.now)
