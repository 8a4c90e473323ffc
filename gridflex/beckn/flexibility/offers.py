"""Blocks of flexible compute as catalogue items, and orders for them.

Each waiting job is one resource with one offer: how much energy, how long it may be deferred, at
which premium, and a half-hourly table with what the plan runs (BASELINE), what could run
(AVAILABLE_QTY) and the price. A buyer orders the whole block at another start: REQUESTED_QTY on
the same grid. Job ids never leave the house.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import isodate
from pydantic import Field, ValidationError

from gridflex.beckn.flexibility.settling import POLICY, exact
from gridflex.beckn.wire.context import Instant, zulu
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
    Descriptor,
    Offer,
    Participant,
    Provider,
    Quantity,
    Resource,
    TimePeriod,
    Wire,
)
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.schemas import deg, own
from gridflex.beckn.wire.tables import BUYER, LONGEST, SELLER, Column, Table, read_table
from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.jobs import JobId
from gridflex.planning.slack import Block

OFFER_TYPE: Final = "ComputeFlexOffer"
TERMS_TYPE: Final = "ComputeFlexTerms"
BASELINE: Final = "BASELINE"
AVAILABLE: Final = "AVAILABLE_QTY"
PRICE: Final = "PRICE_PER_KWH"
REQUESTED: Final = "REQUESTED_QTY"
MOST_OFFERED: Final = 500
"""Blocks in one catalogue; the largest ones go first."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a seller says about itself in every offer.

    Args:
        subscriber_id: Its id, also as provider.
        name: For a person.
        grid_area: Where it draws power, such as a postcode or a GSP group.
        notice_half_hours: How long before a change it must know.
        price_gbp_per_kwh: By job, what a shifted kWh costs.
    """

    subscriber_id: str
    name: str
    grid_area: str
    notice_half_hours: int = 1
    price_gbp_per_kwh: Mapping[JobId, Decimal] = field(default_factory=dict)

    def price(self, job_id: JobId) -> Decimal:
        """Return what a shifted kWh of a job costs."""
        return self.price_gbp_per_kwh.get(job_id, Decimal(0))


class WorkloadMetadata(Wire):
    """What kind of work it is; names as in the compute-energy messages of 2025."""

    workload_type: str
    workload_id: str
    gpus: int = Field(ge=0)
    checkpointable: bool


class FlexAttributes(Wire, extra="ignore"):
    """The attributes of one block, without its table."""

    workload_metadata: WorkloadMetadata
    grid_area: str
    power_kw: float = Field(ge=0, allow_inf_nan=False)
    half_hours: int = Field(ge=1, le=LONGEST)
    planned_start: Instant
    possible_starts: list[Instant] = Field(min_length=1, max_length=3_000)
    maximum_deferral: str
    notice_time: str
    carbon_cap_g_per_kwh: float | None = Field(default=None, ge=0, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """A block as its buyer sees it.

    Args:
        resource: As it was published.
        offer: As it was published.
        attributes: What it says about itself.
        table: Its half-hours.
        price_gbp_per_kwh: What a shifted kWh costs.
    """

    resource: Resource
    offer: Offer
    attributes: FlexAttributes
    table: Table
    price_gbp_per_kwh: Decimal

    @property
    def planned(self) -> HalfHour:
        """First half-hour by the seller's plan."""
        return HalfHour(self.attributes.planned_start)

    @property
    def starts(self) -> tuple[HalfHour, ...]:
        """Half-hours in which it could start instead."""
        return tuple(HalfHour(one) for one in self.attributes.possible_starts)

    @property
    def half_hour_kwh(self) -> float:
        """Energy of one of its half-hours."""
        return max(value or 0.0 for value in self.table.column(AVAILABLE).values)


@dataclass(frozen=True, slots=True)
class Order:
    """One block as it is ordered.

    Args:
        resource_id: Which block.
        start: Where it should start.
        half_hours: How long it should run.
        least_kwh: Smallest energy of a half-hour asked for.
        most_kwh: Largest one.
        price_gbp_per_kwh: The price the buyer has in mind.
        planned: Where the buyer believes it to be planned.
    """

    resource_id: str
    start: HalfHour
    half_hours: int
    least_kwh: float
    most_kwh: float
    price_gbp_per_kwh: Decimal
    planned: HalfHour


def resource_id(subscriber_id: str, job_id: JobId) -> str:
    """Return the name under which a job is offered; it does not tell the job's own."""
    return f"block-{uuid.uuid5(uuid.NAMESPACE_URL, f'{subscriber_id}/{job_id}')}"


def catalog_of(
    blocks: Sequence[Block], terms: Terms, *, catalog_id: str, now: datetime, until: datetime
) -> Catalog:
    """Return the catalogue of some blocks, the largest first.

    Args:
        blocks: What there is to sell.
        terms: The seller's.
        catalog_id: Its name.
        now: From when it holds.
        until: To when.
    """
    chosen = sorted(blocks, key=lambda block: -block.energy_kwh)[:MOST_OFFERED]
    validity = TimePeriod(start_date=now, end_date=until)
    return Catalog(
        id=catalog_id,
        descriptor=Descriptor(
            name=f"{terms.name}: flexible compute",
            short_desc=f"{len(chosen)} blocks that can run at other half-hours",
        ),
        provider=Provider(id=terms.subscriber_id, descriptor=Descriptor(name=terms.name)),
        resources=[resource_of(block, terms) for block in chosen],
        offers=[
            offer_of(block, terms).model_copy(update={"validity": validity}) for block in chosen
        ],
        validity=validity,
    )


def resource_of(block: Block, terms: Terms) -> CommittedResource:
    """Return a block as a resource."""
    deferral = max(block.planned.until(block.starts[-1]), 0) * HALF_HOUR
    attributes: dict[str, Any] = {
        "@context": own(OFFER_TYPE),
        "@type": OFFER_TYPE,
        "workloadMetadata": {
            "workloadType": "AI_TRAINING",
            "workloadId": resource_id(terms.subscriber_id, block.job_id),
            "gpus": block.gpus,
            "checkpointable": block.interruptible,
        },
        "energyResource": {"type": "CONTROLLABLE_LOAD"},
        "gridArea": terms.grid_area,
        "powerKw": round(block.power_kw, 6),
        "halfHours": block.half_hours,
        "plannedStart": zulu(block.planned.start),
        "possibleStarts": [zulu(start.start) for start in block.starts],
        "maximumDeferral": isodate.duration_isoformat(deferral),
        "noticeTime": isodate.duration_isoformat(terms.notice_half_hours * HALF_HOUR),
        **_table_of(block, terms).to_wire(),
    }
    if block.carbon_cap_gco2_per_kwh is not None:
        attributes["carbonCapGPerKwh"] = block.carbon_cap_gco2_per_kwh
    energy = round(block.energy_kwh, 3)
    return CommittedResource(
        id=resource_id(terms.subscriber_id, block.job_id),
        descriptor=Descriptor(
            name=f"{energy:g} kWh of training, deferrable by {deferral}",
            short_desc=f"{block.half_hours} half-hours of {block.power_kw:g} kW",
        ),
        quantity=Quantity(unit_code="kWh", unit_quantity=energy, type_="Quantity"),
        resource_attributes=attributes,
    )


def offer_of(block: Block, terms: Terms) -> CommittedOffer:
    """Return the terms of a block."""
    name = resource_id(terms.subscriber_id, block.job_id)
    price = float(terms.price(block.job_id))
    return CommittedOffer(
        id=f"offer-{name}",
        descriptor=Descriptor(name=f"{price:g} GBP per shifted kWh"),
        resource_ids=[name],
        offer_attributes={
            "@context": own(TERMS_TYPE),
            "@type": TERMS_TYPE,
            "currency": "GBP",
            "pricePerKwh": price,
            "contractAttributes": roles(buyer=None, seller=terms.subscriber_id),
        },
    )


def roles(*, buyer: str | None, seller: str | None) -> dict[str, Any]:
    """Return the contract attributes that say who plays which part by which rule."""
    return {
        "@context": deg("DEGContract"),
        "@type": "DEGContract",
        "roles": [
            {"role": BUYER, "participantId": buyer},
            {"role": SELLER, "participantId": seller},
        ],
        "policy": dict(POLICY),
    }


def read_listed(resource: Resource, offer: Offer) -> Listed:
    """Return a block from a catalogue or a contract.

    Raises:
        BecknError: It is no such block, or malformed.
    """
    attributes = resource.resource_attributes or {}
    if attributes.get("@type") != OFFER_TYPE:
        raise BecknError(Code.SCH_TYPE_NOT_SUPPORTED, f"resource {resource.id} is no {OFFER_TYPE}")
    terms = offer.offer_attributes or {}
    try:
        read = FlexAttributes.model_validate(attributes)
        HalfHour(read.planned_start)
        for one in read.possible_starts:
            HalfHour(one)
    except ValidationError as error:
        raise _invalid(resource, faults_text(error, most=1)) from error
    except ContractError as error:
        raise _invalid(resource, str(error)) from error
    price = terms.get("pricePerKwh")
    if not isinstance(price, int | float) or isinstance(price, bool):
        raise _invalid(resource, "its offer has no pricePerKwh")
    table = read_table(attributes)
    for name in (BASELINE, AVAILABLE, PRICE):
        table.column(name)
    return Listed(resource, offer, read, table, exact(price))


def order_of(listed: Listed, start: HalfHour, *, buyer: str, seller: str) -> Contract:
    """Return the draft contract that orders a block at another start."""
    table, energy = listed.table, listed.half_hour_kwh
    wanted = tuple(
        energy if 0 <= start.until(one) < listed.attributes.half_hours else 0.0
        for one in table.start.span(table.half_hours)
    )
    requested = Table.of(table.start, Column(REQUESTED, "KWH", wanted, BUYER))
    commitment = Commitment(
        id="commitment-1",
        status=CommitmentStatus(descriptor=CommitmentDescriptor(code=CommitmentCode.DRAFT)),
        resources=[CommittedResource.model_validate(listed.resource.to_wire())],
        offer=CommittedOffer.model_validate(listed.offer.to_wire()),
        commitment_attributes={
            "@context": deg("BecknTimeSeries", "v1.0"),
            "@type": "TimeSeries",
            **requested.to_wire(),
        },
    )
    return Contract(
        status=ContractStatus(code=ContractCode.DRAFT),
        commitments=[commitment],
        participants=[Participant(id=buyer), Participant(id=seller)],
        contract_attributes=roles(buyer=buyer, seller=seller),
    )


def listed_of(commitment: Commitment) -> Listed:
    """Return the block that a commitment is about.

    Raises:
        BecknError: It is about something else, or about several.
    """
    if len(commitment.resources) != 1:
        raise BecknError(
            Code.BIZ_ITEM_NOT_FOUND, f"{len(commitment.resources)} resources; one per commitment"
        )
    return read_listed(commitment.resources[0], commitment.offer)


def requested_of(commitment: Commitment) -> Table:
    """Return the table with what is asked for.

    Raises:
        BecknError: There is none.
    """
    table = read_table(commitment.commitment_attributes or {})
    table.column(REQUESTED)
    return table


def read_order(commitment: Commitment) -> Order:
    """Return what a commitment orders.

    Raises:
        BecknError: It asks for nothing, or for half-hours with gaps between them.
    """
    listed = listed_of(commitment)
    table = requested_of(commitment)
    asked = [
        (half_hour, value)
        for half_hour, value in zip(
            table.start.span(table.half_hours), table.column(REQUESTED).values, strict=True
        )
        if value
    ]
    if not asked:
        raise BecknError(Code.BIZ_QUANTITY_UNAVAILABLE, f"{REQUESTED} asks for nothing")
    start = asked[0][0]
    if start.until(asked[-1][0]) + 1 != len(asked):
        raise BecknError(Code.BIZ_QUANTITY_UNAVAILABLE, "a block runs without a gap")
    return Order(
        resource_id=listed.resource.id,
        start=start,
        half_hours=len(asked),
        least_kwh=min(value for _, value in asked),
        most_kwh=max(value for _, value in asked),
        price_gbp_per_kwh=listed.price_gbp_per_kwh,
        planned=listed.planned,
    )


def _table_of(block: Block, terms: Terms) -> Table:
    first = min(block.planned, block.starts[0])
    last = max(block.planned, block.starts[-1]) + block.half_hours
    grid = list(first.span(first.until(last)))
    price = float(terms.price(block.job_id))
    possible = {one for start in block.starts for one in start.span(block.half_hours)}
    energy = round(block.half_hour_kwh, 6)
    return Table.of(
        first,
        Column(
            BASELINE,
            "KWH",
            tuple(energy if block.energy_from(block.planned, one) else 0.0 for one in grid),
            SELLER,
        ),
        Column(AVAILABLE, "KWH", tuple(energy if one in possible else 0.0 for one in grid), SELLER),
        Column(PRICE, "GBP_PER_KWH", (price,) * len(grid), SELLER),
    )


def _invalid(resource: Resource, reason: str) -> BecknError:
    return BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, f"resource {resource.id}: {reason}"[:400])
