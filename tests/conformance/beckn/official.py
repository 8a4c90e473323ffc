"""The official OpenAPI files as validators; read through GRIDFLEX_SHARED, never copied."""

from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.shared import shared_data

JULY = "beckn-2.0.0-draft-july2026.yaml"
LTS = "beckn-2.0.0-core-v2.0.0-lts.yaml"


@cache
def document(name: str) -> dict[str, Any]:
    """Return one OpenAPI document."""
    path = shared_data("beckn", "openapi", name)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(path.read_text(), Loader=loader)  # noqa: S506 - a safe loader
    return loaded


@cache
def validator(name: str, pointer: str, *, with_formats: bool = True) -> Draft202012Validator:
    """Return the validator of one schema."""
    resource = Resource.from_contents(document(name), default_specification=DRAFT202012)
    registry = Registry().with_resource(f"urn:{name}", resource)
    return Draft202012Validator(
        {"$ref": f"urn:{name}#{pointer}"},
        registry=registry,
        format_checker=Draft202012Validator.FORMAT_CHECKER if with_formats else None,
    )


def faults(name: str, action: str, values: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Return what is wrong with a message by one document."""
    return _faults(validator(name, _body(action)), values)


def is_valid(name: str, action: str, values: Any) -> bool:  # noqa: ANN401 - JSON
    """Return whether a message is valid by one document, whatever the formats of its texts."""
    return not _faults(validator(name, _body(action), with_formats=False), values)


def _body(action: str) -> str:
    path = action.replace("/", "~1")
    return f"/paths/~1{path}/post/requestBody/content/application~1json/schema"


def answer_faults(action: str, status: int, values: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Return what is wrong with a synchronous answer by the newest document."""
    responses = document(JULY)["paths"][f"/{action}"]["post"]["responses"]
    name = responses[str(status)]["$ref"].rpartition("/")[2]
    pointer = f"/components/responses/{name}/content/application~1json/schema"
    return _faults(validator(JULY, pointer), values)


def _faults(of: Draft202012Validator, values: Any) -> list[str]:  # noqa: ANN401 - JSON
    return [f"{one.json_path}: {one.message[:200]}" for one in of.iter_errors(values)]
