"""Messages: parsing what arrives, composing what is sent.

Every action has its own model. Members whose name starts with an underscore are remarks in
published examples and are left out when parsing; the bytes that are verified and kept still
hold them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pydantic_core
from pydantic import ValidationError

from gridflex.beckn.wire.context import Context
from gridflex.beckn.wire.entities import Contract, Wire
from gridflex.beckn.wire.errors import BecknError, Code, refuse
from gridflex.beckn.wire.payloads import MODELS, ContractMessage, ErrorBody
from gridflex.faults import faults_of

LARGEST_BODY: Final = 8 * 1024 * 1024
"""Bytes; a page of 4,000 meters has about 3 MB."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, parsed.

    Args:
        context: Its envelope.
        payload: The model that `MODELS` has for its action.
        error: Top-level error beside the payload: a late failure.
        raw: The bytes, as received or to be sent.
    """

    context: Context
    payload: Wire
    raw: bytes = field(repr=False)
    error: ErrorBody | None = None

    @property
    def action(self) -> str:
        """``context.action``."""
        return self.context.action

    @property
    def contract(self) -> Contract:
        """The contract it carries.

        Raises:
            BecknError: Its action carries none.
        """
        if not isinstance(self.payload, ContractMessage):
            refuse(Code.CTX_ACTION_MISMATCH, f"{self.action} carries no contract")
        return self.payload.contract


def parse(body: bytes, *, action: str | None = None) -> Message:
    """Return the message in ``body``, checked for form and for its context profile.

    Args:
        body: Raw bytes.
        action: What the path says, if it came by one; the context must agree.

    Raises:
        BecknError: With the code and the path of the first fault.
    """
    values = read_object(body)
    context = parse_context(values)
    if action is not None and context.action != action:
        refuse(
            Code.CTX_ACTION_MISMATCH,
            f"the path says {action!r}, the context {context.action!r}",
            path="$.context.action",
        )
    return parse_payload(values, context, raw=body)


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body`` without remarks; nothing in it is checked.

    Raises:
        BecknError: It is too large, not JSON, not an object, or holds what no database keeps.
    """
    if len(body) > LARGEST_BODY:
        refuse(
            Code.SCH_SCHEMA_VALIDATION_FAILED,
            f"the body has {len(body)} bytes, at most {LARGEST_BODY} are read",
        )
    values = read_json(body)
    if not isinstance(values, dict):
        refuse(Code.SCH_INVALID_JSON, f"the body must be an object, got {type(values).__name__}")
    return _without_remarks(values) if b'"_' in body else values


def read_json(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value in ``body``.

    Raises:
        BecknError: It is not JSON, or holds what no database keeps.
    """
    try:
        values = pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise BecknError(Code.SCH_INVALID_JSON, f"the body is not JSON: {error}") from error
    if b"\\u0000" in body:
        refuse(Code.SCH_INVALID_FORMAT, "the character U+0000 is not allowed in any text")
    if not _is_finite(values):
        refuse(Code.SCH_INVALID_FORMAT, "a number is too large to be kept, such as 1e999")
    return values


def parse_context(values: Mapping[str, Any]) -> Context:
    """Return the context of a message, with its profile checked.

    Raises:
        BecknError: A member is missing, wrong or unknown.
    """
    if not isinstance(values.get("context"), dict):
        refuse(Code.CTX_MISSING_FIELD, "context must be an object", path="$.context")
    try:
        context = Context.model_validate(values["context"])
    except ValidationError as error:
        raise _context_fault(error) from error
    context.require_profile()
    return context


def parse_payload(values: Mapping[str, Any], context: Context, *, raw: bytes) -> Message:
    """Return the whole message once its context is known to be good.

    Raises:
        BecknError: The payload is not what the action carries, or there are unknown members.
    """
    unknown = values.keys() - {"context", "message", "error"}
    if unknown:
        refuse(
            Code.SCH_FIELD_NOT_ALLOWED,
            f"unknown members {sorted(unknown)}; valid is context, message, error",
            path="$",
        )
    if "message" not in values:
        refuse(Code.SCH_REQUIRED_FIELD_MISSING, "message is missing", path="$.message")
    try:
        payload = MODELS[context.action].model_validate(values["message"])
        error = ErrorBody.model_validate(values["error"]) if "error" in values else None
    except ValidationError as fault:
        raise _payload_fault(fault) from fault
    return Message(context=context, payload=payload, raw=raw, error=error)


def compose(
    context: Context, payload: Wire, *, error: BecknError | ErrorBody | None = None
) -> Message:
    """Return a message ready to be signed, after reading it back as a peer would.

    Args:
        context: Its envelope.
        payload: What the action carries.
        error: Why this is a late failure.

    Raises:
        BecknError: What was composed is not a valid message.
    """
    values: dict[str, Any] = {"context": context.to_wire(), "message": payload.to_wire()}
    if error is not None:
        body = error_body(error) if isinstance(error, BecknError) else error
        values["error"] = body.to_wire()
    raw = json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return parse(raw)


def error_body(error: BecknError) -> ErrorBody:
    """Return a refusal as it is written to a peer."""
    values: dict[str, Any] = {"code": error.code, "message": error.reason}
    details: dict[str, Any] = {}
    if error.path:
        details["path"] = error.path
    if error.cause:
        details["cause"] = {"code": error.cause, "message": error.reason}
    if details:
        values["details"] = details
    return ErrorBody.model_validate(values)


def _is_finite(values: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether every number is one; what is too large has been read as infinite."""
    written = pydantic_core.to_json(values, inf_nan_mode="constants")
    if b"Infinity" not in written:
        return True
    try:
        json.dumps(values, allow_nan=False)
    except ValueError:
        return False
    return True


def _without_remarks(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {k: _without_remarks(v) for k, v in value.items() if not k.startswith("_")}
    if isinstance(value, list):
        return [_without_remarks(one) for one in value]
    return value


def _context_fault(error: ValidationError) -> BecknError:
    fault = faults_of(error)[0]
    path = f"$.context.{fault.field}"
    if fault.kind == "missing" or fault.value is None:
        return BecknError(Code.CTX_MISSING_FIELD, f"{fault.field} is missing", path=path)
    return BecknError(Code.CTX_INVALID_FIELD, fault.text(), path=path)


_SCHEMA_CODES: Final = {
    "missing": Code.SCH_REQUIRED_FIELD_MISSING,
    "extra_forbidden": Code.SCH_FIELD_NOT_ALLOWED,
    "enum": Code.SCH_INVALID_ENUM,
    "literal_error": Code.SCH_INVALID_ENUM,
    "value_error": Code.SCH_INVALID_FORMAT,
    "string_pattern_mismatch": Code.SCH_INVALID_FORMAT,
}


def _payload_fault(error: ValidationError) -> BecknError:
    fault, place = faults_of(error)[0], error.errors(include_url=False)[0]["loc"]
    where = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in place)
    code = _SCHEMA_CODES.get(fault.kind, Code.SCH_SCHEMA_VALIDATION_FAILED)
    return BecknError(code, fault.text(f"message{where}")[:500], path=f"$.message{where}")
