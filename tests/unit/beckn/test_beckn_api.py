"""The HTTP end: every answer is a Beckn answer, whatever is sent."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.receiving import Receiver
from gridflex.beckn.trust.signing import SignatureHeader
from gridflex.beckn.wire.messages import LARGEST_BODY
from gridflex.serve.beckn_api import create_beckn_api, create_closed_api
from tests.unit.beckn.wire import BAP_KEY, BPP, BPP_KEY, NOW, POLICY, body, registry


def client(store: MemoryStore) -> httpx.AsyncClient:
    receiver = Receiver(BPP, key=BPP_KEY, inbox=store, registry=registry(), policy=POLICY)
    app = create_beckn_api(receiver, clock=lambda: NOW)
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://bpp.example.com")


def signed(raw: bytes) -> dict[str, str]:
    return {"Authorization": str(BAP_KEY.sign(raw, now=NOW))}


async def test_a_message_is_kept_and_acknowledged_with_a_signature() -> None:
    store, raw = MemoryStore(), body("select")

    async with client(store) as http:
        answer = await http.post("/select", content=raw, headers=signed(raw))

    assert answer.status_code == 200
    assert answer.json()["message"]["status"] == "ACK"
    assert answer.headers["content-type"] == "application/json"
    assert SignatureHeader.parse(answer.headers["signature"]).is_bound
    assert [one.message.raw for one in store.received] == [raw]


async def test_an_action_with_a_slash_has_its_own_path() -> None:
    raw = body("catalog/on_publish", {"results": []}, bapId=None, bapUri=None)

    async with client(MemoryStore()) as http:
        answer = await http.post("/catalog/on_publish", content=raw, headers=signed(raw))

    assert answer.json()["message"]["error"]["code"] == "AUT_UNAUTHORIZED_ACTION"


@pytest.mark.parametrize("path", ["/search", "/", "/catalog", "/on_search", "/select/x"])
async def test_a_path_that_is_no_action_is_answered_in_kind(path: str) -> None:
    async with client(MemoryStore()) as http:
        answer = await http.post(path, content=b"{}")

    assert answer.status_code == 404
    assert answer.json()["message"]["error"]["code"] == "NET_NOT_IMPLEMENTED"


@pytest.mark.parametrize("path", ["/", "/select", "/catalog/publish"])
@pytest.mark.parametrize("is_open", [True, False])
async def test_what_is_no_message_is_a_problem(path: str, *, is_open: bool) -> None:
    http = client(MemoryStore())
    if not is_open:
        transport = httpx.ASGITransport(app=create_closed_api())
        http = httpx.AsyncClient(transport=transport, base_url="http://bpp.example.com")

    async with http:
        answer = await http.get(path)

    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "POST"
    assert answer.json()["detail"] == f"GET {path}: Method Not Allowed"


async def test_a_body_is_read_no_further_than_allowed() -> None:
    store = MemoryStore()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1_000_000
            yield b" " * 1_000_000

    async with client(store) as http:
        answer = await http.post("/select", content=endless())

    assert answer.status_code == 413
    assert sent < LARGEST_BODY + 2_000_000


async def test_it_says_that_it_lives_and_who_it_is() -> None:
    async with client(MemoryStore()) as http:
        answer = await http.get("/healthz")

    assert answer.json() == {"status": "ok", "subscriber_id": "bpp.example.com"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    raw=st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda value: json.dumps(value).encode(),
            st.recursive(
                st.none() | st.integers() | st.floats() | st.text(),
                lambda below: st.lists(below) | st.dictionaries(st.text(), below),
            ),
        ),
        st.builds(
            lambda at, with_: body("select")[:at] + with_ + body("select")[at:],
            st.integers(0, 800),
            st.binary(min_size=1, max_size=8),
        ),
    ),
    authorization=st.none() | st.text(st.characters(max_codepoint=255), max_size=200),
    is_signed=st.booleans(),
)
async def test_nothing_that_is_sent_breaks_it(
    raw: bytes, authorization: str | None, *, is_signed: bool
) -> None:
    headers = httpx.Headers(signed(raw)) if is_signed else httpx.Headers()
    if authorization and not is_signed:
        headers = httpx.Headers([(b"Authorization", authorization.encode("latin-1"))])

    async with client(MemoryStore()) as http:
        answer = await http.post("/select", content=raw, headers=headers)

    assert answer.status_code in {200, 400, 401, 403}
    assert answer.json()["message"]["status"] in {"ACK", "NACK"}
