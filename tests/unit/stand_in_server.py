"""A GridFlex that answers commands what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest


class Server:
    """Answers what it is told to, at some paths something else, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = {}
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, bytes, str]] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            made.asked.append((method, self.path, body, self.headers.get("content-type") or ""))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(made.answers.get(self.path, made.answer)).encode())

        def do_GET(self) -> None:
            self._reply("GET")

        def do_POST(self) -> None:
            self._reply("POST")

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        made.url = f"http://127.0.0.1:{served.server_port}"
        thread = threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield made
        served.shutdown()
        thread.join()
