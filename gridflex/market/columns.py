"""Columns of CSV files."""

from __future__ import annotations

from collections.abc import Sequence

from gridflex.errors import ContractError


def refuse_twice(columns: Sequence[str], *, what: str) -> None:
    """Refuse a CSV with a column twice, of which the last would count.

    Args:
        columns: Its header.
        what: What to call it.

    Raises:
        ContractError: A column is there twice; names each.
    """
    twice = sorted({one for one in columns if columns.count(one) > 1})
    if twice:
        raise ContractError(
            f"{what} has the column {', '.join(twice)} more than once; valid is each once"
        )
