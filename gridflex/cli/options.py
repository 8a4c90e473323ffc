"""Options that many commands have."""

from __future__ import annotations

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
