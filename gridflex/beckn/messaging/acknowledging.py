"""Acknowledgements: what answers a message at once, on the same connection.

Written in one form only, the newest; read in every form that peers still send.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from gridflex.beckn.wire.errors import CODES, BecknError, Code, http_status, is_retryable
from gridflex.beckn.wire.messages import error_body, read_object

NO_MESSAGE_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Stands in an answer to a body whose message id cannot be read; the schema demands a UUID."""

RETRY_AFTER_S: Final = 2


@dataclass(frozen=True, slots=True)
class Reply:
    """A synchronous answer.

    Args:
        status: HTTP status.
        body: JSON bytes.
        headers: Besides the content type.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a peer's answer means to the sender.

    Args:
        is_ack: Whether the message was accepted.
        expects_callback: Whether a callback will follow.
        error: Why not, where the peer says so.
        may_retry: Whether sending the same bytes again can help.
    """

    is_ack: bool
    expects_callback: bool
    error: BecknError | None = None
    may_retry: bool = False


def ack(message_id: str) -> Reply:
    """Return the acceptance of a message, which promises a callback to a request."""
    return Reply(HTTPStatus.OK, _json({"status": "ACK", "messageId": message_id}))


def nack(message_id: str | None, error: BecknError, *, realm: str) -> Reply:
    """Return the refusal of a message.

    Args:
        message_id: Of the message, if it could be read.
        error: Why.
        realm: Our subscriber id, for the challenge that HTTP wants beside a 401.
    """
    status = http_status(error.code)
    body = {
        "status": "NACK",
        "messageId": message_id or NO_MESSAGE_ID,
        "error": error_body(error).to_wire(),
    }
    headers = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = (
            f'Signature realm="{realm}",headers="(created) (expires) digest"'
        )
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return Reply(status, _json(body), headers)


def read_acknowledgement(status: int, body: bytes) -> Acknowledgement:
    """Return what an answer means, in the current form or an older one.

    Older forms are ``{"message":{"ack":{"status"}}}`` with ``error`` beside it, and
    ``{"status","signature"}`` with ``{"errorCode","errorMessage"}``. A body that is none of
    them counts by its HTTP status.

    Args:
        status: HTTP status.
        body: Raw bytes.
    """
    values = _object(body)
    message = values.get("message")
    inner = message if isinstance(message, dict) else values
    old = inner.get("ack")
    said = old.get("status") if isinstance(old, dict) else inner.get("status")
    error = _error(inner.get("error") or values.get("error"))
    is_success = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    is_ack = is_success and said != "NACK"
    if not is_ack and error is None:
        error = _from_status(status)
    return Acknowledgement(
        is_ack=is_ack,
        expects_callback=is_ack and status != HTTPStatus.ACCEPTED,
        error=error,
        may_retry=not is_ack and _may_retry(status, error),
    )


def _json(message: Mapping[str, Any]) -> bytes:
    return json.dumps({"message": message}, separators=(",", ":")).encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        return read_object(body)
    except BecknError:
        return {}


def _error(values: object) -> BecknError | None:
    if not isinstance(values, dict):
        return None
    code = str(values.get("code") or values.get("errorCode") or Code.BIZ_GENERIC_ERROR)
    reason = str(values.get("message") or values.get("errorMessage") or "no reason given")
    if code in CODES:
        return BecknError(code, reason)
    return BecknError(Code.BIZ_GENERIC_ERROR, reason, cause=code)


def _from_status(status: int) -> BecknError:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BecknError(Code.NET_DOWNSTREAM_UNAVAILABLE, f"HTTP {status} without a reason")
    return BecknError(Code.BIZ_GENERIC_ERROR, f"HTTP {status} without a reason")


def _may_retry(status: int, error: BecknError | None) -> bool:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    return error is not None and is_retryable(error.code)
