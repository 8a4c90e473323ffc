"""How the API describes itself: each operation by the docstring of its function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fastapi import FastAPI


def describe_by_docstrings(app: FastAPI) -> None:
    """Summarise each operation by the first paragraph of its docstring; the rest describes it.

    FastAPI would take the name of the function and the whole docstring.
    """
    made = app.openapi

    @cache
    def described() -> dict[str, Any]:
        document = made()
        for operation in operations(document):
            summary, _, description = operation.pop("description", "").partition("\n\n")
            operation["summary"] = " ".join(summary.split()).removesuffix(".")
            if description:
                operation["description"] = description
        return document

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI says to extend it


def operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every operation of an OpenAPI document."""
    for methods in document["paths"].values():
        yield from methods.values()
