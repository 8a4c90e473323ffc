"""Trading over Beckn: the desk of the Grid Market agent, as seller and as buyer.

The workload agent's waiting jobs are what it sells, the orchestrator's view of the plan is what
every order is checked against, and the grid's outlook is what it buys by. Half-hours are in
GridFlex time; messages, signatures and time limits are in wall time, which is that of the peers.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

from gridflex.adapters.beckn_http import BecknClient, registry_of
from gridflex.adapters.beckn_keys import BecknKeys
from gridflex.adapters.beckn_store import BecknStore
from gridflex.adapters.tables import EnergyRow
from gridflex.agents.grid import Grid
from gridflex.agents.orchestrator import REPORT_LAG, Orchestrator, Position
from gridflex.agents.ports import Ports
from gridflex.beckn.buying import Buyer, BuyingPolicy, Expected, Outlook, discovery
from gridflex.beckn.delivery import Courier, Transport
from gridflex.beckn.keeping import Store
from gridflex.beckn.offers import Terms, catalog_of
from gridflex.beckn.participant import Participant, screen_contract
from gridflex.beckn.payloads import PublishDirective, PublishMessage
from gridflex.beckn.receiving import Receiver
from gridflex.beckn.registry import Registry
from gridflex.beckn.selling import Seller, Standing
from gridflex.beckn.signing import SigningKey
from gridflex.beckn.states import Patience
from gridflex.beckn.trading import Desk, report_all
from gridflex.beckn.verification import Local, TrustPolicy
from gridflex.beckn.writing import Author, Peer
from gridflex.errors import ContractError, StaleDataError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.slack import Slack
from gridflex.settings import MarketSettings
from gridflex.signals import NATIONAL

log = logging.getLogger(__name__)

OUTLOOK_HALF_HOURS: Final = 96
SHORTEST_VALIDITY: Final = timedelta(hours=1)
"""Of a catalogue, in wall time; the next one replaces it."""

METERS_READ_AFTER: Final = timedelta(minutes=2)
MOST_ROUNDS: Final = 50
"""Rounds of taking up and sending in one tick; what is left waits for the next."""


class Planner(Protocol):
    """Who knows the plan; see `gridflex.agents.orchestrator.Orchestrator`."""

    async def position(self, now: datetime) -> Position:
        """Return what there is to plan."""
        ...


class Metered(Protocol):
    """Who knows what jobs used; see `gridflex.adapters.job_store.JobStore`."""

    async def energy(self, job_ids: Sequence[str]) -> Sequence[EnergyRow]:
        """Return the metered half-hours of some jobs."""
        ...


class PlanHouse:
    """`gridflex.beckn.selling.House` over the orchestrator's plan and the job store's meters.

    Args:
        planner: The plan.
        meters: What jobs used.
        grid: What is known about price and intensity.
        store: What is promised.
        settings: Prices and notice.
        now: GridFlex time.
        region: Of the carbon intensity.
    """

    def __init__(
        self,
        *,
        planner: Planner,
        meters: Metered,
        grid: Grid,
        store: Store,
        settings: MarketSettings,
        now: Callable[[], datetime],
        region: str = NATIONAL,
    ) -> None:
        self._planner = planner
        self._meters = meters
        self._grid = grid
        self._store = store
        self._settings = settings
        self._now = now
        self._region = region

    async def now(self) -> HalfHour:
        """See `House.now`."""
        return HalfHour.containing(self._now())

    async def standing(self) -> Standing:
        """See `House.standing`."""
        moment = self._now()
        position = await self._planner.position(moment)
        runs = position.standing.runs if position.standing else {}
        slack = Slack(
            position.problem,
            runs,
            notice_half_hours=self._settings.notice_half_hours,
            held=frozenset(hold.thing for hold in await self._store.holds()),
        )
        prices = {job.id: job.flexibility.premium_gbp_per_kwh for job in position.jobs}
        return Standing(HalfHour.containing(moment), slack, self._terms(prices))

    async def used_kwh(self, job_id: JobId) -> Mapping[HalfHour, float]:
        """See `House.used_kwh`."""
        used: dict[HalfHour, float] = {}
        for row in await self._meters.energy([str(job_id)]):
            half_hour = HalfHour.containing(row.start)
            used[half_hour] = used.get(half_hour, 0.0) + row.energy_kwh
        return used

    async def intensity_gco2_per_kwh(
        self, start: HalfHour, half_hours: int
    ) -> Mapping[HalfHour, float]:
        """See `House.intensity_gco2_per_kwh`."""
        try:
            intensity, _ = await self._grid.outlook(
                self._now(), start=start, half_hours=half_hours, region=self._region
            )
        except StaleDataError:
            return {}
        values = zip(start.span(half_hours), intensity.values, strict=True)
        return {half_hour: round(float(value), 3) for half_hour, value in values}

    def _terms(self, wanted: Mapping[JobId, Decimal]) -> Terms:
        least = self._settings.least_premium_gbp_per_kwh
        return Terms(
            subscriber_id=self._settings.subscriber_id or "unregistered",
            name=self._settings.name,
            grid_area=self._settings.grid_area,
            notice_half_hours=self._settings.notice_half_hours,
            price_gbp_per_kwh={job: max(price, least) for job, price in wanted.items()},
        )


class GridMarket:
    """`gridflex.beckn.buying.Market` over the grid's outlook.

    Args:
        grid: What is known.
        now: GridFlex time.
        region: Of the carbon intensity.
    """

    def __init__(self, grid: Grid, *, now: Callable[[], datetime], region: str = NATIONAL) -> None:
        self._grid = grid
        self._now = now
        self._region = region

    async def outlook(self) -> Outlook:
        """See `Market.outlook`."""
        moment = self._now()
        start = HalfHour.containing(moment) + 1
        intensity, price = await self._grid.outlook(
            moment, start=start, half_hours=OUTLOOK_HALF_HOURS, region=self._region
        )
        rows = zip(start.span(OUTLOOK_HALF_HOURS), price.values, intensity.values, strict=True)
        return {one: Expected(float(cost), float(dirt)) for one, cost, dirt in rows}


@dataclass(frozen=True, slots=True)
class TradingReport:
    """What one tick did.

    Args:
        handled: Messages taken up.
        sent: Messages sent or tried.
        lapsed: Contracts that ran out of time.
        reported: Contracts whose buyers were told something.
        offered: Blocks in the catalogue published in this tick; None if none was.
        discovered: Whether it asked what others offer.
    """

    handled: int
    sent: int
    lapsed: int
    reported: int
    offered: int | None
    discovered: bool


class Trading:
    """Sells and buys.

    Args:
        settings: Who we are and what we want.
        key: With which we sign.
        store: What is kept.
        house: Plans and meters.
        market: The grid's outlook.
        transport: How messages get out.
        registry: Where peers are looked up.
    """

    def __init__(
        self,
        settings: MarketSettings,
        *,
        key: SigningKey,
        store: Store,
        house: PlanHouse,
        market: GridMarket,
        transport: Transport,
        registry: Registry,
    ) -> None:
        name = str(settings.subscriber_id)
        self._settings = settings
        self._house = house
        self._store = store
        self._seller = Seller(
            name,
            house=house,
            store=store,
            page_of=lambda transaction: f"{_site(settings)}/v1/market/contracts/{transaction}",
            support_url=_site(settings),
        )
        desk = Desk(
            seller=self._seller if settings.sells else None,
            buyer=Buyer(name, market=market, store=store, policy=policy_of(settings))
            if settings.buys
            else None,
        )
        author = Author(
            Local(name, settings.url),
            key=key,
            network_id=settings.network_id,
            new_id=lambda: str(uuid.uuid4()),
            ttl=timedelta(seconds=settings.ttl_s),
            egress_url=settings.egress_url,
        )
        self._participant = Participant(
            author, store=store, trader=desk, patience=patience_of(settings)
        )
        self._courier = Courier(
            store=store,
            transport=transport,
            registry=registry,
            note=self._participant.note_outcome,
        )
        self._published_at: datetime | None = None
        self._discovered_at: datetime | None = None
        self._reported_in: HalfHour | None = None

    async def tick(self, now: datetime, *, wall: datetime) -> TradingReport:
        """Take up what arrived, do what is due, and send what there is to say.

        Args:
            now: GridFlex time.
            wall: Wall time.

        Raises:
            SourceError: The database cannot be reached.
        """
        reported = await self._report(now, wall)
        offered = await self._publish(now, wall)
        discovered = await self._discover(now, wall)
        handled = sent = 0
        for _ in range(MOST_ROUNDS):
            taken = await self._participant.handle(wall)
            gone = await self._courier.send(wall)
            handled, sent = handled + taken, sent + gone
            if not taken and not gone:
                break
        lapsed = await self._participant.lapse(wall)
        return TradingReport(handled, sent, lapsed, reported, offered, discovered)

    async def _report(self, now: datetime, wall: datetime) -> int:
        """Report once in each half-hour, when the meters of the last one have been read."""
        half_hour = HalfHour.containing(now)
        is_read = now >= half_hour.start + METERS_READ_AFTER
        if not self._settings.sells or self._reported_in == half_hour or not is_read:
            return 0
        self._reported_in = half_hour
        return await report_all(self._participant, self._seller, self._store, now=wall)

    async def _publish(self, now: datetime, wall: datetime) -> int | None:
        due = timedelta(seconds=self._settings.publish_s)
        if not self._settings.sells or not self._is_due(self._published_at, now, due):
            return None
        service = self._service()
        if service is None:
            return None
        try:
            standing = await self._house.standing()
        except StaleDataError as error:
            log.warning("no catalogue: %s", error)
            return None
        self._published_at = now
        catalog = catalog_of(
            standing.slack.blocks(),
            standing.terms,
            catalog_id=f"{self._settings.subscriber_id}-blocks",
            now=wall,
            until=wall + max(2 * due, SHORTEST_VALIDITY),
        ).model_copy(update={"bpp_id": self._settings.subscriber_id, "bpp_uri": self._settings.url})
        directive = PublishDirective(
            catalog_id=catalog.id,
            catalog_type="REGULAR",
            update_mode="FULL",
            visible_to=[self._settings.network_id],
        )
        payload = PublishMessage(catalogs=[catalog], publish_directives=[directive])
        await self._participant.start("catalog/publish", payload, peer=service, now=wall)
        log.info("published %s blocks at %s", len(catalog.resources or ()), now)
        return len(catalog.resources or ())

    async def _discover(self, now: datetime, wall: datetime) -> bool:
        due = timedelta(seconds=self._settings.discover_s)
        service = self._service()
        if (
            service is None
            or not self._settings.buys
            or not self._is_due(self._discovered_at, now, due)
        ):
            return False
        self._discovered_at = now
        await self._participant.start("discover", discovery(), peer=service, now=wall)
        return True

    def _is_due(self, last: datetime | None, now: datetime, every: timedelta) -> bool:
        return last is None or now - last >= every

    def _service(self) -> Peer | None:
        url = self._settings.service_url
        return Peer(self._settings.service_id, url, is_service=True) if url else None


def build_house(ports: Ports, *, planner: Planner) -> PlanHouse:
    """Return what there is to sell, over real adapters."""
    return PlanHouse(
        planner=planner,
        meters=ports.jobs,
        grid=ports.grid,
        store=BecknStore(ports.engine),
        settings=ports.settings.market,
        now=ports.clock.now,
        region=ports.settings.sites[0].postcode or NATIONAL,
    )


class LaterHouse:
    """`PlanHouse` that asks the clusters for their size when it is first needed.

    Args:
        ports: Stores, clusters, the grid and the clock.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._house: PlanHouse | None = None

    async def standing(self) -> Standing:
        """See `House.standing`."""
        if self._house is None:
            self._house = build_house(self._ports, planner=await build_planner(self._ports))
        return await self._house.standing()


async def build_planner(ports: Ports) -> Orchestrator:
    """Return the orchestrator's view of plans, promises included.

    Raises:
        SourceError: A site's size is not configured and its cluster does not say.
    """
    return Orchestrator(
        jobs=ports.jobs,
        plans=ports.plans,
        grid=ports.grid,
        clusters=ports.clusters,
        sites=await ports.sites(),
        settings=ports.settings.planner,
        promises=BecknStore(ports.engine),
        report_lag=REPORT_LAG * ports.clock.speed,
    )


def build_trading(ports: Ports, *, planner: Planner) -> Trading:
    """Return the desk over real adapters.

    Args:
        ports: Stores, the grid and the clock.
        planner: Who knows the plan.

    Raises:
        ContractError: We do not trade, or have no key.
    """
    settings = ports.settings.market
    store = BecknStore(ports.engine)
    client = BecknClient(timeout_s=settings.timeout_s)
    region = ports.settings.sites[0].postcode or NATIONAL
    return Trading(
        settings,
        key=_key(ports),
        store=store,
        house=build_house(ports, planner=planner),
        market=GridMarket(ports.grid, now=ports.clock.now, region=region),
        transport=client,
        registry=registry_of(settings, client),
    )


def build_receiver(ports: Ports) -> Receiver:
    """Return what takes messages in.

    Raises:
        ContractError: We do not trade, or have no key.
    """
    settings = ports.settings.market
    policy = trust_of(settings)
    client = BecknClient(timeout_s=settings.timeout_s)
    return Receiver(
        Local(str(settings.subscriber_id), settings.url),
        key=_key(ports),
        inbox=BecknStore(ports.engine),
        registry=registry_of(settings, client),
        policy=policy,
        screen=screen_contract,
    )


def policy_of(settings: MarketSettings) -> BuyingPolicy:
    """Return what we want as a buyer."""
    return BuyingPolicy(
        most_intensity_gco2_per_kwh=settings.most_intensity_gco2_per_kwh,
        most_price_gbp_per_mwh=settings.most_price_gbp_per_mwh,
        most_premium_gbp_per_kwh=settings.most_premium_gbp_per_kwh,
        most_contracts=settings.most_contracts,
    )


def patience_of(settings: MarketSettings) -> Patience:
    """Return how long we wait."""
    return Patience(
        answer=timedelta(seconds=settings.ttl_s), draft=timedelta(seconds=settings.draft_s)
    )


def trust_of(settings: MarketSettings) -> TrustPolicy:
    """Return whom we believe."""
    return TrustPolicy(
        networks=frozenset({settings.network_id}),
        future_tolerance=timedelta(seconds=settings.clock_tolerance_s),
        must_bind=settings.must_bind,
        must_match_url=settings.must_match_url,
    )


def _key(ports: Ports) -> SigningKey:
    name = ports.settings.market.subscriber_id
    if name is None:
        raise ContractError("market.subscriber_id is not set: nothing is traded")
    return BecknKeys(ports.settings.market_key_path, subscriber_id=name).current()


def _site(settings: MarketSettings) -> str:
    return settings.url.rstrip("/").removesuffix("/beckn")
