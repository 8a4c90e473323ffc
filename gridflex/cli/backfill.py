"""``gridflex grid backfill``: outturns of the past, so that there is something to learn from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from gridflex.adapters.clock import Clock
from gridflex.adapters.database import connect, ensure_database
from gridflex.adapters.grid_feeds import OutturnFeed, grid_feeds
from gridflex.adapters.grid_store import GridStore
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.running.launch import in_force
from gridflex.settings import Settings
from gridflex.settings_files import load_settings
from gridflex.signals import Signal

PART_DAYS: Final = 14
"""What the Carbon Intensity API gives at once."""

SIGNALS: Final = (Signal.INTENSITY, Signal.PRICE, Signal.DEMAND, Signal.WIND)
"""What forecasts are made from; imbalance prices have to be asked for day by day."""

out = Console()


def backfill(
    *,
    days: Annotated[int, typer.Option(min=1, max=2000, help="How far back.")] = 365,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML file; else GRIDFLEX_CONFIG or gridflex.yaml."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the providers for past outturns and keep them; forecasts of the past cannot be had."""
    settings = in_force(load_settings(config))
    with Progress(console=Console(stderr=True), disable=as_json) as bars:
        task = bars.add_task("outturns", total=None)

        def advance(done: int, of: int) -> None:
            bars.update(task, completed=done, total=of)

        stored, missing = asyncio.run(_backfill(settings, days, advance))
    if as_json:
        typer.echo(json.dumps({"half_hours": stored, "missing": missing}))
        return
    for source, count in stored.items():
        out.print(f"{source}: {count} half-hours", highlight=False)
    for reason in missing:
        out.print(f"[yellow]missing:[/] {reason}", highlight=False, soft_wrap=True)


async def _backfill(
    settings: Settings, days: int, advance: Callable[[int, int], None]
) -> tuple[dict[str, int], list[str]]:
    """Return how many half-hours each source told, and what could not be had."""
    engine = connect(await asyncio.to_thread(ensure_database, settings))
    store = GridStore(engine)
    now = Clock(settings.clock).now()
    feeds = grid_feeds(settings.grid, archive=store)
    wanted = [f for f in feeds.feeds if isinstance(f, OutturnFeed) and f.signal in SIGNALS]
    parts = [(feed, start) for feed in wanted for start in _parts(now, days)]
    stored = dict.fromkeys((feed.source for feed in wanted), 0)
    missing: list[str] = []
    try:
        for done, (feed, start) in enumerate(parts, start=1):
            end = min(start + PART_DAYS * 48, HalfHour.containing(now))
            try:
                series = await feed.ask(start=start, end=end, now=now)
            except SourceError as error:
                missing.append(f"{feed.source} from {start}: {error}")
            else:
                await store.save_series([series])
                stored[feed.source] += len(series)
            advance(done, len(parts))
    finally:
        await feeds.close()
        await engine.dispose()
    return stored, missing


def _parts(now: datetime, days: int) -> list[HalfHour]:
    end = HalfHour.containing(now)
    return [end - back * 48 for back in range(days, 0, -PART_DAYS)]
