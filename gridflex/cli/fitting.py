"""Tables for terminals of any width: no word is cut, and a column goes where there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gridflex.cli.output import visible


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        title: Its heading.
        goes: When it makes room: 1 goes first, then 2, and so on; 0 never.
        narrowest: Characters of a line where its text may take several; 0 keeps it on one.
        is_number: Whether it is set to the right, so that its digits stand below each other.
    """

    title: str
    goes: int = 0
    narrowest: int = 0
    is_number: bool = False


def print_fitting(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    caption: str | None = None,
    has_sections: bool = False,
) -> list[Column]:
    """Print a table with as many columns as fit, and return those.

    One that never goes may run over the edge.

    Args:
        console: Where.
        columns: All there are.
        rows: A text for each column.
        caption: Below the table.
        has_sections: Whether rows with another first text stand apart.
    """
    shown = list(range(len(columns)))
    needed = _width(console, _table(columns, rows, shown, is_narrow=True))
    for gone in sorted((i for i in shown if columns[i].goes), key=lambda i: columns[i].goes):
        if needed <= console.width:
            break
        shown.remove(gone)
        needed = _width(console, _table(columns, rows, shown, is_narrow=True))
    table = _table(columns, rows, shown)
    table.width = max(needed, min(_width(console, table), console.width))
    for row, following in pairwise(range(len(rows))):
        table.rows[row].end_section = has_sections and rows[row][0] != rows[following][0]
    console.print(table, crop=False, no_wrap=True, overflow="ignore")
    if caption:
        console.print(caption, style="dim italic", highlight=False)
    return [columns[i] for i in shown]


def _width(console: Console, table: Table) -> int:
    """Return how wide a table is where nothing limits it, at least 1."""
    options = console.options.update(width=10_000)
    return max(Measurement.get(console, options, table).maximum, 1)


def _table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    shown: Sequence[int],
    *,
    is_narrow: bool = False,
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in (columns[i] for i in shown):
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=not column.narrowest,
            max_width=column.narrowest if is_narrow and column.narrowest else None,
        )
    for row in rows:
        table.add_row(*(Text(visible(row[i])) for i in shown))
    return table
