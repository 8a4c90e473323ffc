"""How the command line shows instants."""

from __future__ import annotations

from datetime import date

import typer


def minute(instant: str | None, *, zone: str = "Z") -> str:
    """Return an instant to the minute, or a dash for none.

    Args:
        instant: As the API has it, in UTC.
        zone: What follows it; empty where a heading already says UTC.
    """
    return "-" if instant is None else instant[:16].replace("T", " ") + zone


def span(first: date, last: date) -> dict[str, str]:
    """Return days as the API asks for them, both of them included.

    Raises:
        typer.BadParameter: ``last`` is before ``first``.
    """
    if last < first:
        raise typer.BadParameter(
            f"{last:%Y-%m-%d} is before --first {first:%Y-%m-%d}; valid is that day or a later one",
            param_hint="--last",
        )
    return {"first": f"{first:%Y-%m-%d}", "last": f"{last:%Y-%m-%d}"}
