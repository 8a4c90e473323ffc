"""The buyer: picks blocks that fit into good half-hours, and orders them step by step.

What is acceptable is in its policy, against which each answer is checked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from gridflex import units
from gridflex.beckn.contracts.states import Step
from gridflex.beckn.flexibility.offers import (
    OFFER_TYPE,
    Listed,
    listed_of,
    order_of,
    read_listed,
    read_order,
)
from gridflex.beckn.flexibility.reporting import due_gbp, rows_of
from gridflex.beckn.flexibility.settling import exact, settle
from gridflex.beckn.messaging.keeping import Store
from gridflex.beckn.messaging.reacting import Reaction, Saying, sayings
from gridflex.beckn.roles.asking import Ask, Asker, peer_in, unwanted
from gridflex.beckn.wire.entities import Catalog, Contract
from gridflex.beckn.wire.errors import BecknError, Code, reading_attributes
from gridflex.beckn.wire.payloads import (
    ContractMessage,
    DiscoverMessage,
    Filters,
    Intent,
)
from gridflex.halfhour import HalfHour

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuyingPolicy:
    """When a half-hour is good, and what a shift is worth.

    Args:
        most_intensity_gco2_per_kwh: Greatest carbon intensity of a good half-hour.
        most_price_gbp_per_mwh: Greatest price of energy in one.
        most_premium_gbp_per_kwh: Greatest premium for a shifted kWh.
        carbon_price_gbp_per_tco2: What a tonne counts for when starts are compared.
        most_contracts: Contracts open at the same time.
    """

    most_intensity_gco2_per_kwh: float = 100.0
    most_price_gbp_per_mwh: float = 80.0
    most_premium_gbp_per_kwh: Decimal = Decimal("0.15")
    carbon_price_gbp_per_tco2: float = 80.0
    most_contracts: int = 20


@dataclass(frozen=True, slots=True)
class Expected:
    """What one half-hour is expected to be like.

    Args:
        price_gbp_per_mwh: Of energy.
        intensity_gco2_per_kwh: Of the grid.
    """

    price_gbp_per_mwh: float
    intensity_gco2_per_kwh: float


Outlook = Mapping[HalfHour, Expected]


class Market(Protocol):
    """What the buyer knows about the grid."""

    async def outlook(self) -> Outlook:
        """Return what to expect of the half-hours from the next one on."""
        ...


def good_half_hours(outlook: Outlook, policy: BuyingPolicy) -> frozenset[HalfHour]:
    """Return the half-hours that are worth filling."""
    return frozenset(
        half_hour
        for half_hour, one in outlook.items()
        if one.price_gbp_per_mwh <= policy.most_price_gbp_per_mwh
        and one.intensity_gco2_per_kwh <= policy.most_intensity_gco2_per_kwh
    )


def best_start(listed: Listed, outlook: Outlook, policy: BuyingPolicy) -> HalfHour | None:
    """Return where a block should start; None if no shift is worth its premium.

    All its half-hours must be good, the carbon cap of the block must hold on their mean, and they
    must be cheaper, carbon at its price, than where it is planned. The earliest of equals wins.
    """
    if listed.price_gbp_per_kwh > policy.most_premium_gbp_per_kwh:
        return None
    good = good_half_hours(outlook, policy)
    length = listed.attributes.half_hours
    now = _cost(listed.planned, length, outlook, policy)
    possible = [
        (cost, start)
        for start in listed.starts
        if start != listed.planned
        and good.issuperset(start.span(length))
        and _is_under_cap(listed, start, outlook)
        and (cost := _cost(start, length, outlook, policy)) is not None
        and (now is None or cost < now)
    ]
    return min(possible)[1] if possible else None


def discovery(*types: str) -> DiscoverMessage:
    """Return the question for resources of some types; blocks of flexible compute by default."""
    wanted = " || ".join(
        f"@.resources[*].resourceAttributes.\"@type\" == '{one}'" for one in types or (OFFER_TYPE,)
    )
    expression = f"$.catalogs[*] ? ({wanted})"
    return DiscoverMessage(intent=Intent(filters=Filters(type="jsonpath", expression=expression)))


class Buyer(Asker):
    """Orders blocks.

    Args:
        subscriber_id: Its own id.
        market: What it knows about the grid.
        store: Its contracts.
        policy: What it wants.
    """

    def __init__(
        self, subscriber_id: str, *, market: Market, store: Store, policy: BuyingPolicy
    ) -> None:
        super().__init__(
            subscriber_id, store=store, most_contracts=policy.most_contracts, about_needs=False
        )
        self._market = market
        self._policy = policy

    async def _asks(self, catalogs: Sequence[Catalog], taken: set[str]) -> list[Ask]:
        outlook = await self._market.outlook()
        chosen: list[Ask] = []
        for catalog in catalogs:
            peer = peer_in(catalog)
            for listed in listed_in(catalog):
                start = best_start(listed, outlook, self._policy)
                if start is None or listed.resource.id in taken:
                    continue
                taken.add(listed.resource.id)
                order = order_of(listed, start, buyer=self._id, seller=peer.subscriber_id)
                chosen.append((peer, order))
        return chosen

    async def _go_on(self, step: Step, following: str) -> Reaction:
        self._require_wanted(step)
        return sayings(Saying(ContractMessage(contract=step.state.contract), following))

    async def _follow(self, step: Step) -> Reaction:
        self._require_wanted(step)
        return Reaction()

    def _require_wanted(self, step: Step) -> None:
        said = step.state.contract
        asked = step.before.contract if step.before else said
        now = {(one.resource_id, one.start) for one in map(read_order, said.commitments)}
        before = {(one.resource_id, one.start) for one in map(read_order, asked.commitments)}
        if now != before:
            raise unwanted("the answer is about another order than ours")
        price = max(listed_of(one).price_gbp_per_kwh for one in said.commitments)
        if price > self._policy.most_premium_gbp_per_kwh:
            raise unwanted(f"{price} GBP/kWh is above {self._policy.most_premium_gbp_per_kwh}")

    def _settlement_fault(self, contract: Contract) -> str | None:
        return block_settlement_fault(contract)


def listed_in(catalog: Catalog) -> list[Listed]:
    """Return the blocks of a catalogue; what is something else or malformed is left out."""
    by_resource = {
        name: offer for offer in catalog.offers or () for name in offer.resource_ids or ()
    }
    found = []
    for resource in catalog.resources or ():
        offer = by_resource.get(resource.id)
        if offer is None:
            continue
        try:
            with reading_attributes():
                found.append(read_listed(resource, offer))
        except BecknError as error:
            if error.code != Code.SCH_TYPE_NOT_SUPPORTED:
                log.info("catalogue %s: %s", catalog.id, error)
    return found


def block_settlement_fault(contract: Contract) -> str | None:
    """Return how a seller's settlement differs from what its own telemetry gives, if it does."""
    try:
        with reading_attributes():
            claimed, due = due_gbp(contract), settle(rows_of(contract)).due_gbp
    except BecknError as error:
        return error.reason
    if claimed is None:
        return "it says nothing about what is due"
    return None if exact(float(due)) == claimed else f"{claimed} GBP claimed, {due} GBP due"


def _cost(start: HalfHour, length: int, outlook: Outlook, policy: BuyingPolicy) -> float | None:
    total = 0.0
    for one in start.span(length):
        expected = outlook.get(one)
        if expected is None:
            return None
        total += expected.price_gbp_per_mwh + float(
            units.carbon_price_gbp_per_mwh(
                expected.intensity_gco2_per_kwh, policy.carbon_price_gbp_per_tco2
            )
        )
    return total


def _is_under_cap(listed: Listed, start: HalfHour, outlook: Outlook) -> bool:
    cap = listed.attributes.carbon_cap_g_per_kwh
    if cap is None:
        return True
    length = listed.attributes.half_hours
    total = sum(outlook[one].intensity_gco2_per_kwh for one in start.span(length))
    return total / length <= cap
