"""Asking a database once for all who ask at the same time.

What is asked while one statement is on its way waits and goes into the next; nothing waits for
more to come. Under load this saves most round trips, and most writes to disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from gridflex.errors import GridFlexError

MOST: Final = 64
"""Questions in one statement."""

Q = TypeVar("Q")
A = TypeVar("A")


class Batched(Generic[Q, A]):
    """Collects questions and hands each asker its own answer.

    Args:
        ask: Answers some questions at once, in their order.
    """

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []

    async def ask(self, question: Q) -> A:
        """Return the answer to one question.

        Raises:
            GridFlexError: What asking raised, for all who asked together.
        """
        mine: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, mine))
        async with self._turn:
            while not mine.done():
                await self._ask_some()
        return mine.result()

    async def _ask_some(self) -> None:
        """Ask what waits; what was not answered when this is interrupted goes on waiting."""
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            answers = await self._ask([question for question, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)
        except GridFlexError as error:
            for _, future in batch:
                future.set_exception(error)
                future.exception()  # an asker that has gone away does not read it
        finally:
            self._waiting[:0] = [one for one in batch if not one[1].done()]
