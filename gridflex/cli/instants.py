"""How the command line shows instants."""

from __future__ import annotations


def minute(instant: str | None, *, zone: str = "Z") -> str:
    """Return an instant to the minute, or a dash for none.

    Args:
        instant: As the API has it, in UTC.
        zone: What follows it; empty where a heading already says UTC.
    """
    return "-" if instant is None else instant[:16].replace("T", " ") + zone
