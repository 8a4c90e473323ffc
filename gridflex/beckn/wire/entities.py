"""The things Beckn messages carry: contracts, offers, resources, performances, catalogues.

Our own reading of the core model, stricter than the official schema where that lets unknown
members pass. ``…Attributes`` members are JSON-LD objects of a domain; here they only need a context
and a type, and what they hold is checked by who reads it: `gridflex.beckn.flexibility.needs`, say.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from gridflex.beckn.wire.context import Instant, Maybe, Name, Uri


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
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


class OpenWire(Wire):
    """An object that the core schema leaves open: what is not known is kept and passed on."""

    model_config = ConfigDict(extra="allow")


class Document(Wire):
    """A document that belongs to something."""

    label: str
    url: str
    mime_type: str
    standard: Maybe[str] = None
    security: Maybe[dict[str, Any]] = None


class MediaFile(Wire):
    """A picture, a film or a sound."""

    label: Maybe[str] = None
    mime_type: Maybe[str] = None
    uri: Maybe[str] = None


class Descriptor(Wire):
    """A label for machines and people."""

    code: Maybe[str] = None
    name: Maybe[str] = None
    short_desc: Maybe[str] = None
    long_desc: Maybe[str] = None
    thumbnail_image: Maybe[str] = None
    docs: Maybe[list[Document]] = None
    media_file: Maybe[list[MediaFile]] = None


class ContractStatus(Descriptor):
    """A descriptor whose code is a contract state."""

    code: Maybe[ContractCode] = None


class CommitmentDescriptor(Descriptor):
    """A descriptor whose code is a commitment state."""

    code: Maybe[CommitmentCode] = None


class CommitmentStatus(OpenWire):
    """State of one commitment."""

    descriptor: Maybe[CommitmentDescriptor] = None


class Quantity(OpenWire):
    """How much of a resource; whoever needs a member asks for it."""

    unit_code: Maybe[str] = None
    unit_quantity: Maybe[float] = Field(default=None, allow_inf_nan=False)
    type_: Maybe[str] = Field(default=None, alias="@type")


class Resource(OpenWire):
    """Something that is offered: here, flexible load or a need for it."""

    id: Name
    descriptor: Maybe[Descriptor] = None
    quantity: Maybe[Quantity] = None
    resource_attributes: Maybe[Attributes] = None


class CommittedResource(Resource):
    """A resource with the quantity that is promised."""

    quantity: Quantity


class TimePeriod(Wire):
    """A window of validity, by instants or by times of day."""

    start_date: Maybe[Instant] = None
    end_date: Maybe[Instant] = None
    start_time: Maybe[str] = None
    end_time: Maybe[str] = None

    @model_validator(mode="after")
    def _has_an_edge(self) -> Self:
        is_by_clock = self.start_time is not None and self.end_time is not None
        if self.start_date is None and self.end_date is None and not is_by_clock:
            raise PydanticCustomError("missing", "startDate or endDate is missing")
        return self


class Geometry(OpenWire):
    """GeoJSON."""

    type: Literal[
        "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
        "GeometryCollection",
    ]  # fmt: skip
    coordinates: Maybe[list[Any]] = None


class Address(Wire):
    """Where something is, for a person."""

    street_address: Maybe[str] = None
    extended_address: Maybe[str] = None
    address_locality: Maybe[str] = None
    address_region: Maybe[str] = None
    postal_code: Maybe[str] = None
    address_country: Maybe[str] = None


class Location(Wire):
    """A place."""

    geo: Geometry
    address: Maybe[Address] = None


class Provider(Wire):
    """Whose resources they are."""

    id: Name
    descriptor: Descriptor
    available_at: Maybe[list[Location]] = None
    provider_attributes: Maybe[Attributes] = None


class Consideration(OpenWire):
    """Value that is promised in return."""

    id: Name
    status: Maybe[Descriptor] = None
    consideration_attributes: Maybe[Attributes] = None


class Offer(OpenWire):
    """Terms under which resources are available."""

    id: Name
    descriptor: Maybe[Descriptor] = None
    provider: Maybe[Provider] = None
    resource_ids: Maybe[list[str]] = None
    add_ons: Maybe[list[dict[str, Any]]] = None
    considerations: Maybe[list[Consideration]] = None
    validity: Maybe[TimePeriod] = None
    offer_attributes: Maybe[Attributes] = None


class CommittedOffer(Offer):
    """The offer that a commitment takes up."""

    resource_ids: list[str]


class Commitment(Wire):
    """One promise: which resources, how much, under which offer."""

    id: Maybe[str] = None
    status: CommitmentStatus
    resources: list[CommittedResource]
    offer: CommittedOffer
    commitment_attributes: Maybe[Attributes] = None


class Participant(OpenWire):
    """A party to the contract; which role it plays is said in the contract's attributes."""

    id: Maybe[Name] = None
    descriptor: Maybe[Descriptor] = None
    participant_attributes: Maybe[Attributes] = None


class Performance(Wire):
    """What was or is being done for some commitments."""

    id: Maybe[str] = None
    status: Maybe[Descriptor] = None
    commitment_ids: Maybe[list[str]] = None
    performance_attributes: Maybe[Attributes] = None


class Settlement(OpenWire):
    """Discharge of one consideration."""

    id: Maybe[str] = None
    consideration_id: Maybe[str] = None
    status: Maybe[SettlementCode] = None
    settlement_attributes: Maybe[Attributes] = None


class Contract(Wire):
    """What the parties agree on, as one of them sees it."""

    id: Maybe[str] = None
    descriptor: Maybe[Descriptor] = None
    status: Maybe[ContractStatus] = None
    commitments: Annotated[list[Commitment], Field(min_length=1)]
    consideration: Maybe[list[Consideration]] = None
    participants: Maybe[list[Participant]] = None
    performance: Maybe[list[Performance]] = None
    settlements: Maybe[list[Settlement]] = None
    contract_attributes: Maybe[Attributes] = None

    @property
    def code(self) -> ContractCode:
        """Its state; a contract that names none is a draft."""
        return (self.status and self.status.code) or ContractCode.DRAFT


class Catalog(Wire):
    """What one provider offers through one platform."""

    id: Name
    descriptor: Descriptor
    provider: Provider
    bpp_id: Maybe[str] = None
    bpp_uri: Maybe[Uri] = None
    is_active: Maybe[bool] = None
    resources: Maybe[list[Resource]] = None
    offers: Maybe[list[Offer]] = None
    validity: Maybe[TimePeriod] = None

    @model_validator(mode="after")
    def _offers_something(self) -> Self:
        if self.resources is None and self.offers is None:
            raise PydanticCustomError("missing", "resources or offers are missing")
        return self
