"""The envelope of every message: who speaks to whom, about what, until when.

The official schema makes no member of the context mandatory. What each direction must carry is
checked here, and unknown members are refused, save those that published examples use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import reduce
from operator import or_
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, get_args

import isodate
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from gridflex.beckn.wire.errors import BecknError, Code, refuse

VERSION: Final = "2.0.0"

_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})"
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URI: Final = re.compile(r"https?://[^\s/?#]+[^\s]*")


class Direction(StrEnum):
    """Which way a message goes, which says what its context must carry."""

    REQUEST = "request"
    CALLBACK = "callback"
    PUBLISH = "publish"
    PUBLISHED = "published"


REQUEST_ACTIONS: Final = (
    *("discover", "select", "init", "confirm", "status", "track"),
    *("update", "cancel", "rate", "support"),
)
DIRECTION: Final[Mapping[str, Direction]] = {
    **dict.fromkeys(REQUEST_ACTIONS, Direction.REQUEST),
    **{f"on_{action}": Direction.CALLBACK for action in REQUEST_ACTIONS},
    "catalog/publish": Direction.PUBLISH,
    "catalog/on_publish": Direction.PUBLISHED,
}
"""Every action GridFlex speaks, as in ``context.action`` and in the path."""

TRIALS: Final = ("update", "cancel", "on_update", "on_cancel")
"""Where ``try`` may ask, or say, what would happen."""

_BAP: Final = ("bapId", "bapUri")
_BPP: Final = ("bppId", "bppUri")


def utc(text: str | datetime) -> datetime:
    """Return an RFC 3339 instant in UTC; an aware instant of our own passes.

    Raises:
        ValueError: It is not one.
    """
    if isinstance(text, datetime) and text.tzinfo is not None:
        return text.astimezone(UTC)
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError("must be an RFC 3339 instant such as 2026-07-01T18:00:00Z")
    try:
        return datetime.fromisoformat(_at_most_micro(text).upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies outside the calendar") from error


def zulu(moment: datetime) -> str:
    """Return an aware instant as RFC 3339 in UTC with ``Z``, whole seconds where they are."""
    text = moment.astimezone(UTC).isoformat(
        timespec="milliseconds" if moment.microsecond else "seconds"
    )
    return text.replace("+00:00", "Z")


def _at_most_micro(text: str) -> str:
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def _uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise ValueError("must be a UUID such as 54fb3f15-48aa-4408-bca4-52486b767679")
    return text.lower()


def _uri(text: str) -> str:
    if not _URI.fullmatch(text):
        raise ValueError("must be an http or https URL")
    return text


Instant = Annotated[datetime, BeforeValidator(utc)]
Uuid = Annotated[str, AfterValidator(_uuid)]
Uri = Annotated[str, Field(max_length=2_048), AfterValidator(_uri)]
Name = Annotated[str, Field(min_length=1, max_length=512)]


class _NeverNull:
    """Reads ``X | None`` as ``X``: None is what an absent member has, and nothing that is sent."""

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - a type
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        kinds = [one for one in get_args(source) if one is not NoneType]
        return handler(reduce(or_, kinds))


T = TypeVar("T")
Maybe = Annotated[T | None, _NeverNull()]
"""A member that may be left out; the protocol's schemas allow null nowhere."""


class RequestDigest(BaseModel, extra="forbid", frozen=True):
    """Binds a callback to the bytes of the request it answers."""

    digest: str = Field(pattern=r"^BLAKE-512=[A-Za-z0-9+/]+=*$")
    message_id: Maybe[str] = Field(default=None, alias="messageId")


class Context(BaseModel):
    """The envelope, as received or as it is to be sent.

    Attributes:
        action: What is asked or answered.
        version: Always 2.0.0.
        network_id: The network on which the parties meet.
        transaction_id: One business transaction from discover to settlement.
        message_id: One request and what answers it.
        timestamp: When the message was made.
        bap_id: Buyer-side platform: who sends requests.
        bap_uri: Where its callbacks go.
        bpp_id: Seller-side platform: who answers requests.
        bpp_uri: Where requests go.
        ttl: How long after ``timestamp`` the message counts, ISO 8601.
        is_trial: ``try``: say what would happen, change nothing.
        request_digest: Second binding of a callback to its request.
        schema_context: JSON-LD contexts of the attributes used.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )

    action: str
    version: str
    network_id: Name
    transaction_id: Uuid
    message_id: Uuid
    timestamp: Instant
    bap_id: Maybe[Name] = None
    bap_uri: Maybe[Uri] = None
    bpp_id: Maybe[Name] = None
    bpp_uri: Maybe[Uri] = None
    ttl: Maybe[str] = Field(default=None, max_length=64)
    is_trial: Maybe[bool] = Field(default=None, alias="try")
    request_digest: Maybe[RequestDigest] = None
    schema_context: Maybe[tuple[str, ...]] = None
    sender_id: Maybe[str] = None
    receiver_id: Maybe[str] = None
    key: Maybe[str] = None
    domain: Maybe[str] = None
    location: Maybe[dict[str, Any]] = None
    tags: Maybe[list[Any]] = None

    @property
    def direction(self) -> Direction:
        """Which way the message goes."""
        return DIRECTION[self.action]

    @property
    def sender(self) -> str | None:
        """Subscriber id that must have signed; None where a network service answers discovery."""
        if self.action in {"on_discover", "catalog/on_publish"}:
            return None
        is_bap = self.direction is Direction.REQUEST
        return self.bap_id if is_bap else self.bpp_id

    @property
    def sender_uri(self) -> str | None:
        """The address that the sender gives for itself."""
        if self.action in {"on_discover", "catalog/on_publish"}:
            return None
        return self.bap_uri if self.direction is Direction.REQUEST else self.bpp_uri

    @property
    def expires(self) -> datetime | None:
        """The instant from which the message no longer counts; None without ttl.

        Raises:
            BecknError: ``ttl`` is not an ISO 8601 duration.
        """
        if self.ttl is None:
            return None
        try:
            return self.timestamp + _duration(self.ttl)
        except (isodate.ISO8601Error, ValueError, OverflowError, TypeError) as error:
            raise BecknError(
                Code.CTX_INVALID_FIELD,
                f"ttl {self.ttl!r} is not an ISO 8601 duration such as PT30S",
                path="$.context.ttl",
            ) from error

    def require_profile(self) -> None:
        """Refuse a context that lacks what its direction must carry.

        Raises:
            BecknError: A member is missing, or the version or the action is unknown.
        """
        if self.version != VERSION:
            refuse(
                Code.CTX_VERSION_UNSUPPORTED,
                f"version {self.version!r}; supported is {VERSION}",
                path="$.context.version",
            )
        if self.action not in DIRECTION:
            refuse(
                Code.CTX_ACTION_MISMATCH,
                f"action {self.action!r} is unknown",
                path="$.context.action",
            )
        if self.is_trial and self.action not in TRIALS:
            refuse(
                Code.CTX_INVALID_FIELD,
                f"try is possible with {', '.join(TRIALS)}, not with {self.action}",
                path="$.context.try",
            )
        here = {"bapId": self.bap_id, "bapUri": self.bap_uri}
        here |= {"bppId": self.bpp_id, "bppUri": self.bpp_uri}
        for name in _needed(self.action):
            if here[name] is None:
                refuse(
                    Code.CTX_MISSING_FIELD,
                    f"{name} is missing; {self.action} needs it",
                    path=f"$.context.{name}",
                )

    def require_fresh(self, now: datetime) -> None:
        """Refuse a message whose time to live has run out.

        Raises:
            BecknError: It has, or ``ttl`` is not a duration.
        """
        expires = self.expires
        if expires is not None and now >= expires:
            refuse(
                Code.CTX_TTL_EXPIRED,
                f"valid until {zulu(expires)}, received at {zulu(now)}",
                path="$.context.ttl",
            )

    def to_wire(self) -> dict[str, Any]:
        """Return the context as JSON values, absent members left out."""
        values = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        values["timestamp"] = zulu(self.timestamp)
        return values


def _duration(text: str) -> timedelta:
    if not text.isascii() or text[-1:] in {"P", "T"}:
        raise ValueError(text)
    value: timedelta = isodate.parse_duration(text, as_timedelta_if_possible=True)
    return value


def _needed(action: str) -> tuple[str, ...]:
    if action == "discover":
        return _BAP
    if action == "on_discover":
        return _BAP
    if action.startswith("catalog/"):
        return _BPP
    return (*_BAP, *_BPP)
