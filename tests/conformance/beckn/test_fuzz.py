"""Tens of thousands of broken messages: each is refused with a code of the protocol, and forgotten.

Every message is made from a good one by changing it in one to three places; half are signed after
that, so that what lies behind the signature is reached, half before.
"""

import copy
import json
import random
import tracemalloc
import uuid
from collections import Counter
from typing import Any

from gridflex.beckn.acknowledging import Reply
from gridflex.beckn.errors import CODES
from gridflex.beckn.memory import MemoryStore
from gridflex.beckn.participant import screen_contract
from gridflex.beckn.payloads import MODELS
from gridflex.beckn.receiving import Receiver
from tests.unit.beckn.wire import BAP_KEY, BPP, BPP_KEY, NOW, POLICY, body, contract, registry

COUNT = 20_000
ODD: list[Any] = [
    *(None, True, 0, -1, 1e308, 10**400, "", " ", "x" * 3_000, "\u0000", "\ud7ff", [], {}),
    *([[]] * 3, {"@type": 1}, "2026-13-45T99:99:99Z", "P", "../../etc/passwd", "'; DROP TABLE"),
]


class Forgetful(MemoryStore):
    """Keeps the ids it needs and no bodies, as a database would outside this process."""

    async def keep(self, incoming: Any) -> bool:  # noqa: ANN401 - an Incoming
        return incoming is not None


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """Return the path of every member."""
    if not isinstance(value, dict | list):
        return []
    found = []
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        found += [(*at, key), *places(one, (*at, key))]
    return found


def broken(choose: random.Random, values: dict[str, Any]) -> bytes:
    """Return a message changed in one to three places."""
    for _ in range(choose.randint(1, 3)):
        path = choose.choice(places(values))
        parent: Any = values
        try:
            for key in path[:-1]:
                parent = parent[key]
            _spoil(choose, parent, path[-1])
        except (KeyError, IndexError, TypeError):
            continue
        if not values:
            return b"{}"
    try:
        raw = json.dumps(values, ensure_ascii=choose.random() < 0.5).encode()
    except (UnicodeEncodeError, ValueError):
        raw = b"\xff"
    return _garbled(choose, raw) if choose.random() < 0.2 else raw


def _spoil(choose: random.Random, parent: Any, key: Any) -> None:  # noqa: ANN401 - JSON
    match choose.randint(0, 3):
        case 0:
            del parent[key]
        case 1:
            parent[key] = copy.deepcopy(choose.choice(ODD))
        case 2 if isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
        case _:
            parent[key] = [parent[key]]


def _garbled(choose: random.Random, raw: bytes) -> bytes:
    at = choose.randrange(len(raw))
    return choose.choice(
        [raw[:at], raw[:at] + b"\x00" + raw[at:], raw + raw, b"[" * 5_000, raw[:at] + b"\xc3"]
    )


def message(choose: random.Random) -> tuple[str, bytes]:
    """Return an action and something like one of its messages."""
    action = choose.choice([one for one in MODELS if not one.startswith(("on_", "catalog"))])
    payload = {"contract": contract(id="0b8a9d9e-3a7f-4c39-b0c7-0c6f1e0d5a11")}
    good = json.loads(body(action, payload, messageId=str(uuid.UUID(int=choose.getrandbits(128)))))
    return action, broken(choose, good)


async def test_only_refusals_with_a_code_and_no_growth() -> None:
    choose = random.Random(415)  # noqa: S311 - which examples
    receiver = Receiver(
        BPP,
        key=BPP_KEY,
        inbox=Forgetful(),
        registry=registry(),
        policy=POLICY,
        screen=screen_contract,
    )
    seen: Counter[str] = Counter()
    sizes = []
    tracemalloc.start()
    for number in range(COUNT):
        action, raw = message(choose)
        signed = raw if choose.random() < 0.8 else raw + b" "
        header = str(BAP_KEY.sign(signed, now=NOW))
        if choose.random() < 0.1:
            header = header[: choose.randrange(len(header))]
        reply = await receiver.receive(action, raw, authorization=header, now=NOW)
        seen[_code(reply)] += 1
        if number % (COUNT // 4) == COUNT // 4 - 1:
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert set(seen) <= CODES | {"ACK"}
    assert len(seen) >= 10, seen
    assert sizes[-1] - sizes[1] < 1_000_000, sizes


def _code(reply: Reply) -> str:
    values = json.loads(reply.body)
    assert reply.status == 200 or 400 <= reply.status < 500, reply
    error = values["message"].get("error")
    return str(error["code"]) if error else "ACK"
