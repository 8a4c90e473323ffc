"""``gridflex check``: what is in force, and whether it works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec
import httpx
import numpy as np

from gridflex.adapters import database
from gridflex.adapters.clock import Clock
from gridflex.adapters.clusters.ray_auth import find_token, is_token_wanted
from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.adapters.forecasting.model_store import ModelStore
from gridflex.adapters.grid import carbon_intensity, elexon, nord_pool, octopus
from gridflex.adapters.grid.feeds import AnyFeed, grid_feeds
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.adapters.market.position_book import PositionBook
from gridflex.adapters.market.tariff_files import TariffFiles
from gridflex.adapters.power.store import PowerStore
from gridflex.agents.energy.ports import energy_terms, losses_of
from gridflex.agents.energy.traded_sites import traded_site
from gridflex.agents.forecasting import SIGNALS
from gridflex.agents.site_prices import UNLIKE
from gridflex.capping import Ability
from gridflex.energy_settings import EnergySettings
from gridflex.errors import GridFlexError, SourceError
from gridflex.forecasting import models
from gridflex.halfhour import HalfHour
from gridflex.market.working_days import calendar_around
from gridflex.settings import GridSettings, Settings, SiteSettings
from gridflex.signals import Signal

_SHOWN: Final = {
    carbon_intensity.PROVIDER: "carbon intensity",
    elexon.PROVIDER: "Elexon",
    octopus.PROVIDER: "Octopus",
    nord_pool.PROVIDER: "Nord Pool",
}
"""How providers are named to people."""

HERE: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""This machine, whose cluster ``gridflex up`` starts."""

_LIBRARY_ERRORS = (OSError, ValueError, ImportError)
"""What file systems raise: unreachable, unknown, or known to a package that is not installed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Args:
        name: What.
        is_ok: Whether it works.
        detail: What was found, or why it does not.
    """

    name: str
    is_ok: bool
    detail: str


def run_checks(settings: Settings) -> list[Check]:
    """Try everything the settings name: database, packages, providers, clusters, gateway.

    An embedded database that did not run is started for it and ended again.
    """
    with database.embedded_as_before(settings):
        return asyncio.run(_run_checks(settings))


async def _run_checks(settings: Settings) -> list[Check]:
    now = Clock(settings.clock).now()
    return [
        await _try("database", partial(_database, settings)),
        await _try("packages", partial(_packages, settings)),
        await _try("own forecasts", partial(_own_forecasts, settings)),
        await _try("token", _token),
        *await provider_checks(settings.grid, now=now),
        await _try("energy", partial(_energy, settings)),
        *await loss_checks(settings.energy, now=now),
        await _try("tariffs", partial(_tariffs, settings)),
        *[await _try(f"site {site.name}", partial(_site, site)) for site in settings.sites],
        *[
            await _try(f"power limits of {site.name}", partial(_power_limits, settings, site))
            for site in settings.sites
            if site.power_caps
        ],
        await _try("gateway", partial(_gateway, settings)),
    ]


async def _try(name: str, attempt: Callable[[], Coroutine[Any, Any, str]]) -> Check:
    try:
        return Check(name, is_ok=True, detail=await attempt())
    except (GridFlexError, httpx.HTTPError, httpx.InvalidURL, *_LIBRARY_ERRORS) as error:
        return Check(name, is_ok=False, detail=str(error) or type(error).__name__)


async def _database(settings: Settings) -> str:
    url = await asyncio.to_thread(database.ensure_database, settings)
    version = await asyncio.to_thread(database.check, url)
    return f"PostgreSQL {version}: {database.place(settings)}"


async def _packages(settings: Settings) -> str:
    files, path = fsspec.url_to_fs(settings.package_url)
    await asyncio.to_thread(files.makedirs, path, exist_ok=True)
    return settings.package_url


async def _own_forecasts(settings: Settings) -> str:
    url = await asyncio.to_thread(database.ensure_database, settings)
    engine = database.connect(url)
    store = ModelStore(engine, url=settings.model_url)
    try:
        found = [await _champion(store, signal) for signal in SIGNALS]
    finally:
        await engine.dispose()
    return "; ".join(found)


async def _energy(settings: Settings) -> str:
    if settings.energy.unit is None:
        return "energy.unit is not set: no energy is sold"
    await asyncio.to_thread(MarketFolder, settings.energy_path)
    today = Clock(settings.clock).now().date()
    calendar = calendar_around(today)
    engine = database.connect(await asyncio.to_thread(database.ensure_database, settings))
    try:
        registry = await PositionBook(LedgerStore(engine), calendar=calendar).registry()
    finally:
        await engine.dispose()
    site = traded_site(registry, energy_terms(settings), today)
    return f"{site.unit} with meter {site.pair.import_msid}, through {settings.energy_path}"


async def _tariffs(settings: Settings) -> str:
    """Say at what energy counts at each site; a tariff must have rates for now."""
    paths = {site.name: site.tariff for site in settings.sites if site.tariff is not None}
    without = [site.name for site in settings.sites if site.tariff is None]
    if not paths:
        return "no site has a tariff: energy counts at the wholesale price"
    files, now = TariffFiles(paths), HalfHour.containing(Clock(settings.clock).now())
    for site in paths:
        await asyncio.to_thread(files.delivered, site, start=now, wholesale_gbp_per_mwh=np.zeros(1))
    delivered = f"energy counts at its delivered cost at {', '.join(paths)}"
    return f"{delivered}; {', '.join(without)}: {UNLIKE}" if without else delivered


async def _champion(store: ModelStore, signal: Signal) -> str:
    standing = await store.champions(signal)
    if not standing:
        return f"no champion for {signal}, whose forecasts are the providers' and the usual level"
    await asyncio.to_thread(models.load, await store.read(standing[0]))
    return f"{standing[0].name}, trained {standing[0].training.trained_at:%Y-%m-%d %H:%MZ}"


async def _token() -> str:
    if not is_token_wanted():
        return "switched off by RAY_AUTH_MODE"
    return "found" if find_token() else "none yet; Ray writes one when it first starts"


async def provider_checks(
    grid: GridSettings, *, now: datetime, transport: httpx.AsyncBaseTransport | None = None
) -> list[Check]:
    """Ask each provider once for the first thing that GridFlex asks it.

    Args:
        grid: Where they are.
        now: GridFlex time.
        transport: Replaces the network.
    """
    feeds = grid_feeds(grid, transport=transport, attempts=1)
    first: dict[str, AnyFeed] = {}
    for feed in feeds.feeds:
        first.setdefault(feed.provider, feed)
    try:
        return [
            await _try(_SHOWN[provider], partial(_provider, feed, now))
            for provider, feed in first.items()
        ]
    finally:
        await feeds.close()


async def _provider(feed: AnyFeed, now: datetime) -> str:
    try:
        (told, *_) = await feed.fetch(since=HalfHour.containing(now) - 48, now=now)
    except SourceError as error:
        raise SourceError(
            f"{error}; without it what was told before is used, then the usual level of the hour"
        ) from error
    return f"{told.source} is told, {told.start} to {told.end} ({told.origin})"


async def loss_checks(energy: EnergySettings, *, now: datetime) -> list[Check]:
    """Say by what energy counts, where losses are given: they must be known for now."""
    if energy.losses_file is None and not energy.losses:
        return []
    return [await _try("losses", partial(_losses, energy, now))]


async def _losses(energy: EnergySettings, now: datetime) -> str:
    losses = losses_of(energy)
    await asyncio.to_thread(losses.read)
    factors = losses.at(HalfHour.containing(now))
    return (
        f"energy counts by a line_loss_factor of {factors.line} and a transmission_multiplier of "
        f"{factors.transmission}"
    )


async def _site(site: SiteSettings) -> str:
    try:
        async with RayJobs.of_site(site) as cluster:
            version = await cluster.version()
            gpus = await cluster.gpus()
    except SourceError as error:
        is_here = urlsplit(site.ray_url).hostname in HERE
        if is_here and isinstance(error.__cause__, httpx.ConnectError):
            raise SourceError(f"{error}; start it with: gridflex up") from error
        raise
    return f"Ray {version.get('ray_version')} at {site.ray_url}, {gpus.total} GPUs"


async def _power_limits(settings: Settings, site: SiteSettings) -> str:
    caps = ", ".join(f"{cap:.0%}" for cap in site.power_caps)
    if not site.is_capped_by_us:
        return f"{caps}: left to the jobs, which are told (power_caps_set_by)"
    engine = database.connect(await asyncio.to_thread(database.ensure_database, settings))
    try:
        known = (await PowerStore(engine).abilities()).get(site.name)
    finally:
        await engine.dispose()
    return f"{caps}: {limits_found(known)}"


def limits_found(known: Ability | None) -> str:
    """Return what is known of a site where power limits are to be set.

    Raises:
        SourceError: They cannot be; says what to do.
    """
    if known is None:
        return "planned once the workload agent has seen that they can be set"
    if not known.is_able:
        raise SourceError(
            f"{known.detail}; plans have no power limits there until they can be set, "
            "or power_caps_set_by: jobs leaves them to the jobs"
        )
    return known.detail


async def _gateway(settings: Settings) -> str:
    url = f"http://{settings.http.host}:{settings.http.port}/readyz"
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.get(url)
    except httpx.TransportError as error:
        raise SourceError(f"{url} does not answer ({error}); start it with: gridflex up") from error
    if answer.is_success:
        try:
            degraded = answer.json()["degraded"]
        except (ValueError, TypeError, KeyError) as error:
            raise SourceError(f"{url}: what answers there is not GridFlex") from error
        return f"{url} is ready" + (f"; degraded: {', '.join(degraded)}" if degraded else "")
    raise httpx.HTTPError(f"{url} answers HTTP {answer.status_code}: {answer.text[:300]}")
