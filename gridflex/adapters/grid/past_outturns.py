"""What was so in the past, asked for in a few large parts, the newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from gridflex.adapters.grid.feeds import OutturnFeed
from gridflex.adapters.grid.past_feeds import Gap
from gridflex.errors import GridFlexError
from gridflex.halfhour import HalfHour
from gridflex.signals import Series

PART_DAYS: Final = 14
"""What the Carbon Intensity API gives at once."""

Part = tuple[HalfHour, HalfHour]
"""From a half-hour up to, not including, another."""


class Store(Protocol):
    """Where they are kept."""

    async def save_series(self, series: Sequence[Series]) -> None:
        """Keep every value that is new or has changed."""
        ...


def parts(now: datetime, *, days: int) -> list[Part]:
    """Return so many days up to the running half-hour in parts, the newest first."""
    end = HalfHour.containing(now)
    backs = range(PART_DAYS, days + PART_DAYS, PART_DAYS)
    starts = [end - min(back, days) * 48 for back in backs]
    return list(zip(starts, [end, *starts[:-1]], strict=True))


async def ask_outturns(
    feed: OutturnFeed,
    store: Store,
    *,
    of: Sequence[Part],
    now: datetime,
    missing: list[str],
    advance: Callable[[int], None],
) -> int:
    """Ask for outturns until the source is taken to have no more; return how many half-hours.

    Args:
        feed: What to ask.
        store: Where they are kept.
        of: What is wanted, the newest first: what lies beyond a lasting gap is not asked for.
        now: GridFlex time.
        missing: Where it is told what could not be had, and why.
        advance: Told how many more parts are done.

    Raises:
        SourceError: The store cannot be reached; a provider never raises.
    """
    gap, told, asked = Gap(feed.source, missing, word="from"), 0, 0
    while asked < len(of) and not gap.is_lasting:
        (start, end), asked = of[asked], asked + 1
        try:
            series = await feed.ask(start=start, end=end, now=now)
        except GridFlexError as error:
            gap.grow(start.start, error)
        else:
            gap.end()
            await store.save_series([series])
            told += len(series)
        advance(1)
    gap.end(unasked=len(of) - asked)
    advance(len(of) - asked)
    return told
