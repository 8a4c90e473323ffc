"""A utility's published need for less load, and what a flexible site offers to it.

Here the buyer of flexibility publishes: a need is a resource with a half-hourly table of the
power that it wants shed and the price it pays. A seller answers with an order for that resource
in which it writes how much it offers, CAPACITY_OFFERED on the same grid, and by which meters.

Source:
    DemandFlexNeed v2.0 and DemandFlexBuyOffer v2.0 of the Digital Energy Grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from gridflex.beckn.flexibility.settling import exact
from gridflex.beckn.wire.entities import (
    Catalog,
    Commitment,
    CommitmentCode,
    CommitmentDescriptor,
    CommitmentStatus,
    CommittedOffer,
    CommittedResource,
    Contract,
    ContractCode,
    ContractStatus,
    Offer,
    Participant,
    Quantity,
    Resource,
)
from gridflex.beckn.wire.errors import BecknError, Code, reading_attributes
from gridflex.beckn.wire.meters import digest_of
from gridflex.beckn.wire.schemas import deg
from gridflex.beckn.wire.tables import BUYER, SELLER, Column, Table, read_table
from gridflex.halfhour import HalfHour
from gridflex.units import HOURS_PER_HALF_HOUR

NEED_TYPE: Final = "DemandFlexNeed"
BUY_OFFER_TYPE: Final = "DemandFlexBuyOffer"
REQUESTED: Final = "CAPACITY_REQUESTED"
OFFERED: Final = "CAPACITY_OFFERED"
PRICE: Final = "PRICE"
PENALTY: Final = "SHORTFALL_PENALTY"
METERS: Final = "participatingMeters"
DIGEST: Final = "participatingMetersDigest"
LONGEST_METER: Final = 512
RULE_PATH: Final = "data.deg.contracts.demand_flex"
"""Names the settlement rule of `gridflex.beckn.flexibility.demand_flex` in a contract's policy."""


@dataclass(frozen=True, slots=True)
class Need:
    """A published need.

    Args:
        resource: As it was published.
        offer: As it was published.
        terms: The contract attributes with roles and policy.
        buyer: Id of who needs it, among the contract's participants.
        currency: ISO 4217.
        table: What is wanted when, and at which price.
    """

    resource: Resource
    offer: Offer
    terms: Mapping[str, Any]
    buyer: str
    currency: str
    table: Table

    @property
    def half_hours(self) -> tuple[HalfHour, ...]:
        """Half-hours in which something is wanted, in order."""
        span = self.table.start.span(self.table.half_hours)
        return tuple(one for one in span if self.requested_kw(one) > 0)

    @property
    def rule(self) -> str:
        """By which rule it is settled."""
        policy = self.terms.get("policy")
        return str(policy.get("queryPath")) if isinstance(policy, dict) else ""

    def requested_kw(self, half_hour: HalfHour) -> float:
        """Return how much less power is wanted."""
        return self.table.at(REQUESTED, half_hour)

    def price_per_kwh(self, half_hour: HalfHour) -> float:
        """Return what a kWh less earns, in `currency`."""
        return self.table.at(PRICE, half_hour)


@dataclass(frozen=True, slots=True)
class Bid:
    """What a seller offers to a need.

    Args:
        seller: Its id among the participants.
        table: CAPACITY_OFFERED in kW.
        meters: By which it is measured.
    """

    seller: str
    table: Table
    meters: tuple[str, ...]

    @property
    def energy_kwh(self) -> float:
        """What is offered over all half-hours."""
        return self.table.column(OFFERED).total * HOURS_PER_HALF_HOUR


def is_need(contract: Contract) -> bool:
    """Return whether a contract is about a need."""
    resources = contract.commitments[0].resources
    attributes = resources[0].resource_attributes if resources else None
    return (attributes or {}).get("@type") == NEED_TYPE


def needs_in(catalog: Catalog) -> list[Need]:
    """Return the needs of a catalogue; what is something else or malformed is left out."""
    found = []
    for offer in catalog.offers or ():
        for resource in catalog.resources or ():
            if resource.id not in (offer.resource_ids or ()):
                continue
            try:
                with reading_attributes():
                    found.append(read_need(resource, offer))
            except BecknError:
                continue
    return found


def read_need(resource: Resource, offer: Offer, *, terms: Mapping[str, Any] | None = None) -> Need:
    """Return a need from a catalogue or a contract.

    Args:
        resource: What is wanted.
        offer: At which terms.
        terms: The contract attributes; by default those in the offer.

    Raises:
        BecknError: It is no need, or malformed.
    """
    attributes = resource.resource_attributes or {}
    if attributes.get("@type") != NEED_TYPE:
        raise BecknError(Code.SCH_TYPE_NOT_SUPPORTED, f"resource {resource.id} is no {NEED_TYPE}")
    offered = offer.offer_attributes or {}
    terms = terms or offered.get("contractAttributes") or {}
    inputs = inputs_of(offer, BUYER)
    buyer = participant_of(terms, BUYER)
    currency = inputs.get("currency")
    if buyer is None or not isinstance(currency, str):
        raise BecknError(
            Code.SCH_ATTRIBUTE_PACK_INVALID, f"resource {resource.id}: who buys, in which currency?"
        )
    table = read_table(attributes)
    _require_units(table, resource, currency)
    return Need(resource, offer, terms, buyer, currency, table)


def need_of(contract: Contract) -> Need:
    """Return the need that a contract is about.

    Raises:
        BecknError: It is about something else, or about several.
    """
    if len(contract.commitments) != 1 or len(contract.commitments[0].resources) != 1:
        raise BecknError(Code.BIZ_ITEM_NOT_FOUND, "a contract is about one need")
    commitment = contract.commitments[0]
    terms = contract.contract_attributes
    return read_need(commitment.resources[0], commitment.offer, terms=terms)


def read_bid(contract: Contract) -> Bid:
    """Return what a contract offers to its need.

    Raises:
        BecknError: It offers nothing, on another grid, or names no seller or meters.
    """
    need, commitment = need_of(contract), contract.commitments[0]
    table = read_table(commitment.commitment_attributes or {})
    if table.column(OFFERED).unit != "KW" or min(_values(table)) < 0:
        raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, f"{OFFERED} must be in KW and from 0 on")
    if table.start != need.table.start or table.half_hours > need.table.half_hours:
        raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, f"{OFFERED} is on another grid")
    seller = participant_of(contract.contract_attributes or {}, SELLER)
    inputs = inputs_of(commitment.offer, SELLER)
    meters = inputs.get(METERS)
    if seller is None or not isinstance(meters, list) or not meters:
        raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, "who sells, and by which meters?")
    names = tuple(dict.fromkeys(map(str, meters)))
    if max(map(len, names)) > LONGEST_METER:
        raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, "the name of a meter is too long")
    if inputs.get(DIGEST) not in (None, digest_of(names)):
        raise BecknError(
            Code.SCH_ATTRIBUTE_PACK_INVALID, f"{DIGEST} is not that of the {len(names)} meters"
        )
    return Bid(seller, table, names)


def interest_in(need: Need, *, most_kw: float) -> Contract:
    """Return the draft contract by which a seller asks what a need is worth now.

    Args:
        need: What is wanted.
        most_kw: Greatest power that may be offered.
    """
    quantity = Quantity(unit_code="kW", unit_quantity=most_kw, type_="Quantity")
    resource = need.resource.model_copy(update={"quantity": quantity})
    offered = {**(need.offer.offer_attributes or {})}
    offered.pop("contractAttributes", None)
    offer = need.offer.model_copy(update={"offer_attributes": offered})
    commitment = Commitment(
        id="commitment-1",
        status=CommitmentStatus(descriptor=CommitmentDescriptor(code=CommitmentCode.DRAFT)),
        resources=[CommittedResource.model_validate(resource.to_wire())],
        offer=CommittedOffer.model_validate(offer.to_wire()),
    )
    return Contract(
        status=ContractStatus(code=ContractCode.DRAFT),
        commitments=[commitment],
        participants=[Participant(id=need.buyer)],
        contract_attributes=dict(need.terms),
    )


def with_bid(
    contract: Contract, offered_kw: Sequence[float], *, seller: str, meters: Sequence[str]
) -> Contract:
    """Return a contract with what a seller offers.

    Args:
        contract: About a need, as quoted.
        offered_kw: For each half-hour of the need's grid.
        seller: Its id.
        meters: By which it is measured.
    """
    need, commitment = need_of(contract), contract.commitments[0]
    offered = commitment.offer.offer_attributes or {}
    inputs = [one for one in offered.get("inputs") or () if one.get("role") != SELLER]
    mine = {
        "role": SELLER,
        "participantId": seller,
        "inputs": {METERS: list(meters), DIGEST: digest_of(meters)},
    }
    table = Table.of(need.table.start, Column(OFFERED, "KW", tuple(offered_kw), SELLER))
    bid = commitment.model_copy(
        update={
            "offer": commitment.offer.model_copy(
                update={"offer_attributes": {**offered, "inputs": [*inputs, mine]}}
            ),
            "commitment_attributes": {
                "@context": deg("BecknTimeSeries", "v1.0"),
                "@type": "TimeSeries",
                **table.to_wire(),
            },
        }
    )
    return contract.model_copy(
        update={
            "commitments": [bid],
            "participants": [Participant(id=need.buyer), Participant(id=seller)],
            "contract_attributes": _bound(need.terms, seller),
        }
    )


def participant_of(terms: Mapping[str, Any], role: str) -> str | None:
    """Return who plays a role by some contract attributes; None while nobody does."""
    for one in terms.get("roles") or ():
        if isinstance(one, dict) and one.get("role") == role:
            who = one.get("participantId")
            return who if isinstance(who, str) else None
    return None


def inputs_of(offer: Offer, role: str) -> Mapping[str, Any]:
    """Return what the one in a role wrote into an offer; empty if nothing."""
    for one in (offer.offer_attributes or {}).get("inputs") or ():
        if isinstance(one, dict) and one.get("role") == role:
            inputs = one.get("inputs")
            return inputs if isinstance(inputs, dict) else {}
    return {}


def price_of(need: Need) -> tuple[Decimal, ...]:
    """Return the prices of a need, as they are compared."""
    return tuple(exact(need.price_per_kwh(one)) for one in need.half_hours)


def _bound(terms: Mapping[str, Any], seller: str) -> dict[str, Any]:
    roles = [
        {**one, "participantId": seller} if one.get("role") == SELLER else one
        for one in terms.get("roles") or ()
    ]
    return {**terms, "roles": roles}


def _require_units(table: Table, resource: Resource, currency: str) -> None:
    wanted = {REQUESTED: "KW", PRICE: f"{currency}_PER_KWH", PENALTY: f"{currency}_PER_KWH"}
    for name, unit in wanted.items():
        if name == PENALTY and name not in table.columns:
            continue
        if table.column(name).unit != unit:
            raise BecknError(
                Code.SCH_ATTRIBUTE_PACK_INVALID,
                f"resource {resource.id}: {name} is in {table.column(name).unit!r}, not {unit}",
            )


def _values(table: Table) -> list[float]:
    return [value or 0.0 for value in table.column(OFFERED).values]
