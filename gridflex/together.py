"""Several things at once, of which none is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar, cast

T = TypeVar("T")
U = TypeVar("U")


async def together(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Wait until every one has ended, and return what they returned, in their order.

    A plain `asyncio.gather` returns at the first failure and lets the others run on, with the
    connections they hold. Here the first failure, in their order, is raised once all are over;
    a cancellation cancels all of them.
    """
    ended = await asyncio.gather(*awaitables, return_exceptions=True)
    results: list[T] = []
    for result in ended:
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


async def both(first: Awaitable[T], second: Awaitable[U]) -> tuple[T, U]:
    """Wait for two of different kinds, as `together` does, and return what each returned."""
    awaitables: list[Awaitable[T | U]] = [first, second]
    return cast("tuple[T, U]", tuple(await together(awaitables)))
