"""A Ray 2.60 cluster's Job API in memory, with the network in front of it.

Paths, bodies, status codes and texts are those of ``dashboard/modules/job/job_head.py``. Nothing
happens by itself: a test says when a job runs, prints and ends. The network can lose what Ray
answered, hang, or put garbage in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse

TERMINAL: Final = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
REQUEST_FIELDS: Final = frozenset(
    {
        *("entrypoint", "submission_id", "job_id", "runtime_env", "metadata"),
        *("entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory"),
        *("entrypoint_resources", "entrypoint_label_selector"),
    }
)
VERSION: Final = {
    "version": "4",
    "ray_version": "2.60.0",
    "ray_commit": "0123456789abcdef",
    "session_name": "session_2026-07-01_00-00-00_000000_1",
}


@dataclass
class FakeJob:
    """One submitted job as the cluster sees it."""

    request: Mapping[str, Any]
    started_ms: int
    status: str = "PENDING"
    message: str = "Job has not started yet."
    error_type: str | None = None
    ended_ms: int | None = None
    logs: str = ""
    stops_asked: int = 0
    has_run: bool = False

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that the entrypoint gets."""
        variables: Mapping[str, str] = self.request.get("runtime_env", {}).get("env_vars", {})
        return variables


@dataclass
class FakeRay:
    """One cluster.

    Attributes:
        gpus: GPUs of its one live node.
        used_gpus: How many are reserved; None where it has no autoscaler that says so.
        token: What it asks for.
        wall: Its clock.
        stops_at_once: Whether a job that is asked to stop has stopped when the call returns.
        is_down: Nobody listens at its address.
        hangs: It takes no request and never answers.
        lost_replies: So many of the next requests are carried out, but their answer is lost.
        garbage: What its proxy answers instead, if anything.
    """

    gpus: int = 8
    used_gpus: float | None = 0.0
    token: str | None = None
    wall: datetime = datetime(2026, 7, 1, 12, tzinfo=UTC)
    stops_at_once: bool = True
    is_down: bool = False
    hangs: bool = False
    lost_replies: int = 0
    garbage: str | None = None
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        """The network between a client and this cluster."""
        return _Network(self)

    @property
    def live(self) -> list[str]:
        """Jobs that have not ended."""
        return [ray_id for ray_id, job in self.jobs.items() if job.status not in TERMINAL]

    def run(self, ray_id: str, *, prints: str = "") -> None:
        """Let a pending job's driver start."""
        job = self.jobs[ray_id]
        job.status, job.message, job.has_run = "RUNNING", "Job is currently running.", True
        job.logs += prints

    def end(
        self,
        ray_id: str,
        status: str = "SUCCEEDED",
        *,
        message: str = "",
        error_type: str | None = None,
    ) -> None:
        """Let a job end."""
        job = self.jobs[ray_id]
        job.status, job.ended_ms = status, _unix_ms(self.wall)
        job.message = message or f"Job has ended: {status}."
        job.error_type = error_type
        job.has_run = job.has_run or (status != "STOPPED" and error_type is None)

    def restart(self) -> None:
        """Lose the head node and with it every job and package."""
        self.jobs.clear()
        self.packages.clear()

    def app(self) -> FastAPI:
        """Return its dashboard."""
        return _dashboard(self)

    def submit(self, body: Mapping[str, Any]) -> Response:
        unknown = set(body) - REQUEST_FIELDS
        if unknown or "entrypoint" not in body:
            return PlainTextResponse(
                _traceback("TypeError: JobSubmitRequest.__init__() got an unexpected argument"), 400
            )
        ray_id = body.get("submission_id") or body.get("job_id") or f"raysubmit_{len(self.jobs)}"
        wrong = [v for v in body.get("entrypoint_label_selector", {}).values() if " " in v]
        if wrong:
            return _failed(f"ValueError: Invalid label selector value `{wrong[0]}`.")
        if ray_id in self.jobs:
            return _failed(
                f"ValueError: Job with submission_id {ray_id} already exists. "
                "Please use a different submission_id."
            )
        self.jobs[ray_id] = FakeJob(body, _unix_ms(self.wall))
        self.accepted.append(ray_id)
        if not self._can_set_up(body.get("runtime_env", {})):
            failure = "RUNTIME_ENV_SETUP_FAILURE"
            self.end(ray_id, "FAILED", message="runtime_env setup failed", error_type=failure)
        return JSONResponse({"job_id": ray_id, "submission_id": ray_id})

    def _can_set_up(self, environment: object) -> bool:
        if not isinstance(environment, dict):
            return False
        working_dir = environment.get("working_dir", "")
        is_text = isinstance(working_dir, str)
        return is_text and (not working_dir.startswith("gcs://") or working_dir in self.packages)

    def details(self, ray_id: str) -> dict[str, Any]:
        job = self.jobs[ray_id]
        return {
            "type": "SUBMISSION",
            "job_id": "01000000" if job.has_run else None,
            "submission_id": ray_id,
            "driver_info": None,
            "status": job.status,
            "entrypoint": job.request["entrypoint"],
            "message": job.message,
            "error_type": job.error_type,
            "start_time": job.started_ms,
            "end_time": job.ended_ms,
            "metadata": job.request.get("metadata"),
            "runtime_env": job.request.get("runtime_env"),
            "driver_agent_http_address": "http://10.0.0.1:52365" if job.has_run else None,
            "driver_node_id": "ab" * 28 if job.has_run else None,
            "driver_exit_code": {"SUCCEEDED": 0, "FAILED": 1}.get(job.status),
        }

    def stop(self, ray_id: str) -> bool:
        job = self.jobs[ray_id]
        if job.status in TERMINAL:
            return False
        job.stops_asked += 1
        if self.stops_at_once:
            self.end(ray_id, "STOPPED", message="Job was intentionally stopped.")
        return True


class _Network(httpx.AsyncBaseTransport):
    def __init__(self, ray: FakeRay) -> None:
        self._ray = ray
        self._inner = httpx.ASGITransport(ray.app())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._ray.is_down:
            raise httpx.ConnectError("connection refused", request=request)
        if self._ray.hangs:
            raise httpx.ReadTimeout("timed out", request=request)
        if self._ray.garbage is not None:
            return httpx.Response(200, text=self._ray.garbage, request=request)
        answer = await self._inner.handle_async_request(request)
        if self._ray.lost_replies and request.method != "GET":
            self._ray.lost_replies -= 1
            raise httpx.ReadTimeout("timed out", request=request)
        return answer


def _dashboard(ray: FakeRay) -> FastAPI:  # noqa: C901 - one route each
    app = FastAPI()

    @app.middleware("http")
    async def token(request: Request, call_next: Any) -> Response:  # noqa: ANN401 - starlette's
        sent = request.headers.get("authorization") or request.headers.get("x-ray-authorization")
        if ray.token is None or sent == f"Bearer {ray.token}":
            answer: Response = await call_next(request)
            return answer
        if not sent:
            return PlainTextResponse("Unauthorized: Missing authentication token", 401)
        return PlainTextResponse("Forbidden: Invalid authentication token", 403)

    @app.get("/api/version")
    async def version() -> dict[str, str]:
        return VERSION

    @app.get("/api/packages/{protocol}/{name}")
    async def get_package(protocol: str, name: str) -> Response:
        uri = f"{protocol}://{name}"
        found = uri in ray.packages
        return Response() if found else PlainTextResponse(f"Package {uri} does not exist", 404)

    @app.put("/api/packages/{protocol}/{name}")
    async def put_package(protocol: str, name: str, request: Request) -> Response:
        ray.packages[f"{protocol}://{name}"] = await request.body()
        return Response()

    @app.post("/api/jobs/")
    async def submit(request: Request) -> Response:
        body = await request.json()
        return ray.submit({key: value for key, value in body.items() if value is not None})

    @app.get("/api/jobs/")
    async def list_jobs() -> list[dict[str, Any]]:
        return [ray.details(ray_id) for ray_id in ray.jobs]

    @app.get("/api/jobs/{ray_id}")
    async def get_job(ray_id: str) -> Response:
        return JSONResponse(ray.details(ray_id)) if ray_id in ray.jobs else _unknown(ray_id)

    @app.delete("/api/jobs/{ray_id}")
    async def delete(ray_id: str) -> Response:
        if ray_id not in ray.jobs:
            return _unknown(ray_id)
        status = ray.jobs[ray_id].status
        if status not in TERMINAL:
            return _failed(
                f"RuntimeError: Attempted to delete job '{ray_id}', "
                f"but it is in a non-terminal state {status}.",
                agent_status=500,
            )
        del ray.jobs[ray_id]
        return JSONResponse({"deleted": True})

    @app.post("/api/jobs/{ray_id}/stop")
    async def stop(ray_id: str) -> Response:
        if ray_id not in ray.jobs:
            return _unknown(ray_id)
        return JSONResponse({"stopped": ray.stop(ray_id)})

    @app.get("/api/jobs/{ray_id}/logs")
    async def logs(ray_id: str) -> Response:
        if ray_id not in ray.jobs:
            return _unknown(ray_id)
        return JSONResponse({"logs": ray.jobs[ray_id].logs})

    @app.websocket("/api/jobs/{ray_id}/logs/tail")
    async def tail(websocket: WebSocket, ray_id: str) -> None:
        if ray_id not in ray.jobs:
            await websocket.send_denial_response(_unknown(ray_id))
            return
        await websocket.accept()
        for line in ray.jobs[ray_id].logs.splitlines(keepends=True):
            await websocket.send_text(line)
        await websocket.close()

    @app.get("/api/cluster_status")
    async def cluster_status() -> dict[str, Any]:
        usage = {"CPU": [1.0, 64.0], "GPU": [ray.used_gpus, float(ray.gpus)]}
        known = {"loadMetricsReport": {"usage": usage}} if ray.used_gpus is not None else None
        return {"result": True, "msg": "Got cluster status.", "data": {"clusterStatus": known}}

    @app.get("/nodes")
    async def nodes() -> dict[str, Any]:
        summary = [
            {"raylet": {"state": "ALIVE", "resourcesTotal": {"CPU": 64.0, "GPU": float(ray.gpus)}}},
            {"raylet": {"state": "DEAD", "resourcesTotal": {"CPU": 64.0, "GPU": 4.0}}},
        ]
        return {"result": True, "msg": "Node summary fetched.", "data": {"summary": summary}}

    return app


def _unknown(ray_id: str) -> Response:
    return PlainTextResponse(f"Job {ray_id} does not exist", 404)


def _failed(error: str, *, agent_status: int = 400) -> Response:
    """The head passes on every refusal of its agent as HTTP 500 around the agent's traceback."""
    agent = _traceback(error)
    head = _traceback(f"RuntimeError: Request failed with status code {agent_status}: {agent}.")
    return PlainTextResponse(head, 500)


def _traceback(error: str) -> str:
    frame = '  File "/usr/lib/python3.11/site-packages/ray/dashboard/modules/job/x.py", line 1'
    return f"Traceback (most recent call last):\n{frame}, in submit_job\n    raise\n{error}\n"


def _unix_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
