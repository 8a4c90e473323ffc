"""Tens of thousands of broken messages: each is refused with a code of the protocol, and forgotten.

Every message is made from a good one by changing it in one to three places; half are signed after
that, so that what lies behind the signature is reached, half before.
"""

import gc
import json
import random
import sys
from collections import Counter
from typing import Any

from gridflex.beckn.messaging.acknowledging import Reply
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.participant import screen_contract
from gridflex.beckn.messaging.receiving import Receiver
from gridflex.beckn.wire.errors import CODES
from tests.conformance.beckn.spoiling import broken, message
from tests.unit.beckn.wire import BAP_KEY, BPP, BPP_KEY, NOW, POLICY, registry

COUNT = 20_000


class Forgetful(MemoryStore):
    """Keeps the ids it needs and no bodies, as a database would outside this process."""

    async def keep(self, incoming: Any) -> bool:  # noqa: ANN401 - an Incoming
        return incoming is not None


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
    blocks = []
    for number in range(COUNT):
        action, good = message(choose)
        raw = broken(choose, good)
        signed = raw if choose.random() < 0.8 else raw + b" "
        header = str(BAP_KEY.sign(signed, now=NOW))
        if choose.random() < 0.1:
            header = header[: choose.randrange(len(header))]
        reply = await receiver.receive(action, raw, authorization=header, now=NOW)
        seen[_code(reply)] += 1
        if number % (COUNT // 4) == COUNT // 4 - 1:
            gc.collect()
            blocks.append(sys.getallocatedblocks())

    assert set(seen) <= CODES | {"ACK"}
    assert len(seen) >= 10, seen
    assert blocks[-1] - blocks[1] < COUNT // 8, blocks


def _code(reply: Reply) -> str:
    values = json.loads(reply.body)
    assert reply.status == 200 or 400 <= reply.status < 500, reply
    error = values["message"].get("error")
    return str(error["code"]) if error else "ACK"
