"""``gridflex demo``: the main job on one day of the grid, from set-up to the savings.

Real Ray jobs go through the stock client to a whole GridFlex on an accelerated clock. At the
end the database and the cluster say whether any promise was broken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from gridflex.agents.ports import build_ports
from gridflex.cli.output import Terminal, styled
from gridflex.counterfactual import RunNow
from gridflex.demo.check import Promise
from gridflex.demo.jobs import DAY, DemoJob
from gridflex.demo.market import DemoMarket
from gridflex.demo.market_report import MarketReport
from gridflex.demo.play import play
from gridflex.demo.report import DemoReport, collect
from gridflex.demo.system import Cluster, DemoSystem, demo_system
from gridflex.demo.view import Day, print_report, view_of
from gridflex.errors import ContractError, GridFlexError
from gridflex.halfhour import HalfHour
from gridflex.ledger.verify.reading import VerificationError

DEFAULT_DAY: Final = date(2024, 10, 11)
"""A Friday with the two peaks of most working days. Of the days of 2024, from 06:00 to 06:00,
49 % had a wider relative spread of day-ahead prices and 26 % one of carbon intensity."""

DAY_BEGINS: Final = timedelta(hours=6)
HALF_HOURS: Final = 48
INTERRUPTED: Final = 130


def run_demo(
    *, day: str | None, half_hour_s: float | None, keep: Path | None, as_json: bool
) -> int:
    """Play one day and return the exit code: 0 if every promise was kept, else 1.

    Args:
        day: Date on which the day begins, at 06:00 UTC; None takes `DEFAULT_DAY`.
        half_hour_s: Wall seconds of one half-hour; None takes 5, or more on a busy machine.
        keep: Where to leave the ledger, its key and the receipts; None leaves nothing.
        as_json: Whether to print the result as JSON on standard output.

    Raises:
        ContractError: ``day`` is no date.
        SourceError: Something did not start.
    """
    start = _start(day)
    console = Terminal(stderr=as_json)
    try:
        report = play_day(start, half_hour_s=half_hour_s, console=console, keep=keep)
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started has ended")
        return INTERRUPTED
    if as_json:
        print(report.as_json())  # noqa: T201 - the result itself
    else:
        print_report(console, report)
    return 0 if report.is_good else 1


def play_day(
    start: HalfHour,
    *,
    half_hour_s: float | None,
    console: Console,
    jobs: Sequence[DemoJob] = DAY,
    half_hours: int = HALF_HOURS,
    keep: Path | None = None,
) -> DemoReport:
    """Start a system, play the day on it, end it, and return what came of it.

    Args:
        start: First half-hour of the day.
        half_hour_s: Wall seconds of one half-hour; None takes what suits this machine.
        console: Where to show how it goes.
        jobs: What to submit.
        half_hours: Length of the day.
        keep: Where to leave the ledger, its key and the receipts; None leaves nothing.
    """
    began = time.monotonic()

    def say(what: str) -> None:
        console.print(f"starting: {what}", highlight=False)

    with demo_system(start, half_hour_s=half_hour_s, cluster=Cluster(), say=say) as system:
        shown = Day(start, half_hours, len(jobs), system.cluster.gpus)
        console.print(_what_comes(system, start, jobs), highlight=False)
        report = asyncio.run(play_on(system, jobs, shown, console, keep=keep))
        console.print("ending")
    return replace(report, demo_s=time.monotonic() - began)


async def play_on(
    system: DemoSystem,
    jobs: Sequence[DemoJob],
    day: Day,
    console: Console,
    *,
    keep: Path | None = None,
) -> DemoReport:
    """Play the day on a running system and return what came of it.

    Args:
        system: Where.
        jobs: What to submit.
        day: When.
        console: Where to show how it goes.
        keep: Where to leave the ledger, its key and the receipts; None leaves nothing.
    """
    ports = await asyncio.to_thread(build_ports, system.settings)
    try:
        site = system.settings.sites[0].site(gpus=system.cluster.gpus)
        run_now = RunNow([site], restart=ports.restart)
        market = DemoMarket(ports, run_now, day=day.start.settlement[0])
        with view_of(day, console) as view:
            async with market.trading():
                submitted = await play(
                    ports, system, jobs, start=day.start, half_hours=day.half_hours, view=view
                )
        report = await collect(
            ports, system, jobs, submitted=submitted, start=day.start, half_hours=day.half_hours
        )
        console.print("settling, and waiting for the last receipt")
        closed, promise = await _closed(market, gpus=site.gpus, keep=keep)
        return replace(report, market=closed, promises=(*report.promises, promise))
    finally:
        await ports.engine.dispose()


async def _closed(
    market: DemoMarket, *, gpus: int, keep: Path | None
) -> tuple[MarketReport | None, Promise]:
    text = "what was sold is settled, the ledger verifies offline, every job has its receipt"
    try:
        return await market.close(gpus=gpus, keep=keep), Promise(text, ())
    except (GridFlexError, VerificationError) as error:
        return None, Promise(text, (str(error),))


def _start(day: str | None) -> HalfHour:
    try:
        chosen = date.fromisoformat(day) if day else DEFAULT_DAY
    except ValueError as error:
        raise ContractError(f"--day {day!r} must be a date such as {DEFAULT_DAY}") from error
    return HalfHour(datetime.combine(chosen, datetime.min.time(), tzinfo=UTC) + DAY_BEGINS)


def _what_comes(system: DemoSystem, start: HalfHour, jobs: Sequence[DemoJob]) -> Text:
    speed = system.settings.clock.speed
    return styled(
        f"{len(jobs)} real Ray jobs from {start} on, {speed:.0f} times as fast as the wall "
        f"({system.half_hour_s:.3g} s per half-hour; a job takes {system.start_s:.1f} s to "
        f"start here)\n",
        (system.grid_origin, "bold"),
        f" grid; {system.cluster.gpus} modelled GPUs, "
        f"{system.cluster.fillable} of them for GridFlex to fill\n"
        f"GridFlex answers at {system.url}",
    )
