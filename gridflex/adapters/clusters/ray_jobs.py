"""One Ray cluster's Job API, asked the way Ray 2.60's own clients ask.

A submission id can be used once on a cluster. Sending a job again under the same id is
therefore harmless, and a submission whose answer was lost is settled by asking for the job.
Times are the cluster's wall times.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidURI

from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE, WHERE, find_token, token_headers
from gridflex.adapters.clusters.ray_gpus import Gpus, gpus_in_use, gpus_of_nodes, within
from gridflex.adapters.connected import Connected
from gridflex.adapters.http_errors import http_errors
from gridflex.adapters.storable import storable
from gridflex.errors import ConflictError, ContractError, SourceError
from gridflex.lifecycle import JobRequest
from gridflex.settings import SiteSettings

INFRASTRUCTURE: Final = frozenset(
    f"JOB_SUPERVISOR_ACTOR_{what}"
    for what in ("START_TIMEOUT", "START_FAILURE", "UNSCHEDULABLE", "UNKNOWN_FAILURE", "DIED")
)
"""Error types of Ray (``JobErrorType``) with which a run failed that its entrypoint did not fail.

With any other one the job's own runtime environment or command is to blame."""

_DRIVER_FIELDS: Final = (
    *("status", "message", "error_type", "start_time", "end_time", "job_id", "driver_info"),
    *("driver_agent_http_address", "driver_node_id", "driver_exit_code"),
)
_REFUSED: Final = frozenset({400, 413, 422})
"""What the job itself is to blame for; any other failure is the cluster's."""

_AGENT_REFUSED: Final = "Request failed with status code 400"
"""In the HTTP 500 with which Ray's head passes on that its agent refused the job."""

_TAKEN: Final = "already exists"

_SHOWN: Final = 500

_RAY_SOCKET: Final[dict[str, Any]] = {
    "compression": None,
    "ping_interval": None,
    "close_timeout": 1,
    "max_size": None,
}
"""Ray's dashboard passes frames on unread and one way: with compression the stream is empty
(dashboard/subprocesses/handle.py, ``proxy_websocket``), and a ping is never answered."""


@dataclass(frozen=True, slots=True)
class RayJob:
    """What a cluster says about one job.

    Args:
        ray_id: Submission id; the driver's job id for a job that was not submitted.
        status: ``PENDING``, ``RUNNING``, ``STOPPED``, ``SUCCEEDED`` or ``FAILED``.
        details: All of Ray's ``JobDetails``.
    """

    ray_id: str
    status: str
    details: Mapping[str, Any]

    @property
    def driver(self) -> Mapping[str, Any]:
        """What describes this run, fit to be stored: status, message, times in ms, addresses."""
        said: Mapping[str, Any] = storable(
            {name: self.details.get(name) for name in _DRIVER_FIELDS}
        )
        return said

    @property
    def started_wall(self) -> datetime | None:
        """When the cluster accepted it."""
        return _instant(self.details.get("start_time"))

    @property
    def has_run(self) -> bool:
        """Whether its entrypoint was ever started."""
        return self.details.get("driver_node_id") is not None

    @property
    def ended_wall(self) -> datetime | None:
        """When it ended."""
        return _instant(self.details.get("end_time"))

    def runs_for(self, entrypoint: str, metadata: Mapping[str, str]) -> bool:
        """Return whether it was submitted with this entrypoint and at least this metadata."""
        found: Mapping[str, str] = self.details.get("metadata") or {}
        is_same = all(found.get(key) == value for key, value in metadata.items())
        return self.details.get("entrypoint") == entrypoint and is_same


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the cluster as it came.

    Args:
        status: HTTP status.
        body: Unchanged.
        media_type: Of the body.
    """

    status: int
    body: bytes
    media_type: str


class RayJobs(Connected):
    """Asks one cluster.

    Args:
        base_url: Address of its dashboard.
        token: Token it wants, if any; see `gridflex.adapters.clusters.ray_auth.find_token`.
        transport: Replaces the network in tests.
        timeout_s: Longest wall time to wait for the next bytes of an answer.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = token_headers(token)
        self._timeout_s = timeout_s
        super().__init__(
            httpx.AsyncClient(
                base_url=self.base_url,
                headers=self._headers,
                transport=transport,
                timeout=timeout_s,
            )
        )

    @classmethod
    def of_site(cls, site: SiteSettings, *, timeout_s: float = 10.0) -> Self:
        """Return the client of one configured site."""
        return cls(site.ray_url, find_token(site.ray_token), timeout_s=timeout_s)

    async def version(self) -> dict[str, Any]:
        """Return what ``/api/version`` says: ``ray_version``, ``session_name`` and more."""
        return _object(await self._ask("GET", "/api/version"))

    async def list(self) -> list[RayJob]:
        """Return every job the cluster knows, drivers that nobody submitted included."""
        body = _json(await self._ask("GET", "/api/jobs/"))
        if not isinstance(body, list):
            raise SourceError(f"{self.base_url}: the list of jobs is not a list")
        return [_ray_job(item) for item in body]

    async def get(self, ray_id: str) -> RayJob | None:
        """Return one job, or None if the cluster does not know it."""
        answer = await self._ask("GET", _path(ray_id), known=(404,))
        return None if answer.status_code == httpx.codes.NOT_FOUND else _ray_job(_json(answer))

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        """Submit a job; whatever happens on the way, it runs at most once.

        Returns when the cluster has the job, be it from this call or an earlier one.

        Raises:
            ConflictError: The cluster has another job under this id.
            ContractError: The cluster refuses the job.
            SourceError: The cluster does not answer, or fails; calling again is harmless.
        """
        try:
            answer = await self._send("POST", "/api/jobs/", json=submission(ray_id, request))
        except SourceError as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                raise
            await self._settle(ray_id, request, error)
            return
        if answer.is_success:
            return
        if _is_refused(answer):
            raise ContractError(f"{self.base_url} refuses job {ray_id}: {_said(answer)}")
        await self._settle(ray_id, request, self._failure(answer))

    async def stop(self, ray_id: str) -> bool:
        """Ask a job to stop: SIGTERM, later SIGKILL.

        Returns:
            Whether it had not ended; False for a job that the cluster does not know.
        """
        answer = await self._ask("POST", f"{_path(ray_id)}/stop", known=(404,))
        return answer.is_success and bool(_object(answer).get("stopped"))

    async def delete(self, ray_id: str) -> bool:
        """Delete a job that has ended.

        Returns:
            Whether it is deleted now; False for a job that the cluster does not know.

        Raises:
            ContractError: It has not ended.
        """
        answer = await self._ask("DELETE", _path(ray_id), known=(404, 500))
        if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            if "non-terminal" in answer.text:
                raise ContractError(f"{self.base_url}: {_said(answer)}")
            raise self._failure(answer)
        return answer.is_success and bool(_object(answer).get("deleted"))

    async def logs(self, ray_id: str) -> str | None:
        """Return all that a job printed, or None if the cluster does not know it."""
        answer = await self._ask("GET", f"{_path(ray_id)}/logs", known=(404,))
        found = answer.status_code != httpx.codes.NOT_FOUND
        return str(_object(answer).get("logs", "")) if found else None

    async def tail(self, ray_id: str) -> AsyncGenerator[str]:
        """Yield what a job prints, from its first line, until it ends.

        Raises:
            SourceError: The connection cannot be made, or is lost before the job ends.
        """
        url = f"ws{self.base_url.removeprefix('http')}{_path(ray_id)}/logs/tail"
        try:
            async with connect_websocket(
                url,
                additional_headers=self._headers,
                open_timeout=self._timeout_s,
                **_RAY_SOCKET,
            ) as socket:
                async for lines in socket:
                    yield lines if isinstance(lines, str) else lines.decode(errors="replace")
        except (InvalidHandshake, InvalidURI, ConnectionClosedError, OSError) as error:
            raise SourceError(f"{self.base_url}: logs of {ray_id}: {error}") from error

    async def has_package(self, uri: str) -> bool:
        """Return whether the cluster has an uploaded package; it then keeps it for minutes.

        Args:
            uri: Such as ``gcs://_ray_pkg_0123456789abcdef.zip``.
        """
        answer = await self._ask("GET", _package_path(uri), known=(404,))
        return answer.is_success

    async def put_package(self, uri: str, content: AsyncIterator[bytes]) -> None:
        """Upload a package; see `has_package`."""
        await self._ask("PUT", _package_path(uri), content=content)

    async def gpus(self) -> Gpus:
        """Return the GPUs of the live nodes."""
        status = _object(await self._ask("GET", "/api/cluster_status"))
        usage = within(status, "data", "clusterStatus", "loadMetricsReport", "usage")
        try:
            if isinstance(usage, dict):
                return gpus_in_use(usage)
            nodes = _object(await self._ask("GET", "/nodes", params={"view": "summary"}))
            return gpus_of_nodes(within(nodes, "data", "summary") or [])
        except (TypeError, ValueError, OverflowError) as error:
            raise SourceError(f"{self.base_url}: GPUs are not counted: {error}") from error

    async def forward(self, method: str, path: str, *, json: object = None) -> Reply:
        """Pass a request on and return the answer unchanged, whatever its status.

        Raises:
            SourceError: There is no answer, or it says that GridFlex's own token is wrong.
        """
        answer = await self._send(method, path, json=json)
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise self._failure(answer)
        media_type = answer.headers.get("content-type", "text/plain; charset=utf-8")
        return Reply(status=answer.status_code, body=answer.content, media_type=media_type)

    async def _settle(self, ray_id: str, request: JobRequest, error: SourceError) -> None:
        """Find out whether a submission without a clear answer arrived."""
        found = await self.get(ray_id)
        if found is None:
            raise error
        if not found.runs_for(request.entrypoint, request.metadata):
            raise ConflictError(
                f"{self.base_url} already has another job under the submission id {ray_id}"
            )

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        known: tuple[int, ...] = (),
        params: Mapping[str, str] | None = None,
        content: AsyncIterator[bytes] | None = None,
    ) -> httpx.Response:
        answer = await self._send(method, path, params=params, content=content)
        if answer.is_success or answer.status_code in known:
            return answer
        raise self._failure(answer)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        content: AsyncIterator[bytes] | None = None,
    ) -> httpx.Response:
        with http_errors(f"{self.base_url}{path}"):
            return await self._client.request(
                method, path, json=json, params=params, content=content
            )

    def _failure(self, answer: httpx.Response) -> SourceError:
        code = answer.status_code
        if code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            wrong = "wants a token" if code == httpx.codes.UNAUTHORIZED else "refuses the token"
            return SourceError(
                f"{self.base_url} {wrong} (HTTP {code}): set ray_token of this site in the "
                f"settings, or put the cluster's token in {WHERE}, and leave {MODE_VARIABLE} "
                "unset or set it to token"
            )
        return SourceError(f"{answer.url}: HTTP {code}: {_said(answer)}")


def submission(ray_id: str, request: JobRequest) -> dict[str, Any]:
    """Return the body of ``POST /api/jobs/``."""
    return {
        "entrypoint": request.entrypoint,
        "submission_id": ray_id,
        "runtime_env": dict(request.runtime_env),
        "metadata": dict(request.metadata),
        **{f"entrypoint_{name}": value for name, value in request.resources.items()},
    }


def _is_refused(answer: httpx.Response) -> bool:
    """Return whether sending the job again is of no use; another one may have its id."""
    if _TAKEN in answer.text:
        return False
    return answer.status_code in _REFUSED or _AGENT_REFUSED in answer.text


def _ray_job(details: object) -> RayJob:
    if not isinstance(details, dict) or "status" not in details:
        raise SourceError(f"the cluster described a job as {str(details)[:_SHOWN]!r}")
    ray_id = details.get("submission_id") or details.get("job_id") or ""
    return RayJob(ray_id=str(ray_id), status=str(details["status"]), details=details)


def _instant(unix_ms: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC) if isinstance(unix_ms, int) else None
    except (OSError, OverflowError, ValueError):  # no calendar goes there
        return None


def _path(ray_id: str) -> str:
    return f"/api/jobs/{quote(ray_id, safe='')}"


def _package_path(uri: str) -> str:
    protocol, _, name = uri.partition("://")
    return f"/api/packages/{quote(protocol, safe='')}/{quote(name, safe='')}"


def _json(answer: httpx.Response) -> Any:  # noqa: ANN401 - parsed by the caller
    try:
        return answer.json()
    except ValueError as error:
        raise SourceError(f"{answer.url}: the answer is not JSON: {_said(answer)}") from error


def _object(answer: httpx.Response) -> dict[str, Any]:
    body = _json(answer)
    if not isinstance(body, dict):
        raise SourceError(f"{answer.url}: the answer is not an object: {_said(answer)}")
    return body


def _said(answer: httpx.Response) -> str:
    """Return the last telling line of Ray's answer, which is often a traceback."""
    lines = [line.strip() for line in answer.text.splitlines() if line.strip(" .\t")]
    return str(storable(lines[-1][:_SHOWN])) if lines else answer.reason_phrase
