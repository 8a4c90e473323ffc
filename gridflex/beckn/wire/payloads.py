"""What each action carries: one model per action, and which action has which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import pydantic_core
from pydantic import Field, model_validator

from gridflex.beckn.wire.context import Maybe, Name, Uri
from gridflex.beckn.wire.entities import (
    Attributes,
    Catalog,
    Contract,
    Descriptor,
    Geometry,
    OpenWire,
    Wire,
)


class Cause(Wire):
    """A finer reason, whose code may come from any list."""

    code: str
    message: str
    details: Maybe[dict[str, Any]] = None


class ErrorDetailsBody(Wire):
    """Where it failed and what was behind it."""

    path: Maybe[str] = None
    cause: Maybe[Cause | dict[str, Any]] = None


class ErrorBody(Wire):
    """An error as it stands in acknowledgements and beside late failures."""

    code: str
    message: str
    details: Maybe[ErrorDetailsBody] = None


class ContractMessage(Wire):
    """select, init, update and every callback about a contract."""

    contract: Contract


class OpenContractMessage(ContractMessage):
    """confirm: like `ContractMessage`, with the tags that its schema leaves room for."""

    tags: Maybe[list[Any]] = None


class KnownContractMessage(OpenContractMessage):
    """status and cancel: the contract must be named by its id."""

    @model_validator(mode="after")
    def _has_id(self) -> KnownContractMessage:
        if not self.contract.id:
            raise pydantic_core.PydanticCustomError("missing", "contract.id is required")
        return self


class Filters(OpenWire):
    """A filter expression; see `gridflex.beckn.roles.filtering`."""

    type: Literal["jsonpath"]
    expression: Annotated[str, Field(max_length=4_096)]


class SpatialConstraint(OpenWire):
    """A CQL2 spatial predicate."""

    op: Literal[
        "S_WITHIN", "S_CONTAINS", "S_INTERSECTS", "S_DISJOINT", "S_OVERLAPS", "S_CROSSES",
        "S_TOUCHES", "S_EQUALS", "S_DWITHIN",
    ]  # fmt: skip
    targets: str | list[str]
    geometry: Maybe[Geometry] = None
    distance_meters: Maybe[float] = Field(default=None, ge=0, allow_inf_nan=False)
    quantifier: Maybe[Literal["ANY", "ALL", "NONE", "any"]] = None
    srid: Maybe[str] = None


class Intent(Wire):
    """What a buyer looks for."""

    text_search: Maybe[Annotated[str, Field(max_length=1_024)]] = None
    filters: Maybe[Filters] = None
    spatial: Maybe[list[SpatialConstraint]] = None
    media_search: Maybe[dict[str, Any]] = None


class DiscoverMessage(Wire):
    """discover."""

    intent: Intent


class CatalogsMessage(Wire):
    """on_discover."""

    catalogs: list[Catalog]


class PublishDirective(OpenWire):
    """How the cataloguing service is to treat one catalogue."""

    catalog_id: Name
    catalog_type: Literal["MASTER", "REGULAR"]
    update_mode: Maybe[Literal["FULL", "MERGE"]] = None
    visible_to: Maybe[list[str]] = None
    resource_directives: Maybe[list[dict[str, Any]]] = None


class PublishMessage(Wire):
    """catalog/publish."""

    catalogs: Annotated[list[Catalog], Field(min_length=1)]
    publish_directives: Maybe[list[PublishDirective]] = None


class ProcessingResult(OpenWire):
    """What became of one published catalogue."""

    catalog_id: str
    status: Literal["ACCEPTED", "REJECTED", "PARTIAL"]
    errors: Maybe[list[ErrorBody]] = None
    stats: Maybe[dict[str, Any]] = None


class PublishedMessage(Wire):
    """catalog/on_publish."""

    results: list[ProcessingResult]


class Tracking(OpenWire):
    """Where a contract can be watched."""

    url: Uri
    status: Literal["ACTIVE", "INACTIVE"]
    contract: Maybe[Contract] = None
    tracking_attributes: Maybe[Attributes] = None


class TrackingMessage(Wire):
    """track, on_track."""

    tracking: Tracking


class RatingTarget(OpenWire):
    """What is rated."""

    id: Maybe[str] = None
    descriptor: Maybe[Descriptor] = None
    target_attributes: Maybe[Attributes] = None


class FormSubmission(Wire):
    """A form that was filled in."""

    id: Maybe[str] = None
    submission_id: Maybe[str] = None
    data: dict[str, str]
    submitted_at: Maybe[str] = None


class RatingInput(Wire):
    """One rating."""

    target: RatingTarget
    range: dict[str, Any]
    feedback_form_submission: Maybe[FormSubmission] = None


class RateMessage(Wire):
    """rate."""

    rating_inputs: list[RatingInput]


class RatedMessage(Wire):
    """on_rate."""

    ratings: list[RatingInput]


class Support(Wire):
    """A call for help about a contract, and through which channels it can be had."""

    order_id: Maybe[str] = None
    descriptor: Maybe[Descriptor] = None
    channels: Maybe[Annotated[list[Attributes], Field(min_length=1)]] = None


class SupportMessage(Wire):
    """support, on_support."""

    support: Support


_CONTRACT_CALLBACKS: Final = ("select", "init", "confirm", "update", "cancel", "status")
MODELS: Final[Mapping[str, type[Wire]]] = {
    "discover": DiscoverMessage,
    "on_discover": CatalogsMessage,
    **dict.fromkeys(("select", "init", "update"), ContractMessage),
    "confirm": OpenContractMessage,
    **dict.fromkeys(("status", "cancel"), KnownContractMessage),
    **{f"on_{action}": ContractMessage for action in _CONTRACT_CALLBACKS},
    **dict.fromkeys(("track", "on_track"), TrackingMessage),
    "rate": RateMessage,
    "on_rate": RatedMessage,
    **dict.fromkeys(("support", "on_support"), SupportMessage),
    "catalog/publish": PublishMessage,
    "catalog/on_publish": PublishedMessage,
}
"""The model of ``message`` for each action."""
