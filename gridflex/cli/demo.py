"""``gridflex demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Day = Annotated[
    str | None,
    typer.Option(help="Day to play, YYYY-MM-DD, from 06:00 UTC on; else one of 2024."),
]
HalfHourS = Annotated[
    float | None, typer.Option(min=2.0, max=1800.0, help="Wall seconds per half-hour; else 5.")
]
Keep = Annotated[
    Path | None,
    typer.Option(help="Folder to leave the ledger, its key and the receipts in, to be verified."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; progress goes to stderr.")]


def demo(
    *,
    day: Day = None,
    half_hour_s: HalfHourS = None,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """Run the main job on one accelerated day of the grid: real Ray jobs, against run-now.

    Takes about five minutes, ends by itself and leaves nothing running. Exits with 1 if a
    promise about the jobs was broken.
    """
    from gridflex.demo.run import run_demo  # noqa: PLC0415 - starts with much to import

    raise typer.Exit(run_demo(day=day, half_hour_s=half_hour_s, keep=keep, as_json=as_json))
