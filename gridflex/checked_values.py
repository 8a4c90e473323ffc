"""Types of values from outside that several models share, and what is valid of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    FailFast,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from gridflex.jobs import MAX_WINDOW

T = TypeVar("T")

LARGEST_ID: Final = 2**63 - 1
"""PostgreSQL's largest whole number."""

_ADDRESS: Final = TypeAdapter(HttpUrl)
_SCHEMES: Final = ("http://", "https://")
_FILE: Final = "file:///"


def _address(text: str) -> str:
    if not _is_address(text):
        raise ValueError("valid is an address such as https://example.org")
    return text


def _is_address(text: str) -> bool:
    try:
        _ADDRESS.validate_python(text)
    except ValidationError:
        return False
    return text.lower().startswith(_SCHEMES) and not any(one.isspace() for one in text)


def _template(text: str) -> str:
    _address(text.replace("{role}", "bap"))
    return text


def _address_or_file(text: str) -> str:
    return text if text.startswith(_FILE) else _address(text)


def _told(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text or not text.isprintable():
        raise ValueError(
            "valid is text on one line that is not empty; leave it out if there is none"
        )
    return SecretStr(text)


def _run_time(duration: timedelta) -> timedelta:
    if not timedelta(0) < duration <= MAX_WINDOW:
        raise ValueError(f"valid is a duration above zero and at most P{MAX_WINDOW.days}D")
    return duration


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("valid is a whole number")  # noqa: TRY004 - what Pydantic tells as a fault
    return value


Http = Annotated[str, AfterValidator(_address)]
"""Address below which a service answers."""

HttpTemplate = Annotated[str, AfterValidator(_template)]
"""Such an address in which ``{role}`` may stand for a part."""

HttpOrFile = Annotated[str, AfterValidator(_address_or_file)]
"""Such an address, or ``file:///`` and a path."""

Secret = Annotated[SecretStr, AfterValidator(_told)]
"""Token, key or address with a password, without the line end that files of secrets have.

A variable that was set from a secret that is not there is empty: it must not count as one."""

RunTime = Annotated[timedelta, AfterValidator(_run_time)]
"""How long a job runs, as far as a job can say it."""

Whole = Annotated[int, BeforeValidator(_no_truth)]
"""A whole number; true is none."""

Rows = Annotated[tuple[T, ...], FailFast()]
"""As many as were sent, of which the first wrong one is told: to find millions takes minutes."""
