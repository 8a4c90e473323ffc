"""Who is on the network: subscriber records and the keys that count at an instant.

A record answers one question: may this key speak for this subscriber on this network now?
A subscriber has any number of records, one per key, so a new key is valid beside the old one
until that one is revoked or runs out.

Source:
    DeDi lookup as ONIX ``dediregistry`` reads it:
    ``GET {base}/lookup/{subscriber_id}/{registry}/{key_id}``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from gridflex.beckn.trust.signing import KeyId, public_key
from gridflex.beckn.wire.errors import BecknError, Code, refuse
from gridflex.errors import ContractError
from gridflex.faults import faults_text

DEFAULT_CACHE_TIME: Final = timedelta(minutes=5)
REGISTRY_NAME: Final = "subscribers.beckn.one"


@dataclass(frozen=True, slots=True, eq=False)
class Subscriber:
    """One key of one participant, as the registry has it.

    Args:
        key_id: Whose key.
        url: Where the participant receives messages.
        kind: BAP, BPP, BG, CS, DS or whatever the network calls it.
        key: The public key.
        networks: Networks it is a member of.
        is_revoked: Whether the registry took the record back.
        valid_from: First instant of validity; None for always.
        valid_until: First instant after it; None for never.
        cache_for: How long the answer may be kept.
    """

    key_id: KeyId
    url: str
    kind: str
    key: Ed25519PublicKey
    networks: frozenset[str]
    is_revoked: bool = False
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    cache_for: timedelta = DEFAULT_CACHE_TIME

    def require_usable(self, *, now: datetime, networks: Collection[str]) -> None:
        """Refuse a key that does not count at ``now`` on one of ``networks``.

        Raises:
            BecknError: It is revoked, not valid yet or no longer, or of no allowed network.
        """
        if self.is_revoked:
            refuse(Code.AUT_KEY_EXPIRED_OR_REVOKED, f"key {self.key_id} is revoked")
        if (self.valid_from and now < self.valid_from) or (
            self.valid_until and now >= self.valid_until
        ):
            refuse(
                Code.AUT_KEY_EXPIRED_OR_REVOKED,
                f"key {self.key_id} is valid from {self.valid_from} until {self.valid_until}",
            )
        if not self.networks & frozenset(networks):
            refuse(
                Code.AUT_DOMAIN_NOT_ALLOWED,
                f"{self.key_id.subscriber_id} is a member of {sorted(self.networks)}, of none of "
                f"{sorted(networks)}",
            )


class Registry(Protocol):
    """Where participants are looked up."""

    async def find(self, key_id: KeyId, *, now: datetime) -> Subscriber:
        """Return the record of one key.

        Raises:
            BecknError: The subscriber or the key is not registered.
            SourceError: The registry does not answer and nothing usable is kept.
        """
        ...


class StaticRegistry:
    """A registry that is a list: the file form, and the double for tests.

    Args:
        records: All there are.
    """

    def __init__(self, records: Collection[Subscriber]) -> None:
        self._records = {record.key_id: record for record in records}

    async def find(self, key_id: KeyId, *, now: datetime) -> Subscriber:  # noqa: ARG002 - port
        """See `Registry.find`."""
        found = self._records.get(key_id)
        if found is not None:
            return found
        known = any(one.subscriber_id == key_id.subscriber_id for one in self._records)
        if known:
            raise BecknError(
                Code.AUT_KEY_NOT_FOUND,
                f"{key_id.subscriber_id} has no key {key_id.unique_key_id!r}",
            )
        raise BecknError(
            Code.AUT_SUBSCRIBER_NOT_FOUND, f"{key_id.subscriber_id!r} is not registered"
        )


class _Details(BaseModel, extra="ignore"):
    url: str = Field(pattern=r"^https?://")
    type: str
    subscriber_id: str
    signing_public_key: str


class _Meta(BaseModel, extra="ignore"):
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None


class _Record(BaseModel, extra="ignore"):
    details: _Details
    network_memberships: list[str] = []
    ttl: int = Field(default=int(DEFAULT_CACHE_TIME.total_seconds()), ge=0)
    is_revoked: bool = False
    meta: _Meta | None = None


class _Answer(BaseModel, extra="ignore"):
    data: _Record


def lookup_path(key_id: KeyId, *, registry: str = REGISTRY_NAME) -> str:
    """Return the path that asks a DeDi registry about one key."""
    parts = (key_id.subscriber_id, registry, key_id.unique_key_id)
    return "/lookup/" + "/".join(quote(part, safe="") for part in parts)


def parse_record(body: bytes, *, key_id: KeyId) -> Subscriber:
    """Return the subscriber of a DeDi answer.

    Args:
        body: JSON.
        key_id: What was asked for; an answer about another subscriber is refused.

    Raises:
        ContractError: The answer is of another form or about something else.
    """
    try:
        record = _Answer.model_validate_json(body).data
    except ValidationError as error:
        told = faults_text(error, whole="record", most=1)
        raise ContractError(f"registry answer about {key_id}: {told}") from error
    if record.details.subscriber_id != key_id.subscriber_id:
        raise ContractError(
            f"registry answered about {record.details.subscriber_id!r}, not about {key_id}"
        )
    meta = record.meta or _Meta()
    return Subscriber(
        key_id=key_id,
        url=record.details.url,
        kind=record.details.type,
        key=public_key(record.details.signing_public_key),
        networks=frozenset(record.network_memberships),
        is_revoked=record.is_revoked,
        valid_from=meta.valid_from,
        valid_until=meta.valid_until,
        cache_for=timedelta(seconds=record.ttl),
    )


def format_record(
    key_id: KeyId,
    *,
    url: str,
    kind: str,
    public_base64: str,
    networks: Collection[str],
    at: datetime,
    is_revoked: bool = False,
    valid_until: datetime | None = None,
    ttl_s: int = 300,
) -> dict[str, Any]:
    """Return one key as a DeDi registry answers it; `parse_record` reads it back."""
    return {
        "message": "Record retrieved from registry cache",
        "data": {
            "record_id": key_id.unique_key_id,
            "details": {
                "url": url,
                "type": kind,
                "subscriber_id": key_id.subscriber_id,
                "signing_public_key": public_base64,
            },
            "network_memberships": sorted(networks),
            "created_at": at.isoformat(),
            "updated_at": at.isoformat(),
            "ttl": ttl_s,
            "is_revoked": is_revoked,
            "meta": {"valid_until": valid_until.isoformat()} if valid_until else {},
        },
    }
