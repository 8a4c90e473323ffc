"""Collections that lie elsewhere: fetched from their sender, checked, and put in their place.

A list of meters, or what they measured, that is too long even for pages is named by a reference.
The message's signature covers the hash of the list, so the list is as good as signed. It is only
fetched from the address of who signed, because anything else would let a peer choose whom we call.

Source:
    BecknResourceRef v1.0, DemandFlexPerformance v2.0 and DemandFlexBuyOffer v2.0 of the Digital
    Energy Grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from gridflex.beckn.trust.verification import is_answer
from gridflex.beckn.wire.context import Instant, Maybe, Uri
from gridflex.beckn.wire.entities import Commitment, Performance, Wire
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import LARGEST_BODY, Message, read_json
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.errors import SourceError
from gridflex.faults import faults_text
from gridflex.ledger.canonical import canonical_json, digest

LARGEST_LIST: Final = 8 * LARGEST_BODY
"""Bytes; telemetry of some 10,000 meters over a day."""

METERS: Final = "meters"
PARTICIPATING: Final = "participatingMeters"


class Library(Protocol):
    """How a list is fetched."""

    async def fetch(self, uri: str, *, most_bytes: int) -> bytes:
        """Return what is at an address.

        Raises:
            SourceError: There is nothing, no answer, or more than that.
        """
        ...


class Reference(Wire):
    """Where a list is, and what it must be."""

    type_: Maybe[str] = Field(default=None, alias="@type")
    uri: Uri
    content_hash: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    count: int = Field(ge=0)
    content_type: Maybe[str] = None
    schema_context: Maybe[str] = None
    expires_at: Maybe[Instant] = None
    size_bytes: Maybe[int] = Field(default=None, ge=0)


async def with_lists(message: Message, library: Library) -> Message:
    """Return a message with the lists it refers to in their places: of meters and their telemetry.

    Raises:
        BecknError: A list cannot be fetched or is not what the reference says.
    """
    if not isinstance(message.payload, ContractMessage):
        return message
    contract, home = message.contract, message.context.sender_uri or ""
    update: dict[str, Any] = {}
    if is_answer(message.context):
        told = contract.performance or []
        performances = [await _measured(one, library, home) for one in told]
        if performances != told:
            update["performance"] = performances
    else:
        commitments = [await _enrolled(one, library, home) for one in contract.commitments]
        if commitments != contract.commitments:
            update["commitments"] = commitments
    if not update:
        return message
    payload = message.payload.model_copy(update={"contract": contract.model_copy(update=update)})
    return Message(message.context, payload, message.raw, message.error)


async def _measured(performance: Performance, library: Library, home: str) -> Performance:
    attributes = performance.performance_attributes
    if attributes is None or f"{METERS}Ref" not in attributes:
        return performance
    if "pageInfo" in attributes:
        raise _invalid("pages and metersRef exclude one another")
    filled = await _filled(attributes, METERS, library, home)
    return performance.model_copy(update={"performance_attributes": filled})


async def _enrolled(commitment: Commitment, library: Library, home: str) -> Commitment:
    attributes = commitment.offer.offer_attributes or {}
    parts = attributes.get("inputs")
    if not isinstance(parts, list):
        return commitment
    filled = [await _part(one, library, home) for one in parts]
    if filled == parts:
        return commitment
    offer = commitment.offer.model_copy(
        update={"offer_attributes": {**attributes, "inputs": filled}}
    )
    return commitment.model_copy(update={"offer": offer})


async def _part(part: Any, library: Library, home: str) -> Any:  # noqa: ANN401 - JSON
    inputs = part.get("inputs") if isinstance(part, dict) else None
    if not isinstance(inputs, dict) or f"{PARTICIPATING}Ref" not in inputs:
        return part
    return {**part, "inputs": await _filled(inputs, PARTICIPATING, library, home)}


async def _filled(
    values: Mapping[str, Any], name: str, library: Library, home: str
) -> dict[str, Any]:
    """Return an object with a list in the place of the reference to it."""
    if name in values:
        raise _invalid(f"{name} and {name}Ref exclude one another")
    reference = _reference(values[f"{name}Ref"], name)
    filled = {key: value for key, value in values.items() if key != f"{name}Ref"}
    return {**filled, name: await _list(reference, library, home)}


async def _list(reference: Reference, library: Library, home: str) -> list[Any]:
    if urlsplit(reference.uri)[:2] != urlsplit(home)[:2]:
        raise _invalid(f"{reference.uri} is not at {home}, the address of who refers to it")
    if (reference.size_bytes or 0) > LARGEST_LIST:
        raise _invalid(f"{reference.size_bytes} bytes; at most {LARGEST_LIST} are fetched")
    try:
        body = await library.fetch(reference.uri, most_bytes=LARGEST_LIST)
    except SourceError as error:
        raise BecknError(Code.NET_DOWNSTREAM_UNAVAILABLE, str(error)) from error
    found = read_json(body)
    if f"sha256:{digest(canonical_json(found))}" != reference.content_hash:
        raise _invalid(f"what is at {reference.uri} has another hash")
    if not isinstance(found, list) or len(found) != reference.count:
        raise _invalid(f"what is at {reference.uri} is no list of {reference.count}")
    return found


def _reference(values: object, name: str) -> Reference:
    try:
        return Reference.model_validate(values)
    except ValidationError as error:
        told = faults_text(error, whole=f"{name}Ref", name=lambda field: f"{name}Ref.{field}")
        raise _invalid(told) from error


def _invalid(reason: str) -> BecknError:
    return BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, reason[:400])
