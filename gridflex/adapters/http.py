"""One way to ask a provider over HTTP: timeout, bounded retries, archive, mapped errors.

What comes back is JSON or a `SourceError` that names the provider and the URL. A server that
replays or simulates says so in the header ``X-GridFlex-Origin``; everything else is live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import httpx
import stamina
from pydantic import BaseModel, ValidationError

from gridflex.adapters.connected import Connected
from gridflex.adapters.http_errors import http_errors
from gridflex.errors import ContractError, SourceError
from gridflex.faults import faults_text
from gridflex.signals import Origin

ORIGIN_HEADER: Final = "X-GridFlex-Origin"
RETRIED_STATUS: Final = frozenset({429, 500, 502, 503, 504})
ATTEMPTS: Final = 3
_NOT_FOR_US: Final = frozenset({401, 403, 429})
_SHOWN_BODY: Final = 200

Model = TypeVar("Model", bound=BaseModel)
Params = Mapping[str, str | int]


class EmptyAnswerError(SourceError):
    """The provider answered well, and with nothing at all."""


class UnavailableError(SourceError):
    """The provider does not answer, or serves nobody or not us: no other question would help."""


class NotServedError(UnavailableError):
    """The provider cannot be reached or turns us away: whoever asks on at once only burdens it."""


class RawArchive(Protocol):
    """Keeps every answer of a provider as it arrived."""

    async def keep(
        self, provider: str, *, url: str, status: int, body: bytes, fetched_at: datetime
    ) -> None:
        """Keep one raw response; ``fetched_at`` is GridFlex time."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One successful response.

    Args:
        provider: Who answered.
        url: The whole URL that was asked.
        body: Parsed JSON, nothing about its shape checked yet.
        origin: What the answering server says its numbers rest on.
    """

    provider: str
    url: str
    body: Any
    origin: Origin

    def parse(self, model: type[Model]) -> Model:
        """Return the body as ``model``.

        Raises:
            SourceError: The body is the provider's own error object.
            ContractError: A field is missing or wrong; names the field and the value.
        """
        if isinstance(self.body, dict) and "error" in self.body and "data" not in self.body:
            raise SourceError(f"{self.provider}: {self.url}: answered {self.body['error']!r}")
        try:
            return model.model_validate(self.body)
        except ValidationError as error:
            told = faults_text(error, whole="the answer", most=1)
            raise ContractError(f"{self.provider}: {self.url}: {told}") from error


class Fetcher(Connected):
    """Asks one provider.

    Args:
        provider: Name used in errors, logs and the archive.
        base_url: Where its paths begin.
        timeout_s: Longest wall time for one attempt, connecting and reading together.
        transport: Replaces the network, for replay and tests.
        archive: Receives every raw response, good or bad; None keeps nothing.
        retry_wait_s: Wall time before the first retry; doubles, with as much jitter.
        attempts: How often it is asked at most.
    """

    def __init__(
        self,
        provider: str,
        *,
        base_url: str,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        archive: RawArchive | None = None,
        retry_wait_s: float = 0.5,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.provider = provider
        self._base_url = base_url.rstrip("/")
        self._archive = archive
        self._retry_wait_s = retry_wait_s
        self._timeout_s = timeout_s
        self._attempts = attempts
        super().__init__(
            httpx.AsyncClient(
                transport=transport,
                timeout=timeout_s,
                headers={"Accept": "application/json", "User-Agent": "gridflex"},
            )
        )

    async def get(self, path: str, *, now: datetime, params: Params | None = None) -> Answer:
        """Return the answer to one GET.

        Only 429, 5xx, timeouts and failures to connect are tried again.

        Args:
            path: Path below the base URL, or a whole URL below it (as in a ``next`` link).
            now: GridFlex time, written beside the archived response.
            params: Query.

        Raises:
            EmptyAnswerError: There is nothing in the answer.
            NotServedError: It cannot be reached, or answers 401, 403 or 429.
            UnavailableError: The same, or it answers 5xx or no JSON.
            SourceError: No usable answer; names the provider, the URL and why.
        """
        url = self._url(path, params)
        place = f"{self.provider}: {url}"
        with http_errors(place, kind=NotServedError), _unusable_answers(place):
            async for attempt in stamina.retry_context(
                on=_is_worth_retrying,
                attempts=self._attempts,
                timeout=self._timeout_s * self._attempts,
                wait_initial=self._retry_wait_s,
                wait_jitter=self._retry_wait_s,
                wait_max=self._timeout_s,
            ):
                with attempt:
                    return await self._ask(url, now)
        raise AssertionError("retrying either returns or raises")

    async def _ask(self, url: httpx.URL, now: datetime) -> Answer:
        async with asyncio.timeout(self._timeout_s):
            response = await self._client.get(url)
        if self._archive is not None:
            await self._archive.keep(
                self.provider,
                url=str(url),
                status=response.status_code,
                body=response.content,
                fetched_at=now,
            )
        response.raise_for_status()
        if not response.content.strip():
            raise EmptyAnswerError(f"{self.provider}: {url}: the answer is empty")
        return Answer(
            provider=self.provider, url=str(url), body=response.json(), origin=_origin(response)
        )

    def _url(self, path: str, params: Params | None) -> httpx.URL:
        if path.startswith(("http://", "https://")):
            whole = httpx.URL(path)
            if whole.host != httpx.URL(self._base_url).host:
                raise SourceError(f"{self.provider}: refuses to follow a link to {whole.host}")
            return whole
        url = httpx.URL(f"{self._base_url}/{path.lstrip('/')}")
        return url.copy_merge_params(params) if params else url


def _is_worth_retrying(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in RETRIED_STATUS
    return isinstance(error, TimeoutError | httpx.TimeoutException | httpx.ConnectError)


@contextmanager
def _unusable_answers(place: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        said, status = error.response.text.strip()[:_SHOWN_BODY], error.response.status_code
        kind = UnavailableError if error.response.is_server_error else SourceError
        kind = NotServedError if status in _NOT_FOR_US else kind
        raise kind(f"{place}: HTTP {status} {said!r}") from error
    except ValueError as error:
        raise UnavailableError(f"{place}: the answer is not JSON: {error}") from error


def _origin(response: httpx.Response) -> Origin:
    said = response.headers.get(ORIGIN_HEADER, Origin.LIVE.value).lower()
    try:
        return Origin(said)
    except ValueError:
        raise SourceError(
            f"{response.url}: {ORIGIN_HEADER} is {said!r}; valid is {[o.value for o in Origin]}"
        ) from None
