"""``gridflex jobs ls`` as a table: ids are whole at any width, so that they can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.instants import minute

LONGEST_MESSAGE: Final = 200
"""Characters; a driver's may be a page."""

COLUMNS: Final = (
    Column("job"),
    Column("tier", goes=2),
    Column("state"),
    Column("deadline (UTC)", goes=3),
    Column("next run (UTC)", goes=4),
    Column("message", goes=1, narrowest=24),
)


def print_jobs(console: Console, jobs: Sequence[dict[str, Any]]) -> None:
    """Print jobs with as many columns as fit; an id longer than the terminal runs over its edge.

    Args:
        console: Where.
        jobs: As ``/v1/jobs`` has them.
    """
    print_fitting(console, COLUMNS, [_row(job) for job in jobs])


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    flexibility = job["flexibility"]
    return (
        job["id"],
        flexibility["tier"],
        job["state"],
        minute(flexibility["deadline"], zone=""),
        minute((job.get("next_run") or {}).get("start"), zone=""),
        (job.get("message") or "")[:LONGEST_MESSAGE],
    )
