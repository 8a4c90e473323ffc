"""What `/docs` shows: the OpenAPI document says what each operation and parameter is."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from gridflex.adapters.database import connect
from gridflex.serve.api import create_api
from tests.e2e.world import World

NOBODY = "postgresql+psycopg://127.0.0.1:1/never_asked"
LONGEST_SUMMARY = 64
"""Characters that fit beside the longest path."""


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    """Every operation of the whole application by its method and path; no database is asked."""
    world = World(connect(NOBODY), NOBODY, tmp_path_factory.mktemp("described"))
    document = create_api(world.ports()).openapi()
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_has_a_short_summary_of_its_own(
    operations: Mapping[str, Mapping[str, Any]],
) -> None:
    summaries = {name: one["summary"] for name, one in operations.items()}
    shared = {one for one, count in Counter(summaries.values()).items() if count > 1}

    assert len(summaries) > 50
    assert {
        name: one
        for name, one in summaries.items()
        if not 0 < len(one) <= LONGEST_SUMMARY or "`" in one or one in shared
    } == {}


def test_a_summary_is_no_name_of_a_function(
    operations: Mapping[str, Mapping[str, Any]],
) -> None:
    named = [
        name
        for name, one in operations.items()
        if one["operationId"].startswith(one["summary"].lower().replace(" ", "_") + "_")
    ]

    assert named == []


def test_every_operation_says_what_its_summary_leaves_open(
    operations: Mapping[str, Mapping[str, Any]],
) -> None:
    assert [name for name, one in operations.items() if not one.get("description")] == []


def test_every_parameter_says_what_it_is(operations: Mapping[str, Mapping[str, Any]]) -> None:
    silent = [
        f"{name} {parameter['name']}"
        for name, one in operations.items()
        for parameter in one.get("parameters", [])
        if not parameter.get("description")
    ]

    assert silent == []
