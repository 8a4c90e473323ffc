"""What every client of an outside service over HTTP has: connections that end with it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx


class Connected:
    """Closes its connections when it is left.

    Args:
        client: Holds them.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
