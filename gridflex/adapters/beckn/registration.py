"""Putting a key into the network's registry, and seeing whether peers will believe it there.

The DeDi lookup is common to all registries, taking a record in is not: a network has its portal
or its operator for that. Where a registry does take one in, it is by a PUT of the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from gridflex.adapters.beckn.http import BecknClient, registry_of
from gridflex.beckn.trust.registry import Subscriber
from gridflex.beckn.trust.signing import KeyId, public_key
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn_settings import MarketSettings
from gridflex.errors import ContractError, SourceError


@dataclass(frozen=True, slots=True)
class Registration:
    """One key as we want it to be known.

    Args:
        key_id: Its name.
        url: Where we receive messages.
        kind: BAP or BPP.
        public_base64: 32 bytes.
        network: On which we trade.
    """

    key_id: KeyId
    url: str
    kind: str
    public_base64: str
    network: str

    def to_wire(self) -> dict[str, Any]:
        """Return the record that is put into the registry."""
        return {
            "subscriber_id": self.key_id.subscriber_id,
            "unique_key_id": self.key_id.unique_key_id,
            "url": self.url,
            "type": self.kind,
            "signing_public_key": self.public_base64,
            "networks": [self.network],
        }

    def fault_in(self, record: Subscriber, *, now: datetime) -> str | None:
        """Return why a peer would not believe us by a record of the registry; None if it would."""
        if record.key != public_key(self.public_base64):
            return "it has another public key under this name"
        if record.url.rstrip("/") != self.url.rstrip("/"):
            return f"it says that we are at {record.url}, not at {self.url}"
        try:
            record.require_usable(now=now, networks={self.network})
        except BecknError as error:
            return error.reason
        return None


def registration_of(settings: MarketSettings, key_id: KeyId, public_base64: str) -> Registration:
    """Return how a key of ours should be known."""
    return Registration(
        key_id=key_id,
        url=settings.url,
        kind="BPP" if settings.sells else "BAP",
        public_base64=public_base64,
        network=settings.network_id,
    )


async def register(
    registration: Registration, settings: MarketSettings, *, client: BecknClient
) -> None:
    """Put a key into the registry.

    Raises:
        ContractError: The registry is a file, takes no records in, or refuses this one.
        SourceError: It does not answer.
    """
    if settings.registry_url.startswith("file://"):
        raise ContractError(f"{settings.registry_url} is a file: write the record into it")
    url = settings.registration_url or f"{settings.registry_url.rstrip('/')}/records"
    token = settings.registration_token
    status, body = await client.put(
        url, registration.to_wire(), token=token.get_secret_value() if token else None
    )
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        raise ContractError(
            f"{url}: HTTP {status}: the registry takes no records in here; hand the record of "
            "`gridflex market keys new` to the network's operator or set market.registration_url"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise SourceError(f"{url}: HTTP {status}")
    if status >= HTTPStatus.BAD_REQUEST:
        said = body[:200].decode(errors="replace")
        raise ContractError(f"{url}: HTTP {status}: the registry refuses the record: {said}")


async def require_known(
    registration: Registration, settings: MarketSettings, *, client: BecknClient, now: datetime
) -> None:
    """Look a key up as a peer does, and refuse what a peer would refuse.

    Raises:
        ContractError: The registry does not have it as it should be.
        SourceError: The registry does not answer.
    """
    try:
        record = await registry_of(settings, client).find(registration.key_id, now=now)
    except BecknError as error:
        raise ContractError(f"registry: {error.reason}") from error
    fault = registration.fault_in(record, now=now)
    if fault is not None:
        raise ContractError(f"registry about {registration.key_id}: {fault}")
