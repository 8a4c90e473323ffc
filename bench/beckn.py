"""How many signed Beckn messages a second GridFlex takes, and how soon it acknowledges them.

In one process: verify and parse. Through Serve: HAProxy, one replica, PostgreSQL and the load
generator on the same cores, without the agents; every message is verified, parsed, checked against
its contract, kept and acknowledged with a signature. Messages are signed before the clock starts,
as their senders would on machines of their own. The registry is a file, so that no lookup is timed.
The messages are ``status`` about one open contract for 150 kWh, each with an id of its own.

    python bench/beckn.py [--seconds 20] [--clients 16]
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta

import aiohttp
from beckn_serve import BUYER, NETWORK, SELLER_ID, serving
from results_file import Figure, publish

from gridflex.adapters import database
from gridflex.adapters.beckn.store import BecknStore
from gridflex.beckn.contracts.lifecycle import open_contract
from gridflex.beckn.contracts.states import Patience, Side
from gridflex.beckn.messaging.keeping import Decision
from gridflex.beckn.messaging.writing import Author, Peer
from gridflex.beckn.trust.registry import StaticRegistry, Subscriber
from gridflex.beckn.trust.signing import SigningKey, public_key
from gridflex.beckn.trust.verification import (
    TrustPolicy,
    check_header,
    check_key,
    check_signature,
    read_context,
)
from gridflex.beckn.wire.messages import Message, parse, parse_payload
from gridflex.beckn.wire.payloads import KnownContractMessage
from gridflex.settings import Settings

IN_PROCESS = 2_000
PACED_PER_S = 100
MOST_PER_S = 1_000
"""More than are taken; so many are signed before the clock starts."""

WARM_UP = 50
CONTRACT = "0b8a9d9e-3a7f-4c39-b0c7-0c6f1e0d5a11"


def contract() -> dict[str, object]:
    """Return a contract about one block, with its table."""
    cells = [
        {"id": row, "payloads": [{"type": "REQUESTED_QTY", "values": [18.75]}]} for row in range(8)
    ]
    return {
        "id": CONTRACT,
        "status": {"code": "DRAFT"},
        "commitments": [
            {
                "id": "commitment-1",
                "status": {"descriptor": {"code": "DRAFT"}},
                "resources": [{"id": "r1", "quantity": {"unitCode": "kWh", "unitQuantity": 150}}],
                "offer": {"id": "o1", "resourceIds": ["r1"]},
                "commitmentAttributes": {
                    "@context": "https://schema.nfh.global/BecknTimeSeries/v1.0/context.jsonld",
                    "@type": "TimeSeries",
                    "intervalPeriod": {"start": "2026-07-02T02:00:00Z", "duration": "PT30M"},
                    "payloadDescriptors": [
                        {
                            "objectType": "EVENT_PAYLOAD_DESCRIPTOR",
                            "payloadType": "REQUESTED_QTY",
                            "units": "KWH",
                            "insertedBy": "buyer",
                        }
                    ],
                    "intervals": cells,
                },
            }
        ],
        "participants": [{"id": BUYER.subscriber_id}, {"id": SELLER_ID}],
    }


class Sender:
    """Signs messages of the buyer to one seller."""

    def __init__(self, key: SigningKey, seller: Peer) -> None:
        self._author = Author(
            BUYER,
            key=key,
            network_id=NETWORK,
            new_id=lambda: str(uuid.uuid4()),
            ttl=timedelta(hours=1),
        )
        self._seller = seller
        self.transaction = str(uuid.uuid4())
        self._payload = KnownContractMessage.model_validate({"contract": contract()})

    def message(self, action: str) -> tuple[bytes, str]:
        """Return a new message and its authorization."""
        said = self._author.request(
            action,
            self._payload,
            peer=self._seller,
            transaction_id=self.transaction,
            now=datetime.now(UTC),
        )
        return said.message.raw, str(said.header)


async def in_process(sender: Sender, record: Subscriber) -> Figure:
    """Verify and parse messages that were signed before, one after the other."""
    policy, registry = TrustPolicy(networks=frozenset({NETWORK})), StaticRegistry([record])
    said = [sender.message("status") for _ in range(IN_PROCESS)]
    now = datetime.now(UTC)
    began = time.perf_counter()
    for raw, authorization in said:
        header = check_header(authorization, now=now, policy=policy)
        subscriber = await check_key(header, now=now, policy=policy, registry=registry)
        check_signature(raw, header, subscriber)
        values, context = read_context(raw)
        parse_payload(values, context, raw=raw)
    took_s = time.perf_counter() - began
    data = f"{IN_PROCESS} signed messages of {len(said[0][0])} bytes, one core"
    return Figure("inprocess_msgs_per_s", IN_PROCESS / took_s, "messages/s", ">= 2000", data=data)


async def flood(url: str, sender: Sender, *, seconds: float, clients: int) -> Figure:
    """Send from many connections as fast as acknowledgements come."""
    said = [sender.message("status") for _ in range(int(seconds * MOST_PER_S))]
    done = 0

    async def client(session: aiohttp.ClientSession, end: float) -> None:
        nonlocal done
        while time.perf_counter() < end and said:
            await _send(session, url, said.pop())
            done += 1

    async with aiohttp.ClientSession() as session:
        for _ in range(WARM_UP):
            await _send(session, url, said.pop())
        began = time.perf_counter()
        await asyncio.gather(*(client(session, began + seconds) for _ in range(clients)))
        took_s = time.perf_counter() - began
    data = f"{done} messages from {clients} connections in {took_s:.0f} s, generator included"
    return Figure("serve_msgs_per_s", done / took_s, "messages/s", ">= 300", data=data)


async def paced(url: str, sender: Sender, *, seconds: float) -> list[Figure]:
    """Send a hundred a second, whether or not the last was answered."""
    took_s: list[float] = []
    said = [sender.message("status") for _ in range(int(seconds * PACED_PER_S))]

    async def one(session: aiohttp.ClientSession) -> None:
        began = time.perf_counter()
        await _send(session, url, said.pop())
        took_s.append(time.perf_counter() - began)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        for number in range(int(seconds * PACED_PER_S)):
            await asyncio.sleep(max(0.0, began + number / PACED_PER_S - time.perf_counter()))
            group.create_task(one(session))
    took_s.sort()
    median_ms, p99_ms = (1000 * took_s[int(len(took_s) * share)] for share in (0.5, 0.99))
    data = f"{len(took_s)} messages at {PACED_PER_S} a second"
    return [
        Figure("ack_p50_ms_at_100", median_ms, "ms", data=data),
        Figure("ack_p99_ms_at_100", p99_ms, "ms", "< 100", data=data),
    ]


async def _send(session: aiohttp.ClientSession, url: str, said: tuple[bytes, str]) -> None:
    raw, authorization = said
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    async with session.post(f"{url}/status", data=raw, headers=headers) as answer:
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}: {await answer.text()}")


def opened(sender: Sender) -> Message:
    """Return the ``select`` by which the contract came to be."""
    return parse(sender.message("select")[0])


def main() -> None:
    """Bring the Beckn application up alone, measure, end it, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="How long to measure.")
    parser.add_argument("--clients", type=int, default=16, help="Connections at once.")
    args = parser.parse_args()
    with serving() as served:
        sender = Sender(served.key, Peer(SELLER_ID, served.url))
        figures = [asyncio.run(in_process(sender, _record(served.key)))]
        asyncio.run(_open_contract(served.settings, sender))
        flooding = flood(served.url, sender, seconds=args.seconds, clients=args.clients)
        figures.append(asyncio.run(flooding))
        figures += asyncio.run(paced(served.url, sender, seconds=args.seconds))
    publish("beckn", figures)


def _record(key: SigningKey) -> Subscriber:
    return Subscriber(
        key_id=key.key_id,
        url=BUYER.url,
        kind="BAP",
        key=public_key(key.public_base64),
        networks=frozenset({NETWORK}),
    )


async def _open_contract(settings: Settings, sender: Sender) -> None:
    engine = database.connect(database.ensure_database(settings))
    now = datetime.now(UTC)
    step = open_contract(opened(sender), side=Side.BPP, now=now, patience=Patience())
    await BecknStore(engine).decide(Decision(states=(step.state,)))
    await engine.dispose()


if __name__ == "__main__":
    main()
