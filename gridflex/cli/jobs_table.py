"""``gridflex jobs ls`` as a table: ids are whole at any width, so that they can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

LONGEST_MESSAGE: Final = 60
TITLES: Final = ("job", "tier", "state", "deadline (UTC)", "next run (UTC)", "message")
DROPPED: Final = ("message", "tier", "deadline (UTC)", "next run (UTC)")
"""Columns that make room where the terminal is narrow, in this order."""


def print_jobs(console: Console, jobs: Sequence[dict[str, Any]]) -> None:
    """Print jobs with as many columns as fit; an id longer than the terminal runs over its edge.

    Args:
        console: Where.
        jobs: As ``/v1/jobs`` has them.
    """
    rows = [_row(job) for job in jobs]
    titles = list(TITLES)
    for title in ("", *DROPPED):
        if title:
            titles.remove(title)
        table = _table(titles, rows)
        needed = Measurement.get(console, console.options.update(width=10_000), table).maximum
        if needed <= console.width:
            break
    table.width = max(needed, 1)
    console.print(table, crop=False, no_wrap=True, overflow="ignore")


def _table(titles: Sequence[str], rows: Sequence[dict[str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[title]) for title in titles))
    return table


def _row(job: dict[str, Any]) -> dict[str, str]:
    flexibility = job["flexibility"]
    values = (
        job["id"],
        flexibility["tier"],
        job["state"],
        _minute(flexibility["deadline"]),
        _minute((job.get("next_run") or {}).get("start")),
        (job.get("message") or "")[:LONGEST_MESSAGE],
    )
    return dict(zip(TITLES, values, strict=True))


def _minute(instant: str | None) -> str:
    return instant[:16].replace("T", " ") if instant else "-"
