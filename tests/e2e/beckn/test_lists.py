"""Lists that lie with a peer are fetched over HTTP, and from nowhere else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gridflex.adapters.beckn.http import BecknClient
from gridflex.beckn.messaging.referring import with_lists
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import Message, parse
from gridflex.errors import SourceError
from gridflex.ledger.canonical import canonical_json, digest
from tests.unit.beckn.wire import body, contract

NAMES = ["did:web:m:2", "did:web:m:1"]


class Handler(BaseHTTPRequestHandler):
    """Serves a list, and a way around to it."""

    def do_GET(self) -> None:
        is_there = self.path == "/list"
        self.send_response(200 if is_there else 302)
        if not is_there:
            self.send_header("Location", "/list")
        self.end_headers()
        if is_there:
            self.wfile.write(canonical_json(NAMES))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def home() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def offer(home: str, path: str) -> Message:
    values = contract()
    reference = {
        "uri": f"{home}{path}",
        "contentHash": f"sha256:{digest(canonical_json(NAMES))}",
        "count": 2,
    }
    values["commitments"][0]["offer"]["offerAttributes"] = {
        "@context": "c",
        "@type": "DemandFlexBuyOffer",
        "inputs": [{"role": "seller", "inputs": {"participatingMetersRef": reference}}],
    }
    return parse(body("confirm", {"contract": values}, bapUri=f"{home}/beckn"))


async def test_a_list_is_fetched_from_who_refers_to_it(home: str) -> None:
    async with BecknClient() as client:
        whole = await with_lists(offer(home, "/list"), client)

    attributes = whole.contract.commitments[0].offer.offer_attributes or {}
    assert attributes["inputs"][0]["inputs"] == {"participatingMeters": NAMES}


async def test_nobody_is_sent_elsewhere_for_a_list(home: str) -> None:
    async with BecknClient() as client:
        with pytest.raises(BecknError, match=r"NET_DOWNSTREAM_UNAVAILABLE.*HTTP 302"):
            await with_lists(offer(home, "/moved"), client)


async def test_a_list_is_read_no_further_than_is_allowed(home: str) -> None:
    async with BecknClient() as client:
        with pytest.raises(SourceError, match="above 10 bytes"):
            await client.fetch(f"{home}/list", most_bytes=10)
