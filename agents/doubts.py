"""Learns how far each source's forecasts are off, and says so of what it forecasts now.

What was learnt is kept with its time, so that every process plans with the same bands and it
can be seen later which ones they were. Errors are of national forecasts, for of regions no
outturn is published.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from gridflex.forecasting.doubt import Doubts, doubted, share_of_national
from gridflex.halfhour import HalfHour
from gridflex.signals import NATIONAL, Series, Signal

log = logging.getLogger(__name__)

SIGNALS: Final = (Signal.INTENSITY, Signal.PRICE)
"""What plans are made from."""

LEARN_EVERY: Final = timedelta(hours=6)


class Archive(Protocol):
    """What was said of the grid, and what came."""

    async def doubts(self, signal: Signal, *, now: datetime) -> Doubts:
        """Return how far each source has been off lately, as far as it is known by ``now``."""
        ...


class DoubtStore(Protocol):
    """Where it is kept how far sources have been off."""

    async def newest(self, signal: Signal, *, now: datetime) -> Doubts | None:
        """Return what was learnt last by ``now``."""
        ...

    async def add(self, doubts: Doubts) -> None:
        """Keep what was learnt."""
        ...


class LearntDoubts:
    """Learns anew every six hours, from every source's archived errors.

    Args:
        archive: What was said and what came.
        store: Where what was learnt is kept.
    """

    def __init__(self, *, archive: Archive, store: DoubtStore) -> None:
        self._archive = archive
        self._store = store

    async def tick(self, now: datetime) -> Sequence[Doubts]:
        """Learn what was not learnt for six hours, and return it.

        Args:
            now: GridFlex time.

        Raises:
            SourceError: The database cannot be reached.
        """
        new = []
        for signal in SIGNALS:
            last = await self._store.newest(signal, now=now)
            if last is None or now - last.at >= LEARN_EVERY:
                found = await self._archive.doubts(signal, now=now)
                await self._store.add(found)
                log.info("errors of %s are known of %s", signal, sorted(found.of) or "no source")
                new.append(found)
        return new


class StoredDoubts:
    """Gives forecasts the bands that were learnt last, looked up once each half-hour.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: DoubtStore) -> None:
        self._store = store
        self._found: dict[Signal, tuple[HalfHour, Doubts]] = {}

    async def __call__(self, known: Sequence[Series], *, now: datetime) -> Sequence[Series]:
        """See `gridflex.agents.grid.Doubting`."""
        if not known:
            return known
        doubts = await self._newest(known[0].signal, now)
        national = [one for one in known if one.region == NATIONAL]
        return [doubted(one, doubts, share=share_of_national(one, national)) for one in known]

    async def _newest(self, signal: Signal, now: datetime) -> Doubts | None:
        running = HalfHour.containing(now)
        looked_up, doubts = self._found.get(signal, (None, None))
        if looked_up == running:
            return doubts
        newest = await self._store.newest(signal, now=now)
        if newest is not None:
            self._found[signal] = (running, newest)
        return newest
