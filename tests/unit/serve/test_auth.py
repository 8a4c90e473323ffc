"""Who is let in, with which token, and what those who are not are told."""

from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from pydantic import SecretStr

from gridflex.errors import ContractError
from gridflex.serve.auth import Authentication, token_to_ask_for
from gridflex.settings import HttpSettings
from tests.websockets import Connection

TOKEN = "s3cret"  # noqa: S105 - not one
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def guarded(token: str | None = TOKEN) -> FastAPI:
    app = FastAPI()

    @app.api_route("/api/jobs/", methods=["GET", "POST", "OPTIONS"])
    @app.get("/healthz")
    async def ok() -> dict[str, str]:
        return {"status": "ok"}

    @app.websocket("/tail")
    async def tail(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("line")
        await websocket.close()

    app.add_middleware(Authentication, token=token)
    return app


async def ask(
    headers: Mapping[str, str],
    *,
    path: str = "/api/jobs/",
    method: str = "GET",
    token: str | None = TOKEN,
) -> httpx.Response:
    transport = httpx.ASGITransport(guarded(token))
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(BEARER, 200, id="the token"),
        pytest.param({"Authorization": f"bearer {TOKEN}"}, 200, id="in lower case"),
        pytest.param({"X-Ray-Authorization": f"Bearer {TOKEN}"}, 200, id="behind a proxy"),
        pytest.param({"Cookie": f"a=b; ray-authentication-token={TOKEN}"}, 200, id="a browser"),
        pytest.param({}, 401, id="nothing"),
        pytest.param({"Cookie": "other=1"}, 401, id="another cookie"),
        pytest.param({"Authorization": "Bearer wrong"}, 403, id="a wrong token"),
        pytest.param({"Authorization": "Bearer "}, 401, id="an empty token"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, 401, id="another scheme"),
        pytest.param({"Authorization": TOKEN}, 401, id="no scheme"),
        pytest.param({"Cookie": "ray-authentication-token="}, 401, id="an empty cookie"),
        pytest.param({"Cookie": "ray-authentication-token=wrong"}, 403, id="a wrong cookie"),
        pytest.param({"Authorization": "Bearer t\u00f6ken"}, 403, id="a token beyond ASCII"),
    ],
)
async def test_the_token_is_taken_where_rays_dashboard_takes_it(
    headers: Mapping[str, str], status: int
) -> None:
    encoded = httpx.Headers(
        {k: v.encode("latin-1").decode("latin-1") for k, v in headers.items()}, encoding="latin-1"
    )

    answer = await ask(encoded)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "says"),
    [({}, "no authentication token"), ({"Authorization": "Bearer x"}, "wrong authentication")],
)
async def test_a_refusal_is_a_problem_that_says_what_to_do(
    headers: Mapping[str, str], says: str
) -> None:
    answer = await ask(headers)

    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert "~/.ray/auth_token" in answer.json()["detail"]
    assert TOKEN not in answer.text


def test_an_empty_token_guards_nothing_and_is_refused() -> None:
    with pytest.raises(ValueError, match="empty token"):
        Authentication(FastAPI(), token="")


async def test_without_a_token_to_ask_for_all_may_call() -> None:
    assert (await ask({}, token=None)).status_code == 200
    assert (await ask({"Authorization": "Bearer x"}, token=None)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/api/jobs/", 401),
        ("/metrics", 401),
        ("/healthz/x", 401),
    ],
)
async def test_only_open_paths_need_no_token(path: str, status: int) -> None:
    assert (await ask({}, path=path)).status_code == status


@pytest.mark.parametrize(
    ("method", "site", "status"),
    [
        ("POST", "cross-site", 403),
        ("POST", "same-site", 403),
        ("POST", "same-origin", 200),
        ("POST", "none", 200),
        ("GET", "cross-site", 200),
    ],
)
async def test_a_browser_is_not_believed_when_another_site_made_it_ask(
    method: str, site: str, status: int
) -> None:
    answer = await ask({**BEARER, "Sec-Fetch-Site": site}, method=method)

    assert answer.status_code == status
    without = await ask({"Sec-Fetch-Site": site}, method=method, token=None)
    assert without.status_code == status


async def test_a_websocket_needs_the_token_too() -> None:
    async with Connection(guarded(), "/tail", headers=BEARER) as socket:
        assert await socket.text() == ("line", 1000)

    for headers, status in (({}, 401), ({"Authorization": "Bearer x"}, 403)):
        async with Connection(guarded(), "/tail", headers=headers) as socket:
            assert (await socket.refusal())[0] == status


async def test_another_site_cannot_open_a_websocket_with_the_cookie_of_a_browser() -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Cookie": f"ray-authentication-token={TOKEN}"}

    async with Connection(guarded(), "/tail", headers=headers) as socket:
        status, body = await socket.refusal()

    assert status == 403
    assert b"another web site" in body


async def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    sent: list[Mapping[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: Mapping[str, object]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/tail", "headers": [], "extensions": {}}
    await Authentication(guarded(), token=TOKEN)(scope, receive, send)

    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "auth_token"
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    return path


@pytest.mark.parametrize(
    ("mode", "settings", "asked"),
    [
        pytest.param(None, HttpSettings(), "rays", id="as Ray, which asks"),
        pytest.param("disabled", HttpSettings(), None, id="as Ray, which does not ask"),
        pytest.param("disabled", HttpSettings(auth="token"), "rays", id="asked whatever Ray does"),
        pytest.param(None, HttpSettings(auth="disabled"), None, id="switched off"),
        pytest.param(None, HttpSettings(token=SecretStr("own")), "own", id="its own"),
    ],
)
def test_which_token_is_asked_for(
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
    settings: HttpSettings,
    asked: str | None,
) -> None:
    token_file.write_text("rays")
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)

    assert token_to_ask_for(settings) == asked


def test_a_token_that_is_asked_for_and_does_not_exist_is_refused_at_start(token_file: Path) -> None:
    assert not token_file.exists()

    with pytest.raises(ContractError, match="no token is in RAY_AUTH_TOKEN"):
        token_to_ask_for(HttpSettings())
