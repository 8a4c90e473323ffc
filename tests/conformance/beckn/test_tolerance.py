"""What is read is what the official schema allows, and less only where it says too little.

Every official example and one message of ours for each action is changed in every place of the
core model, one change at a time; the domain's attributes are for who reads them.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import parse
from tests.conformance.beckn.official import JULY, is_valid, without_remarks
from tests.conformance.beckn.test_openapi import everything_said
from tests.shared import shared_data

Place = tuple[str | int, ...]

UNKNOWN = "unknown"
VALUES: tuple[object, ...] = (None, 7, "", [], {})
UC1 = ("beckn", "examples", "demand-flex-2026", "uc1-bdr-w-baselining")

STRICTER = {
    "message": "an object without unknown members",
    "message.contract.commitments.*": "no unknown members",
    "id": "names something",
    "catalogId": "names something",
    "bppUri": "an address",
    "url": "an address",
    "startDate": "an instant",
    "endDate": "an instant",
    "quantity": "an object",
    "@type": "of a quantity: text",
    "unitCode": "text",
    "unitQuantity": "a number",
    "error": "code and message",
    "code": "of an error: text",
}
"""Where we ask for more than the schema, by place or by the last name in it."""


async def bases() -> list[dict[str, Any]]:
    """Return the messages to start from, without remarks."""
    official = [
        json.loads(path.read_text(), object_hook=without_remarks)
        for path in sorted(shared_data(*UC1).glob("*.json"))
    ]
    ours = dict(await everything_said())
    return [*official, *ours.values()]


def places(value: Any, at: Place = ()) -> Iterator[Place]:  # noqa: ANN401 - JSON
    """Yield the place of every member of the core model below ``message``."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in pairs:
        if at == () and key == "context":
            continue
        yield (*at, key)
        is_core = not str(key).endswith("Attributes")
        if is_core and isinstance(below, dict | list):
            yield from places(below, (*at, key))


def changed(message: dict[str, Any], place: Place) -> Iterator[dict[str, Any]]:
    """Yield a message without one member, with others in its place, and with one more in it."""
    for value in (UNKNOWN, *VALUES):
        copied = copy.deepcopy(message)
        parent: Any = copied
        for key in place[:-1]:
            parent = parent[key]
        if value is not UNKNOWN:
            parent[place[-1]] = value
        else:
            del parent[place[-1]]
        yield copied
    copied = copy.deepcopy(message)
    held: Any = copied
    for key in place:
        held = held[key]
    if isinstance(held, dict):
        held["unknown"] = "x"
        yield copied


def is_read(message: dict[str, Any]) -> bool:
    try:
        parse(json.dumps(message).encode())
    except BecknError:
        return False
    return True


def is_explained(place: Place) -> bool:
    general = ".".join("*" if isinstance(one, int) else one for one in place)
    return general in STRICTER or str(place[-1]) in STRICTER


async def test_one_change_at_a_time_is_judged_as_the_official_schema_judges_it() -> None:
    lax, strict, count = [], [], 0
    for message in await bases():
        action = message["context"]["action"]
        assert is_read(message), action
        for place in places(message):
            for one in changed(message, place):
                count += 1
                ours, theirs = is_read(one), is_valid(JULY, action, one)
                if ours and not theirs:
                    lax.append((action, place))
                if theirs and not ours and not is_explained(place):
                    strict.append((action, place))

    assert count > 5_000
    assert not lax
    assert not strict
