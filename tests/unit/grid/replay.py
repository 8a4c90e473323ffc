"""A provider that answers from memory, for tests of the adapters."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from gridflex.adapters.http import Fetcher
from gridflex.halfhour import HalfHour

Payload = Any


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def hh(text: str) -> HalfHour:
    return HalfHour(at(text))


class Replay:
    """Answers each path with its payload and remembers what was asked."""

    def __init__(
        self, answers: dict[str, Payload], *, headers: dict[str, str] | None = None
    ) -> None:
        self.answers = answers
        self.headers = headers or {}
        self.asked: list[httpx.URL] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        for path, payload in self.answers.items():
            if request.url.path.startswith(path):
                return self._response(payload)
        return httpx.Response(404, text="no such path")

    def _response(self, payload: Payload) -> httpx.Response:
        if isinstance(payload, httpx.Response):
            return payload
        return httpx.Response(200, content=json.dumps(payload).encode(), headers=self.headers)


def fetcher(handler: Callable[[httpx.Request], httpx.Response]) -> Fetcher:
    return Fetcher(
        "provider",
        base_url="http://provider.test",
        timeout_s=1.0,
        transport=httpx.MockTransport(handler),
        retry_wait_s=0.0,
    )
