"""Questions that are asked at the same time are asked once."""

import asyncio
from collections.abc import Sequence

import pytest

from gridflex.adapters.batching import MOST, Batched
from gridflex.errors import ContractError, SourceError


class Doubling:
    """Answers twice the number, when it is let; remembers what it was asked together."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.gate = asyncio.Event()
        self.fails = False

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.fails:
            raise SourceError("down")
        return [2 * number for number in numbers]


async def test_what_is_asked_meanwhile_is_asked_together() -> None:
    ask = Doubling()
    batched = Batched(ask)
    asking = [asyncio.create_task(batched.ask(number)) for number in range(5)]
    await asyncio.sleep(0)
    late = asyncio.create_task(batched.ask(9))
    await asyncio.sleep(0)

    ask.gate.set()

    assert await asyncio.gather(*asking, late) == [0, 2, 4, 6, 8, 18]
    assert sorted(map(len, ask.asked)) == [1, 5]


async def test_no_more_than_so_many_are_asked_at_once() -> None:
    ask = Doubling()
    batched = Batched(ask)
    ask.gate.set()

    answers = await asyncio.gather(*(batched.ask(number) for number in range(3 * MOST)))

    assert answers == [2 * number for number in range(3 * MOST)]
    assert max(map(len, ask.asked)) == MOST
    assert len(ask.asked) <= 5


async def test_a_failure_is_everyones_who_asked_together_and_passes() -> None:
    ask = Doubling()
    batched = Batched(ask)
    ask.fails = True
    ask.gate.set()

    said = await asyncio.gather(*(batched.ask(n) for n in range(3)), return_exceptions=True)
    ask.fails = False

    assert [str(one) for one in said] == ["down"] * 3
    assert await batched.ask(4) == 8


async def test_a_question_that_cannot_be_asked_spoils_no_other() -> None:
    asked: list[list[int]] = []

    async def ask(numbers: Sequence[int]) -> list[int]:
        asked.append(list(numbers))
        await asyncio.sleep(0)
        if 3 in numbers:
            raise ContractError("3 does not fit")
        return [2 * number for number in numbers]

    batched = Batched(ask)

    said = await asyncio.gather(*(batched.ask(n) for n in range(5)), return_exceptions=True)

    assert [one if isinstance(one, int) else str(one) for one in said] == [
        0, 2, 4, "3 does not fit", 8,
    ]  # fmt: skip
    assert asked == [[0], [1, 2, 3, 4], [1], [2], [3], [4]]


@pytest.mark.parametrize("answers", [None, []])
async def test_a_mistake_in_asking_is_told_to_everyone_at_once(answers: list[int] | None) -> None:
    calls = 0

    async def ask(_numbers: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if answers is None:
            raise RuntimeError("a mistake")
        return answers

    batched = Batched(ask)
    asking = [asyncio.create_task(batched.ask(n)) for n in range(3)]

    said = await asyncio.gather(*asking, return_exceptions=True)

    assert {type(one) for one in said} == {RuntimeError if answers is None else ValueError}
    assert calls == 2  # the first alone, then the others


async def test_who_goes_away_takes_no_answer_with_it() -> None:
    ask = Doubling()
    batched = Batched(ask)
    first = asyncio.create_task(batched.ask(1))
    await asyncio.sleep(0)
    second = asyncio.create_task(batched.ask(2))
    await asyncio.sleep(0)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    ask.gate.set()

    assert await second == 4


@pytest.mark.parametrize("number", [1, 2], ids=["while its own is on its way", "while it waits"])
async def test_what_one_who_went_away_asked_is_not_asked_later(number: int) -> None:
    ask = Doubling()
    batched = Batched(ask)
    asking = {}
    for one in (1, 2, 3):
        asking[one] = asyncio.create_task(batched.ask(one))
        await asyncio.sleep(0)

    asking.pop(number).cancel()
    ask.gate.set()

    assert await asyncio.gather(*asking.values()) == [2 * one for one in asking]
    assert [len(asked) for asked in ask.asked if number in asked] == ([1] if number == 1 else [])


@pytest.mark.parametrize("gone", [(3, 2), (2, 3), (2,)])
async def test_what_was_on_its_way_for_one_who_went_away_is_asked_again_for_the_others(
    gone: tuple[int, ...],
) -> None:
    ask = Doubling()
    batched = Batched(ask)
    asking = {number: asyncio.create_task(batched.ask(number)) for number in (1, 2, 3, 4)}
    await asyncio.sleep(0)
    ask.gate.set()
    await asking.pop(1)
    ask.gate.clear()
    await asyncio.sleep(0)
    assert ask.asked == [[1], [2, 3, 4]]

    for number in gone:
        asking.pop(number).cancel()
        await asyncio.sleep(0)
    ask.gate.set()

    answers = await asyncio.wait_for(asyncio.gather(*asking.values()), 1)
    assert answers == [2 * number for number in asking]
    assert ask.asked[-1] == list(asking)


async def test_an_answer_for_one_who_went_away_reaches_the_others() -> None:
    ask = Doubling()
    batched = Batched(ask)
    asking = [asyncio.create_task(batched.ask(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    ask.gate.set()
    await asking[0]
    ask.gate.clear()
    await asyncio.sleep(0)

    asking[2].cancel()
    await asyncio.sleep(0)
    ask.gate.set()

    assert await asyncio.wait_for(asking[1], 1) == 4
