"""WebSocket connections straight into an ASGI application, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from starlette.types import ASGIApp, Message


class Connection:
    """One connection.

    Args:
        app: The application.
        path: Path to open.
        headers: Of the handshake.
    """

    def __init__(
        self, app: ASGIApp, path: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._app = app
        self._scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            "state": {},
        }
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await self.send({"type": "websocket.connect"})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.send({"type": "websocket.disconnect", "code": 1000})
        if self._task:
            await asyncio.wait_for(self._task, timeout=60)

    async def send(self, message: Message) -> None:
        """Let the client say something."""
        await self._sent.put(message)

    async def receive(self) -> Message:
        """Return what the application says next."""
        return await asyncio.wait_for(self._received.get(), timeout=60)

    async def refusal(self) -> tuple[int, bytes]:
        """Return the status and body with which the handshake is refused."""
        start, body = await self.receive(), await self.receive()
        return start["status"], body["body"]

    async def text(self) -> tuple[str, int]:
        """Return all that is sent, and the code with which the connection is closed."""
        lines: list[str] = []
        while True:
            message: Any = await self.receive()
            if message["type"] == "websocket.close":
                return "".join(lines), message["code"]
            if message["type"] == "websocket.send":
                lines.append(message["text"])

    async def _run(self) -> None:
        await self._app(self._scope, self._sent.get, self._received.put)
