"""A seller's house and a buyer's market: real plans and slack, simulated time and meters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from gridflex.beckn.contracts.states import ContractState, Side
from gridflex.beckn.flexibility.offers import Terms, catalog_of
from gridflex.beckn.messaging.keeping import Store
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.roles.buying import Buyer, BuyingPolicy, Expected, Outlook
from gridflex.beckn.roles.selling import Seller, Standing
from gridflex.beckn.roles.trading import Desk, report_all
from gridflex.beckn.wire.payloads import CatalogsMessage
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook
from gridflex.planning.slack import Slack
from tests.unit.beckn.network import Mischief, Network, network, say
from tests.unit.beckn.wire import BAP, BPP, NOW

TEN_PM = HalfHour(datetime(2026, 7, 1, 22, tzinfo=UTC))
TWO_AM = HalfHour(datetime(2026, 7, 2, 2, tzinfo=UTC))
SIX_AM = HalfHour(datetime(2026, 7, 2, 6, tzinfo=UTC))
HORIZON = 48
DEAR, CHEAP = Expected(140.0, 250.0), Expected(80.0, 90.0)


def expected(half_hour: HalfHour) -> Expected:
    """From 02:00 to 06:00 UTC the grid is cheap and clean."""
    return CHEAP if TWO_AM <= half_hour < SIX_AM else DEAR


def demand(name: str, *, start: HalfHour, deadline: HalfHour, gpus: int = 4) -> JobDemand:
    """A job of 150 kWh: 4 h at 37.5 kW."""
    return JobDemand(
        id=JobId(name),
        tier=Tier.T3,
        release=0,
        deadline=start.until(deadline),
        work=8,
        gpus=gpus,
        power_kw={"london": 37.5},
        interruptible=True,
    )


@dataclass
class House:
    """One site with some waiting jobs, each planned for 22:00; a contract moves them."""

    clock: Callable[[], datetime]
    store: Store
    jobs: Sequence[str] = ("train-1",)
    gpus: int = 8
    deadline: HalfHour = SIX_AM
    premium: Decimal = Decimal("0.15")
    planned: dict[str, HalfHour] = field(default_factory=dict)
    is_idle: bool = False

    async def now(self) -> HalfHour:
        return HalfHour.containing(self.clock())

    async def runs(self) -> dict[JobId, tuple[PlannedRun, ...]]:
        held = {one.thing: one.start for one in await self.store.holds()}
        return {
            JobId(name): (PlannedRun(JobId(name), "london", self.start(name, held), 8, 4),)
            for name in self.jobs
        }

    def start(self, name: str, held: Mapping[str, HalfHour]) -> HalfHour:
        return held.get(name) or self.planned.get(name, TEN_PM)

    async def standing(self) -> Standing:
        now = await self.now()
        start = now + 1
        grid = list(start.span(HORIZON))
        outlook = SiteOutlook(
            site=Site("london", gpus=self.gpus, gpu_type="H100"),
            price_gbp_per_mwh=np.array([expected(one).price_gbp_per_mwh for one in grid]),
            intensity_gco2_per_kwh=np.array([expected(one).intensity_gco2_per_kwh for one in grid]),
            free_gpus=np.full(HORIZON, float(self.gpus)),
        )
        problem = PlanningProblem(
            start=start,
            jobs=tuple(demand(one, start=start, deadline=self.deadline) for one in self.jobs),
            sites=(outlook,),
            carbon_price_gbp_per_tco2=80.0,
        )
        held = frozenset(one.thing for one in await self.store.holds())
        return Standing(now, Slack(problem, await self.runs(), held=held), self.terms())

    def terms(self) -> Terms:
        prices = {JobId(name): self.premium for name in self.jobs}
        return Terms(BPP.subscriber_id, "London", "EC2", price_gbp_per_kwh=prices)

    async def used_kwh(self, job_id: JobId) -> Mapping[HalfHour, float]:
        if self.is_idle:
            return {}
        now = await self.now()
        run = (await self.runs())[job_id][0]
        return {one: 18.75 for one in run.start.span(8) if one < now}

    async def intensity_gco2_per_kwh(
        self, start: HalfHour, half_hours: int
    ) -> Mapping[HalfHour, float]:
        return {one: expected(one).intensity_gco2_per_kwh for one in start.span(half_hours)}


@dataclass
class Grid:
    """What the buyer expects."""

    clock: Callable[[], datetime]

    async def outlook(self) -> Outlook:
        start = HalfHour.containing(self.clock()) + 1
        return {one: expected(one) for one in start.span(HORIZON)}


class Trade:
    """A seller and a buyer who meet over a network."""

    def __init__(
        self,
        mischief: Mischief | None = None,
        *,
        policy: BuyingPolicy | None = None,
        store: Store | None = None,
        **house: Any,  # noqa: ANN401 - of `House`
    ) -> None:
        stores = (MemoryStore(), store or MemoryStore())
        self.house = House(self.clock, stores[1], **house)
        self.seller = Seller(
            BPP.subscriber_id,
            house=self.house,
            store=stores[1],
            page_of=lambda transaction: f"https://bpp.example.com/contracts/{transaction}",
            support_url="https://bpp.example.com/support",
        )
        self.buyer = Buyer(
            BAP.subscriber_id,
            market=Grid(self.clock),
            store=stores[0],
            policy=policy or BuyingPolicy(),
        )
        self.net: Network = network(
            mischief,
            stores=stores,
            seller=Desk(seller=self.seller),
            buyer=Desk(buyer=self.buyer),
        )

    def clock(self) -> datetime:
        return self.net.now if hasattr(self, "net") else NOW

    async def catalogs(self) -> CatalogsMessage:
        standing = await self.house.standing()
        catalog = catalog_of(
            standing.slack.blocks(),
            standing.terms,
            catalog_id="catalog-1",
            now=self.net.now,
            until=self.net.now + timedelta(hours=1),
        )
        return CatalogsMessage(
            catalogs=[catalog.model_copy(update={"bpp_id": BPP.subscriber_id, "bpp_uri": BPP.url})]
        )

    async def discover(self, catalogs: CatalogsMessage | None = None) -> None:
        """Let the buyer choose from what is on offer, and both talk for a minute."""
        reaction = await self.buyer._choose((catalogs or await self.catalogs()).catalogs)
        await say(self.net, reaction)

    async def go_to(self, half_hour: HalfHour) -> None:
        """Let time pass, half-hour by half-hour, with reports in each."""
        now = HalfHour.containing(self.net.now)
        for one in (now + 1).span(now.until(half_hour)):
            self.net.now = one.start + timedelta(seconds=10)
            place = self.net.places[BPP.url]
            await report_all(place.participant, self.seller, place.store, now=self.net.now)
            await self.net.run(until=self.net.now + timedelta(seconds=5))

    async def contracts(self) -> tuple[list[ContractState], list[ContractState]]:
        """Return all contracts as buyer and seller see them, ended ones included."""
        both = []
        for url, side in ((BAP.url, Side.BAP), (BPP.url, Side.BPP)):
            store = self.net.places[url].store
            assert isinstance(store, MemoryStore)
            both.append([one for one in store._contracts.values() if one.side is side])
        return both[0], both[1]
