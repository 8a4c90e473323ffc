"""Options that many commands have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file; else GRIDFLEX_CONFIG or gridflex.yaml.")
]
Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Settlement day.")]
MeterId = Annotated[str, typer.Argument(metavar="METER", help="Import id of the meter.")]
Unit = Annotated[str, typer.Argument(help="Secondary BM Unit.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="Where GridFlex answers; else GRIDFLEX_URL or http://127.0.0.1:8000."
    ),
]


def between(least: float, most: float) -> Callable[[float | None], float | None]:
    """Return a callback that refuses numbers outside both bounds, and what is no number.

    Click's own bounds let ``nan`` pass.
    """

    def checked(value: float | None) -> float | None:
        if value is not None and not least <= value <= most:
            raise typer.BadParameter(f"{value:g} is not valid; valid is from {least:g} to {most:g}")
        return value

    return checked
