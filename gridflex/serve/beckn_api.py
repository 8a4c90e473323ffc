"""The Beckn end: raw bytes in, a signed acknowledgement out; no decision is made here.

One route takes every action, because what a path means is for
`gridflex.beckn.messaging.receiving` to say and a refusal must be signed as well. A body is read
no further than is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from gridflex.beckn.messaging.acknowledging import Reply, nack
from gridflex.beckn.messaging.receiving import Receiver
from gridflex.beckn.wire.context import DIRECTION
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import LARGEST_BODY
from gridflex.serve.bodies import BodyTooLargeError, at_most
from gridflex.serve.problems import install_problems

_UNREAD: Final = 499


def create_beckn_api(receiver: Receiver, *, clock: Callable[[], datetime]) -> FastAPI:
    """Return the application that receives messages.

    Args:
        receiver: What verifies, keeps and acknowledges them.
        clock: Wall time.
    """
    app = _application(receiver.subscriber_id)

    async def receive(request: Request) -> Response:
        action = request.path_params["action"]
        if action not in DIRECTION:
            error = BecknError(Code.NET_NOT_IMPLEMENTED, f"action {action[:64]!r} is not offered")
            return _response(nack(None, error, realm=receiver.subscriber_id), status=404)
        try:
            limited = at_most(LARGEST_BODY, request.scope, request.receive)
            body = await Request(request.scope, limited).body()
        except ClientDisconnect:
            return Response(status_code=_UNREAD)
        except BodyTooLargeError as too_large:
            error = BecknError(Code.SCH_SCHEMA_VALIDATION_FAILED, too_large.detail)
            return _response(nack(None, error, realm=receiver.subscriber_id), status=413)
        reply = await receiver.receive(
            action, body, authorization=request.headers.get("authorization"), now=clock()
        )
        return _response(reply)

    app.add_route("/{action:path}", receive, methods=["POST"])  # FastAPI's own cost more each time
    return app


def create_closed_api() -> FastAPI:
    """Return the application of a GridFlex that does not trade."""
    app = _application(None)

    @app.post("/{action:path}")
    async def receive(action: str) -> Response:
        error = BecknError(Code.POL_ENGAGEMENT_REFUSED, f"{action[:64]}: nothing is traded here")
        return _response(nack(None, error, realm="gridflex"))

    return app


def _application(subscriber_id: str | None) -> FastAPI:
    """Return an application that says who it is; what is no message is answered as elsewhere."""
    app = FastAPI(title="GridFlex Beckn", openapi_url=None, docs_url=None, redoc_url=None)
    install_problems(app)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok", "subscriber_id": subscriber_id})

    return app


def _response(reply: Reply, *, status: int | None = None) -> Response:
    return Response(
        reply.body,
        status_code=int(status or reply.status),
        headers=dict(reply.headers),
        media_type="application/json",
    )
