"""Grid Market agent: collects prices and carbon intensity and says what to expect.

`Grid` is the plain core: it polls its feeds, hands everything they said to the store, and
answers what is known about the half-hours ahead, down the ladder of `gridflex.signals.blend`.
A failing provider costs freshness, never an answer. Time is always an argument.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np

from gridflex.errors import GridFlexError, StaleDataError
from gridflex.forecasting.naive import CLIMATOLOGY_DAYS, usual_level
from gridflex.halfhour import HalfHour
from gridflex.signals import (
    NATIONAL,
    Blend,
    Kind,
    Known,
    Origin,
    Series,
    Signal,
    UsualLevel,
    blend,
    weakest,
)

log = logging.getLogger(__name__)

POLL_EVERY: Final = timedelta(minutes=15)
"""Shortest time between two polls: the providers rewrite their data every half-hour."""

OUTTURN_OVERLAP: Final = timedelta(hours=12)
"""Outturns are read again for this long, because providers first estimate, then correct."""

USUAL_LEVEL_FROM: Final[dict[Signal, str]] = {
    Signal.INTENSITY: "carbon-intensity/actual",
    Signal.PRICE: "elexon/mid",
}
"""The outturns on which the usual level of each signal rests."""


class Feed(Protocol):
    """One thing one provider can be asked for."""

    @property
    def provider(self) -> str:
        """Whose answer it is; feeds of one provider are polled in the same round."""
        ...

    @property
    def source(self) -> str:
        """Provider and product, such as ``carbon-intensity/fw48h``; that of its series."""
        ...

    @property
    def signal(self) -> Signal:
        """What its series are about."""
        ...

    @property
    def kind(self) -> Kind:
        """Whether it forecasts or reports."""
        ...

    @property
    def region(self) -> str:
        """Region of its series."""
        ...

    @property
    def lookback(self) -> timedelta:
        """How much of the past it is asked for when nothing is stored yet."""
        ...

    async def fetch(self, *, since: HalfHour, now: datetime) -> Sequence[Series]:
        """Return what the provider says at ``now``.

        Args:
            since: Outturns are wanted from here on; a forecast ignores it.
            now: GridFlex time of the call; becomes ``available_at``.

        Raises:
            SourceError: The provider did not answer, or with something unusable.
            ContractError: A row of the answer is malformed.
        """
        ...


class GridStore(Protocol):
    """Where series are kept; append-only."""

    async def save_series(self, series: Sequence[Series]) -> None:
        """Keep issued forecasts whole, and of outturns every value that is new or has changed.

        A value is new when the newest stored one of the same signal, region, source and
        half-hour differs or is absent. NaN is not a value. Saving the same series twice
        changes nothing.
        """
        ...

    async def newest(self, signal: Signal, *, kind: Kind, region: str, source: str) -> Known | None:
        """Return how far and how fresh one source's series are; None if there is none."""
        ...

    async def series_known_at(
        self, signal: Signal, *, region: str, now: datetime
    ) -> Sequence[Series]:
        """Return the newest forecast of each source with ``available_at <= now``, newest first."""
        ...

    async def outturn(
        self,
        signal: Signal,
        *,
        region: str,
        source: str,
        start: HalfHour,
        half_hours: int,
        known_at: datetime,
    ) -> Series | None:
        """Return the outturns of one source as they were known at ``known_at``.

        The series starts at ``start``, has ``half_hours`` values with NaN for gaps, the
        ``available_at`` of its newest value and the weakest origin among its values
        (simulated before recorded before live). None if there is no value at all.
        """
        ...


@dataclass(frozen=True, slots=True)
class FeedReport:
    """How one feed stands.

    Args:
        provider: Whose feed it is.
        source: Provider and product.
        region: Region of its series.
        is_ok: Whether the last poll succeeded; None before the first one.
        reason: Why it failed; empty if it did not.
        last_good_at: GridFlex time of the last good answer; None if there never was one.
        age_s: Seconds since then.
    """

    provider: str
    source: str
    region: str
    is_ok: bool | None
    reason: str
    last_good_at: datetime | None
    age_s: float | None


@dataclass(frozen=True, slots=True)
class GridReport:
    """What one tick did.

    Args:
        now: GridFlex time of the tick.
        polled: Sources that were asked in this tick.
        saved: How many series were handed to the store.
        feeds: How every feed stands after it.
    """

    now: datetime
    polled: tuple[str, ...]
    saved: int
    feeds: tuple[FeedReport, ...]

    @property
    def degraded(self) -> tuple[FeedReport, ...]:
        """The feeds whose last poll failed."""
        return tuple(feed for feed in self.feeds if feed.is_ok is False)


def no_jitter(_provider: str) -> timedelta:
    """Poll on the quarter-hour."""
    return timedelta(0)


class Grid:
    """Collects what the providers say and answers what to expect.

    Args:
        feeds: What to poll, in order of trust: where two forecast the same half-hour, the
            earlier one is used.
        store: Where everything is kept; nothing that matters is kept here.
        poll_every: Time between two polls of one provider, at least `POLL_EVERY`.
        jitter: How much later than the round time a provider is polled, below ``poll_every``
            and the same for every call with one provider.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        *,
        store: GridStore,
        poll_every: timedelta = POLL_EVERY,
        jitter: Callable[[str], timedelta] = no_jitter,
    ) -> None:
        self._store = store
        self._polls = [_Poll(feed) for feed in feeds]
        self._poll_every = max(poll_every, POLL_EVERY)
        self._jitter = {feed.provider: jitter(feed.provider) for feed in feeds}
        self._last_round: dict[str, int] = {}
        self._trust = {feed.source: rank for rank, feed in reversed(list(enumerate(feeds)))}

    async def tick(self, now: datetime) -> GridReport:
        """Poll what is due and keep what was said.

        Args:
            now: GridFlex time.

        Raises:
            SourceError: The store cannot be reached; a provider never raises.
        """
        due = [poll for poll in self._polls if self._is_due(poll.feed.provider, now)]
        for poll in due:
            self._last_round[poll.feed.provider] = self._round(poll.feed.provider, now)
        await asyncio.gather(*(self._remember(poll) for poll in self._polls))
        answers = await asyncio.gather(*(self._ask(poll, now) for poll in due))
        series = [one for answer in answers for one in answer]
        if series:
            await self._store.save_series(series)
        return GridReport(
            now=now,
            polled=tuple(poll.feed.source for poll in due),
            saved=len(series),
            feeds=tuple(poll.report(now) for poll in self._polls),
        )

    def report(self, now: datetime) -> GridReport:
        """Return how every feed stands, without polling."""
        feeds = tuple(poll.report(now) for poll in self._polls)
        return GridReport(now=now, polled=(), saved=0, feeds=feeds)

    async def standing(self, now: datetime) -> tuple[FeedReport, ...]:
        """Return how fresh what is stored of every feed is, whichever process polled it.

        Raises:
            SourceError: The store cannot be reached.
        """
        return tuple(await asyncio.gather(*(self._stored(poll.feed, now) for poll in self._polls)))

    async def outlook(
        self, now: datetime, *, start: HalfHour, half_hours: int, region: str = NATIONAL
    ) -> tuple[Blend, Blend]:
        """Return the best known intensity and price of each half-hour of a window.

        Intensity is that of ``region`` where a forecast of it is known, else national; the
        price is national.

        Args:
            now: Only what was available by then is used.
            start: Half-hour of index 0.
            half_hours: Length of the window, at least 1.
            region: Outward postcode or region of the intensity.

        Raises:
            StaleDataError: Nothing at all is known about one of the signals.
            SourceError: The store cannot be reached.
        """
        regions = [region] if region == NATIONAL else [region, NATIONAL]
        intensity = self._blend(Signal.INTENSITY, regions, now, start, half_hours)
        price = self._blend(Signal.PRICE, [NATIONAL], now, start, half_hours)
        return await asyncio.gather(intensity, price)

    async def _blend(
        self,
        signal: Signal,
        regions: Sequence[str],
        now: datetime,
        start: HalfHour,
        half_hours: int,
    ) -> Blend:
        ranked: list[Series] = []
        for region in regions:
            known = await self._store.series_known_at(signal, region=region, now=now)
            ranked += sorted(known, key=self._distrust)
        history = await self._history(signal, now=now, start=start, half_hours=half_hours)
        if history is None and not ranked:
            raise StaleDataError(f"no forecast and no outturn of {signal} is known at {now}")
        usual = UsualLevel(np.full(half_hours, np.nan))
        if history is not None:
            usual = _usual(history, now=now, start=start, half_hours=half_hours)
            ranked.append(history)
        return blend(ranked, climatology=usual, start=start, now=now)

    async def _history(
        self, signal: Signal, *, now: datetime, start: HalfHour, half_hours: int
    ) -> Series | None:
        first = min(start, HalfHour.containing(now)) - CLIMATOLOGY_DAYS * 48
        return await self._store.outturn(
            signal,
            region=NATIONAL,
            source=USUAL_LEVEL_FROM[signal],
            start=first,
            half_hours=max(first.until(start + half_hours), 0),
            known_at=now,
        )

    def _distrust(self, series: Series) -> int:
        return self._trust.get(series.source, len(self._trust))

    def _is_due(self, provider: str, now: datetime) -> bool:
        last = self._last_round.get(provider)
        return last is None or self._round(provider, now) > last

    def _round(self, provider: str, now: datetime) -> int:
        return int((now - self._jitter[provider]).timestamp() // self._poll_every.total_seconds())

    async def _remember(self, poll: _Poll) -> None:
        if poll.is_new:
            poll.known = await self._newest(poll.feed)
            poll.is_new = False

    async def _stored(self, feed: Feed, now: datetime) -> FeedReport:
        known = await self._newest(feed)
        return _feed_report(feed, known, now=now, is_ok=None, reason="")

    async def _newest(self, feed: Feed) -> Known | None:
        return await self._store.newest(
            feed.signal, kind=feed.kind, region=feed.region, source=feed.source
        )

    async def _ask(self, poll: _Poll, now: datetime) -> Sequence[Series]:
        source = poll.feed.source
        try:
            answer = await poll.feed.fetch(since=poll.since(now), now=now)
        except GridFlexError as error:
            log.warning("feed %s failed: %s", source, error)
            poll.failed(str(error))
            return ()
        except Exception as error:  # one broken feed must not stop the others
            log.exception("feed %s is broken", source)
            poll.failed(f"{type(error).__name__}: {error}")
            return ()
        poll.answered(answer, now)
        return answer


class _Poll:
    """One feed and how its last polls went."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.known: Known | None = None
        self.is_new = True
        self._is_ok: bool | None = None
        self._reason = ""

    def since(self, now: datetime) -> HalfHour:
        """Where the next answer should start."""
        earliest = HalfHour.containing(now - self.feed.lookback)
        if self.known is None:
            return earliest
        return max(earliest, HalfHour.containing(self.known.last.start - OUTTURN_OVERLAP))

    def answered(self, answer: Sequence[Series], now: datetime) -> None:
        self._is_ok, self._reason = True, ""
        lasts = [series.end - 1 for series in answer if len(series)]
        if self.known is not None:
            lasts.append(self.known.last)
        if lasts:
            self.known = Known(last=max(lasts), available_at=now)

    def failed(self, reason: str) -> None:
        self._is_ok, self._reason = False, reason

    def report(self, now: datetime) -> FeedReport:
        return _feed_report(self.feed, self.known, now=now, is_ok=self._is_ok, reason=self._reason)


def _feed_report(
    feed: Feed, known: Known | None, *, now: datetime, is_ok: bool | None, reason: str
) -> FeedReport:
    good_at = known.available_at if known else None
    return FeedReport(
        provider=feed.provider,
        source=feed.source,
        region=feed.region,
        is_ok=is_ok,
        reason=reason,
        last_good_at=good_at,
        age_s=(now - good_at).total_seconds() if good_at else None,
    )


def _usual(history: Series, *, now: datetime, start: HalfHour, half_hours: int) -> UsualLevel:
    """The usual level from ``start``, judged by what was over by ``now``."""
    cut = min(start, HalfHour.containing(now))
    skipped = cut.until(start)
    return UsualLevel(
        usual_level(history, start=cut, half_hours=skipped + half_hours)[skipped:],
        origin=weakest({Origin.COMPUTED, history.origin}),
        region=history.region,
        age_s=(now - history.available_at).total_seconds(),
    )
