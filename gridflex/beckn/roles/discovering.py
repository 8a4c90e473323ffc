"""The network's discovery and cataloguing service: keeps catalogues, answers who looks for them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from gridflex.beckn.contracts.states import ContractState, Step
from gridflex.beckn.messaging.reacting import Reaction, Saying, sayings
from gridflex.beckn.roles.filtering import Predicate, parse_filter
from gridflex.beckn.trust.verification import Background
from gridflex.beckn.wire.entities import Catalog
from gridflex.beckn.wire.errors import BecknError, Code, reading_attributes
from gridflex.beckn.wire.messages import Message, error_body
from gridflex.beckn.wire.payloads import (
    CatalogsMessage,
    DiscoverMessage,
    Intent,
    ProcessingResult,
    PublishDirective,
    PublishedMessage,
    PublishMessage,
    SpatialConstraint,
)

PAGE: Final = 200
"""Catalogues in one ``on_discover``; more go into further ones."""

EARTH_RADIUS_M: Final = 6_371_008.8
"""Mean radius, IUGG 1980."""


class CatalogService:
    """The service's `gridflex.beckn.messaging.reacting.Trader`: keeps each catalogue's newest."""

    def __init__(self) -> None:
        self._catalogs: dict[tuple[str, str], tuple[Catalog, PublishDirective | None]] = {}

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:  # noqa: ARG002 - the port's
        """See `gridflex.beckn.messaging.reacting.Trader.react`."""
        payload = message.payload
        if isinstance(payload, PublishMessage):
            results = self._publish(str(message.context.bpp_id), message, payload)
            return sayings(Saying(PublishedMessage(results=results)))
        if isinstance(payload, DiscoverMessage):
            found = self.find(payload.intent, network=message.context.network_id, now=now)
            pages = [found[at : at + PAGE] for at in range(0, len(found), PAGE)] or [[]]
            return Reaction(tuple(Saying(CatalogsMessage(catalogs=page)) for page in pages))
        raise BecknError(Code.CTX_ACTION_MISMATCH, f"{message.action} is not for this service")

    async def ended(self, state: ContractState) -> None:
        """Take no note: it has no contracts."""

    def screen(self, message: Message, background: Background, now: datetime) -> None:  # noqa: ARG002 - a `Screen`
        """Refuse at once what could not be answered.

        Raises:
            BecknError: It is for somebody else, or its filter is malformed.
        """
        if isinstance(message.payload, DiscoverMessage):
            with reading_attributes():
                self.find(message.payload.intent, network=message.context.network_id, now=now)
        elif not isinstance(message.payload, PublishMessage):
            raise BecknError(Code.CTX_ACTION_MISMATCH, f"{message.action} is not for this service")

    def find(self, intent: Intent, *, network: str, now: datetime) -> list[Catalog]:
        """Return the catalogues that an intent asks for, blocks of offers that ended left out.

        Raises:
            BecknError: A filter is malformed or a spatial predicate is not supported.
        """
        wanted = parse_filter(intent.filters.expression) if intent.filters else None
        visible = (
            catalog
            for catalog, directive in self._catalogs.values()
            if (directive is None or not directive.visible_to or network in directive.visible_to)
            and catalog.is_active is not False
            and not (catalog.validity and (end := catalog.validity.end_date) and end <= now)
        )
        return [
            kept
            for catalog in visible
            if _has_words(catalog, intent.text_search)
            and all(_is_there(catalog, one) for one in intent.spatial or ())
            and (kept := _filtered(catalog, wanted)) is not None
        ]

    def _publish(
        self, publisher: str, message: Message, payload: PublishMessage
    ) -> list[ProcessingResult]:
        directives = {one.catalog_id: one for one in payload.publish_directives or ()}
        return [
            self._keep(catalog, directives.get(catalog.id), publisher, message)
            for catalog in payload.catalogs
        ]

    def _keep(
        self,
        catalog: Catalog,
        directive: PublishDirective | None,
        publisher: str,
        message: Message,
    ) -> ProcessingResult:
        if catalog.bpp_id not in {None, publisher}:
            error = BecknError(
                Code.AUT_UNAUTHORIZED_ACTION, f"{publisher} publishes for {catalog.bpp_id}"
            )
            return ProcessingResult(
                catalog_id=catalog.id, status="REJECTED", errors=[error_body(error)]
            )
        update = {"bpp_id": publisher, "bpp_uri": message.context.bpp_uri}
        new = catalog.model_copy(update=update)
        known = self._catalogs.get((publisher, catalog.id))
        if known and directive and directive.update_mode == "MERGE":
            new = _merged(known[0], new)
        self._catalogs[publisher, catalog.id] = (new, directive)
        stats = {"resources": len(new.resources or ()), "offers": len(new.offers or ())}
        return ProcessingResult(catalog_id=catalog.id, status="ACCEPTED", stats=stats)


def _merged(known: Catalog, new: Catalog) -> Catalog:
    return new.model_copy(
        update={
            "resources": _by_id(known.resources or (), new.resources or ()),
            "offers": _by_id(known.offers or (), new.offers or ()),
        }
    )


def _by_id(known: Iterable[Any], new: Iterable[Any]) -> list[Any]:
    return list({one.id: one for one in (*known, *new)}.values())


def _filtered(catalog: Catalog, wanted: Predicate | None) -> Catalog | None:
    """Return a catalogue that a filter fits, or its resources that the filter fits; None else."""
    if wanted is None or wanted(catalog.to_wire()):
        return catalog
    resources = [one for one in catalog.resources or () if wanted(one.to_wire())]
    if not resources:
        return None
    kept = {one.id for one in resources}
    offers = [one for one in catalog.offers or () if kept & set(one.resource_ids or ())]
    return catalog.model_copy(update={"resources": resources, "offers": offers})


def _has_words(catalog: Catalog, words: str | None) -> bool:
    if not words:
        return True
    text = json.dumps(catalog.to_wire(), ensure_ascii=False).lower()
    return all(word in text for word in words.lower().split())


def _is_there(catalog: Catalog, constraint: SpatialConstraint) -> bool:
    points = list(_points(catalog.to_wire()))
    geometry = constraint.geometry
    kind = geometry.type if geometry else None
    coordinates = (geometry and geometry.coordinates) or []
    if constraint.op == "S_DWITHIN" and kind == "Point":
        centre = _position(coordinates)
        reach = constraint.distance_meters or 0.0
        return any(_distance_m(centre, one) <= reach for one in points)
    if constraint.op in {"S_WITHIN", "S_INTERSECTS"} and kind == "Polygon" and coordinates:
        ring = [_position(one) for one in coordinates[0]]
        return any(_is_inside(one, ring) for one in points)
    raise BecknError(
        Code.SCH_TYPE_NOT_SUPPORTED,
        f"{constraint.op} with {kind!r}; supported are S_DWITHIN with a Point, "
        "S_WITHIN and S_INTERSECTS with a Polygon",
        path="$.message.intent.spatial",
    )


def _points(value: Any) -> Iterable[tuple[float, float]]:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        if value.get("type") == "Point" and "coordinates" in value:
            yield _position(value["coordinates"])
        for below in value.values():
            yield from _points(below)
    elif isinstance(value, list):
        for below in value:
            yield from _points(below)


def _position(value: object) -> tuple[float, float]:
    is_pair = isinstance(value, list) and len(value) >= 2  # noqa: PLR2004 - longitude, latitude
    if not is_pair or not all(isinstance(one, int | float) for one in value[:2]):  # type: ignore[index]
        raise BecknError(Code.SCH_INVALID_FORMAT, f"{value!r} is not [longitude, latitude]"[:200])
    return float(value[0]), float(value[1])  # type: ignore[index]


def _distance_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    (lon1, lat1), (lon2, lat2) = (tuple(map(math.radians, place)) for place in (one, other))
    half = (
        math.sin((lat2 - lat1) / 2) ** 2
        + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, half)))


def _is_inside(point: tuple[float, float], ring: Sequence[tuple[float, float]]) -> bool:
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], *ring[:1]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside
