"""Who may call: the token that Ray's own clients send, checked as Ray's dashboard checks it.

``Authorization``, ``X-Ray-Authorization`` (for proxies that use the first themselves) or the
cookie of the dashboard. A browser is not believed when another site made it ask.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE, WHERE, find_token, is_token_wanted
from gridflex.errors import ContractError
from gridflex.serve.problems import problem
from gridflex.settings import HttpSettings

COOKIE: Final = "ray-authentication-token"
OPEN_PATHS: Final = frozenset(
    {
        *("/", "/favicon.ico", "/healthz", "/readyz", "/docs", "/openapi.json"),
        *("/api/healthz", "/api/authentication_mode"),
    }
)
OPEN_PREFIXES: Final = ("/static/", "/assets/")
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_BEARER: Final = "bearer "
_WHICH: Final = (
    f"Valid is the token that GridFlex itself found: http.token in its settings, else {WHERE} on "
    "its machine"
)
_HOW: Final = (
    "Send it as Authorization: Bearer. "
    f"Set {MODE_VARIABLE}=token in the environment of the Ray client, so that it sends the "
    f"token it finds in {WHERE}"
)


def token_to_ask_for(settings: HttpSettings) -> str | None:
    """Return the token that callers must send, or None if all may call.

    Raises:
        ContractError: Callers must send a token and there is none.
    """
    wanted = is_token_wanted() if settings.auth is None else settings.auth == "token"
    if not wanted:
        return None
    token = find_token(settings.token, force=settings.auth == "token")
    if token is None:
        raise ContractError(
            f"http.auth is token, but http.token is not set and no token is in {WHERE}; "
            "`ray get-auth-token --generate` makes one, http.auth=disabled asks for none"
        )
    return token


class Authentication:
    """ASGI middleware that lets in who knows the token.

    Args:
        app: What it guards.
        token: The token, not empty; None lets everyone in.
        open_paths: Paths that need no token.
        open_prefixes: Beginnings of paths that need no token.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        open_paths: frozenset[str] = OPEN_PATHS,
        open_prefixes: tuple[str, ...] = OPEN_PREFIXES,
    ) -> None:
        if token == "":
            raise ValueError("an empty token would let everyone in")
        self._app = app
        self._token = token.encode() if token is not None else None
        self._open_paths = open_paths
        self._open_prefixes = open_prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await problem(*refusal)(scope, receive, send)
        else:
            await _deny(refusal, scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers = Headers(scope=scope)
        is_safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        if not is_safe and headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            return HTTPStatus.FORBIDDEN, "Forbidden: another web site made this browser ask"
        if self._token is None or self._is_open(scope["path"]):
            return None
        given = _given_token(headers)
        if given is None:
            return HTTPStatus.UNAUTHORIZED, f"Unauthorized: no authentication token. {_HOW}"
        if not hmac.compare_digest(given.encode(errors="replace"), self._token):
            return HTTPStatus.FORBIDDEN, f"Forbidden: wrong authentication token. {_WHICH}"
        return None

    def _is_open(self, path: str) -> bool:
        return path in self._open_paths or path.startswith(self._open_prefixes)


def _given_token(headers: Headers) -> str | None:
    """Return the token that was sent, None if none was; an empty one is none."""
    sent = headers.get("authorization") or headers.get("x-ray-authorization")
    if sent:
        is_bearer = sent[: len(_BEARER)].lower() == _BEARER
        return (sent[len(_BEARER) :].strip() or None) if is_bearer else None
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return (cookie.value or None) if cookie else None


async def _deny(
    refusal: tuple[HTTPStatus, str], scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a WebSocket handshake with plain HTTP where the server can, else close it."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await problem(*refusal)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:120]})
