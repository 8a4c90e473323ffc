"""Broken messages over HTTP: each is refused in kind, with a code of the protocol, never a 5xx.

Hypothesis chooses what is wrong with a good message; schemathesis writes bodies that the official
document allows, of which many break the rules beyond it. `test_fuzz_serve` sends tens of thousands
through Serve.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from gridflex.beckn.errors import CODES
from gridflex.beckn.memory import MemoryStore
from gridflex.beckn.messages import LARGEST_BODY
from gridflex.beckn.participant import screen_contract
from gridflex.beckn.receiving import Receiver
from gridflex.serve.beckn_api import create_beckn_api
from tests.conformance.beckn.official import JULY
from tests.conformance.beckn.spoiling import broken, message, missigned
from tests.shared import shared_data
from tests.unit.beckn.wire import (
    BAP_KEY,
    BPP,
    BPP_KEY,
    NOW,
    POLICY,
    body,
    context,
    registry,
)

FIXED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
SHARED_PATHS = ("/select", "/confirm", "/on_status", "/discover", "/catalog/publish", "/support")


class Http:
    """The Beckn application in one event loop, and how often it said what."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        receiver = Receiver(
            BPP,
            key=BPP_KEY,
            inbox=self.store,
            registry=registry(),
            policy=POLICY,
            screen=screen_contract,
        )
        app = create_beckn_api(receiver, clock=lambda: NOW)
        self._loop = asyncio.Runner()
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://bpp.example.com")
        self.said: Counter[tuple[int, str]] = Counter()

    def post(self, action: str, raw: bytes, header: object = "") -> tuple[int, str]:
        """Return status and code of one message."""
        headers = {"Content-Type": "application/json"}
        if header:
            headers["Authorization"] = str(header)
        posted = self._client.post(f"/{action}", content=raw, headers=headers)
        answer = self._loop.run(posted)
        said = answer.status_code, _code(answer)
        self.said[said] += 1
        return said

    def close(self) -> None:
        """Close the connections."""
        self._loop.run(self._client.aclose())
        self._loop.close()


def _code(answer: httpx.Response) -> str:
    said = answer.json()["message"]
    code = str(said["error"]["code"]) if "error" in said else "ACK"
    assert code in CODES | {"ACK"}
    assert (answer.status_code == 200) is (code == "ACK")
    assert 200 <= answer.status_code < 500, said
    return code


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http()
    yield made
    made.close()


def test_a_malformed_message_is_refused_with_the_code_of_its_group(http: Http) -> None:
    @settings(FIXED, max_examples=1_000)
    @given(st.randoms(use_true_random=False))
    def send(choose: random.Random) -> None:
        action, good = message(choose)
        raw = broken(choose, good)

        status, code = http.post(action, raw, BAP_KEY.sign(raw, now=NOW))

        allowed = {"AUT": {401, 403}, "CTX": {400}, "SCH": {400}, "BIZ": {400, 409}, "ACK": {200}}
        assert status in allowed[code[:3]], (status, code)

    send()

    assert {code[:3] for _, code in http.said} == {"AUT", "CTX", "SCH", "BIZ", "ACK"}
    assert len(http.said) >= 10, http.said


def test_a_message_that_is_not_signed_as_it_should_be_is_unauthorised(http: Http) -> None:
    @settings(FIXED, max_examples=600)
    @given(st.randoms(use_true_random=False))
    def send(choose: random.Random) -> None:
        action, good = message(choose)
        raw = json.dumps(good).encode()

        status, code = http.post(action, raw, missigned(choose, raw, key=BAP_KEY, now=NOW))

        assert (status, code[:4]) == (401, "AUT_"), (status, code)

    send()

    assert http.store.received == []
    assert {code for _, code in http.said} >= {
        "AUT_SIGNATURE_MISSING",
        "AUT_SIGNATURE_INVALID",
        "AUT_SUBSCRIBER_NOT_FOUND",
    }


def test_a_replayed_message_counts_once(http: Http) -> None:
    used: set[object] = set()

    @settings(FIXED, max_examples=200)
    @given(st.uuids(version=4), st.booleans())
    def send(message_id: object, is_signed_again: bool) -> None:
        assume(message_id not in used)
        used.add(message_id)
        raw = body("select", messageId=str(message_id), transactionId=str(message_id))
        first = BAP_KEY.sign(raw, now=NOW)
        again = BAP_KEY.sign(raw, now=NOW - timedelta(seconds=1)) if is_signed_again else first
        known = len(http.store.received)
        assert http.post("select", raw, first) == (200, "ACK")

        said = http.post("select", raw, again)

        duplicate = (400, "CTX_MESSAGE_ID_DUPLICATE"), (401, "AUT_REPLAY_DETECTED")
        assert said in duplicate, said
        assert len(http.store.received) == known + 1

    send()


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
    official = schemathesis.openapi.from_path(shared_data("beckn", "openapi", JULY))
    action = path[1:]

    @settings(FIXED, max_examples=12)
    @given(official[path]["POST"].as_strategy(), st.booleans())
    def send(case: Any, is_ours: bool) -> None:  # noqa: ANN401 - Hypothesis gives them
        values = case.body
        if is_ours and isinstance(values, dict):
            values = {**values, "context": context(action)}
        raw = json.dumps(values, default=str).encode()

        status, code = http.post(action, raw, BAP_KEY.sign(raw, now=NOW))

        assert status in {200, 400, 401, 403, 409}, (status, code)

    send()

    assert sum(http.said.values()) == 12
