"""Logs of all attempts as one log, through holds, pauses and lost connections."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from gridflex.errors import SourceError
from gridflex.jobs import JobId, JobState
from gridflex.lifecycle import ID_TAKEN, Attempt, AttemptState, Job, Outcome
from gridflex.serve.job_logs import Notice, all_logs, follow
from tests.unit.lifecycles import NOON, attempt, job


@dataclass
class FakeLogs:
    """Prints each attempt's lines; loses the connection after so many of them, once each."""

    lines: dict[str, list[str]]
    lost_after: dict[str, list[int]] = field(default_factory=dict)
    tails: list[str] = field(default_factory=list)

    async def logs(self, ray_id: str) -> str | None:
        return "".join(self.lines[ray_id]) if ray_id in self.lines else None

    async def tail(self, ray_id: str) -> AsyncGenerator[str]:
        self.tails.append(ray_id)
        if ray_id not in self.lines:
            raise SourceError("HTTP 404")
        losses = self.lost_after.get(ray_id, [])
        limit = losses.pop(0) if losses else None
        for line in self.lines[ray_id][:limit]:
            yield line
        if limit is not None:
            raise SourceError("lost")


class FakeJobs:
    """Is at the next state each time it is asked, and stays at the last."""

    def __init__(self, states: Sequence[Job | SourceError | None]) -> None:
        self._states = list(states)

    async def get(self, _job_id: JobId) -> Job | None:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, SourceError):
            raise state
        return state


def over(number: int, outcome: Outcome = Outcome.STOPPED) -> Attempt:
    return attempt(number, state=AttemptState.ENDED, outcome=outcome, ended_at=NOON)


HELD = job()
DECIDED = job(attempt(state=AttemptState.DECIDED, started_at=None))
RUNNING = job(attempt())
PAUSED = job(over(1), state=JobState.PAUSED)
RESUMED = job(over(1), attempt(2))
DONE = job(over(1), over(2, Outcome.SUCCEEDED), state=JobState.SUCCEEDED)
ONE_DONE = job(over(1, Outcome.SUCCEEDED), state=JobState.SUCCEEDED)


async def silent(_job: Job) -> str:
    return ""


async def followed(
    logs: FakeLogs, *states: Job | SourceError | None, notice: Notice = silent
) -> str:
    async def read() -> str:
        lines = follow(
            JobId("job-1"),
            jobs=FakeJobs(states),
            clusters={"london": logs},
            notice=notice,
            poll_s=0.0,
        )
        return "".join([piece async for piece in lines])

    return await asyncio.wait_for(read(), timeout=60)


async def test_a_job_is_followed_through_hold_and_pause_to_its_end() -> None:
    logs = FakeLogs({"job-1": ["a\n", "b\n"], "job-1-a2": ["c\n"]})

    text = await followed(logs, HELD, DECIDED, RUNNING, PAUSED, RESUMED, DONE)

    assert text == "a\nb\nc\n"


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("second", [0, 1, 2, 3])
async def test_lost_connections_lose_and_repeat_nothing(first: int, second: int) -> None:
    logs = FakeLogs({"job-1": ["epoch 1\n", "ep", "och 2\n"]}, {"job-1": [first, second]})

    assert await followed(logs, RUNNING, RUNNING, RUNNING, ONE_DONE) == "epoch 1\nepoch 2\n"


async def test_a_line_that_is_cut_differently_the_second_time_is_not_repeated() -> None:
    class Recut(FakeLogs):
        async def tail(self, ray_id: str) -> AsyncGenerator[str]:
            self.tails.append(ray_id)
            pieces = ["abc", "de"] if len(self.tails) == 1 else ["a", "bcdefg"]
            for piece in pieces:
                yield piece
            if len(self.tails) == 1:
                raise SourceError("lost")

    assert await followed(Recut({}), RUNNING, ONE_DONE) == "abcdefg"


async def test_an_attempt_that_its_cluster_lost_is_passed_over() -> None:
    logs = FakeLogs({"job-1-a2": ["c\n"]})

    assert await followed(logs, RUNNING, RESUMED, DONE) == "c\n"


async def test_what_another_job_printed_under_the_id_of_an_attempt_is_none_of_ours() -> None:
    taken = replace(over(1, Outcome.LOST), driver={ID_TAKEN: True})
    logs = FakeLogs({"job-1": ["theirs\n"], "job-1-a2": ["c\n"]})

    text = await followed(logs, job(taken, over(2), state=JobState.SUCCEEDED))

    assert text == "c\n"


async def test_a_job_that_never_ran_has_an_empty_log() -> None:
    stopped = job(state=JobState.STOPPED)

    assert await followed(FakeLogs({}), HELD, stopped) == ""


async def test_a_database_that_is_away_is_waited_for() -> None:
    logs = FakeLogs({"job-1": ["a\n"]})

    assert await followed(logs, SourceError("away"), SourceError("away"), ONE_DONE) == "a\n"


async def test_the_log_of_a_job_that_was_deleted_meanwhile_ends() -> None:
    logs = FakeLogs({"job-1": ["a\n"]})

    assert await followed(logs, RUNNING, None) == "a\n"


async def test_whoever_follows_a_job_that_waits_is_told_why_whenever_that_changes() -> None:
    logs = FakeLogs({"job-1": ["a\n"], "job-1-a2": ["b\n"]})
    because = {HELD.id: iter(["first the plan\n", "for 14:00\n", "for 14:00\n", "for 20:00\n"])}

    async def notice(job: Job) -> str:
        return next(because[job.id]) if job.is_waiting else ""

    text = await followed(logs, HELD, HELD, HELD, RUNNING, PAUSED, RESUMED, DONE, notice=notice)

    assert text == "first the plan\nfor 14:00\na\nfor 20:00\nb\n"


async def test_why_a_paused_job_waits_comes_after_all_that_it_printed() -> None:
    logs = FakeLogs({"job-1": ["a\n", "b\n"]}, {"job-1": [1]})

    async def notice(job: Job) -> str:
        return "paused\n" if job.is_waiting else ""

    assert await followed(logs, RUNNING, PAUSED, PAUSED, DONE, notice=notice) == "a\nb\npaused\n"
    assert await all_logs(PAUSED, {"london": logs}, notice=notice) == "a\nb\npaused\n"
    assert await all_logs(HELD, {"london": logs}, notice=notice) == "paused\n"


async def test_all_logs_are_those_of_every_attempt_in_order() -> None:
    logs = FakeLogs({"job-1": ["a\n"], "job-1-a2": ["b\n"]})

    assert await all_logs(DONE, {"london": logs}, notice=silent) == "a\nb\n"
    assert await all_logs(job(over(1), over(3)), {"london": logs}, notice=silent) == "a\n"
    assert await all_logs(HELD, {"london": logs}, notice=silent) == ""
