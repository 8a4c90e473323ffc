"""The trading desk, and what it receives by, over real adapters."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from gridflex.adapters.beckn.http import BecknClient, registry_of
from gridflex.adapters.beckn.keys import BecknKeys
from gridflex.adapters.beckn.reserving_store import ReservingStore
from gridflex.adapters.beckn.store import BecknStore
from gridflex.adapters.grid.store import GridStore
from gridflex.adapters.market.position_book import PositionBook
from gridflex.adapters.power.store import PowerAbilities, PowerStore
from gridflex.agents.beckn.desk import Trading
from gridflex.agents.beckn.house import GridMarket, PlanHouse, Planner
from gridflex.agents.energy.ports import energy_terms
from gridflex.agents.energy.traded_sites import traded_site
from gridflex.agents.ports import Ports
from gridflex.agents.site_sizes import Resized, Sized
from gridflex.beckn.messaging.participant import screen_contract
from gridflex.beckn.messaging.receiving import Receiver
from gridflex.beckn.trust.signing import SigningKey
from gridflex.beckn.trust.verification import Local, TrustPolicy
from gridflex.beckn_settings import MarketSettings
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.working_days import calendar_around
from gridflex.signals import NATIONAL

if TYPE_CHECKING:
    from gridflex.agents.orchestrator import Orchestrator, Position

log = logging.getLogger(__name__)


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


class SizedPlanner:
    """The orchestrator's view of plans, promises included, with the sites as large as they say.

    Args:
        ports: Stores, clusters, the grid and the clock.
    """

    def __init__(self, ports: Ports) -> None:
        self._core: Resized[Orchestrator] = Resized(ports.sizes(), partial(_orchestrator, ports))

    async def now(self) -> tuple[Orchestrator, Sized]:
        """Return it, and the sites it knows."""
        return await self._core.now()

    async def position(self, now: datetime) -> Position:
        """See `Orchestrator.position`."""
        core, _ = await self.now()
        return await core.position(now)


def _orchestrator(ports: Ports, found: Sized) -> Orchestrator:
    from gridflex.agents.orchestrator import (  # noqa: PLC0415 - loads the compiled planner
        REPORT_LAG,
        Orchestrator,
    )
    from gridflex.agents.other_load import OtherLoad  # noqa: PLC0415 - as above

    return Orchestrator(
        jobs=ports.jobs,
        plans=ports.plans,
        curtailments=ports.curtailments,
        grid=ports.grid,
        clusters=ports.clusters,
        sites=found.sites,
        settings=ports.settings.planner,
        other_load=OtherLoad(
            GridStore(ports.engine), level=ports.settings.planner.other_load_level
        ),
        promises=BecknStore(ports.engine),
        tariffs=ports.tariffs,
        report_lag=REPORT_LAG * ports.clock.speed,
        abilities=PowerAbilities(
            PowerStore(ports.engine),
            asked=[site.name for site in ports.settings.sites if site.is_capped_by_us],
        ),
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
    store = _store(ports)
    client = BecknClient(timeout_s=settings.timeout_s)
    region = ports.settings.sites[0].postcode or NATIONAL
    return Trading(
        settings,
        key=_key(ports),
        store=store,
        house=build_house(ports, planner=planner),
        market=GridMarket(ports.grid, now=ports.clock.now, region=region),
        transport=client,
        library=client,
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
        screen=partial(screen_contract, most_drafts=settings.most_drafts_per_peer),
    )


def trust_of(settings: MarketSettings) -> TrustPolicy:
    """Return whom we believe."""
    return TrustPolicy(
        networks=frozenset({settings.network_id}),
        future_tolerance=timedelta(seconds=settings.clock_tolerance_s),
        must_bind=settings.must_bind,
        must_match_url=settings.must_match_url,
    )


def _store(ports: Ports) -> BecknStore:
    """Return the store; where energy is sold too, contracts hold theirs in the same book."""
    if ports.settings.energy.unit is None:
        return BecknStore(ports.engine)
    terms = energy_terms(ports.settings)
    today = ports.clock.now().date()
    calendar = calendar_around(today)
    book = PositionBook(ports.ledger, calendar=calendar)

    async def meter_of(site: str, half_hour: HalfHour) -> str | None:
        if site != terms.place:
            return None
        try:
            traded = traded_site(await book.registry(), terms, half_hour.settlement[0])
        except ContractError as error:
            log.info("no meter is traded at %s: %s", half_hour, error)
            return None
        return traded.pair.import_msid

    return ReservingStore(
        ports.engine,
        ledger=ports.ledger,
        plans=ports.plans,
        meter_of=meter_of,
        now=ports.clock.now,
    )


def _key(ports: Ports) -> SigningKey:
    name = ports.settings.market.subscriber_id
    if name is None:
        raise ContractError("market.subscriber_id is not set: nothing is traded")
    return BecknKeys(ports.settings.market_key_path, subscriber_id=name).current()
