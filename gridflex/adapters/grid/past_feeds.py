"""What providers had forecast in the past, as far as they still say, publication by publication.

Elexon answers with what it had published by an instant, and with the true time of publication.
Octopus still shows the rates of past days, Nord Pool the results of about two months; what they
showed was out by a known hour of the day before. Nobody keeps the forecasts of carbon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol

import httpx

from gridflex.adapters.grid import elexon, nord_pool, octopus
from gridflex.adapters.grid.elexon import Elexon
from gridflex.adapters.grid.feeds import fetcher_of
from gridflex.adapters.grid.nord_pool import NordPool
from gridflex.adapters.grid.octopus import Octopus
from gridflex.adapters.http import Fetcher, RawArchive, UnavailableError
from gridflex.errors import GridFlexError, SourceError
from gridflex.halfhour import LONDON, auction_half_hours
from gridflex.settings import GridSettings
from gridflex.signals import Origin, Series, Signal

VINTAGES_DUE: Final = tuple(time(hour, 45, tzinfo=UTC) for hour in (5, 10, 16, 23))
"""Which forecasts of Elexon are asked for: those of wind come a quarter of an hour before, and
what is known at any time is then at most seven hours older than what was out."""

AUCTION_DUE: Final = time(10, 30)
"""London time by which Nord Pool's results, out by 10:00, had been seen."""

RATES_DUE: Final = time(17, 0)
"""London time by which Octopus had shown tomorrow's rates: usually about 16:00, now and then
later, which nobody recorded."""

AUCTION_KEPT: Final = timedelta(days=60)
"""For how long Nord Pool shows results to anyone."""

MOST_FAILURES: Final = 3
"""After so many questions one after the other without any answer a source is asked no more."""

MOST_MISSED: Final = 30
"""The same where it answers at times, without what was asked for: a month of daily prices. Beyond
it a provider is taken to have no more of the past."""

MOST_TOLD: Final = 3
"""Of so many publications one after the other it is told why they could not be had."""

PAUSE_S: Final = 0.2
"""Wall time between two questions to a live provider."""

Due = Callable[[datetime, datetime], Iterator[datetime]]


def _at_least_then(due: datetime) -> datetime:
    return due


@dataclass(frozen=True, slots=True)
class PastFeed:
    """The past forecasts of one source.

    Args:
        source: Provider and product; that of its series.
        signal: What its series are about.
        due: Yields when publications were due, from one instant to before another.
        ask: Returns the publication that was due at the first instant, asked for at the second.
        reach: Returns until when the publication that was due at an instant tells at least.
    """

    source: str
    signal: Signal
    due: Due
    ask: Callable[[datetime, datetime], Awaitable[Series]]
    reach: Callable[[datetime], datetime] = _at_least_then


@dataclass(frozen=True, slots=True)
class PastFeeds:
    """All of them, and the connections behind them.

    Args:
        feeds: What can be asked for.
        fetchers: To be closed in the end.
    """

    feeds: Sequence[PastFeed]
    fetchers: Sequence[Fetcher]

    async def close(self) -> None:
        """Close all connections."""
        for fetcher in self.fetchers:
            await fetcher.close()


class Store(Protocol):
    """Where they are kept."""

    async def missing(
        self, signal: Signal, *, source: str, due: Mapping[datetime, datetime]
    ) -> Sequence[datetime]:
        """Return which publications are not stored yet, the newest first.

        Args:
            signal: What was forecast.
            source: Provider and product.
            due: When each publication was due, and until when it tells at least.
        """
        ...

    async def save(self, series: Series, *, due: datetime) -> bool:
        """Keep a forecast as the publication that was due at an instant; say if it is new."""
        ...


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of asking.

    Args:
        stored: Source to how many publications of it are new.
        missing: What could not be had, and why.
        stood: How many publications did not have to be asked for.
    """

    stored: dict[str, int]
    missing: list[str]
    stood: int = 0


def past_feeds(
    settings: GridSettings,
    *,
    archive: RawArchive | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> PastFeeds:
    """Return everything that can be asked for after the fact.

    Args:
        settings: Where the providers are.
        archive: Receives every raw response.
        transport: Replaces the network.
    """
    named = {elexon.PROVIDER: settings.elexon_url, octopus.PROVIDER: settings.octopus_url}
    if settings.nord_pool_url is not None:
        named[nord_pool.PROVIDER] = settings.nord_pool_url
    http = {
        provider: fetcher_of(provider, url, settings, transport=transport, archive=archive)
        for provider, url in named.items()
    }
    feeds = []
    if nord_pool.PROVIDER in http:
        feeds.append(_auction(NordPool(http[nord_pool.PROVIDER])))
    feeds.append(_rates(Octopus(http[octopus.PROVIDER], region=settings.agile_region)))
    feeds += _vintages(Elexon(http[elexon.PROVIDER]))
    return PastFeeds(feeds, list(http.values()))


async def fill_in(
    feeds: Sequence[PastFeed],
    store: Store,
    *,
    since: datetime,
    now: datetime,
    advance: Callable[[int, int], None],
    pause_s: float = PAUSE_S,
) -> Filled:
    """Ask for what is not stored yet, one thing at a time and the newest first.

    What is stored is not asked for again, so that an interrupted filling goes on where it was.

    Args:
        feeds: What to ask.
        store: Where it is kept.
        since: How far back.
        now: GridFlex time.
        advance: Told how much is done, of how much.
        pause_s: Wall time between two questions to a live provider.

    Raises:
        SourceError: The store cannot be reached; a provider never raises.
    """
    dated = [{due: feed.reach(due) for due in feed.due(since, now)} for feed in feeds]
    wanted = [
        await store.missing(feed.signal, source=feed.source, due=due)
        for feed, due in zip(feeds, dated, strict=True)
    ]
    filled = Filled({}, [], stood=sum(map(len, dated)) - sum(map(len, wanted)))
    done, total = 0, sum(map(len, wanted))
    for feed, dues in zip(feeds, wanted, strict=True):
        filled.stored[feed.source] = 0
        gap, asked = Gap(feed.source, filled.missing), 0
        while asked < len(dues) and not gap.is_lasting:
            due, asked = dues[asked], asked + 1
            try:
                series = await feed.ask(due, now)
            except GridFlexError as error:
                gap.grow(due, error)
            else:
                gap.end()
                gap.is_live = series.origin is Origin.LIVE
                filled.stored[feed.source] += await store.save(series, due=due)
            advance(done + asked, total)
            await asyncio.sleep(pause_s if gap.is_live and not gap.is_away else 0)
        gap.end(unasked=len(dues) - asked)
        done += len(dues)
        advance(done, total)
    return filled


class Gap:
    """What could not be had of a source, one after the other; of the first few the reason is told.

    Args:
        source: Provider and product.
        missing: Where it is told.
        word: What stands before the instant of a thing.

    Attributes:
        is_live: Whether it is a provider that is asked, as far as its answers say.
    """

    def __init__(self, source: str, missing: list[str], *, word: str = "of") -> None:
        self.is_live = True
        self._source = source
        self._word = word
        self._missing = missing
        self._failures = 0
        self._missed = 0
        self._untold: list[datetime] = []

    def grow(self, due: datetime, error: GridFlexError) -> None:
        """Note what could not be had, by the instant that it is of."""
        self._missed += 1
        self._failures = self._failures + 1 if isinstance(error, UnavailableError) else 0
        if self._missed > MOST_TOLD:
            self._untold.append(due)
        else:
            self._missing.append(f"{self._source} {self._word} {_minute(due)}: {error}")

    def end(self, *, unasked: int = 0) -> None:
        """Tell how long it was; what cannot be had after it is another.

        Args:
            unasked: How many things after it were not asked for.
        """
        if self._untold:
            self._missing.append(
                f"{self._source}: {len(self._untold)} more could not be had either, "
                f"{_minute(min(self._untold))} to {_minute(max(self._untold))}"
            )
        if unasked:
            self._missing.append(f"{self._source}: {unasked} more were not asked for")
        self._failures = self._missed = 0
        self._untold = []

    @property
    def is_away(self) -> bool:
        """Whether the last question had no answer."""
        return self._failures > 0

    @property
    def is_lasting(self) -> bool:
        """Whether to ask no more."""
        return self._failures == MOST_FAILURES or self._missed == MOST_MISSED


def _minute(due: datetime) -> str:
    return f"{due:%Y-%m-%dT%H:%MZ}"


def _vintages(api: Elexon) -> list[PastFeed]:
    return [
        PastFeed(
            elexon.DEMAND_FORECAST,
            Signal.DEMAND,
            _every_day(VINTAGES_DUE),
            lambda due, now: api.demand_forecast(published_by=due, now=now),
        ),
        PastFeed(
            elexon.WIND_FORECAST,
            Signal.WIND,
            _every_day(VINTAGES_DUE),
            lambda due, now: api.wind_forecast(published_by=due, now=now),
        ),
    ]


def _rates(api: Octopus) -> PastFeed:
    def ask(due: datetime, now: datetime) -> Awaitable[Series]:
        day = _day_after(due)
        return _whole(day, api.past_day_ahead_price(day, published_by=due, now=now))

    due = _every_day([RATES_DUE.replace(tzinfo=LONDON)])
    return PastFeed(octopus.AGILE_DERIVED, Signal.PRICE, due, ask, reach=_end_of_the_day_after)


def _auction(api: NordPool) -> PastFeed:
    def ask(due: datetime, now: datetime) -> Awaitable[Series]:
        day = _day_after(due)
        return _whole(day, api.results_of(day, now=now))

    every_day = _every_day([AUCTION_DUE.replace(tzinfo=LONDON)])

    def due(since: datetime, now: datetime) -> Iterator[datetime]:
        return every_day(max(since, now - AUCTION_KEPT), now)

    return PastFeed(nord_pool.N2EX, Signal.PRICE, due, ask, reach=_end_of_the_day_after)


def _day_after(due: datetime) -> date:
    return due.astimezone(LONDON).date() + timedelta(days=1)


def _end_of_the_day_after(due: datetime) -> datetime:
    *_, last = auction_half_hours(_day_after(due))
    return last.end


async def _whole(day: date, asked: Awaitable[Series]) -> Series:
    """The prices of a day from its first half-hour to its last: what is kept is not asked again."""
    series = await asked
    first, *_, last = auction_half_hours(day)
    if (series.start, series.end) != (first, last + 1):
        raise SourceError(f"only {series.start} to {series.end} of {day} is told")
    return series


def _every_day(times: Sequence[time]) -> Due:
    def due(since: datetime, until: datetime) -> Iterator[datetime]:
        day = since.date() - timedelta(days=1)
        while day <= until.date() + timedelta(days=1):
            moments = (datetime.combine(day, at).astimezone(UTC) for at in times)
            yield from (moment for moment in moments if since <= moment < until)
            day += timedelta(days=1)

    return due
