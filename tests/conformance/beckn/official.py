"""The official OpenAPI files as validators; read through GRIDFLEX_SHARED, never copied."""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.shared import shared_data

JULY = "beckn-2.0.0-draft-july2026.yaml"
LTS = "beckn-2.0.0-core-v2.0.0-lts.yaml"
OFFICIAL = "https://schema.nfh.global/"


def without_remarks(values: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the remarks of published examples."""
    return {key: value for key, value in values.items() if not key.startswith("_")}


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


def attribute_faults(value: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Return what is wrong with the objects of official types in a message, and below them."""
    if isinstance(value, list):
        return [fault for one in value for fault in attribute_faults(one)]
    if not isinstance(value, dict):
        return []
    found = [fault for one in value.values() for fault in attribute_faults(one)]
    kind = str(value.get("@type"))
    if not str(value.get("@context", "")).startswith(OFFICIAL):
        return found
    of = _of_type(str(value["@context"]), {"TimeSeries": "BecknTimeSeries"}.get(kind, kind))
    faults = _faults(of, value)
    if faults:  # closed types list neither of the two names
        faults = _faults(of, {k: v for k, v in value.items() if k not in {"@context", "@type"}})
    return [*found, *(f"{kind}: {one}" for one in faults)]


def types_in(value: Any) -> set[str]:  # noqa: ANN401 - JSON
    """Return the official types of the objects in a message."""
    if isinstance(value, list):
        return {kind for one in value for kind in types_in(one)}
    if not isinstance(value, dict):
        return set()
    found = {kind for one in value.values() for kind in types_in(one)}
    is_official = str(value.get("@context", "")).startswith(OFFICIAL)
    return found | {str(value["@type"])} if is_official else found


@cache
def _of_type(context: str, kind: str) -> Draft202012Validator:
    base = context.removesuffix("/context.jsonld")
    return Draft202012Validator(
        {"$ref": f"{base}#/components/schemas/{kind}"},
        registry=Registry(retrieve=_schema_file),  # type: ignore[call-arg] # attrs
    )


@cache
def _schema_file(uri: str) -> Resource[Any]:
    """Return the schema that an official address names, from the recorded files."""
    name, version = urlsplit(uri).path.split("/")[1:3]
    major, _, minor = version.removeprefix("v").partition(".")
    number = f"v{major}.{minor or '0'}"
    if name == "openadr":
        number = version
    (path,) = shared_data("beckn", "schemas").glob(f"*/{name}/{number}/attributes.yaml")
    return Resource.from_contents(
        yaml.safe_load(path.read_text()), default_specification=DRAFT202012
    )
