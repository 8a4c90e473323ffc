"""The buyer: picks blocks that fit into good half-hours, and orders them step by step.

Nothing is remembered between messages: what was asked is in the contract, what is acceptable is
in the policy, and each answer is checked against both before the next step.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from gridflex import units
from gridflex.beckn.entities import Catalog, Contract
from gridflex.beckn.errors import BecknError, Code, reading_attributes
from gridflex.beckn.keeping import Store
from gridflex.beckn.messages import Message
from gridflex.beckn.meters import is_whole
from gridflex.beckn.offers import (
    OFFER_TYPE,
    Listed,
    listed_of,
    order_of,
    read_listed,
    read_order,
)
from gridflex.beckn.participant import Reaction, Saying, sayings
from gridflex.beckn.payloads import (
    CatalogsMessage,
    ContractMessage,
    DiscoverMessage,
    Filters,
    Intent,
    KnownContractMessage,
)
from gridflex.beckn.reporting import due_gbp, rows_of
from gridflex.beckn.settling import exact, settle
from gridflex.beckn.states import Side, Stage, Step
from gridflex.beckn.writing import Peer
from gridflex.halfhour import HalfHour

log = logging.getLogger(__name__)

NEXT: Final = {"on_select": "init", "on_init": "confirm"}


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


class Buyer:
    """Acts on callbacks about blocks.

    Args:
        subscriber_id: Its own id.
        market: What it knows about the grid.
        store: Its contracts.
        policy: What it wants.
    """

    def __init__(
        self, subscriber_id: str, *, market: Market, store: Store, policy: BuyingPolicy
    ) -> None:
        self._id = subscriber_id
        self._market = market
        self._store = store
        self._policy = policy

    async def react(self, message: Message, step: Step | None) -> Reaction:
        """Return the next step; see `gridflex.beckn.participant.Trader.react`."""
        if isinstance(message.payload, CatalogsMessage):
            return await self._choose(message.payload.catalogs)
        if step is None:
            return Reaction()
        if step.state.stage is Stage.COMPLETE:
            _check_settlement(step)
        if step.is_stale or step.state.stage.is_final:
            return Reaction()
        following = NEXT.get(message.action)
        if following is None:
            return Reaction()
        fault = self._fault(step)
        if fault is not None:
            return leave(step, fault)
        return sayings(Saying(ContractMessage(contract=step.state.contract), following))

    async def _choose(self, catalogs: Sequence[Catalog]) -> Reaction:
        outlook = await self._market.outlook()
        open_ones = await self._store.open_contracts(Side.BAP)
        taken = {
            resource.id
            for state in open_ones
            for one in state.contract.commitments
            for resource in one.resources
        }
        room = self._policy.most_contracts - len(open_ones)
        chosen = []
        for catalog in catalogs:
            if catalog.bpp_id is None or catalog.bpp_uri is None or catalog.bpp_id == self._id:
                continue
            peer = Peer(catalog.bpp_id, catalog.bpp_uri)
            for listed in listed_in(catalog):
                start = best_start(listed, outlook, self._policy)
                if start is None or listed.resource.id in taken:
                    continue
                taken.add(listed.resource.id)
                contract = order_of(listed, start, buyer=self._id, seller=peer.subscriber_id)
                payload = ContractMessage(contract=contract)
                chosen.append(Saying(payload, "select", is_new=True, peer=peer))
        return Reaction(sayings=tuple(chosen[: max(room, 0)]))

    def _fault(self, step: Step) -> str | None:
        """Return what is wrong with a quote, if anything is."""
        said = step.state.contract
        asked = step.before.contract if step.before else said
        try:
            now = {(one.resource_id, one.start) for one in map(read_order, said.commitments)}
            before = {(one.resource_id, one.start) for one in map(read_order, asked.commitments)}
            prices = [listed_of(one).price_gbp_per_kwh for one in said.commitments]
        except BecknError as error:
            return error.reason
        if now != before:
            return "the answer is about another order than ours"
        if max(prices) > self._policy.most_premium_gbp_per_kwh:
            return f"{max(prices)} GBP/kWh is above {self._policy.most_premium_gbp_per_kwh}"
        return None


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


def settlement_fault(contract: Contract) -> str | None:
    """Return how a seller's settlement differs from what its own telemetry gives, if it does."""
    try:
        with reading_attributes():
            claimed, due = due_gbp(contract), settle(rows_of(contract)).due_gbp
    except BecknError as error:
        return error.reason
    if claimed is None:
        return "it says nothing about what is due"
    return None if exact(float(due)) == claimed else f"{claimed} GBP claimed, {due} GBP due"


def _check_settlement(step: Step) -> None:
    state = step.state
    if not is_whole(state.contract.performance or ()):
        return
    fault = settlement_fault(state.contract)
    if fault is not None:
        log.warning("contract %s of %s: %s", state.contract_id, state.peer_id, fault)


def leave(step: Step, reason: str) -> Reaction:
    """Return what ends a draft that is not wanted any more.

    Raises:
        BecknError: It has no id by which its seller could be told; it lapses.
    """
    contract = step.state.contract
    if contract.id is None:
        raise BecknError(Code.BIZ_QUOTE_EXPIRED_OR_CHANGED, reason)
    status = contract.status.model_copy(update={"short_desc": reason}) if contract.status else None
    named = contract.model_copy(update={"status": status})
    return sayings(Saying(KnownContractMessage(contract=named), "cancel"))


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
