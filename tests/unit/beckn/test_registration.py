"""A key of ours in the registry: put there, and believed there."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from gridflex.adapters.beckn.http import BecknClient
from gridflex.adapters.beckn.registration import register, registration_of, require_known
from gridflex.beckn_settings import MarketSettings
from gridflex.errors import ContractError, SourceError
from gridflex.sandbox.beckn.registry import create_registry
from tests.unit.beckn.wire import BPP, BPP_KEY, NETWORK, NOW, key

SETTINGS = MarketSettings(
    subscriber_id=BPP.subscriber_id,
    url=BPP.url,
    network_id=NETWORK,
    registry_url="http://registry.example.com/dedi",
)
OURS = registration_of(SETTINGS, BPP_KEY.key_id, BPP_KEY.public_base64)
Answer = Callable[[httpx.Request], httpx.Response]


def sandbox() -> BecknClient:
    app = create_registry(clock=lambda: NOW)
    return BecknClient(transport=httpx.ASGITransport(app))


def answering(status: int) -> BecknClient:
    return BecknClient(transport=httpx.MockTransport(lambda _: httpx.Response(status)))


async def test_a_registered_key_is_found_as_a_peer_finds_it() -> None:
    async with sandbox() as client:
        with pytest.raises(ContractError, match="is not registered"):
            await require_known(OURS, SETTINGS, client=client, now=NOW)

        await register(OURS, SETTINGS, client=client)

        await require_known(OURS, SETTINGS, client=client, now=NOW)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param(
            {"signing_public_key": key("x", 9).public_base64}, "another public key", id="key"
        ),
        pytest.param({"url": "https://elsewhere.example.com"}, "elsewhere", id="address"),
        pytest.param({"networks": ["another"]}, "of none of", id="network"),
        pytest.param({"is_revoked": True}, "is revoked", id="revoked"),
        pytest.param(
            {"valid_until": (NOW - timedelta(days=1)).isoformat()}, "is valid", id="too old"
        ),
    ],
)
async def test_what_a_peer_would_not_believe_is_said(
    changes: dict[str, object], fault: str
) -> None:
    async with sandbox() as client:
        await client.put("http://registry.example.com/dedi/records", {**OURS.to_wire(), **changes})

        with pytest.raises(ContractError, match=fault):
            await require_known(OURS, SETTINGS, client=client, now=NOW)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        pytest.param(404, ContractError, "takes no records in here", id="a portal only"),
        pytest.param(405, ContractError, "takes no records in here", id="read only"),
        pytest.param(403, ContractError, "refuses the record", id="forbidden"),
        pytest.param(502, SourceError, "HTTP 502", id="down"),
    ],
)
async def test_a_registry_that_does_not_take_it_says_why(
    status: int, error: type[Exception], text: str
) -> None:
    async with answering(status) as client:
        with pytest.raises(error, match=text):
            await register(OURS, SETTINGS, client=client)


async def test_a_registry_may_have_another_address_and_ask_for_a_token() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(201)

    settings = SETTINGS.model_copy(
        update={
            "registration_url": "https://portal.example.com/api/records",
            "registration_token": SecretStr("abc"),
        }
    )
    async with BecknClient(transport=httpx.MockTransport(answer)) as client:
        await register(OURS, settings, client=client)

    (request,) = asked
    assert (request.method, str(request.url)) == ("PUT", "https://portal.example.com/api/records")
    assert request.headers["Authorization"] == "Bearer abc"
    body = json.loads(request.content)
    assert base64.b64decode(body["signing_public_key"]) == base64.b64decode(BPP_KEY.public_base64)


async def test_a_registry_that_is_a_file_takes_nothing_in(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"registry_url": f"file://{tmp_path}/registry.json"})

    async with answering(200) as client:
        with pytest.raises(ContractError, match="is a file"):
            await register(OURS, settings, client=client)
