"""Asking a database once for all who ask at the same time.

What is asked while one statement is on its way waits and goes into the next; nothing waits for
more to come. Under load this saves most round trips, and most writes to disk. Where one question
makes the statement impossible, each is asked alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from gridflex.errors import ContractError

MOST: Final = 64
"""Questions in one statement."""

Q = TypeVar("Q")
A = TypeVar("A")


def unnest(columns: Mapping[str, str]) -> str:
    """Return SQL for the rows that `arrays` hands over, by the columns' names and types."""
    values = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
    return f"unnest({values})"


def arrays(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each column, as `unnest` takes them."""
    return {name: [row[name] for row in rows] for name in columns}


class Batched(Generic[Q, A]):
    """Collects questions and hands each asker its own answer.

    Args:
        ask: Answers some questions at once, in their order; has done nothing where it raises
            `ContractError`.
    """

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []

    async def ask(self, question: Q) -> A:
        """Return the answer to one question; one who gives up before it is asked takes it back.

        Raises:
            ContractError: This question cannot be asked.
            Exception: What else asking raised, for all who asked together.
        """
        mine: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, mine))
        try:
            async with self._turn:
                while not mine.done():
                    await self._ask_some()
        finally:
            if mine.cancel():  # it gave up
                self._waiting = [one for one in self._waiting if not one[1].done()]
        return mine.result()

    async def _ask_some(self) -> None:
        """Ask what waits; what was not answered when this is interrupted goes on waiting."""
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            await self._answer(batch)
        finally:
            self._waiting[:0] = [one for one in batch if not one[1].done()]

    async def _answer(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in batch])
            answered = list(zip(batch, answers, strict=True))
        except Exception as error:  # noqa: BLE001 - each asker raises it
            if isinstance(error, ContractError) and len(batch) > 1:
                for one in batch:
                    await self._answer([one])
                return
            _fail([future for _, future in batch], error)
        else:
            for (_, future), answer in answered:
                if not future.cancelled():
                    future.set_result(answer)


def _fail(askers: Sequence[asyncio.Future[A]], error: Exception) -> None:
    for future in askers:
        if not future.cancelled():
            future.set_exception(error)
            future.exception()  # who goes away now does not read it
