"""The four parts of the sandbox network and the process that each of them runs in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

import httpx
import stamina
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from gridflex.adapters.clock import Clock
from gridflex.beckn.flexibility.offers import catalog_of
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.participant import screen_contract
from gridflex.beckn.messaging.reacting import Trader
from gridflex.beckn.messaging.receiving import Screen
from gridflex.beckn.messaging.writing import Peer
from gridflex.beckn.roles.buying import Buyer, BuyingPolicy, discovery
from gridflex.beckn.roles.discovering import CatalogService
from gridflex.beckn.roles.procuring import Procurer, catalog_of_needs
from gridflex.beckn.roles.selling import Seller
from gridflex.beckn.roles.trading import Desk, report_all
from gridflex.beckn.wire.entities import Catalog
from gridflex.beckn.wire.meters import METERS_PER_PAGE
from gridflex.beckn.wire.payloads import PublishDirective, PublishMessage
from gridflex.sandbox.beckn.behaviour import Behaviour
from gridflex.sandbox.beckn.house import SimulatedFeeder, SimulatedHouse, SimulatedMarket
from gridflex.sandbox.beckn.node import Extra, Node, Place, create_node_app
from gridflex.sandbox.beckn.registry import create_registry
from gridflex.settings import ClockSettings

NETWORK: Final = "gridflex.example/sandbox"


class Part(StrEnum):
    """What a process of the sandbox is."""

    REGISTRY = "registry"
    SERVICE = "service"
    UTILITY = "utility"
    AGGREGATOR = "aggregator"


NAMES: Final = {
    Part.SERVICE: "service.sandbox.example",
    Part.UTILITY: "utility.sandbox.example",
    Part.AGGREGATOR: "aggregator.sandbox.example",
}
WANTED_HOURS: Final = (17, 18)
KINDS: Final = {Part.SERVICE: "CDS", Part.UTILITY: "BAP", Part.AGGREGATOR: "BPP"}


class PartSettings(BaseModel, extra="forbid"):
    """What one process must know.

    Attributes:
        part: What it is.
        descriptor: Open listening socket that it takes over.
        base_urls: Where every part is, by name, without a path.
        behaviour: How it behaves at first.
        clock: GridFlex time.
        ttl_s: How long its requests count.
        every_s: Wall time between two discoveries or catalogues.
        premium_gbp_per_kwh: What the aggregator asks and the utility pays at most.
        wanted_hours: Hours of the day, UTC, in which the utility wants less load.
        meters_per_page: Meters in one message about what was delivered.
    """

    part: Part
    descriptor: int
    base_urls: dict[Part, str]
    behaviour: Behaviour = Behaviour.ACCEPT
    clock: ClockSettings = ClockSettings()
    ttl_s: float = 300.0
    every_s: float = 5.0
    premium_gbp_per_kwh: str = "0.15"
    wanted_hours: tuple[int, ...] = WANTED_HOURS
    meters_per_page: int = METERS_PER_PAGE

    @property
    def registry_url(self) -> str:
        """Where lookups go."""
        return f"{self.base_urls[Part.REGISTRY]}/dedi"

    @property
    def service(self) -> Peer:
        """The network's discovery and cataloguing service."""
        url = f"{self.base_urls[Part.SERVICE]}/beckn"
        return Peer(NAMES[Part.SERVICE], url, is_service=True)


def create_part(settings: PartSettings) -> tuple[FastAPI, Node | None]:
    """Return the server of one part, and its node unless it is the registry."""
    clock = Clock(settings.clock)
    if settings.part is Part.REGISTRY:
        return create_registry(clock=clock.wall_now), None
    node = _node(settings, clock)
    return create_node_app(node, now=clock.wall_now), node


def run_part(settings: PartSettings) -> None:
    """Serve one part on the socket that it was given, until told to stop."""
    app, node = create_part(settings)
    if node is not None:
        _register(settings, node)
    listener = socket.socket(fileno=settings.descriptor)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


def _node(settings: PartSettings, clock: Clock) -> Node:
    part = settings.part
    place = Place(
        subscriber_id=NAMES[part],
        url=f"{settings.base_urls[part]}/beckn",
        kind=KINDS[part],
        network_id=NETWORK,
        registry_url=settings.registry_url,
    )
    extra: Extra | None = None
    screen: Screen = screen_contract
    if part is Part.SERVICE:
        service = CatalogService()
        trader, screen = _always(service), service.screen
    elif part is Part.UTILITY:
        feeder = SimulatedFeeder(
            NAMES[part], now=clock.now, wall=clock.wall_now, wanted=settings.wanted_hours
        )
        desks: list[Desk] = []
        trader = _buyer(settings, clock, feeder, desks)
        extra = _every(settings.every_s, _publish_needs_and_discover(settings, feeder, desks))
    else:
        sellers: list[tuple[Seller, SimulatedHouse]] = []
        trader = _seller(settings, clock, sellers)
        extra = _every(settings.every_s, _publish_and_report(settings, sellers))
    return Node(
        place,
        clock=clock.wall_now,
        trader=trader,
        screen=screen,
        ttl=timedelta(seconds=settings.ttl_s),
        extra=extra,
        behaviour=settings.behaviour,
    )


def _always(service: CatalogService) -> Callable[[MemoryStore], Trader]:
    def build(_store: MemoryStore) -> Trader:
        return service

    return build


def _buyer(
    settings: PartSettings, clock: Clock, feeder: SimulatedFeeder, desks: list[Desk]
) -> Callable[[MemoryStore], Trader]:
    name, policy = NAMES[Part.UTILITY], BuyingPolicy(most_premium_gbp_per_kwh=_decimal(settings))

    def build(store: MemoryStore) -> Trader:
        market = SimulatedMarket(clock.now)
        desk = Desk(
            buyer=Buyer(name, market=market, store=store, policy=policy),
            procurer=Procurer(name, feeder=feeder, store=store),
            meters_per_page=settings.meters_per_page,
        )
        desks.append(desk)
        return desk

    return build


def _seller(
    settings: PartSettings, clock: Clock, sellers: list[tuple[Seller, SimulatedHouse]]
) -> Callable[[MemoryStore], Trader]:
    name = NAMES[Part.AGGREGATOR]
    base = settings.base_urls[Part.AGGREGATOR]

    def build(store: MemoryStore) -> Trader:
        house = SimulatedHouse(
            name, now=clock.now, store=store, premium_gbp_per_kwh=_decimal(settings)
        )
        seller = Seller(
            name,
            house=house,
            store=store,
            page_of=lambda _transaction: f"{base}/_sandbox",
            support_url=f"{base}/_sandbox",
        )
        sellers.append((seller, house))
        return Desk(seller=seller)

    return build


def _publish_needs_and_discover(
    settings: PartSettings, feeder: SimulatedFeeder, desks: list[Desk]
) -> Extra:
    async def discover(node: Node, now: datetime) -> None:
        size = settings.meters_per_page
        await report_all(node.participant, desks[0], node.store, now=now, meters_per_page=size)
        if needs := await feeder.needs():
            name = NAMES[Part.UTILITY]
            catalog = catalog_of_needs(
                needs, catalog_id="simulated-needs", provider=name, name="Simulated utility"
            )
            await _publish(node, catalog, settings, now=now)
        await node.participant.start("discover", discovery(), peer=settings.service, now=now)

    return discover


def _publish_and_report(
    settings: PartSettings, sellers: list[tuple[Seller, SimulatedHouse]]
) -> Extra:
    async def publish(node: Node, now: datetime) -> None:
        seller, house = sellers[0]
        await report_all(node.participant, seller, node.store, now=now)
        standing = await house.standing()
        catalog = catalog_of(
            standing.slack.blocks(),
            standing.terms,
            catalog_id="simulated-blocks",
            now=now,
            until=now + timedelta(days=1),
        )
        await _publish(node, catalog, settings, now=now)

    return publish


async def _publish(node: Node, catalog: Catalog, settings: PartSettings, *, now: datetime) -> None:
    directive = PublishDirective(
        catalog_id=catalog.id, catalog_type="REGULAR", update_mode="FULL", visible_to=[NETWORK]
    )
    payload = PublishMessage(catalogs=[catalog], publish_directives=[directive])
    await node.participant.start("catalog/publish", payload, peer=settings.service, now=now)


def _every(seconds: float, action: Extra) -> Extra:
    last: list[datetime] = []

    async def maybe(node: Node, now: datetime) -> None:
        if last and now - last[0] < timedelta(seconds=seconds):
            return
        last[:] = [now]
        await action(node, now)

    return maybe


def _register(settings: PartSettings, node: Node) -> None:
    url = f"{settings.registry_url}/records"
    for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=50, wait_max=0.5):
        with attempt:
            httpx.put(url, json=node.registration(), timeout=5).raise_for_status()


def _decimal(settings: PartSettings) -> Decimal:
    return Decimal(settings.premium_gbp_per_kwh)
