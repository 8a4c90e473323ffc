"""What the grid agent polls, put together from the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import httpx

from gridflex.adapters.grid import carbon_intensity, elexon, nord_pool, octopus
from gridflex.adapters.grid.carbon_intensity import CarbonIntensity
from gridflex.adapters.grid.elexon import Elexon
from gridflex.adapters.grid.nord_pool import NordPool
from gridflex.adapters.grid.octopus import Octopus
from gridflex.adapters.http import ATTEMPTS, Fetcher, RawArchive
from gridflex.halfhour import HalfHour
from gridflex.settings import GridSettings
from gridflex.signals import NATIONAL, Kind, Series, Signal


class AskOutturn(Protocol):
    """Asks for the outturn of half-hours from ``start`` up to, not including, ``end``."""

    async def __call__(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        """Return it."""
        ...


class AskMix(Protocol):
    """Asks for the generation mix of half-hours from ``start`` up to, not including, ``end``."""

    async def __call__(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Sequence[Series]:
        """Return one series for each fuel."""
        ...


@dataclass(frozen=True, slots=True)
class ForecastFeed:
    """A forecast, as the grid agent polls it; a final one is never rewritten."""

    provider: str
    source: str
    signal: Signal
    ask: Callable[[datetime], Awaitable[Series]]
    region: str = NATIONAL
    kind: Kind = Kind.FORECAST
    lookback: timedelta = timedelta(0)
    is_final: bool = False

    async def fetch(self, *, since: HalfHour, now: datetime) -> Sequence[Series]:  # noqa: ARG002 - a forecast has no past
        """Return the forecast that stands at ``now``."""
        return [await self.ask(now)]


@dataclass(frozen=True, slots=True)
class OutturnFeed:
    """An outturn, as the grid agent polls it."""

    provider: str
    source: str
    signal: Signal
    ask: AskOutturn
    lookback: timedelta
    region: str = NATIONAL
    kind: Kind = Kind.OUTTURN
    is_final: bool = False

    async def fetch(self, *, since: HalfHour, now: datetime) -> Sequence[Series]:
        """Return the outturn from ``since`` to the newest."""
        end = HalfHour.containing(now) + 1
        return [await self.ask(start=since, end=end, now=now)]


@dataclass(frozen=True, slots=True)
class MixFeed:
    """The generation mix, as the grid agent polls it: one series for each fuel.

    Every answer has every fuel, so that one of them, gas, stands for how fresh all are.
    """

    ask: AskMix
    lookback: timedelta
    provider: str = carbon_intensity.PROVIDER
    source: str = carbon_intensity.mix_source("gas")
    signal: Signal = Signal.GENERATION_SHARE
    region: str = NATIONAL
    kind: Kind = Kind.OUTTURN
    is_final: bool = False

    async def fetch(self, *, since: HalfHour, now: datetime) -> Sequence[Series]:
        """Return the shares from ``since`` to the newest."""
        return await self.ask(start=since, end=HalfHour.containing(now) + 1, now=now)


AnyFeed = ForecastFeed | OutturnFeed | MixFeed


@dataclass(frozen=True, slots=True)
class GridFeeds:
    """All feeds, and the connections behind them.

    Args:
        feeds: In order of trust.
        fetchers: To be closed in the end.
    """

    feeds: Sequence[AnyFeed]
    fetchers: Sequence[Fetcher]

    async def close(self) -> None:
        """Close all connections."""
        for fetcher in self.fetchers:
            await fetcher.close()


def grid_feeds(
    settings: GridSettings,
    *,
    regions: Sequence[str] = (),
    archive: RawArchive | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    attempts: int = ATTEMPTS,
) -> GridFeeds:
    """Return everything the grid agent polls.

    Args:
        settings: Where the providers are.
        regions: Outward postcodes whose regional intensity is wanted beside the national one.
        archive: Receives every raw response.
        transport: Replaces the network.
        attempts: How often one thing is asked at most.
    """

    def fetcher(provider: str, url: str) -> Fetcher:
        return fetcher_of(
            provider, url, settings, archive=archive, transport=transport, attempts=attempts
        )

    ci_http = fetcher(carbon_intensity.PROVIDER, settings.carbon_intensity_url)
    elexon_http = fetcher(elexon.PROVIDER, settings.elexon_url)
    octopus_http = fetcher(octopus.PROVIDER, settings.octopus_url)
    fetchers = [ci_http, elexon_http, octopus_http]
    feeds: list[AnyFeed] = _carbon(ci_http, settings, regions)
    if settings.nord_pool_url is not None:
        fetchers.append(fetcher(nord_pool.PROVIDER, settings.nord_pool_url))
        feeds.append(_auction(NordPool(fetchers[-1])))
    feeds.append(_agile(Octopus(octopus_http, region=settings.agile_region)))
    feeds += _elexon(Elexon(elexon_http))
    return GridFeeds(feeds=feeds, fetchers=fetchers)


def fetcher_of(
    provider: str,
    url: str,
    settings: GridSettings,
    *,
    archive: RawArchive | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    attempts: int = ATTEMPTS,
) -> Fetcher:
    """Return what asks one provider.

    Args:
        provider: Its name.
        url: Where its paths begin.
        settings: How long to wait for it.
        archive: Receives every raw response.
        transport: Replaces the network.
        attempts: How often one thing is asked at most.
    """
    return Fetcher(
        provider,
        base_url=url,
        timeout_s=settings.timeout_s,
        transport=transport,
        archive=archive,
        attempts=attempts,
    )


def system_prices(settings: GridSettings, *, archive: RawArchive) -> AskOutturn:
    """Return what asks for system prices, whose figures are corrected from run to run."""
    http = fetcher_of(elexon.PROVIDER, settings.elexon_url, settings, archive=archive)
    return Elexon(http).system_price


def _carbon(fetcher: Fetcher, settings: GridSettings, regions: Sequence[str]) -> list[AnyFeed]:
    api = CarbonIntensity(fetcher, outturn_label_shift=settings.outturn_label_shift)

    def forecast(region: str) -> ForecastFeed:
        return ForecastFeed(
            provider=carbon_intensity.PROVIDER,
            source=carbon_intensity.FORECAST,
            signal=Signal.INTENSITY,
            ask=lambda now: api.forecast(now=now, region=region),
            region=region,
        )

    wanted = dict.fromkeys([NATIONAL, *regions])
    return [
        *(forecast(region) for region in wanted),
        OutturnFeed(
            provider=carbon_intensity.PROVIDER,
            source=carbon_intensity.OUTTURN,
            signal=Signal.INTENSITY,
            ask=api.outturn,
            lookback=timedelta(days=28),
        ),
        MixFeed(ask=api.generation_mix, lookback=timedelta(days=2)),
    ]


def _auction(api: NordPool) -> ForecastFeed:
    return ForecastFeed(
        provider=nord_pool.PROVIDER,
        source=nord_pool.N2EX,
        signal=Signal.PRICE,
        ask=lambda now: api.day_ahead_price(now=now),
        is_final=True,
    )


def _agile(api: Octopus) -> ForecastFeed:
    def day_ahead(now: datetime) -> Awaitable[Series]:
        start = HalfHour.containing(now)
        return api.day_ahead_price(start=start, end=start + 96, now=now)

    return ForecastFeed(
        provider=octopus.PROVIDER,
        source=octopus.AGILE_DERIVED,
        signal=Signal.PRICE,
        ask=day_ahead,
        is_final=True,
    )


def _elexon(api: Elexon) -> list[AnyFeed]:
    def outturn(source: str, signal: Signal, ask: AskOutturn, *, days: int) -> OutturnFeed:
        return OutturnFeed(
            provider=elexon.PROVIDER,
            source=source,
            signal=signal,
            ask=ask,
            lookback=timedelta(days=days),
        )

    return [
        outturn(elexon.MARKET_INDEX, Signal.PRICE, api.market_index, days=28),
        outturn(elexon.SYSTEM_PRICE, Signal.SYSTEM_PRICE, api.system_price, days=2),
        outturn(elexon.DEMAND_OUTTURN, Signal.DEMAND, api.demand_outturn, days=7),
        outturn(elexon.WIND_OUTTURN, Signal.WIND, api.wind_outturn, days=7),
        ForecastFeed(
            provider=elexon.PROVIDER,
            source=elexon.DEMAND_FORECAST,
            signal=Signal.DEMAND,
            ask=lambda now: api.demand_forecast(published_by=now, now=now),
        ),
        ForecastFeed(
            provider=elexon.PROVIDER,
            source=elexon.WIND_FORECAST,
            signal=Signal.WIND,
            ask=lambda now: api.wind_forecast(published_by=now, now=now),
        ),
    ]
