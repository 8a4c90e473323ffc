"""The things Beckn messages carry: contracts, offers, resources, performances, catalogues.

Our own reading of the core model, stricter than the official schema where that lets unknown
members pass. ``…Attributes`` members are JSON-LD objects of a domain; here they only need a context
and a type, and what they hold is checked by who reads it, such as `gridflex.beckn.needs`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from gridflex.beckn.context import Instant, Name, Uri


class ContractCode(StrEnum):
    """Where a contract is."""

    DRAFT = "DRAFT"
    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"
    COMPLETE = "COMPLETE"


class CommitmentCode(StrEnum):
    """Where one promise of a contract is."""

    DRAFT = "DRAFT"
    ACTIVE = "ACTIVE"
    CLOSED = "CLOSED"


class SettlementCode(StrEnum):
    """Where the discharge of a consideration is."""

    DRAFT = "DRAFT"
    COMMITTED = "COMMITTED"
    COMPLETE = "COMPLETE"


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("@context", "@type"):
        if not isinstance(values.get(name), str):
            raise ValueError(f"needs {name}")  # noqa: TRY004 - pydantic turns it into its own
    return values


Attributes = Annotated[dict[str, Any], AfterValidator(_typed)]
"""A JSON-LD object: ``@context``, ``@type`` and what the domain defines."""


class Wire(BaseModel):
    """A closed object with camelCase names on the wire."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the object as JSON values, absent members left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Descriptor(Wire):
    """A label for machines and people."""

    code: str | None = None
    name: str | None = None
    short_desc: str | None = None
    long_desc: str | None = None
    thumbnail_image: str | None = None
    docs: list[dict[str, Any]] | None = None
    media_file: list[dict[str, Any]] | None = None


class ContractStatus(Descriptor):
    """A descriptor whose code is a contract state."""

    code: ContractCode | None = None


class CommitmentDescriptor(Descriptor):
    """A descriptor whose code is a commitment state."""

    code: CommitmentCode | None = None


class CommitmentStatus(Wire):
    """State of one commitment."""

    descriptor: CommitmentDescriptor | None = None


class Quantity(Wire):
    """How much of a resource, in the unit that ``unitCode`` names.

    The core schema leaves its members open; whoever needs one asks for it.
    """

    model_config = ConfigDict(extra="allow")

    unit_code: str | None = None
    unit_quantity: float | None = Field(default=None, allow_inf_nan=False)
    type_: str | None = Field(default=None, alias="@type")


class Resource(Wire):
    """Something that is offered: here, flexible load or a need for it."""

    model_config = ConfigDict(extra="allow")

    id: Name
    descriptor: Descriptor | None = None
    quantity: Quantity | None = None
    resource_attributes: Attributes | None = None


class CommittedResource(Resource):
    """A resource with the quantity that is promised."""

    quantity: Quantity


class TimePeriod(Wire):
    """A window of validity, by instants or by times of day."""

    start_date: Instant | None = None
    end_date: Instant | None = None
    start_time: str | None = None
    end_time: str | None = None


class Provider(Wire):
    """Whose resources they are."""

    id: Name
    descriptor: Descriptor
    available_at: list[dict[str, Any]] | None = None
    provider_attributes: Attributes | None = None


class Consideration(Wire):
    """Value that is promised in return."""

    id: Name
    status: Descriptor | None = None
    consideration_attributes: Attributes | None = None


class Offer(Wire):
    """Terms under which resources are available."""

    model_config = ConfigDict(extra="allow")

    id: Name
    descriptor: Descriptor | None = None
    provider: Provider | None = None
    resource_ids: list[str] | None = None
    add_ons: list[dict[str, Any]] | None = None
    considerations: list[Consideration] | None = None
    validity: TimePeriod | None = None
    offer_attributes: Attributes | None = None


class CommittedOffer(Offer):
    """The offer that a commitment takes up."""

    resource_ids: list[str]


class Commitment(Wire):
    """One promise: which resources, how much, under which offer."""

    id: str | None = None
    status: CommitmentStatus
    resources: list[CommittedResource]
    offer: CommittedOffer
    commitment_attributes: Attributes | None = None


class Participant(Wire):
    """A party to the contract; which role it plays is said in the contract's attributes."""

    id: Name
    descriptor: Descriptor | None = None
    participant_attributes: Attributes | None = None


class Performance(Wire):
    """What was or is being done for some commitments."""

    id: str | None = None
    status: Descriptor | None = None
    commitment_ids: list[str] | None = None
    performance_attributes: Attributes | None = None


class Settlement(Wire):
    """Discharge of one consideration."""

    id: str | None = None
    consideration_id: str | None = None
    status: SettlementCode | None = None
    settlement_attributes: Attributes | None = None


class Contract(Wire):
    """What the parties agree on, as one of them sees it."""

    id: str | None = None
    descriptor: Descriptor | None = None
    status: ContractStatus | None = None
    commitments: Annotated[list[Commitment], Field(min_length=1)]
    consideration: list[Consideration] | None = None
    participants: list[Participant] | None = None
    performance: list[Performance] | None = None
    settlements: list[Settlement] | None = None
    contract_attributes: Attributes | None = None

    @property
    def code(self) -> ContractCode:
        """Its state; a contract that names none is a draft."""
        return (self.status and self.status.code) or ContractCode.DRAFT


class Catalog(Wire):
    """What one provider offers through one platform."""

    id: Name
    descriptor: Descriptor
    provider: Provider
    bpp_id: str | None = None
    bpp_uri: Uri | None = None
    is_active: bool | None = None
    resources: list[Resource] | None = None
    offers: list[Offer] | None = None
    validity: TimePeriod | None = None
