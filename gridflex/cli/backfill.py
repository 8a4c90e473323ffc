"""``gridflex grid backfill``: the past, so that there is something to learn from."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.clock import Clock
from gridflex.adapters.database import connect, embedded_as_before, ensure_database
from gridflex.adapters.grid.feeds import OutturnFeed, grid_feeds
from gridflex.adapters.grid.past_feeds import fill_in, past_feeds
from gridflex.adapters.grid.past_outturns import ask_outturns, parts
from gridflex.adapters.grid.past_store import PastStore
from gridflex.adapters.grid.store import GridStore
from gridflex.cli.options import AsJson, Config
from gridflex.cli.output import Terminal, out, print_json, say, styled
from gridflex.errors import SourceError
from gridflex.running.launch import in_force
from gridflex.settings import Settings
from gridflex.settings_files import load_settings
from gridflex.signals import Signal

SIGNALS: Final = (Signal.INTENSITY, Signal.PRICE, Signal.DEMAND, Signal.WIND)
"""What forecasts are made from; imbalance prices have to be asked for day by day."""

INTERRUPTED: Final = 130
"""What a shell says of a command that Ctrl-C ended."""

err = Terminal(stderr=True, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the providers told.

    Args:
        half_hours: Source to how many half-hours of its outturns.
        forecasts: Source to how many of its publications were new.
        missing: What could not be had, and why.
    """

    half_hours: dict[str, int]
    forecasts: dict[str, int]
    missing: list[str]

    @property
    def is_nothing(self) -> bool:
        """Whether no provider told anything that was new or asked for again."""
        return not any([*self.half_hours.values(), *self.forecasts.values()])


def backfill(
    *,
    days: Annotated[int, typer.Option(min=1, max=2000, help="How far back.")] = 365,
    forecasts: Annotated[
        bool, typer.Option(help="Whether to ask for past forecasts of price, demand and wind too.")
    ] = True,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Ask the providers for the past and keep it; no forecast that is kept is asked for again.

    Outturns, each kept where it is new or has changed, and forecasts of price, demand and wind,
    each from when it was published. Nobody keeps past forecasts of carbon intensity. Exit code 3
    says that nothing could be had, and that nothing is stored either.
    """
    settings = in_force(load_settings(config))
    try:
        with embedded_as_before(settings), Progress(console=err, disable=as_json) as bars:
            told, is_stored = asyncio.run(
                _backfill(settings, days, bars, are_forecasts_wanted=forecasts)
            )
    except KeyboardInterrupt:
        err.print("interrupted: what was told so far is kept; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    _print(told, as_json=as_json)
    if told.missing and told.is_nothing and not is_stored:
        raise SourceError("nothing could be had, and nothing is stored; every reason is told above")


def _print(told: _Told, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(told))
        return
    for source, count in told.half_hours.items():
        out.print(f"{source}: {count} half-hours told")
    for source, count in told.forecasts.items():
        out.print(f"{source}: {count} new forecasts")
    for reason in told.missing:
        say(styled(("missing:", "yellow"), f" {reason}"))


async def _backfill(
    settings: Settings, days: int, bars: Progress, *, are_forecasts_wanted: bool
) -> tuple[_Told, bool]:
    """What was told, and whether anything of what was asked for was stored before."""
    engine = connect(await asyncio.to_thread(ensure_database, settings))
    now = Clock(settings.clock).now()
    told = _Told({}, {}, [])
    stood = 0
    try:
        store = GridStore(engine)
        is_stored = await _outturns(settings, store, told, days=days, now=now, bars=bars)
        if are_forecasts_wanted:
            stood = await _forecasts(settings, engine, told, days=days, now=now, bars=bars)
    finally:
        await engine.dispose()
    return told, is_stored or stood > 0


async def _outturns(
    settings: Settings, store: GridStore, told: _Told, *, days: int, now: datetime, bars: Progress
) -> bool:
    """Ask for outturns, and return whether any was stored before."""
    feeds = grid_feeds(settings.grid, archive=store)
    wanted = [f for f in feeds.feeds if isinstance(f, OutturnFeed) and f.signal in SIGNALS]
    of = parts(now, days=days)
    told.half_hours.update(dict.fromkeys((feed.source for feed in wanted), 0))
    stored = [
        await store.newest(feed.signal, kind=feed.kind, region=feed.region, source=feed.source)
        for feed in wanted
    ]
    task = bars.add_task("outturns", total=len(wanted) * len(of))

    def advance(done: int) -> None:
        bars.advance(task, done)

    try:
        for feed in wanted:
            told.half_hours[feed.source] += await ask_outturns(
                feed, store, of=of, now=now, missing=told.missing, advance=advance
            )
    finally:
        await feeds.close()
    return any(stored)


async def _forecasts(
    settings: Settings,
    engine: AsyncEngine,
    told: _Told,
    *,
    days: int,
    now: datetime,
    bars: Progress,
) -> int:
    """Ask for past forecasts, and return how many did not have to be asked for."""
    feeds = past_feeds(settings.grid, archive=GridStore(engine))
    task = bars.add_task("forecasts", total=None)

    def advance(done: int, of: int) -> None:
        bars.update(task, completed=done if of else 1, total=of or 1)  # nothing to ask is all done

    try:
        filled = await fill_in(
            feeds.feeds,
            PastStore(engine),
            since=now - timedelta(days=days),
            now=now,
            advance=advance,
        )
    finally:
        await feeds.close()
    told.forecasts.update(filled.stored)
    told.missing.extend(filled.missing)
    return filled.stood
