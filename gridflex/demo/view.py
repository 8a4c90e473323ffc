"""How the demo looks: live while the day goes by, and as tables at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gridflex.cli.output import styled
from gridflex.demo.check import TIMELY
from gridflex.demo.market_report import MarketReport
from gridflex.demo.play import View
from gridflex.demo.report import COMES_FROM, DemoReport
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.jobs import JobState
from gridflex.lifecycle import Job
from gridflex.report import Account, Row, pauses, saved_fraction
from gridflex.signals import Blend, weakest

MORE_TIME: Final = (
    "on a machine that is busy with other work Ray may start a job too late: "
    "`--half-hour-s 15` gives it more time"
)

LINE_EVERY: Final = 4
"""Half-hours between two lines where nothing can be drawn over."""

CELLS: Final = (
    "a cell: run now → GridFlex; wait: the mean, to the first start; lost: run time beyond one "
    "unbroken run"
)

BLOCKS: Final = {JobState.RUNNING: "▶", JobState.PAUSED: "‖", JobState.HELD: "·"}


@dataclass(slots=True)
class Day:
    """What is shown, whichever way.

    Args:
        start: First half-hour.
        half_hours: Length of the day.
        total: Jobs that will come.
        gpus: GPUs of the cluster.
    """

    start: HalfHour
    half_hours: int
    total: int
    gpus: int

    def line(self, now: datetime, jobs: Sequence[Job], grid: tuple[Blend, Blend] | None) -> str:
        """Return how things stand, in one line."""
        count = Counter(job.state for job in jobs)
        busy = sum(job.flexibility.gpus for job in jobs if job.state is JobState.RUNNING)
        done = sum(count[state] for state in JobState if state.is_final)
        weather = ""
        if grid:
            intensity, price = grid
            origin = weakest((price.origin, intensity.origin))
            weather = (
                f"  {price.values[0]:4.0f} GBP/MWh {intensity.values[0]:3.0f} gCO2/kWh {origin}"
            )
        return (
            f"{now:%a %H:%M} UTC{weather}  GPUs {busy:2d}/{self.gpus}  "
            f"jobs {len(jobs):2d}/{self.total}: "
            f"held {count[JobState.HELD]}, running {count[JobState.RUNNING]}, "
            f"paused {count[JobState.PAUSED]}, ended {done}"
        )


@dataclass(slots=True)
class Lines:
    """A line now and then, for logs.

    Args:
        console: Where.
        day: What.
    """

    console: Console
    day: Day
    _last: HalfHour | None = field(default=None, init=False)

    def show(self, now: datetime, jobs: Sequence[Job], grid: tuple[Blend, Blend] | None) -> None:
        """Print a line if it is time for one."""
        half_hour = HalfHour.containing(now)
        if self._last is None or self._last.until(half_hour) >= LINE_EVERY:
            self._last = half_hour
            self.console.print(self.day.line(now, jobs, grid), highlight=False, soft_wrap=True)


@dataclass(slots=True)
class Screen:
    """A bar and the open jobs, drawn over and over.

    Args:
        live: Where.
        day: What.
    """

    live: Live
    day: Day

    def show(self, now: datetime, jobs: Sequence[Job], grid: tuple[Blend, Blend] | None) -> None:
        """Draw how things stand."""
        begun = max(timedelta(0), now - self.day.start.start)
        bar = ProgressBar(total=self.day.half_hours, completed=begun / HALF_HOUR, width=72)
        self.live.update(Group(Text(self.day.line(now, jobs, grid)), bar, _open_jobs(jobs, now)))


@contextmanager
def view_of(day: Day, console: Console) -> Iterator[View]:
    """Show the day on ``console`` while the block runs."""
    if not console.is_terminal:
        yield Lines(console, day)
        return
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        yield Screen(live, day)


def _open_jobs(jobs: Sequence[Job], now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    for job in reversed([job for job in jobs if not job.state.is_final]):
        worked = job.run_time(now) / job.flexibility.duration
        table.add_row(
            BLOCKS[job.state],
            job.id,
            f"{job.flexibility.gpus} GPUs",
            ProgressBar(total=1.0, completed=min(worked, 1.0), width=20),
            f"by {job.flexibility.deadline:%a %H:%M}",
            f"paused {paused}x" if (paused := pauses(job)) else "",
        )
    return table


def print_report(console: Console, report: DemoReport) -> None:
    """Print the tables, the promises and where the figures come from."""
    console.print(_comparison(report))
    console.print(_summary(report), highlight=False, soft_wrap=True)
    console.print(_promises(report))
    if report.market is not None:
        console.print(_market(report.market))
    console.print(_sources(report))


def _comparison(report: DemoReport) -> Table:
    table = Table(
        title=f"Running every job at once → GridFlex, {_when(report)}",
        caption=CELLS,
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    for name in ("tier", "on time", "kWh", "GBP", "kgCO2", "wait h", "pauses", "lost"):
        table.add_column(name, justify="left" if name == "tier" else "right", no_wrap=True)
    for row in report.rows:
        is_total = row is report.total
        if is_total:
            table.add_section()
        table.add_row(*_cells(row), style="bold" if is_total else None)
    return table


def _cells(row: Row) -> list[str]:
    ran, now = row.ran, row.run_now
    return [
        row.name,
        f"{row.met}/{row.jobs}",
        f"{now.energy_kwh:.0f}→{ran.energy_kwh:.0f}",
        _change(now.cost_gbp, ran.cost_gbp, digits=2),
        _change(now.carbon_kg, ran.carbon_kg, digits=0),
        f"{_hours(row.mean_wait_now)}→{_hours(row.mean_wait)}",
        str(row.pauses),
        f"{row.redone.total_seconds() / 60:.0f} min",
    ]


def _change(now: float, ran: float, *, digits: int) -> str:
    return f"{now:.{digits}f}→{ran:.{digits}f} {-100 * saved_fraction(ran, now) + 0.0:+.0f}%"


def _hours(wait: timedelta) -> str:
    return f"{wait.total_seconds() / 3600:.1f}"


def _when(report: DemoReport) -> str:
    end = report.start + report.half_hours
    return f"{report.start} to {end}, {report.grid_origin} grid"


def _summary(report: DemoReport) -> str:
    figures = report.figures()
    total: Account = report.total.ran
    priced = f"cost plus carbon at {report.carbon_price_gbp_per_tco2:g} GBP/t"
    slowest = max(report.t0_start_s.values(), default=0.0)
    return (
        f"{priced}: run now {report.run_now_gbp:.2f} GBP, GridFlex {report.ran_gbp:.2f} GBP, "
        f"bound {report.bound_gbp:.2f} GBP: no schedule could have been "
        f"more than {figures['gap_to_bound_pct']:.1f} % cheaper than GridFlex's\n"
        f"rigid jobs (T0) ran after {slowest:.1f} s at most; training steps done again: "
        f"{report.redone_batches} of {report.batches}\n"
        f"{total.energy_kwh:.0f} kWh on {report.gpus} GPUs that were busy "
        f"{100 * report.busy_fraction:.0f} % of the time: the emptier the cluster and the longer "
        "the deadlines, the more there is to save\n"
        f"wall time {report.demo_s:.0f} s; {report.half_hour_s:.3g} s per half-hour"
    )


def _promises(report: DemoReport) -> Table:
    table = Table.grid(padding=(0, 1))
    for promise in report.promises:
        mark = styled(("kept", "green") if promise.is_kept else ("BROKEN", "bold red"))
        table.add_row(mark, promise.text)
        for case in promise.broken_by:
            table.add_row("", styled((case, "red")))
        if promise.text == TIMELY and not promise.is_kept:
            table.add_row("", MORE_TIME)
    return table


def _market(market: MarketReport) -> Table:
    table = Table.grid(padding=(0, 2))
    for what, came in market.lines():
        table.add_row(what, came)
    return table


def _sources(report: DemoReport) -> Table:
    table = Table.grid(padding=(0, 2))
    prices = f"{report.grid_origin}: Elexon market index and Carbon Intensity API outturns"
    if report.grid_origin != "recorded":
        prices = "simulated: no value was ever measured"
    for what, source in (COMES_FROM | {"price and carbon intensity": prices}).items():
        table.add_row(styled((what, "dim")), styled((source, "dim")))
    return table
