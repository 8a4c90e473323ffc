"""Messages that are almost good: spoilt in one to three places, signed before or after."""

import copy
import json
import random
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridflex.beckn.trust.signing import KeyId, SigningKey
from gridflex.beckn.wire.payloads import MODELS
from tests.unit.beckn.wire import body, contract

ODD: list[Any] = [
    *(None, True, 0, -1, 1e308, 10**400, "", " ", "x" * 3_000, "\u0000", "\ud7ff", [], {}),
    *([[]] * 3, {"@type": 1}, "2026-13-45T99:99:99Z", "P", "../../etc/passwd", "'; DROP TABLE"),
]
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
REQUESTS = [one for one in MODELS if not one.startswith(("on_", "catalog"))]


def message(choose: random.Random, **context: object) -> tuple[str, dict[str, Any]]:
    """Return an action and a good message of it, with some members of the context replaced."""
    action = choose.choice(REQUESTS)
    payload = {"contract": contract(id="0b8a9d9e-3a7f-4c39-b0c7-0c6f1e0d5a11")}
    message_id = str(uuid.UUID(int=choose.getrandbits(128)))
    return action, json.loads(body(action, payload, messageId=message_id, **context))


def missigned(choose: random.Random, raw: bytes, *, key: SigningKey, now: datetime) -> str:
    """Return a header that is almost good."""
    good = key.sign(raw, now=now)
    text = str(good)
    other = SigningKey(KeyId("nobody.example.com", "k1"), OTHER)
    return str(
        choose.choice(
            [
                "",
                text[: choose.randrange(len(text))],
                text.replace("ed25519", "rsa", 1),
                key.sign(raw + b" ", now=now),
                key.sign(raw, now=now - timedelta(hours=1)),
                key.sign(raw, now=now + timedelta(hours=1)),
                key.sign(raw, now=now, request_signature=good.signature),
                key.sign(raw, now=now, lifetime=timedelta(days=30)),
                replace(good, expires=good.expires + choose.randint(1, 100)),
                SigningKey(key.key_id, OTHER).sign(raw, now=now),
                other.sign(raw, now=now),
            ]
        )
    )


def broken(choose: random.Random, values: dict[str, Any]) -> bytes:
    """Return a message changed in one to three places."""
    for _ in range(choose.randint(1, 3)):
        path = choose.choice(_places(values))
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


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """Return the path of every member."""
    if not isinstance(value, dict | list):
        return []
    found = []
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        found += [(*at, key), *_places(one, (*at, key))]
    return found


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
