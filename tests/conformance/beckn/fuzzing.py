"""What Hypothesis and schemathesis send to a Beckn application, wherever that runs.

Hypothesis chooses what is wrong with a good message; schemathesis writes bodies that the official
document allows, of which many break the rules beyond it. Each must be refused in kind, with a code
of the protocol and never a 5xx.
"""

import json
import random
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gridflex.beckn.trust.signing import SigningKey
from gridflex.beckn.wire.errors import CODES
from tests.conformance.beckn.official import JULY
from tests.conformance.beckn.spoiling import broken, message, missigned
from tests.shared import shared_data
from tests.unit.beckn.wire import body, context

FIXED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
SHARED_PATHS = ("/select", "/confirm", "/on_status", "/discover", "/catalog/publish", "/support")
ALLOWED = {"ACK": {200}, "AUT": {401, 403}, "BIZ": {400, 409}, "CTX": {400}, "SCH": {400}}


class Target(ABC):
    """A Beckn application, and how often it said what.

    Args:
        key: Of a buyer that it knows.
        names: Members of the context by which a message is from that buyer to it.
    """

    def __init__(self, key: SigningKey, **names: object) -> None:
        self.key = key
        self.names = names
        self.said: Counter[tuple[int, str]] = Counter()

    @abstractmethod
    def now(self) -> datetime:
        """Return wall time there."""

    @abstractmethod
    def send(self, action: str, raw: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body of the answer to one message."""

    def post(self, action: str, raw: bytes, header: object = "") -> tuple[int, str]:
        """Return status and code of one message."""
        headers = {"Content-Type": "application/json"}
        if header:
            headers["Authorization"] = str(header)
        status, answer = self.send(action, raw, headers)
        told = json.loads(answer)["message"]
        code = str(told["error"]["code"]) if "error" in told else "ACK"
        assert code in CODES | {"ACK"}
        assert (status == 200) is (code == "ACK")
        assert 200 <= status < 500, told
        self.said[status, code] += 1
        return status, code


def send_malformed(target: Target, count: int) -> None:
    """Send messages that are spoilt before they are signed."""

    @settings(FIXED, max_examples=count)
    @given(st.randoms(use_true_random=False))
    def send(choose: random.Random) -> None:
        action, good = message(choose, **target.names)
        raw = broken(choose, good)

        status, code = target.post(action, raw, target.key.sign(raw, now=target.now()))

        assert status in ALLOWED[code[:3]], (status, code)

    send()


def send_missigned(target: Target, count: int) -> None:
    """Send good messages with signatures that are almost good."""

    @settings(FIXED, max_examples=count)
    @given(st.randoms(use_true_random=False))
    def send(choose: random.Random) -> None:
        action, good = message(choose, **target.names)
        raw = json.dumps(good).encode()
        header = missigned(choose, raw, key=target.key, now=target.now())

        status, code = target.post(action, raw, header)

        assert (status, code[:4]) == (401, "AUT_"), (status, code)

    send()


def send_twice(target: Target, count: int) -> None:
    """Send good messages, and again with the same signature or with a new one."""

    @settings(FIXED, max_examples=count)
    @given(st.uuids(version=4), st.booleans())
    def send(transaction: uuid.UUID, is_signed_again: bool) -> None:
        ours = {"messageId": str(uuid.uuid4()), "transactionId": str(transaction)}
        raw = body("select", **ours, **target.names)
        now = target.now()
        first = target.key.sign(raw, now=now)
        again = target.key.sign(raw, now=now - timedelta(seconds=1)) if is_signed_again else first
        assert target.post("select", raw, first) == (200, "ACK")

        said = target.post("select", raw, again)

        code = (
            (400, "CTX_MESSAGE_ID_DUPLICATE") if is_signed_again else (401, "AUT_REPLAY_DETECTED")
        )
        assert said == code

    send()


def send_what_is_allowed(target: Target, path: str, count: int) -> None:
    """Send what the official document allows on a path, as it is and with a context of ours."""
    official = schemathesis.openapi.from_path(shared_data("beckn", "openapi", JULY))
    action = path[1:]

    @settings(FIXED, max_examples=count)
    @given(official[path]["POST"].as_strategy(), st.booleans())
    def send(case: Any, is_ours: bool) -> None:  # noqa: ANN401 - Hypothesis gives them
        values = case.body
        if is_ours and isinstance(values, dict):
            values = {**values, "context": context(action, **target.names)}
        raw = json.dumps(values, default=str).encode()

        status, code = target.post(action, raw, target.key.sign(raw, now=target.now()))

        assert status in {200, 400, 401, 403, 409}, (status, code)

    send()
