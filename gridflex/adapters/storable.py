"""JSON of outside services as PostgreSQL can hold it, and as an answer can say it."""

from __future__ import annotations

import math
from typing import Any, Final

UNKNOWN: Final = "\ufffd"
"""Unicode's replacement character."""


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON value in which each NUL and each half of a surrogate pair is replaced.

    Ray passes on the last lines of a job's log as they are, and ``json`` reads both. It reads
    ``NaN`` and ``1e999`` as well, which no JSON has: a number that is not finite becomes text.
    """
    if isinstance(value, str):
        units = value.replace("\0", UNKNOWN).encode("utf-16-le", "surrogatepass")
        return units.decode("utf-16-le", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner) for inner in value]
    return value
