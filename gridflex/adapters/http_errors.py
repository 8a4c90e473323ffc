"""Where failures of the HTTP library become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from gridflex.errors import SourceError


@contextmanager
def http_errors(place: str, *, kind: type[SourceError] = SourceError) -> Iterator[None]:
    """Turn the failure to get an answer into a `SourceError`; all other errors pass through.

    Args:
        place: Who was asked, and for what; begins the message.
        kind: What it becomes.
    """
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise kind(f"{place}: no answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise kind(f"{place}: {str(error) or type(error).__name__}") from error
