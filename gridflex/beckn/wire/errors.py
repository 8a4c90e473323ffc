"""Why a Beckn message is refused: the protocol's error codes and what they mean in HTTP.

Every refusal is one `BecknError` with a code from the protocol's closed list; anything finer
goes into its cause.

Source:
    Beckn protocol 2.0.0 (July 2026 draft), ``ErrorCode``; NFH-008, "Handling Exceptions and
    Errors", for the HTTP mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http import HTTPStatus
from typing import Final, NoReturn

from gridflex.errors import ContractError

_NAMES: Final = {
    "CTX": (
        "MISSING_FIELD INVALID_FIELD ACTION_MISMATCH VERSION_UNSUPPORTED TTL_EXPIRED "
        "MESSAGE_ID_DUPLICATE TRANSACTION_ID_UNKNOWN CALLBACK_URL_MISSING INVALID_BPP_URI"
    ),
    "AUT": (
        "SIGNATURE_MISSING SIGNATURE_INVALID SUBSCRIBER_NOT_FOUND KEY_NOT_FOUND "
        "KEY_EXPIRED_OR_REVOKED UNAUTHORIZED_ACTION DOMAIN_NOT_ALLOWED REPLAY_DETECTED RATE_LIMITED"
    ),
    "SCH": (
        "INVALID_JSON SCHEMA_VALIDATION_FAILED REQUIRED_FIELD_MISSING FIELD_NOT_ALLOWED "
        "INVALID_ENUM INVALID_FORMAT INVALID_JSONPATH INVALID_JSONLD_CONTEXT TYPE_NOT_SUPPORTED "
        "ATTRIBUTE_PACK_INVALID INVALID_ENTITY_TYPE SCHEMA_ADAPTATION_FAILED"
    ),
    "NET": (
        "TIMEOUT DOWNSTREAM_UNAVAILABLE CALLBACK_FAILED ACK_TIMEOUT OVERLOADED INTERNAL_ERROR "
        "NOT_IMPLEMENTED CATALOG_SOURCE_UNAVAILABLE CATALOG_STALE"
    ),
    "BIZ": (
        "PROVIDER_NOT_FOUND LOCATION_NOT_FOUND CATEGORY_NOT_FOUND ITEM_NOT_FOUND OFFER_NOT_FOUND "
        "ADDON_NOT_FOUND ORDER_NOT_FOUND QUANTITY_UNAVAILABLE FULFILLMENT_UNAVAILABLE "
        "QUOTE_EXPIRED_OR_CHANGED PRICE_MISMATCH PAYMENT_NOT_SUPPORTED PAYMENT_FAILED "
        "TRACKING_NOT_SUPPORTED SUPPORT_NOT_AVAILABLE NO_RESULTS_FOUND INVALID_STATE_TRANSITION "
        "ALREADY_CANCELLED ALREADY_CONFIRMED UPDATE_INCONSISTENT INVALID_UPDATE_TARGET "
        "INVALID_CANCELLATION_REASON RATING_TARGET_NOT_FOUND INVALID_RATING_VALUE GENERIC_ERROR"
    ),
    "POL": (
        "CANCELLATION_NOT_ALLOWED UPDATE_NOT_ALLOWED GEO_RESTRICTED ELIGIBILITY_NOT_MET "
        "KYC_REQUIRED CONSENT_REQUIRED SANCTIONED_PARTY CALLER_TRUST_INSUFFICIENT "
        "NP_CAPACITY_EXCEEDED NP_DORMANT ENGAGEMENT_REFUSED GENERIC_ERROR"
    ),
}

CODES: Final = frozenset(
    f"{group}_{name}" for group, names in _NAMES.items() for name in names.split()
)
"""All 76 codes that the top level of an error may carry."""


class Code(StrEnum):
    """The codes that GridFlex itself raises."""

    CTX_MISSING_FIELD = "CTX_MISSING_FIELD"
    CTX_INVALID_FIELD = "CTX_INVALID_FIELD"
    CTX_ACTION_MISMATCH = "CTX_ACTION_MISMATCH"
    CTX_VERSION_UNSUPPORTED = "CTX_VERSION_UNSUPPORTED"
    CTX_TTL_EXPIRED = "CTX_TTL_EXPIRED"
    CTX_MESSAGE_ID_DUPLICATE = "CTX_MESSAGE_ID_DUPLICATE"
    CTX_TRANSACTION_ID_UNKNOWN = "CTX_TRANSACTION_ID_UNKNOWN"
    CTX_INVALID_BPP_URI = "CTX_INVALID_BPP_URI"
    AUT_SIGNATURE_MISSING = "AUT_SIGNATURE_MISSING"
    AUT_SIGNATURE_INVALID = "AUT_SIGNATURE_INVALID"
    AUT_SUBSCRIBER_NOT_FOUND = "AUT_SUBSCRIBER_NOT_FOUND"
    AUT_KEY_NOT_FOUND = "AUT_KEY_NOT_FOUND"
    AUT_KEY_EXPIRED_OR_REVOKED = "AUT_KEY_EXPIRED_OR_REVOKED"
    AUT_UNAUTHORIZED_ACTION = "AUT_UNAUTHORIZED_ACTION"
    AUT_DOMAIN_NOT_ALLOWED = "AUT_DOMAIN_NOT_ALLOWED"
    AUT_REPLAY_DETECTED = "AUT_REPLAY_DETECTED"
    SCH_INVALID_JSON = "SCH_INVALID_JSON"
    SCH_SCHEMA_VALIDATION_FAILED = "SCH_SCHEMA_VALIDATION_FAILED"
    SCH_REQUIRED_FIELD_MISSING = "SCH_REQUIRED_FIELD_MISSING"
    SCH_FIELD_NOT_ALLOWED = "SCH_FIELD_NOT_ALLOWED"
    SCH_INVALID_ENUM = "SCH_INVALID_ENUM"
    SCH_INVALID_FORMAT = "SCH_INVALID_FORMAT"
    SCH_INVALID_JSONPATH = "SCH_INVALID_JSONPATH"
    SCH_TYPE_NOT_SUPPORTED = "SCH_TYPE_NOT_SUPPORTED"
    SCH_ATTRIBUTE_PACK_INVALID = "SCH_ATTRIBUTE_PACK_INVALID"
    NET_DOWNSTREAM_UNAVAILABLE = "NET_DOWNSTREAM_UNAVAILABLE"
    NET_INTERNAL_ERROR = "NET_INTERNAL_ERROR"
    NET_NOT_IMPLEMENTED = "NET_NOT_IMPLEMENTED"
    NET_OVERLOADED = "NET_OVERLOADED"
    NET_ACK_TIMEOUT = "NET_ACK_TIMEOUT"
    NET_CALLBACK_FAILED = "NET_CALLBACK_FAILED"
    BIZ_ORDER_NOT_FOUND = "BIZ_ORDER_NOT_FOUND"
    BIZ_OFFER_NOT_FOUND = "BIZ_OFFER_NOT_FOUND"
    BIZ_ITEM_NOT_FOUND = "BIZ_ITEM_NOT_FOUND"
    BIZ_QUANTITY_UNAVAILABLE = "BIZ_QUANTITY_UNAVAILABLE"
    BIZ_FULFILLMENT_UNAVAILABLE = "BIZ_FULFILLMENT_UNAVAILABLE"
    BIZ_QUOTE_EXPIRED_OR_CHANGED = "BIZ_QUOTE_EXPIRED_OR_CHANGED"
    BIZ_PRICE_MISMATCH = "BIZ_PRICE_MISMATCH"
    BIZ_INVALID_STATE_TRANSITION = "BIZ_INVALID_STATE_TRANSITION"
    BIZ_ALREADY_CANCELLED = "BIZ_ALREADY_CANCELLED"
    BIZ_ALREADY_CONFIRMED = "BIZ_ALREADY_CONFIRMED"
    BIZ_UPDATE_INCONSISTENT = "BIZ_UPDATE_INCONSISTENT"
    BIZ_INVALID_UPDATE_TARGET = "BIZ_INVALID_UPDATE_TARGET"
    BIZ_GENERIC_ERROR = "BIZ_GENERIC_ERROR"
    POL_UPDATE_NOT_ALLOWED = "POL_UPDATE_NOT_ALLOWED"
    POL_CANCELLATION_NOT_ALLOWED = "POL_CANCELLATION_NOT_ALLOWED"
    POL_ENGAGEMENT_REFUSED = "POL_ENGAGEMENT_REFUSED"
    POL_NP_CAPACITY_EXCEEDED = "POL_NP_CAPACITY_EXCEEDED"


MALFORMED: Final = (TypeError, AttributeError, LookupError, ValueError, ArithmeticError)
"""What reading an attributes object raises that is built otherwise than its type says."""

_STATUS: Final = {
    "AUT_UNAUTHORIZED_ACTION": HTTPStatus.FORBIDDEN,
    "AUT_DOMAIN_NOT_ALLOWED": HTTPStatus.FORBIDDEN,
    "AUT_RATE_LIMITED": HTTPStatus.TOO_MANY_REQUESTS,
    "BIZ_INVALID_STATE_TRANSITION": HTTPStatus.CONFLICT,
    "BIZ_ALREADY_CANCELLED": HTTPStatus.CONFLICT,
    "BIZ_ALREADY_CONFIRMED": HTTPStatus.CONFLICT,
    "BIZ_QUANTITY_UNAVAILABLE": HTTPStatus.CONFLICT,
    "BIZ_QUOTE_EXPIRED_OR_CHANGED": HTTPStatus.CONFLICT,
    "POL_NP_CAPACITY_EXCEEDED": HTTPStatus.TOO_MANY_REQUESTS,
    "NET_INTERNAL_ERROR": HTTPStatus.INTERNAL_SERVER_ERROR,
    "NET_DOWNSTREAM_UNAVAILABLE": HTTPStatus.BAD_GATEWAY,
    "NET_CALLBACK_FAILED": HTTPStatus.BAD_GATEWAY,
    "NET_CATALOG_SOURCE_UNAVAILABLE": HTTPStatus.BAD_GATEWAY,
    "NET_TIMEOUT": HTTPStatus.GATEWAY_TIMEOUT,
    "NET_ACK_TIMEOUT": HTTPStatus.GATEWAY_TIMEOUT,
}
_GROUP_STATUS: Final = {
    "CTX": HTTPStatus.BAD_REQUEST,
    "SCH": HTTPStatus.BAD_REQUEST,
    "AUT": HTTPStatus.UNAUTHORIZED,
    "BIZ": HTTPStatus.BAD_REQUEST,
    "POL": HTTPStatus.FORBIDDEN,
    "NET": HTTPStatus.SERVICE_UNAVAILABLE,
}
_NOT_RETRYABLE_NET: Final = frozenset({"NET_NOT_IMPLEMENTED", "NET_INTERNAL_ERROR"})
_RETRYABLE: Final = frozenset({"AUT_RATE_LIMITED", "POL_NP_CAPACITY_EXCEEDED", "POL_NP_DORMANT"})


class BecknError(ContractError):
    """A Beckn message is refused.

    Args:
        code: One of `CODES`.
        reason: For a person: field, value, what is valid. Never holds key material.
        path: JSONPath of the failing field, where there is one.
        cause: A finer code or reason of our own.
    """

    def __init__(
        self, code: str, reason: str, *, path: str | None = None, cause: str | None = None
    ) -> None:
        if code not in CODES:
            raise ValueError(f"{code!r} is not a Beckn error code")
        super().__init__(f"{code}: {reason}")
        self.code = str(code)
        self.reason = reason
        self.path = path
        self.cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.code, self.reason, self.path, self.cause))


def http_status(code: str) -> HTTPStatus:
    """Return the HTTP status with which a refusal of this code is answered."""
    return _STATUS.get(code) or _GROUP_STATUS[code.partition("_")[0]]


def is_retryable(code: str) -> bool:
    """Return whether the same request may succeed later."""
    return code in _RETRYABLE or (code.startswith("NET_") and code not in _NOT_RETRYABLE_NET)


@contextmanager
def reading_attributes() -> Iterator[None]:
    """Turn what malformed attributes raise while they are read into a refusal.

    Raises:
        BecknError: Something was built otherwise than its type says.
    """
    try:
        yield
    except MALFORMED as error:
        reason = f"malformed attributes: {error!r}"[:200]
        raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, reason) from error


def refuse(code: Code, reason: str, *, path: str | None = None) -> NoReturn:
    """Raise `BecknError`."""
    raise BecknError(code, reason, path=path)


def _rebuild(code: str, reason: str, path: str | None, cause: str | None) -> BecknError:
    return BecknError(code, reason, path=path, cause=cause)
