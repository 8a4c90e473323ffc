"""Grid Market agent: collects prices and carbon intensity and says what to expect.

`Grid` is the plain core: it polls its feeds, hands everything they said to the store, and
answers what is known about the half-hours ahead, down the ladder of `gridflex.signals.blend`.
A failing provider costs freshness, never an answer. Time is always an argument.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np

from gridflex.adapters.grid.carbon_intensity import mix_source
from gridflex.adapters.grid.series import PartlyToldError
from gridflex.agents.feeds import Feed, FeedReport, Poll, feed_report, news
from gridflex.agents.observations import Observations
from gridflex.errors import GridFlexError, StaleDataError
from gridflex.forecasting.archive import OWN
from gridflex.forecasting.naive import CLIMATOLOGY_DAYS, usual_level
from gridflex.forecasting.skill import leads_of
from gridflex.halfhour import HALF_HOUR, HalfHour
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
from gridflex.together import together

log = logging.getLogger(__name__)

POLL_EVERY: Final = timedelta(minutes=15)
"""Shortest time between two polls: the providers rewrite their data every half-hour."""

USUAL_LEVEL_FROM: Final[dict[Signal, str]] = {
    Signal.INTENSITY: "carbon-intensity/actual",
    Signal.PRICE: "elexon/mid",
}
"""The outturns on which the usual level of each signal rests."""


FUELS: Final = ("gas", "wind", "nuclear", "imports", "solar", "biomass", "hydro", "coal", "other")
"""What the generation mix is told in."""

MIX_WITHIN: Final = timedelta(hours=24)
"""An older mix says nothing about now."""


class GridStore(Observations, Protocol):
    """Where what the providers say is kept; append-only."""

    async def newest(self, signal: Signal, *, kind: Kind, region: str, source: str) -> Known | None:
        """Return how far and how fresh one source's series are; None if there is none."""
        ...

    async def series_known_at(
        self, signal: Signal, *, region: str, now: datetime
    ) -> Sequence[Series]:
        """Return the newest forecast of each source with ``available_at <= now``, newest first."""
        ...


class OwnLeads(Protocol):
    """How far ahead a forecast of our own goes before the providers'."""

    async def __call__(self, signal: Signal, *, source: str, now: datetime) -> Sequence[str]:
        """Return the names of the groups of leads in which it does."""
        ...


async def never_first(signal: Signal, *, source: str, now: datetime) -> Sequence[str]:  # noqa: ARG001
    """Let our own forecast speak only where no provider does."""
    return ()


class Doubting(Protocol):
    """How sure forecasts are, whatever their sources say of it."""

    async def __call__(self, known: Sequence[Series], *, now: datetime) -> Sequence[Series]:
        """Return forecasts of one signal with the best band that is known of each.

        Args:
            known: The newest of each source and region, national ones among them.
            now: GridFlex time.
        """
        ...


async def take_their_word(known: Sequence[Series], *, now: datetime) -> Sequence[Series]:  # noqa: ARG001
    """Take what each source says of itself, which for providers is nothing."""
    return known


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


@dataclass(frozen=True, slots=True)
class Mix:
    """Where the electricity of one half-hour came from.

    Args:
        half_hour: The newest that is known.
        share_fraction: Fuel to its share, 0 to 1.
        age_s: Seconds since it became available.
        origin: The weakest origin among the shares.
    """

    half_hour: HalfHour
    share_fraction: Mapping[str, float]
    age_s: float
    origin: Origin


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
        own_leads: Where a forecast of our own goes before the providers'.
        doubting: How sure forecasts are.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        *,
        store: GridStore,
        poll_every: timedelta = POLL_EVERY,
        jitter: Callable[[str], timedelta] = no_jitter,
        own_leads: OwnLeads = never_first,
        doubting: Doubting = take_their_word,
    ) -> None:
        self._store = store
        self._own_leads = own_leads
        self._doubting = doubting
        self._polls = [Poll(feed) for feed in feeds]
        self._poll_every = max(poll_every, POLL_EVERY)
        self._jitter = {feed.provider: jitter(feed.provider) for feed in feeds}
        self._last_round: dict[str, int] = {}
        self._final = frozenset(feed.source for feed in feeds if feed.is_final)
        self._trust = {feed.source: rank for rank, feed in reversed(list(enumerate(feeds)))}

    async def tick(self, now: datetime) -> GridReport:
        """Poll what is due and keep what was said.

        Args:
            now: GridFlex time.

        Raises:
            SourceError: The store cannot be reached; a provider never raises.
        """
        due = [poll for poll in self._polls if self._is_due(poll.feed.provider, now)]
        await together(self._remember(poll) for poll in self._polls)
        saved = await together(self._collect(poll, now) for poll in due)
        for poll in due:
            self._last_round[poll.feed.provider] = self._round(poll.feed.provider, now)
        return GridReport(
            now=now,
            polled=tuple(poll.feed.source for poll in due),
            saved=sum(saved),
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
        return tuple(await together(self._stored(poll.feed, now) for poll in self._polls))

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
        known = await together([intensity, price])
        return known[0], known[1]

    async def mix(self, now: datetime) -> Mix | None:
        """Return the newest national generation mix of the last day, or None if there is none.

        Raises:
            SourceError: The store cannot be reached.
        """
        half_hours = MIX_WITHIN // HALF_HOUR
        start = HalfHour.containing(now) - (half_hours - 1)
        series = await together(
            self._store.outturn(
                Signal.GENERATION_SHARE,
                region=NATIONAL,
                source=mix_source(fuel),
                start=start,
                half_hours=half_hours,
                known_at=now,
            )
            for fuel in FUELS
        )
        return _newest_mix(dict(zip(FUELS, series, strict=True)), now)

    async def _blend(
        self,
        signal: Signal,
        regions: Sequence[str],
        now: datetime,
        start: HalfHour,
        half_hours: int,
    ) -> Blend:
        told = await together(
            self._store.series_known_at(signal, region=region, now=now) for region in regions
        )
        everything = await self._doubting([one for known in told for one in known], now=now)
        ranked: list[Series] = []
        for region in regions:
            known = [one for one in everything if one.region == region]
            ranked += await self._first(known, now)
            ranked += sorted(known, key=self._distrust)
        history = await self._history(signal, now=now, start=start, half_hours=half_hours)
        if history is None and not ranked:
            raise StaleDataError(
                f"no forecast and no outturn of {signal} is known at {now}: no provider has told "
                "any yet; gridflex check asks each"
            )
        usual = UsualLevel(np.full(half_hours, np.nan))
        if history is not None:
            usual = _usual(history, now=now, start=start, half_hours=half_hours)
            ranked.append(history)
        return blend(ranked, climatology=usual, start=start, now=now, final=self._final)

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

    async def _first(self, known: Sequence[Series], now: datetime) -> list[Series]:
        """Return what of our newest forecast goes before the providers'."""
        ours = next((series for series in known if series.source.startswith(OWN)), None)
        if ours is None:
            return []
        leads = await self._own_leads(ours.signal, source=ours.source, now=now)
        return leads_of(ours, leads, start=HalfHour.containing(now))

    def _distrust(self, series: Series) -> int:
        return self._trust.get(series.source, len(self._trust))

    def _is_due(self, provider: str, now: datetime) -> bool:
        last = self._last_round.get(provider)
        return last is None or self._round(provider, now) > last

    def _round(self, provider: str, now: datetime) -> int:
        return int((now - self._jitter[provider]).timestamp() // self._poll_every.total_seconds())

    async def _remember(self, poll: Poll) -> None:
        if poll.is_new:
            poll.known = await self._newest(poll.feed)
            poll.is_new = False

    async def _stored(self, feed: Feed, now: datetime) -> FeedReport:
        known = await self._newest(feed)
        return feed_report(feed, known, now=now, is_ok=None, reason="")

    async def _newest(self, feed: Feed) -> Known | None:
        return await self._store.newest(
            feed.signal, kind=feed.kind, region=feed.region, source=feed.source
        )

    async def _collect(self, poll: Poll, now: datetime) -> int:
        """Keep what one feed says as soon as it says it; one that hangs delays no other."""
        source = poll.feed.source
        try:
            answer = await poll.feed.fetch(since=poll.since(now), now=now)
        except GridFlexError as error:
            log.warning("feed %s failed: %s", source, error)
            part = await self._news(error.told, now) if isinstance(error, PartlyToldError) else []
            saved = await self._keep(poll, part, now) if part else 0
            poll.failed(str(error))
            return saved
        except Exception as error:  # one broken feed must not stop the others
            log.exception("feed %s is broken", source)
            poll.failed(f"{type(error).__name__}: {error}")
            return 0
        return await self._keep(poll, answer, now)

    async def _news(self, part: Series, now: datetime) -> Sequence[Series]:
        known = await self._store.series_known_at(part.signal, region=part.region, now=now)
        stored = next((one for one in known if one.source == part.source), None)
        return news(part, stored=stored, now=now)

    async def _keep(self, poll: Poll, answer: Sequence[Series], now: datetime) -> int:
        await self._store.save_series(answer)
        poll.answered(answer, now)
        return len(answer)


def _newest_mix(told: Mapping[str, Series | None], now: datetime) -> Mix | None:
    known = {fuel: series for fuel, series in told.items() if series is not None}
    if not known:
        return None
    shares = np.array([series.values for series in known.values()])
    newest = int(np.flatnonzero(np.isfinite(shares).any(axis=0))[-1])
    return Mix(
        half_hour=next(iter(known.values())).start + newest,
        share_fraction={
            fuel: float(series.values[newest])
            for fuel, series in known.items()
            if np.isfinite(series.values[newest])
        },
        age_s=(now - max(series.available_at for series in known.values())).total_seconds(),
        origin=weakest(series.origin for series in known.values()),
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
