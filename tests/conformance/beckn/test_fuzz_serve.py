"""Tens of thousands of broken messages through HAProxy, Serve and PostgreSQL.

python -m pytest -m long -s tests/conformance/beckn
"""

import asyncio
import base64
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridflex.beckn.trust.signing import KeyId, SigningKey
from gridflex.beckn.wire.errors import CODES
from gridflex.beckn.wire.messages import LARGEST_BODY
from tests.conformance.beckn.fuzzing import (
    ALLOWED,
    SHARED_PATHS,
    Target,
    send_malformed,
    send_missigned,
    send_twice,
    send_what_is_allowed,
)
from tests.conformance.beckn.spoiling import broken, message, missigned
from tests.shared import ROOT

pytestmark = pytest.mark.long

COUNT = 20_000
BY_HYPOTHESIS = 4_000
BY_SCHEMATHESIS = 200
CLIENTS = 16
MOST_GROWTH_MIB = 30.0
NAMES = {
    "networkId": "gridflex.example/bench",
    "bapId": "buyer.example",
    "bapUri": "http://127.0.0.1:9/beckn",
    "bppId": "seller.example",
}
KINDS = ("broken", "missigned", "replayed", "oversized", "good")
WEIGHTS = (60, 25, 10, 0.2, 5)
SHARE = 4
"""The first of so many parts only warms up; memory must not grow in the others."""


@dataclass
class Server:
    """The application in processes of its own."""

    url: str
    key: SigningKey
    process: subprocess.Popen[str]

    def rss_mib(self) -> float:
        """Return the memory of the replica."""
        for one in psutil.Process(self.process.pid).children(recursive=True):
            if "ServeReplica" in " ".join(one.cmdline()):
                return one.memory_info().rss / 2**20
        raise AssertionError("no replica runs")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="gf-fuzz-"))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "beckn_serve.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    while not (line := process.stdout.readline()).startswith("{"):
        assert process.poll() is None, "the server ended"
    said = json.loads(line)
    seed = Ed25519PrivateKey.from_private_bytes(base64.b64decode(said["seed"]))
    yield Server(said["url"], SigningKey(KeyId("buyer.example", "k1"), seed), process)
    process.stdin.close()
    process.wait(60)
    process.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Fuzz:
    """What was sent and what came back."""

    server: Server
    choose: random.Random = field(default_factory=lambda: random.Random(415))  # noqa: S311
    said: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    taken: list[tuple[str, bytes, str]] = field(default_factory=list)

    def next(self) -> tuple[str, str, bytes, str]:
        """Return kind, action, body and header of the next message."""
        (kind,) = self.choose.choices(KINDS, WEIGHTS)
        if kind == "replayed":
            if self.taken:
                return kind, *self.choose.choice(self.taken)
            kind = "good"
        action, good = message(
            self.choose,
            **NAMES,
            bppUri=self.server.url,
        )
        now, key = datetime.now(UTC), self.server.key
        raw = json.dumps(good).encode()
        match kind:
            case "missigned":
                return kind, action, raw, missigned(self.choose, raw, key=key, now=now)
            case "broken":
                raw = broken(self.choose, good)
            case "oversized":
                raw += b" " * LARGEST_BODY
            case _:
                pass
        return kind, action, raw, str(key.sign(raw, now=now))

    async def run(self, count: int) -> None:
        """Send so many messages over some connections."""
        left = iter(range(count))

        async def client(session: aiohttp.ClientSession) -> None:
            for _ in left:
                kind, action, raw, header = self.next()
                await self._post(session, kind, action, raw, header)

        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(client(session) for _ in range(CLIENTS)))

    async def _post(
        self, session: aiohttp.ClientSession, kind: str, action: str, raw: bytes, header: str
    ) -> None:
        headers = {"Content-Type": "application/json", "Authorization": header}
        url = f"{self.server.url}/{action}"
        async with session.post(url, data=io.BytesIO(raw), headers=headers) as answer:
            error = json.loads(await answer.read())["message"].get("error")
            code = error["code"] if error else "ACK"
            self.said[kind, answer.status, code] += 1
        if kind == "good" and code == "ACK":
            self.taken.append((action, raw, header))


def test_every_one_is_refused_in_kind_and_forgotten(server: Server) -> None:
    fuzz = Fuzz(server)
    asyncio.run(fuzz.run(COUNT // SHARE))
    before_mib = server.rss_mib()

    asyncio.run(fuzz.run(COUNT - COUNT // SHARE))

    assert sum(fuzz.said.values()) == COUNT
    assert {code for _, _, code in fuzz.said} <= CODES | {"ACK"}
    allowed = ALLOWED | {"NET": {404}, "SCH": {400, 413}}
    wrong = {one for one in fuzz.said if one[1] not in allowed[one[2][:3]]}
    assert not wrong
    kinds = {kind: {code[:3] for one, _, code in fuzz.said if one == kind} for kind in KINDS}
    assert kinds["missigned"] == {"AUT"}
    assert kinds["oversized"] == {"SCH"}
    assert len(fuzz.taken) > COUNT // 1_000
    assert {code for kind, _, code in fuzz.said if kind == "replayed"} <= {
        "AUT_REPLAY_DETECTED",
        "CTX_MESSAGE_ID_DUPLICATE",
    }
    _require_flat(before_mib, server, sum(fuzz.said.values()))


class Remote(Target):
    """The application as a peer reaches it."""

    def __init__(self, server: Server, client: httpx.Client) -> None:
        names = {**NAMES, "bppUri": server.url}
        super().__init__(server.key, **names)
        self._url = server.url
        self._client = client

    def now(self) -> datetime:
        return datetime.now(UTC)

    def send(self, action: str, raw: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        trimmed = {name: value.strip() for name, value in headers.items()}  # as HTTP does
        answer = self._client.post(f"{self._url}/{action}", content=raw, headers=trimmed)
        return answer.status_code, answer.content


def test_what_hypothesis_and_schemathesis_write_is_refused_in_kind_and_forgotten(
    server: Server,
) -> None:
    with httpx.Client(timeout=60) as client:
        target = Remote(server, client)
        send_malformed(target, BY_HYPOTHESIS // SHARE)
        before_mib = server.rss_mib()
        send_malformed(target, BY_HYPOTHESIS)
        send_missigned(target, BY_HYPOTHESIS)
        send_twice(target, BY_HYPOTHESIS)
        for path in SHARED_PATHS:
            send_what_is_allowed(target, path, BY_SCHEMATHESIS)

    assert len(target.said) >= 15, target.said
    _require_flat(before_mib, server, sum(target.said.values()))


def _require_flat(before_mib: float, server: Server, count: int) -> None:
    after_mib = server.rss_mib()
    told = f"{count} messages; replica {before_mib:.0f} MiB, then {after_mib:.0f} MiB"
    sys.stdout.write(f"\n{told}\n")
    assert after_mib - before_mib < MOST_GROWTH_MIB
