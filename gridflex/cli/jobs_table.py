"""``gridflex jobs ls`` as a table: ids are whole at any width, so that they can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gridflex.cli.instants import minute

LONGEST_MESSAGE: Final = 200
"""Characters; a driver's may be a page."""

NARROWEST_MESSAGE: Final = 24
"""Characters of a line of it, where it needs several."""

MESSAGE: Final = "message"
TITLES: Final = ("job", "tier", "state", "deadline (UTC)", "next run (UTC)", MESSAGE)
DROPPED: Final = (MESSAGE, "tier", "deadline (UTC)", "next run (UTC)")
"""Columns that make room where the terminal is narrow, in this order."""


def print_jobs(console: Console, jobs: Sequence[dict[str, Any]]) -> None:
    """Print jobs with as many columns as fit; an id longer than the terminal runs over its edge.

    Args:
        console: Where.
        jobs: As ``/v1/jobs`` has them.
    """
    rows = [_row(job) for job in jobs]
    titles = list(TITLES)
    needed = _width(console, _table(titles, rows, message_width=NARROWEST_MESSAGE))
    for title in DROPPED:
        if needed <= console.width:
            break
        titles.remove(title)
        needed = _width(console, _table(titles, rows, message_width=NARROWEST_MESSAGE))
    table = _table(titles, rows)
    table.width = max(needed, min(_width(console, table), console.width))
    console.print(table, crop=False, no_wrap=True, overflow="ignore")


def _width(console: Console, table: Table) -> int:
    """Return how wide a table is where nothing limits it, at least 1."""
    options = console.options.update(width=10_000)
    return max(Measurement.get(console, options, table).maximum, 1)


def _table(
    titles: Sequence[str], rows: Sequence[dict[str, str]], *, message_width: int | None = None
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        is_message = title == MESSAGE
        table.add_column(
            title, no_wrap=not is_message, max_width=message_width if is_message else None
        )
    for row in rows:
        table.add_row(*(Text(row[title]) for title in titles))
    return table


def _row(job: dict[str, Any]) -> dict[str, str]:
    flexibility = job["flexibility"]
    values = (
        job["id"],
        flexibility["tier"],
        job["state"],
        minute(flexibility["deadline"], zone=""),
        minute((job.get("next_run") or {}).get("start"), zone=""),
        (job.get("message") or "")[:LONGEST_MESSAGE],
    )
    return dict(zip(TITLES, values, strict=True))
