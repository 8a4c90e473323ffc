"""Beckn over HTTP: posting messages, and looking participants up in a DeDi registry."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from gridflex.adapters.connected import Connected
from gridflex.adapters.http_errors import http_errors
from gridflex.beckn.messaging.delivery import Answered
from gridflex.beckn.trust.registry import (
    REGISTRY_NAME,
    Registry,
    StaticRegistry,
    Subscriber,
    lookup_path,
    parse_record,
)
from gridflex.beckn.trust.signing import KeyId
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn_settings import MarketSettings
from gridflex.errors import ContractError, SourceError

log = logging.getLogger(__name__)

LARGEST_ANSWER: Final = 1024 * 1024
REMEMBERED: Final = 4_096
UNKNOWN_FOR: Final = timedelta(seconds=10)
"""How long it is remembered that a key is not registered."""

STALE_FOR: Final = timedelta(hours=24)
"""How long a record counts when the registry does not answer; revocations reach us that late."""


class BecknClient(Connected):
    """Posts messages and reads registries; close it after use.

    Args:
        timeout_s: Longest wall time for one answer.
        transport: Replaces the network, for tests.
    """

    def __init__(
        self, *, timeout_s: float = 30.0, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._timeout_s = timeout_s
        super().__init__(
            httpx.AsyncClient(
                transport=transport, timeout=timeout_s, headers={"User-Agent": "gridflex"}
            )
        )

    async def post(self, url: str, body: bytes, *, authorization: str) -> Answered:
        """See `gridflex.beckn.messaging.delivery.Transport.post`."""
        headers = {"Content-Type": "application/json", "Authorization": authorization}
        status, content, answered = await self._ask("POST", url, body=body, headers=headers)
        return Answered(status, content, answered.get("Signature"))

    async def get(self, url: str) -> tuple[int, bytes]:
        """Return status and body of one GET.

        Raises:
            SourceError: There was no answer.
        """
        status, content, _ = await self._ask("GET", url)
        return status, content

    async def fetch(self, uri: str, *, most_bytes: int) -> bytes:
        """See `gridflex.beckn.messaging.referring.Library.fetch`."""
        status, content, _ = await self._ask("GET", uri, most_bytes=most_bytes)
        if status != HTTPStatus.OK:
            raise SourceError(f"beckn: {uri}: HTTP {status}")
        return content

    async def put(
        self, url: str, values: Mapping[str, object], *, token: str | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of one PUT of a JSON object.

        Args:
            url: Where.
            values: What.
            token: Bearer token, if one is needed.

        Raises:
            SourceError: There was no answer.
        """
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body = json.dumps(values).encode()
        status, content, _ = await self._ask("PUT", url, body=body, headers=headers)
        return status, content

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        most_bytes: int = LARGEST_ANSWER,
    ) -> tuple[int, bytes, httpx.Headers]:
        with http_errors(f"beckn: {url}"):
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(method, url, content=body, headers=headers) as answer,
            ):
                return answer.status_code, await _bounded(answer, most_bytes), answer.headers


@dataclass(slots=True)
class _Known:
    record: Subscriber | BecknError
    until: datetime
    read_at: datetime


class DediRegistry:
    """`gridflex.beckn.trust.registry.Registry` over a DeDi registry, with a cache.

    A record is kept as long as the registry says, and used up to a day longer while the registry
    does not answer. That a key is unknown is remembered for seconds only.

    Args:
        base_url: Where ``/lookup/…`` is.
        client: With which to ask.
        name: The registry's name, part of the path.
        longest_cache: Keeps a record no longer than this, whatever the registry says.
    """

    def __init__(
        self,
        base_url: str,
        *,
        client: BecknClient,
        name: str = REGISTRY_NAME,
        longest_cache: timedelta = timedelta(minutes=5),
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = client
        self._name = name
        self._longest_cache = longest_cache
        self._known: OrderedDict[KeyId, _Known] = OrderedDict()

    async def find(self, key_id: KeyId, *, now: datetime) -> Subscriber:
        """See `gridflex.beckn.trust.registry.Registry.find`."""
        known = self._known.get(key_id)
        if known is None or now >= known.until:
            known = await self._look_up(key_id, known, now)
        if isinstance(known.record, BecknError):
            raise BecknError(known.record.code, known.record.reason)
        return known.record

    async def _look_up(self, key_id: KeyId, before: _Known | None, now: datetime) -> _Known:
        try:
            found = await self._ask(key_id, now)
        except (SourceError, ContractError) as error:
            is_usable = (
                before is not None
                and isinstance(before.record, Subscriber)
                and now - before.read_at <= STALE_FOR
            )
            if before is None or not is_usable:
                raise SourceError(f"registry: {key_id}: {error}") from error
            log.warning("registry: uses what it said about %s at %s", key_id, before.read_at)
            found = _Known(before.record, now + UNKNOWN_FOR, before.read_at)
        self._known[key_id] = found
        self._known.move_to_end(key_id)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    async def _ask(self, key_id: KeyId, now: datetime) -> _Known:
        url = self._base_url + lookup_path(key_id, registry=self._name)
        status, body = await self._client.get(url)
        if status == HTTPStatus.NOT_FOUND:
            unknown = BecknError(Code.AUT_KEY_NOT_FOUND, f"{key_id} is not registered")
            return _Known(unknown, now + UNKNOWN_FOR, now)
        if status != HTTPStatus.OK:
            raise SourceError(f"{url}: HTTP {status}")
        record = parse_record(body, key_id=key_id)
        return _Known(record, now + min(record.cache_for, self._longest_cache), now)


def registry_of(settings: MarketSettings, client: BecknClient) -> Registry:
    """Return the registry that the settings name: a service, or a ``file://`` list of records.

    Raises:
        ContractError: The file cannot be read or holds something else.
    """
    if settings.registry_url.startswith("file://"):
        return read_registry(Path(settings.registry_url.removeprefix("file://")))
    return DediRegistry(
        settings.registry_url,
        client=client,
        name=settings.registry_name,
        longest_cache=timedelta(seconds=settings.cache_s),
    )


def read_registry(path: Path) -> StaticRegistry:
    """Return a registry from a JSON list of lookup answers, as the service gives them.

    Raises:
        ContractError: The file cannot be read or holds something else.
    """
    try:
        answers = json.loads(path.read_text())
        return StaticRegistry(
            [
                parse_record(
                    json.dumps(one).encode(),
                    key_id=KeyId(one["data"]["details"]["subscriber_id"], one["data"]["record_id"]),
                )
                for one in answers
            ]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{path}: not a list of registry answers: {error!r}") from error


async def _bounded(answer: httpx.Response, most_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > most_bytes:
            raise SourceError(f"beckn: {answer.url}: the answer is above {most_bytes} bytes")
        parts.append(part)
    return b"".join(parts)
