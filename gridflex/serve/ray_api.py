"""Ray's own Job API, so that unmodified Ray clients talk to GridFlex.

Source:
    Ray 2.60, ``dashboard/modules/job/job_head.py`` (paths, bodies, status codes) and
    ``sdk.py`` (what the clients make of them).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic_core import to_json

from gridflex.adapters.clusters.ray_jobs import Reply
from gridflex.agents.ports import Ports
from gridflex.errors import ContractError, GridFlexError
from gridflex.jobs import JobId
from gridflex.serve import ray_bodies
from gridflex.serve.gateway import Gateway, json_reply
from gridflex.serve.job_logs import send_all
from gridflex.serve.parameters import JobName, PackageName, PackageProtocol
from gridflex.serve.problems import ProblemError, problem, problem_of


def create_ray_router(ports: Ports) -> APIRouter:  # noqa: C901 - one route each
    """Return the Job API over the stores and clusters of ``ports``."""
    api = APIRouter(prefix="/api", tags=["Ray Job API"])
    gateway = Gateway(ports)

    @api.get("/version")
    async def version() -> Response:
        """Version of Ray.

        That of the default site's cluster; what it said last while it does not answer.
        """
        return _response(await gateway.version())

    @api.get("/packages/{protocol}/{name}")
    async def get_package(protocol: PackageProtocol, name: PackageName) -> Response:
        """Check whether a package is here.

        200 if it was uploaded, 404 if not, both without a body.
        """
        found = await ports.packages.has(f"{protocol}://{name}")
        return Response(status_code=HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)

    @api.put("/packages/{protocol}/{name}")
    async def put_package(
        protocol: PackageProtocol, name: PackageName, request: Request
    ) -> Response:
        """Upload a package.

        The body is its zip file; Ray's clients do this for `--working-dir`. It is kept here and
        handed to a cluster when a job needs it.
        """
        await ports.packages.put(f"{protocol}://{name}", request.stream())
        return Response()

    @api.post("/jobs/")
    async def submit(request: Request) -> Response:
        """Submit a job.

        The body is Ray's `JobSubmitRequest`. With a `gridflex.io/` key in its metadata the job is
        held, planned and run later; any other goes to the default site at once and is never
        touched. The same job again under the same `submission_id` is submitted once.
        """
        return _response(await gateway.submit(_json_object(await request.body())))

    @api.get("/jobs/")
    async def list_jobs(request: Request) -> list[dict[str, Any]]:
        """List jobs as Ray does.

        The newest 1000 flexible ones, then what else the clusters know; one that does not answer
        is left out.
        """
        return [_shown(details, request) for details in await gateway.jobs()]

    @api.get("/jobs/{job_id}")
    async def get_job(job_id: JobName, request: Request) -> Response:
        """One job as Ray describes it.

        `message` says why a flexible job waits and until when; `/v1/jobs/{job_id}` says more.
        """
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("GET", job_id))
        return _response(json_reply(_shown(await gateway.details(job), request)))

    @api.delete("/jobs/{job_id}")
    async def delete_job(job_id: JobName) -> Response:
        """Delete a job that has ended.

        409 for a flexible job that has not: stop it first.
        """
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("DELETE", job_id))
        return _response(json_reply({"deleted": await gateway.delete(job)}))

    @api.post("/jobs/{job_id}/stop")
    async def stop_job(job_id: JobName) -> Response:
        """Stop a job for good.

        One that waits never starts. `stopped` is false where it had ended already.
        """
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("POST", job_id, "/stop"))
        await ports.jobs.request_stop(job.id, at=ports.clock.now())
        return _response(json_reply({"stopped": not job.state.is_final}))

    @api.get("/jobs/{job_id}/logs")
    async def logs(job_id: JobName) -> Response:
        """Logs of a job so far.

        Of all its runs, and why it waits if it does. The WebSocket
        `/api/jobs/{job_id}/logs/tail` follows them until the job ends.
        """
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("GET", job_id, "/logs"))
        return _response(json_reply({"logs": await gateway.logs(job)}))

    @api.websocket("/jobs/{job_id}/logs/tail")
    async def tail(websocket: WebSocket, job_id: str) -> None:
        try:
            lines = await gateway.tail(job_id)
        except ProblemError as error:
            await websocket.send_denial_response(problem(error.status, error.detail))
            return
        except GridFlexError as error:
            await websocket.send_denial_response(problem_of(error))
            return
        if lines is None:
            refusal = problem(HTTPStatus.NOT_FOUND, _unknown(job_id))
            await websocket.send_denial_response(refusal)
            return
        with gateway.following():
            await websocket.accept()
            await send_all(websocket, lines)

    return api


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
        json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()  # what others can read too
        to_json(parsed)  # no deeper than it can be kept
    except (ValueError, RecursionError) as error:
        raise ContractError(f"the body of a job submission must be JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ContractError(f"the body of a job submission must be an object, got {parsed!r:.60}")
    return parsed


def _shown(details: dict[str, Any], request: Request) -> dict[str, Any]:
    is_browser = request.headers.get("user-agent", "").startswith("Mozilla")
    return ray_bodies.redacted(details) if is_browser else details


def _response(reply: Reply) -> Response:
    return Response(reply.body, status_code=reply.status, media_type=reply.media_type)


def _unknown(job_id: str) -> str:
    return f"Job {job_id} does not exist"
