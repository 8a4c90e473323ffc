"""Broken messages over HTTP: each is refused in kind, with a code of the protocol, never a 5xx.

Some hundreds of each kind; `test_fuzz_serve` sends tens of thousands through Serve.
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest

from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.participant import screen_contract
from gridflex.beckn.messaging.receiving import Receiver
from gridflex.beckn.wire.messages import LARGEST_BODY
from gridflex.serve.beckn_api import create_beckn_api
from tests.conformance.beckn.fuzzing import (
    SHARED_PATHS,
    Target,
    send_malformed,
    send_missigned,
    send_twice,
    send_what_is_allowed,
)
from tests.unit.beckn.wire import BAP_KEY, BPP, BPP_KEY, NOW, POLICY, body, registry


class Http(Target):
    """The Beckn application in one event loop."""

    def __init__(self) -> None:
        super().__init__(BAP_KEY)
        self.store = MemoryStore()
        receiver = Receiver(
            BPP,
            key=BPP_KEY,
            inbox=self.store,
            registry=registry(),
            policy=POLICY,
            screen=screen_contract,
        )
        app = create_beckn_api(receiver, clock=self.now)
        self._loop = asyncio.Runner()
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://bpp.example.com")

    def now(self) -> datetime:
        return NOW

    def send(self, action: str, raw: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        answer = self._loop.run(self._client.post(f"/{action}", content=raw, headers=headers))
        return answer.status_code, answer.content

    def close(self) -> None:
        """Close the connections."""
        self._loop.run(self._client.aclose())
        self._loop.close()


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http()
    yield made
    made.close()


def test_a_malformed_message_is_refused_with_the_code_of_its_group(http: Http) -> None:
    send_malformed(http, 1_000)

    assert {code[:3] for _, code in http.said} == {"AUT", "CTX", "SCH", "BIZ", "ACK"}
    assert len(http.said) >= 10, http.said


def test_a_message_that_is_not_signed_as_it_should_be_is_unauthorised(http: Http) -> None:
    send_missigned(http, 600)

    assert http.store.received == []
    assert {code for _, code in http.said} >= {
        "AUT_SIGNATURE_MISSING",
        "AUT_SIGNATURE_INVALID",
        "AUT_SUBSCRIBER_NOT_FOUND",
    }


def test_a_replayed_message_counts_once(http: Http) -> None:
    send_twice(http, 200)

    assert {code for _, code in http.said} == {
        "ACK",
        "CTX_MESSAGE_ID_DUPLICATE",
        "AUT_REPLAY_DETECTED",
    }
    assert len(http.store.received) == http.said[200, "ACK"]


@pytest.mark.parametrize("over", [1, 1_000_000])
def test_an_oversized_message_is_not_read(http: Http, over: int) -> None:
    raw = body("select")
    raw += b" " * (LARGEST_BODY + over - len(raw))

    assert http.post("select", raw, BAP_KEY.sign(raw, now=NOW)) == (
        413,
        "SCH_SCHEMA_VALIDATION_FAILED",
    )
    assert http.store.received == []


@pytest.mark.parametrize("path", SHARED_PATHS)
def test_what_the_official_document_allows_is_taken_or_refused_in_kind(
    http: Http, path: str
) -> None:
    send_what_is_allowed(http, path, 12)

    assert sum(http.said.values()) == 12
