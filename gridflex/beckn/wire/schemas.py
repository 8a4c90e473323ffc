"""Names of the JSON-LD contexts that GridFlex uses; nothing is ever downloaded from them."""

from __future__ import annotations

from typing import Any, Final

OWN: Final = "https://schema.gridflex.example"
DEG: Final = "https://schema.nfh.global"


def own(name: str, version: str = "v1.0") -> str:
    """Return the context of one of GridFlex's own types."""
    return f"{OWN}/{name}/{version}/context.jsonld"


def deg(name: str, version: str = "v2.0") -> str:
    """Return the context of a type of the Digital Energy Grid."""
    return f"{DEG}/{name}/{version}/context.jsonld"


def contexts_in(value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    """Return every ``@context`` in a payload, each once, in order."""
    return list(dict.fromkeys(_walk(value)))


def _walk(value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        here = [value["@context"]] if isinstance(value.get("@context"), str) else []
        return here + [one for below in value.values() for one in _walk(below)]
    if isinstance(value, list):
        return [one for below in value for one in _walk(below)]
    return []
