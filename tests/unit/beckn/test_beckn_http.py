"""Posting messages and asking a registry, over a network that is an argument."""

import json
from datetime import datetime, timedelta

import httpx
import pytest

from gridflex.adapters.beckn.http import BecknClient, DediRegistry
from gridflex.beckn.trust.registry import format_record
from gridflex.beckn.wire.errors import BecknError
from gridflex.errors import SourceError
from tests.unit.beckn.wire import BPP, BPP_KEY, NETWORK, NOW

BASE = "https://registry.example.com/dedi"


class Registry:
    """Answers lookups; can be told to be down, and counts what it is asked."""

    def __init__(self, *, ttl_s: int = 300) -> None:
        self.asked: list[str] = []
        self.is_down = False
        self.ttl_s = ttl_s

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.raw_path.decode())
        if self.is_down:
            raise httpx.ConnectError("down", request=request)
        if "bpp.example.com" not in request.url.path:
            return httpx.Response(404, json={"message": "no such record"})
        record = format_record(
            BPP_KEY.key_id,
            url=BPP.url,
            kind="BPP",
            public_base64=BPP_KEY.public_base64,
            networks=[NETWORK],
            at=NOW,
            ttl_s=self.ttl_s,
        )
        return httpx.Response(200, json=record)

    def client(self) -> DediRegistry:
        client = BecknClient(transport=httpx.MockTransport(self))
        return DediRegistry(BASE, client=client)


async def find(registry: DediRegistry, after: timedelta = timedelta(0)) -> datetime:
    found = await registry.find(BPP_KEY.key_id, now=NOW + after)
    assert found.url == BPP.url
    return NOW + after


async def test_a_key_is_looked_up_at_its_path_once_in_five_minutes() -> None:
    server = Registry()
    registry = server.client()

    await find(registry)
    await find(registry, timedelta(minutes=4, seconds=59))
    await find(registry, timedelta(minutes=5))

    assert server.asked == ["/dedi/lookup/bpp.example.com/subscribers.beckn.one/k1"] * 2


async def test_the_registry_can_ask_for_a_shorter_memory() -> None:
    server = Registry(ttl_s=10)
    registry = server.client()

    await find(registry)
    await find(registry, timedelta(seconds=10))

    assert len(server.asked) == 2


async def test_while_the_registry_is_down_what_it_said_counts_for_a_day() -> None:
    server = Registry()
    registry = server.client()
    await find(registry)
    server.is_down = True

    await find(registry, timedelta(hours=24))
    with pytest.raises(SourceError, match="down"):
        await find(registry, timedelta(hours=24, minutes=6))


async def test_a_key_nobody_registered_is_not_asked_for_at_every_message() -> None:
    server = Registry()
    registry = server.client()
    stranger = type(BPP_KEY.key_id)("stranger.example.com", "k/1")

    for after in (0, 9, 10):
        with pytest.raises(BecknError, match="AUT_KEY_NOT_FOUND"):
            await registry.find(stranger, now=NOW + timedelta(seconds=after))

    assert server.asked == ["/dedi/lookup/stranger.example.com/subscribers.beckn.one/k%2F1"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(200, text="<html>"), id="not json"),
        pytest.param(httpx.Response(200, json={"data": {}}), id="no details"),
        pytest.param(httpx.Response(500), id="a failure"),
        pytest.param(httpx.Response(200, content=b"x" * 2_000_000), id="too large"),
    ],
)
async def test_a_registry_that_talks_nonsense_is_a_failed_source(answer: httpx.Response) -> None:
    client = BecknClient(transport=httpx.MockTransport(lambda _request: answer))

    with pytest.raises(SourceError):
        await DediRegistry(BASE, client=client).find(BPP_KEY.key_id, now=NOW)


async def test_an_answer_about_somebody_else_is_not_believed() -> None:
    server = Registry()
    registry = server.client()
    other = type(BPP_KEY.key_id)("not-bpp.example.com", "k1")

    with pytest.raises(SourceError, match=r"answered about 'bpp\.example\.com'"):
        await registry.find(other, now=NOW)


async def test_a_message_is_posted_as_it_was_signed() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"message": {}}, headers={"Signature": "s"})

    async with BecknClient(transport=httpx.MockTransport(answer)) as client:
        answered = await client.post(f"{BPP.url}/confirm", b'{"a": 1}', authorization="Signature x")

    assert (answered.status, answered.signature) == (200, "s")
    assert json.loads(answered.body) == {"message": {}}
    assert (seen[0].content, seen[0].headers["authorization"]) == (b'{"a": 1}', "Signature x")
    assert seen[0].headers["content-type"] == "application/json"


async def test_no_answer_is_a_failed_source() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    async with BecknClient(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(SourceError, match="no answer in time"):
            await client.post(BPP.url, b"{}", authorization="")
