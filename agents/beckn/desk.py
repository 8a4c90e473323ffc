"""Trading over Beckn: the desk of the Grid Market agent, as seller and as buyer.

The workload agent's waiting jobs are what it sells and what it offers to the needs of others.
Half-hours are in GridFlex time; messages, signatures and time limits are in wall time, which is
that of the peers.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gridflex.agents.beckn.house import GridMarket, PlanHouse
from gridflex.beckn.contracts.states import Patience
from gridflex.beckn.flexibility.needs import NEED_TYPE
from gridflex.beckn.flexibility.offers import OFFER_TYPE, catalog_of
from gridflex.beckn.messaging.delivery import Courier, Transport
from gridflex.beckn.messaging.keeping import Store
from gridflex.beckn.messaging.participant import Participant
from gridflex.beckn.messaging.referring import Library
from gridflex.beckn.messaging.writing import Author, Peer
from gridflex.beckn.roles.answering import Answerer
from gridflex.beckn.roles.buying import Buyer, BuyingPolicy, discovery
from gridflex.beckn.roles.selling import Seller
from gridflex.beckn.roles.trading import Desk, Told, amend_all, chase_all, report_all
from gridflex.beckn.trust.registry import Registry
from gridflex.beckn.trust.signing import SigningKey
from gridflex.beckn.trust.verification import Local
from gridflex.beckn.wire.payloads import PublishDirective, PublishMessage
from gridflex.beckn_settings import MarketSettings
from gridflex.errors import StaleDataError
from gridflex.halfhour import HalfHour

log = logging.getLogger(__name__)

SHORTEST_VALIDITY: Final = timedelta(hours=1)
"""Of a catalogue, in wall time; the next one replaces it."""

METERS_READ_AFTER: Final = timedelta(minutes=2)
MOST_ROUNDS: Final = 50
"""Rounds of taking up and sending in one tick; what is left waits for the next."""


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
        failures: Contracts about which nothing can be said, and why, by transaction.
    """

    handled: int
    sent: int
    lapsed: int
    reported: int
    offered: int | None
    discovered: bool
    failures: Mapping[str, str]


class Trading:
    """Sells and buys.

    Args:
        settings: Who we are and what we want.
        key: With which we sign.
        store: What is kept.
        house: Plans and meters.
        market: The grid's outlook.
        transport: How messages get out.
        library: How lists that lie with peers are fetched.
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
        library: Library,
        registry: Registry,
    ) -> None:
        name = str(settings.subscriber_id)
        self._settings = settings
        self._house = house
        self._store = store
        seller = Seller(
            name,
            house=house,
            store=store,
            page_of=lambda transaction: f"{_site(settings)}/v1/market/contracts/{transaction}",
            support_url=_site(settings),
        )
        self._answerer = Answerer(
            name, house=house, store=store, most_contracts=settings.most_contracts
        )
        self._desk = Desk(
            seller=seller if settings.sells else None,
            buyer=Buyer(name, market=market, store=store, policy=policy_of(settings))
            if settings.buys
            else None,
            answerer=self._answerer if settings.answers else None,
            meters_per_page=settings.meters_per_page,
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
            author,
            store=store,
            trader=self._desk,
            patience=patience_of(settings),
            library=library,
            most_drafts=settings.most_drafts_per_peer,
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
        self._failures: Mapping[str, str] = {}

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
        return TradingReport(
            handled, sent, lapsed, reported, offered, discovered, dict(self._failures)
        )

    async def _report(self, now: datetime, wall: datetime) -> int:
        """Report once in each half-hour, when the meters of the last one have been read."""
        half_hour = HalfHour.containing(now)
        is_read = now >= half_hour.start + METERS_READ_AFTER
        if self._reported_in == half_hour or not is_read:
            return 0
        self._reported_in = half_hour
        told = Told(0)
        if self._settings.sells:
            told = await report_all(
                self._participant,
                self._desk,
                self._store,
                now=wall,
                meters_per_page=self._settings.meters_per_page,
            )
        chased = await chase_all(self._participant, self._store, half_hour=half_hour, now=wall)
        self._failures = {**told.failures, **chased.failures, **await self._amend(wall)}
        return told.contracts

    async def _amend(self, wall: datetime) -> Mapping[str, str]:
        """Offer what more jobs can leave by now to needs that were answered before."""
        if not self._settings.answers:
            return {}
        try:
            asked = await amend_all(self._participant, self._answerer, self._store, now=wall)
        except StaleDataError as error:
            log.warning("no answer is amended: %s", error)
            return {}
        return asked.failures

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
        wanted = self._wanted()
        if service is None or not wanted or not self._is_due(self._discovered_at, now, due):
            return False
        self._discovered_at = now
        await self._participant.start("discover", discovery(*wanted), peer=service, now=wall)
        return True

    def _wanted(self) -> list[str]:
        """Return the types of resources that we act on."""
        kinds = ((OFFER_TYPE, self._settings.buys), (NEED_TYPE, self._settings.answers))
        return [kind for kind, is_wanted in kinds if is_wanted]

    def _is_due(self, last: datetime | None, now: datetime, every: timedelta) -> bool:
        return last is None or now - last >= every

    def _service(self) -> Peer | None:
        url = self._settings.service_url
        return Peer(self._settings.service_id, url, is_service=True) if url else None


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


def _site(settings: MarketSettings) -> str:
    return settings.url.rstrip("/").removesuffix("/beckn")
