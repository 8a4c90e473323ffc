"""The HTTP interface of a running GridFlex, for Python programs and the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from gridflex.adapters.clusters.ray_auth import find_token, token_headers
from gridflex.errors import (
    ConflictError,
    ContractError,
    GridFlexError,
    InfeasibleError,
    NotFoundError,
    SourceError,
)
from gridflex.problem_types import CONFLICT, INFEASIBLE, PREFIX

URL_VARIABLE: Final = "GRIDFLEX_URL"
DEFAULT_URL: Final = "http://127.0.0.1:8000"
MOST_SHOWN: Final = 60
"""Characters of what something else answers; it may be a page."""

_REFUSALS: Final[Mapping[str, type[GridFlexError]]] = {
    PREFIX + CONFLICT: ConflictError,
    PREFIX + INFEASIBLE: InfeasibleError,
}


def path_of(*parts: object) -> str:
    """Return the path below which parts are, each quoted: an id with a slash stays one part.

    ``path_of("v1", "jobs", "a/b")`` is ``/v1/jobs/a%2Fb``.
    """
    return "".join(f"/{_quoted(str(part))}" for part in parts)


def _quoted(part: str) -> str:
    """Return one part of a path; dots alone would be taken for folders above."""
    return part.replace(".", "%2E") if part in {".", ".."} else quote(part, safe="")


def named_url() -> str | None:
    """Return where GridFlex answers by ``GRIDFLEX_URL``, if that is set."""
    return os.environ.get(URL_VARIABLE) or None


class Client:
    """Asks a running GridFlex.

    Args:
        url: Where it answers; None takes ``GRIDFLEX_URL``, else this machine's port 8000.
        token: Its token; None takes Ray's own.
        transport: Replaces the network in tests.
        timeout_s: Longest wait for one answer.

    Raises:
        ContractError: ``url`` is not an address.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.url = (url or named_url() or DEFAULT_URL).rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self.url,
                headers=token_headers(token or find_token()),
                transport=transport,
                timeout=timeout_s,
            )
        except httpx.InvalidURL as error:
            raise ContractError(f"{self.url!r} is not an address: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int | float) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON that ``path`` answers.

        Raises:
            SourceError: GridFlex does not answer, or fails, or something else answers there.
            NotFoundError: It has no such path, or nothing there; the message is its own.
            ConflictError: Somebody else was faster; the message is its own.
            ContractError: It refuses the request; the message is its own.
            InfeasibleError: No schedule meets what is asked for; the message is its own.
        """
        return self._ask("GET", path, params=params)

    def get_text(self, path: str) -> str:
        """Return the text that ``path`` answers; raises as `get`."""
        return self._answer("GET", path).text

    def post(self, path: str, body: object, *, key: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """Send JSON to ``path`` and return what it answers; raises as `get` does.

        Args:
            path: Where.
            body: What.
            key: Idempotency key, under which the same may be sent again.
        """
        headers = {"Idempotency-Key": key} if key else {}
        return self._ask("POST", path, json=body, headers=headers)

    def post_text(self, path: str, text: str, *, kind: str) -> Any:  # noqa: ANN401 - JSON
        """Send text of a media type to ``path`` and return what it answers; raises as `get`."""
        return self._ask("POST", path, content=text.encode(), headers={"Content-Type": kind})

    def _ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - JSON
        answer = self._answer(method, path, **options)
        try:
            return answer.json()
        except ValueError as error:
            raise self._not_ours(answer) from error

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise SourceError(
                f"GridFlex does not answer at {self.url}: {error}; is it up "
                f"(gridflex up), and is this where? (--url, {URL_VARIABLE})"
            ) from error
        if answer.is_success:
            return answer
        raise _error(answer) or self._not_ours(answer)

    def _not_ours(self, answer: httpx.Response) -> SourceError:
        who = "is not GridFlex" + (", or cannot reach it" if answer.is_server_error else "")
        first = next((line.strip() for line in answer.text.splitlines() if line.strip()), "")
        said = f": {first[:MOST_SHOWN]}{'...' if len(first) > MOST_SHOWN else ''}" if first else ""
        return SourceError(
            f"what answers at {self.url} {who} (HTTP {answer.status_code}{said}); "
            f"name it in {URL_VARIABLE} or --url"
        )


def _error(answer: httpx.Response) -> GridFlexError | None:
    """Return the error that an answer tells, which is the one that was raised behind it.

    None where it is no problem of GridFlex.
    """
    try:
        told = answer.json()
    except ValueError:
        return None
    text = (told.get("detail") or told.get("title")) if isinstance(told, dict) else None
    if not text:
        return None
    if answer.is_server_error:
        return SourceError(str(text))
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return NotFoundError(str(text))
    return _REFUSALS.get(str(told.get("type")), ContractError)(str(text))
