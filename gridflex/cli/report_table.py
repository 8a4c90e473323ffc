"""How the command line shows a central settlement report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.output import out

VOLUMES: Final = ("metered_mwh", "expected_mwh", "deviation_mwh", "unit_compensation_mwh")
COLUMNS: Final = (
    Column("UTC"),
    Column("party", goes=1),
    Column("unit"),
    *(Column(f"{name}\nMWh") for name in ("metered", "expected", "deviation", "compensation")),
)


def print_summary(shown: Mapping[str, Any]) -> None:
    """Print in a line what a report holds, as `s0142_report.report_json` has it."""
    out.print(
        f"{shown['version']}, {shown['day']}, run {shown['run']}: {len(shown['prices'])} prices, "
        f"{len(shown['units'])} unit rows, {len(shown['accounts'])} account rows",
    )


def print_units(shown: Mapping[str, Any]) -> None:
    """Print its rows of units."""
    if not shown["units"]:
        out.print("no unit has a row in it")
        return
    out.print(f"units on {shown['day']}, half-hours by their start in UTC")
    rows = [
        (
            row["half_hour"][11:16],
            row["party"],
            row["unit"],
            *(row[name] or "-" for name in VOLUMES),
        )
        for row in shown["units"]
    ]
    print_fitting(out, COLUMNS, rows)
