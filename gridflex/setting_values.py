"""Values that settings of several groups share, and what is valid of each."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, HttpUrl, SecretStr, TypeAdapter, ValidationError

_ADDRESS: Final = TypeAdapter(HttpUrl)


def _address(text: str) -> str:
    try:
        _ADDRESS.validate_python(text)
    except ValidationError as error:
        raise ValueError("valid is an address such as https://example.org") from error
    return text


def _told(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text or not text.isprintable():
        raise ValueError(
            "valid is text on one line that is not empty; leave it out if there is none"
        )
    return SecretStr(text)


Http = Annotated[str, AfterValidator(_address)]
"""Address below which a service answers."""

Secret = Annotated[SecretStr, AfterValidator(_told)]
"""Token, key or address with a password, without the line end that files of secrets have.

A variable that was set from a secret that is not there is empty: it must not count as one."""
