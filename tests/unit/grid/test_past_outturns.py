"""Outturns asked for after the fact: in parts, and the newest first."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pytest

from gridflex.adapters.grid.feeds import OutturnFeed
from gridflex.adapters.grid.past_outturns import ask_outturns, parts
from gridflex.adapters.http import UnavailableError
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.signals import Kind, Origin, Series, Signal
from tests.unit.grid.replay import at, hh

NOW = at("2026-01-15T12:10Z")
RUNNING = hh("2026-01-15T12:00Z")


class Kept:
    """Keeps series in the order in which they came."""

    def __init__(self) -> None:
        self.starts: list[HalfHour] = []

    async def save_series(self, series: Sequence[Series]) -> None:
        self.starts += [one.start for one in series]


class Provider:
    """Has outturns from so many days ago on, and answers with an error before."""

    def __init__(self, *, days: int, error: type[SourceError] = SourceError) -> None:
        self.first = RUNNING - days * 48
        self.error = error
        self.asked: list[HalfHour] = []

    async def __call__(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        self.asked.append(start)
        if start < self.first:
            raise self.error(f"nothing of {start}")
        return Series(
            signal=Signal.WIND, kind=Kind.OUTTURN, source="a", origin=Origin.LIVE, region="GB",
            start=start, values=np.ones(start.until(end)), issued_at=now, available_at=now,
        )  # fmt: skip


async def asked_of(provider: Provider, *, days: int) -> tuple[int, Kept, list[str], int]:
    feed = OutturnFeed("p", "a", Signal.WIND, provider, timedelta(days=28))
    kept = Kept()
    missing: list[str] = []
    done: list[int] = []
    told = await ask_outturns(
        feed, kept, of=parts(NOW, days=days), now=NOW, missing=missing, advance=done.append
    )
    return told, kept, missing, sum(done)


@pytest.mark.parametrize("days", [1, 13, 14, 15, 28, 365, 2000])
def test_the_parts_are_the_days_wanted_up_to_now_and_nothing_twice(days: int) -> None:
    of = parts(NOW, days=days)

    assert (of[0][1], of[-1][0]) == (RUNNING, RUNNING - days * 48)
    assert [start for start, _ in of[:-1]] == [end for _, end in of[1:]]
    assert [start.until(end) for start, end in of[:-1]] == [14 * 48] * (len(of) - 1)
    assert 0 < of[-1][0].until(of[-1][1]) <= 14 * 48


async def test_all_that_a_provider_has_is_kept_however_far_back_is_asked_for() -> None:
    provider = Provider(days=140)

    told, kept, missing, done = await asked_of(provider, days=2000)

    assert told == 140 * 48
    assert kept.starts == [RUNNING - back * 48 for back in range(14, 141, 14)]
    assert (len(provider.asked), done) == (10 + 30, 143)
    assert missing[-1] == "a: 103 more were not asked for"


async def test_a_provider_that_fails_for_the_old_is_left_alone_after_three_failures() -> None:
    provider = Provider(days=140, error=UnavailableError)

    told, _, missing, done = await asked_of(provider, days=365)

    assert (told, len(provider.asked), done) == (140 * 48, 10 + 3, 27)
    assert [reason.rpartition(": ")[2] for reason in missing] == [
        "nothing of 2025-08-14T12:00Z", "nothing of 2025-07-31T12:00Z",
        "nothing of 2025-07-17T12:00Z", "14 more were not asked for",
    ]  # fmt: skip
