"""Nothing that was started together outlives the wait for it."""

from __future__ import annotations

import asyncio

import pytest

from gridflex.errors import SourceError
from gridflex.together import both, together


async def slow(done: list[str], name: str) -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done.append(name)
    return name


async def broken() -> str:
    raise SourceError("no answer")


async def test_results_come_in_order() -> None:
    done: list[str] = []
    assert await together(slow(done, name) for name in "ab") == ["a", "b"]


async def test_a_failure_is_raised_when_the_others_are_over() -> None:
    done: list[str] = []
    with pytest.raises(SourceError, match="no answer"):
        await together([broken(), slow(done, "other")])
    assert done == ["other"]


async def test_two_of_different_kinds_run_at_once() -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def ask() -> str:
        asked.set()
        await answered.wait()
        return "answer"

    async def answer() -> int:
        await asked.wait()
        answered.set()
        return 1

    async with asyncio.timeout(60):
        assert await both(ask(), answer()) == ("answer", 1)


async def test_a_cancellation_ends_all() -> None:
    done: list[str] = []
    task = asyncio.create_task(_of_two(done))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == []


async def _of_two(done: list[str]) -> None:
    await together([slow(done, "one"), slow(done, "two")])
