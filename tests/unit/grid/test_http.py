"""One way to ask a provider."""

import asyncio
from datetime import datetime

import httpx
import pytest
from pydantic import BaseModel

from gridflex.adapters.http import ATTEMPTS, Fetcher, UnavailableError
from gridflex.errors import ContractError, SourceError
from gridflex.signals import Origin
from tests.unit.grid.replay import Replay, at, fetcher

NOW = at("2026-01-15T10:00Z")


class Sequence:
    """Answers with one response after the other."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.left = list(responses)
        self.asked = 0

    def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.asked += 1
        response = self.left.pop(0)
        if isinstance(response, Exception):
            raise response
        return response


class Box:
    def __init__(self) -> None:
        self.kept: list[tuple[str, str, int, bytes, datetime]] = []

    async def keep(
        self, provider: str, *, url: str, status: int, body: bytes, fetched_at: datetime
    ) -> None:
        self.kept.append((provider, url, status, body, fetched_at))


def good() -> httpx.Response:
    return httpx.Response(200, json={"data": 1})


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(httpx.Response(429), id="too many requests"),
        pytest.param(httpx.Response(500), id="server error"),
        pytest.param(httpx.Response(503), id="unavailable"),
        pytest.param(httpx.ReadTimeout("slow"), id="timeout"),
        pytest.param(httpx.ConnectError("refused"), id="no connection"),
    ],
)
async def test_a_passing_failure_is_tried_again(failure: httpx.Response | Exception) -> None:
    provider = Sequence(failure, good())

    answer = await fetcher(provider).get("x", now=NOW)

    assert answer.body == {"data": 1}
    assert provider.asked == 2


async def test_retries_are_bounded() -> None:
    provider = Sequence(*[httpx.Response(500, text="down") for _ in range(10)])

    with pytest.raises(SourceError, match=r"provider: http://provider.test/x: HTTP 500 'down'"):
        await fetcher(provider).get("x", now=NOW)

    assert provider.asked == ATTEMPTS


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        pytest.param(httpx.Response(400, text="bad date"), "HTTP 400 'bad date'", id="refused"),
        pytest.param(httpx.Response(200, text=""), "the answer is empty", id="empty"),
        pytest.param(httpx.Response(200, text="<html>"), "not JSON", id="not JSON"),
        pytest.param(httpx.Response(302), "HTTP 302", id="redirect"),
        pytest.param(httpx.ReadError("gone"), "gone", id="broken off"),
        pytest.param(
            httpx.Response(200, json={}, headers={"X-GridFlex-Origin": "guessed"}),
            "'guessed'",
            id="unknown origin",
        ),
    ],
)
async def test_a_lasting_failure_is_not_tried_again(
    failure: httpx.Response | Exception, says: str
) -> None:
    provider = Sequence(failure)

    with pytest.raises(SourceError, match=says):
        await fetcher(provider).get("x", now=NOW)

    assert provider.asked == 1


@pytest.mark.parametrize(
    ("failure", "is_away"),
    [
        pytest.param(httpx.ConnectError("refused"), True, id="nobody there"),
        pytest.param(httpx.Response(503), True, id="down"),
        pytest.param(httpx.Response(429), True, id="asked too often"),
        pytest.param(httpx.Response(403), True, id="not for us"),
        pytest.param(httpx.Response(404), False, id="nothing there"),
        pytest.param(httpx.Response(400), False, id="no such question"),
        pytest.param(httpx.Response(204), False, id="nothing to say"),
        pytest.param(httpx.Response(200, text="<html>"), True, id="no JSON"),
    ],
)
async def test_a_provider_that_is_away_is_told_apart_from_one_that_lacks_what_was_asked_for(
    failure: httpx.Response | Exception, *, is_away: bool
) -> None:
    with pytest.raises(SourceError) as failed:
        await fetcher(Sequence(*[failure] * ATTEMPTS)).get("x", now=NOW)

    assert isinstance(failed.value, UnavailableError) == is_away


async def test_a_provider_that_drips_is_cut_off() -> None:
    class Drip(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            raise AssertionError

    slow = Fetcher(
        "slow", base_url="http://slow.test", timeout_s=0.01, transport=Drip(), retry_wait_s=0.0
    )

    with pytest.raises(SourceError, match=r"slow: http://slow.test/x: no answer in time"):
        await slow.get("x", now=NOW)


async def test_every_raw_answer_is_archived_even_a_bad_one() -> None:
    box = Box()
    provider = Sequence(httpx.Response(500, text="down"), good())
    archived = Fetcher(
        "p",
        base_url="http://p.test/v1",
        transport=httpx.MockTransport(provider),
        archive=box,
        retry_wait_s=0.0,
    )

    await archived.get("x", now=NOW, params={"day": "2026-01-15"})

    assert [(row[2], row[4]) for row in box.kept] == [(500, NOW), (200, NOW)]
    assert box.kept[1][:2] == ("p", "http://p.test/v1/x?day=2026-01-15")


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({}, Origin.LIVE),
        ({"X-GridFlex-Origin": "simulated"}, Origin.SIMULATED),
        ({"X-GridFlex-Origin": "recorded"}, Origin.RECORDED),
    ],
)
async def test_the_answer_says_what_its_numbers_rest_on(
    headers: dict[str, str], origin: Origin
) -> None:
    answer = await fetcher(Replay({"/": {}}, headers=headers)).get("x", now=NOW)

    assert answer.origin is origin


async def test_a_link_to_another_host_is_not_followed() -> None:
    with pytest.raises(SourceError, match=r"refuses to follow a link to elsewhere.test"):
        await fetcher(Replay({})).get("http://elsewhere.test/page/2", now=NOW)


class Payload(BaseModel):
    price: float


async def test_a_malformed_field_is_named_with_its_value() -> None:
    answer = await fetcher(Replay({"/": {"price": "dear", "extra": 1}})).get("x", now=NOW)

    with pytest.raises(ContractError, match=r"/x: price: 'dear' is not valid; valid is a number$"):
        answer.parse(Payload)


async def test_an_error_object_in_a_good_response_is_the_providers_failure() -> None:
    body = {"error": {"code": "400 Bad Request", "message": "nonsense"}}
    answer = await fetcher(Replay({"/": body})).get("x", now=NOW)

    with pytest.raises(SourceError, match="nonsense"):
        answer.parse(Payload)
