"""Errors as ``application/problem+json`` (RFC 9457), from one place.

What the caller got wrong is 4xx and names the field, the value and what is valid; a service
that does not answer is 503 and may be asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from gridflex.adapters.storable import storable
from gridflex.errors import (
    ConflictError,
    ContractError,
    GridFlexError,
    InfeasibleError,
    MetadataError,
    SourceError,
)
from gridflex.faults import excerpt, faults_of, faults_text
from gridflex.problem_types import CONFLICT, INFEASIBLE, PREFIX

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = "2"
UNFORESEEN: Final = "GridFlex has a fault of its own here; its log says which"

_KINDS: Final = (
    (MetadataError, HTTPStatus.BAD_REQUEST, "metadata"),
    (ConflictError, HTTPStatus.CONFLICT, CONFLICT),
    (ContractError, HTTPStatus.BAD_REQUEST, "contract"),
    (InfeasibleError, HTTPStatus.UNPROCESSABLE_ENTITY, INFEASIBLE),
    (SourceError, HTTPStatus.SERVICE_UNAVAILABLE, "source"),
    (GridFlexError, HTTPStatus.INTERNAL_SERVER_ERROR, "error"),
)


class ProblemError(Exception):
    """A refusal that is about HTTP itself: unknown, conflicting, not allowed.

    Args:
        status: HTTP status.
        detail: What is wrong, for a person.
        extra: Members of the problem object beside the standard ones.
    """

    def __init__(self, status: HTTPStatus, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.extra = extra


def problem(
    status: int, detail: str, *, kind: str | None = None, extra: Mapping[str, Any] | None = None
) -> JSONResponse:
    """Return a problem response.

    Args:
        status: HTTP status.
        detail: What is wrong, for a person.
        kind: Last part of the problem's type; None for a plain HTTP status.
        extra: Further members.
    """
    body = {
        "type": PREFIX + kind if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        **(extra or {}),
    }
    headers = {"Retry-After": RETRY_AFTER_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    shown = storable(body)  # what was sent may hold what no answer can
    return JSONResponse(shown, status_code=int(status), media_type=MEDIA_TYPE, headers=headers)


def problem_of(error: GridFlexError) -> JSONResponse:
    """Return the problem response of one of our own errors."""
    status, kind = next((code, name) for cls, code, name in _KINDS if isinstance(error, cls))
    extra = (
        {"key": error.key, "value": error.value, "valid": error.valid}
        if isinstance(error, MetadataError)
        else None
    )
    return problem(status, str(error), kind=kind, extra=extra)


async def _refuse_nul(connection: HTTPConnection) -> None:
    """Refuse NUL in a path or a query by the name of its part: no stored text has one."""
    for name, value in (*connection.path_params.items(), *connection.query_params.items()):
        if "\0" in str(value):
            raise ContractError(f"{name}: {value!r} is not valid; valid is text without NUL")


def install_problems(app: FastAPI) -> None:
    """Make every error of ``app`` a problem response; call it before there are routes."""
    app.router.dependencies.append(Depends(_refuse_nul))

    @app.exception_handler(GridFlexError)
    async def ours(_request: Request, error: GridFlexError) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(Exception)
    async def unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, UNFORESEEN)

    @app.exception_handler(ProblemError)
    async def refused(_request: Request, error: ProblemError) -> JSONResponse:
        return problem(error.status, error.detail, extra=error.extra)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        faults = [
            {"field": one.field, "value": excerpt(one.value), "valid": one.valid}
            for one in faults_of(found)
        ]
        detail = faults_text(found, whole="body")
        return problem(HTTPStatus.BAD_REQUEST, detail, kind="request", extra={"errors": faults})

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"{request.method} {request.url.path}: {error.detail}"
        answer = problem(error.status_code, detail)
        answer.headers.update(error.headers or {})
        return answer
