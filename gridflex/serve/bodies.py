"""How much of a request's body is read, for every path."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIB: Final = 1024**2

MOST_BYTES: Final = MIB
"""What a body may have where nothing else is said; a megabyte of what is not valid is told so in a
second or two, in which a replica does nothing else."""

MOST_BYTES_AT: Final = {
    "/v1/settlement/books": 16 * MIB,
    "/v1/settlement/readings": 4 * MIB,
    "/v1/settlement/readings.csv": 16 * MIB,
    "/v1/settlement/reports": 64 * MIB,
}
"""A book of months, some twenty years of one meter, a central report of every unit of a day."""

OWN_LIMIT: Final = "/api/packages/"
"""Beginning of the paths whose bodies are not held in memory and are bounded where they are kept
(`gridflex.adapters.jobs.packages.MAX_PACKAGE_BYTES`)."""


class BodyTooLargeError(HTTPException):
    """A body has more bytes than are read.

    Args:
        most: How many are.
    """

    def __init__(self, most: int) -> None:
        detail = f"the body has more than {most} bytes; valid is at most that"
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


class BodyLimit:
    """ASGI middleware that reads bodies no further than is allowed.

    FastAPI's own limit answers in plain text and does not say how much is allowed.

    Args:
        app: What reads them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what reads no more than is allowed."""
        if scope["type"] == "http" and not scope["path"].startswith(OWN_LIMIT):
            most = MOST_BYTES_AT.get(scope["path"], MOST_BYTES)
            receive = at_most(most, scope, receive)
        await self._app(scope, receive, send)


def at_most(most: int, scope: Scope, receive: Receive) -> Receive:
    """Return a ``receive`` that fails once a body turns out to have more than ``most`` bytes.

    What is said to be larger is not read at all.
    """
    declared = Headers(scope=scope).get("content-length", "")
    is_larger = declared.isdecimal() and (len(declared) > len(str(2**63)) or int(declared) > most)
    read = 0

    async def counted() -> Message:
        nonlocal read
        if is_larger:
            raise BodyTooLargeError(most)
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise BodyTooLargeError(most)
        return message

    return counted
