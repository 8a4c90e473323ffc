"""Ray's own Job API, so that unmodified Ray clients talk to GridFlex.

A job whose metadata has a ``gridflex.io/`` key is kept, planned and run later; any other is
passed to the default site at once and never touched. Uploaded packages are always kept here
and handed to a cluster when a job needs them.

Source:
    Ray 2.60, ``dashboard/modules/job/job_head.py`` (paths, bodies, status codes) and
    ``sdk.py`` (what the clients make of them).
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic_core import to_json

from gridflex.adapters.clusters.ray_jobs import RayJobs, Reply
from gridflex.adapters.jobs.packages import package_name
from gridflex.adapters.jobs.store import Added
from gridflex.agents.clusters import cluster_at
from gridflex.agents.ports import Ports
from gridflex.agents.site_sizes import Sized
from gridflex.curtailment import Curtailment, held_by
from gridflex.dispatch import ATTEMPT_OF
from gridflex.errors import ContractError, GridFlexError, MetadataError, SourceError
from gridflex.fleet import MOST_GPUS
from gridflex.jobs import JobId, Submission, parse_flexibility
from gridflex.lifecycle import Job, JobRequest
from gridflex.serve import ray_bodies
from gridflex.serve.job_logs import all_logs, follow, send_all
from gridflex.serve.next_runs import NextRuns, order_over
from gridflex.serve.problems import ProblemError, problem, problem_of
from gridflex.serve.run_times import LearnedRunTimes
from gridflex.together import both, together

log = logging.getLogger(__name__)

SIZES_KEPT_S: Final = 30.0
"""Wall time after which a cluster whose size is not configured is asked for it again."""

MOST_FOLLOWED: Final = 800
"""Logs that one replica follows; each holds one of its places for requests."""

LISTED: Final = 1_000
"""Flexible jobs in the answer of ``GET /api/jobs/``, newest first."""


def create_gateway(ports: Ports) -> APIRouter:  # noqa: C901 - one route each
    """Return the Job API over the stores and clusters of ``ports``."""
    api = APIRouter(prefix="/api", tags=["Ray Job API"])
    gateway = Gateway(ports)

    @api.get("/version")
    async def version() -> Response:
        return _response(await gateway.version())

    @api.get("/packages/{protocol}/{name}")
    async def get_package(protocol: str, name: str) -> Response:
        found = await ports.packages.has(f"{protocol}://{name}")
        return Response(status_code=HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)

    @api.put("/packages/{protocol}/{name}")
    async def put_package(protocol: str, name: str, request: Request) -> Response:
        await ports.packages.put(f"{protocol}://{name}", request.stream())
        return Response()

    @api.post("/jobs/")
    async def submit(request: Request) -> Response:
        return _response(await gateway.submit(_json_object(await request.body())))

    @api.get("/jobs/")
    async def list_jobs(request: Request) -> list[dict[str, Any]]:
        return [_shown(details, request) for details in await gateway.jobs()]

    @api.get("/jobs/{job_id}")
    async def get_job(job_id: str, request: Request) -> Response:
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("GET", job_id))
        return _response(_json(_shown(await gateway.details(job), request)))

    @api.delete("/jobs/{job_id}")
    async def delete_job(job_id: str) -> Response:
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("DELETE", job_id))
        return _response(_json({"deleted": await gateway.delete(job)}))

    @api.post("/jobs/{job_id}/stop")
    async def stop_job(job_id: str) -> Response:
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("POST", job_id, "/stop"))
        await ports.jobs.request_stop(job.id, at=ports.clock.now())
        return _response(_json({"stopped": not job.state.is_final}))

    @api.get("/jobs/{job_id}/logs")
    async def logs(job_id: str) -> Response:
        job = await ports.jobs.get(JobId(job_id))
        if job is None:
            return _response(await gateway.forward("GET", job_id, "/logs"))
        return _response(_json({"logs": await gateway.logs(job)}))

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


class Gateway:
    """Decides for each request whether it is about a flexible job.

    Args:
        ports: Stores, clusters and the clock.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._default = ports.clusters[ports.settings.sites[0].name]
        self._next_runs = NextRuns(ports.plans)
        self._version: Reply | None = None
        self._sizes = ports.sizes(renewed_every_s=SIZES_KEPT_S)
        self._run_times = LearnedRunTimes(ports.jobs, ports.models)
        self._followed = 0

    async def version(self) -> Reply:
        """Return what the default cluster says of itself, or last said.

        Raises:
            SourceError: It does not answer and never did.
        """
        try:
            self._version = await self._default.forward("GET", "/api/version")
        except SourceError:
            if self._version is None:
                raise
        return self._version

    async def submit(self, body: Mapping[str, Any]) -> Reply:
        """Keep a flexible job, or pass any other on; both are safe to repeat under one id."""
        if not ray_bodies.is_flexible(body):
            return await self._pass_on(body)
        submission = ray_bodies.parse_submission(body)
        chosen = submission.chosen_id
        job_id = ray_bodies.checked_id(chosen or ray_bodies.generated_id())
        request = submission.request()
        known = await self._ports.jobs.get(job_id) if chosen else None
        if known is not None:
            is_taken = known.request.digest() != request.digest()
        else:
            is_taken = chosen is not None and await self._is_taken(job_id)
        if is_taken:
            raise ProblemError(HTTPStatus.CONFLICT, _exists(job_id))
        if known is None:
            await self._keep(job_id, request)
        return _json({"job_id": job_id, "submission_id": job_id})

    async def jobs(self) -> list[dict[str, Any]]:
        """Return flexible jobs and what else the clusters know, attempts left out.

        A cluster that does not answer is left out, with a warning.
        """
        now = self._ports.clock.now()
        next_runs = await self._next_runs.of_all(now)
        orders = held_by(await self._ports.curtailments.active(now))
        flexible = [
            ray_bodies.details(
                job,
                next_run=next_runs.get(job.id),
                order=orders.get(job.id),
                now=now,
                wall_time=self._ports.clock.wall,
            )
            for job in await self._ports.jobs.newest(limit=LISTED)
        ]
        others = await together(self._others(c) for c in self._ports.clusters.values())
        return [*flexible, *(details for of_site in others for details in of_site)]

    async def details(self, job: Job) -> dict[str, Any]:
        """Return one flexible job as Ray's ``JobDetails``."""
        next_run, order = await both(self._next_run(job), self._order(job))
        clock = self._ports.clock
        return ray_bodies.details(
            job, next_run=next_run, order=order, now=clock.now(), wall_time=clock.wall
        )

    async def logs(self, job: Job) -> str:
        """Return what a flexible job has printed so far, and why it waits if it does."""
        return await all_logs(job, self._ports.clusters, notice=self._notice)

    async def delete(self, job: Job) -> bool:
        """Delete a flexible job that has ended, here and on its clusters.

        Raises:
            ProblemError: It has not ended.
        """
        if not await self._ports.jobs.delete(job.id, at=self._ports.clock.now()):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                f"Attempted to delete job '{job.id}', but it is in a non-terminal state "
                f"{job.state}; stop it first",
            )
        for attempt in [one for one in job.attempts if one.has_its_id]:
            try:
                await cluster_at(attempt.site, self._ports.clusters).delete(attempt.ray_id)
            except GridFlexError as error:
                log.warning("attempt %s stays on its cluster: %s", attempt.ray_id, error)
        return True

    async def forward(self, method: str, job_id: str, suffix: str = "") -> Reply:
        """Pass on a request about a job that is not flexible, to the site that may know it."""
        cluster = await self._cluster_of(job_id)
        return await cluster.forward(method, f"{ray_bodies.path(job_id)}{suffix}")

    @contextmanager
    def following(self) -> Iterator[None]:
        """Count a log as followed while the block runs."""
        self._followed += 1
        try:
            yield
        finally:
            self._followed -= 1

    async def tail(self, job_id: str) -> AsyncGenerator[str] | None:
        """Return what a job prints until it ends, or None if nobody knows the job.

        Raises:
            ProblemError: So many logs are followed that other requests would find no place.
        """
        if self._followed >= MOST_FOLLOWED:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MOST_FOLLOWED} logs are followed already; ask for the logs so far instead "
                "(ray job logs without --follow)",
            )
        if await self._ports.jobs.get(JobId(job_id)):
            return follow(
                JobId(job_id),
                jobs=self._ports.jobs,
                clusters=self._ports.clusters,
                notice=self._notice,
            )
        cluster = await self._cluster_of(job_id)
        return cluster.tail(job_id) if await cluster.get(job_id) else None

    async def _notice(self, job: Job) -> str:
        if not job.is_waiting:
            return ""
        next_run, order = await both(self._next_run(job), self._order(job))
        return ray_bodies.notice(job, next_run, order, now=self._ports.clock.now())

    async def _next_run(self, job: Job) -> ray_bodies.NextRun | None:
        return await self._next_runs.of(job.id, self._ports.clock.now()) if job.is_waiting else None

    async def _order(self, job: Job) -> Curtailment | None:
        return await order_over(job, self._ports.curtailments, self._ports.clock.now())

    async def _pass_on(self, body: Mapping[str, Any]) -> Reply:
        chosen = body.get("submission_id") or body.get("job_id")
        if isinstance(chosen, str):
            owner = ray_bodies.attempt_owner(chosen)
            for job_id in (JobId(chosen), *([owner[0]] if owner else [])):
                if await self._ports.jobs.get(job_id):
                    raise ProblemError(HTTPStatus.CONFLICT, _exists(chosen))
        for uri in ray_bodies.package_uris(body):
            if await self._ports.packages.has(uri):
                await self._ports.packages.supply(self._default, uri)
        return await self._default.forward("POST", "/api/jobs/", json=dict(body))

    async def _check_packages(self, request: JobRequest) -> None:
        for uri in request.package_uris:
            if not await self._ports.packages.has(uri):
                raise ContractError(
                    f"runtime_env: package {uri} never arrived; upload it first with "
                    f"PUT /api/packages/gcs/{package_name(uri)}, as Ray's clients do"
                )

    async def _is_taken(self, job_id: JobId) -> bool:
        """Whether the default cluster has a job of this name."""
        try:
            return await self._default.get(job_id) is not None
        except SourceError:
            return False  # dispatch asks again before anything runs

    async def _keep(self, job_id: JobId, request: JobRequest) -> None:
        await self._check_packages(request)
        submitted_at = self._ports.clock.now()
        found = await self._sizes.read()
        submission = Submission(
            submitted_at=submitted_at,
            entrypoint_gpus=request.entrypoint_gpus,
            likely_duration=self._ports.settings.default_duration,
            site_gpus={site.name: site.gpus for site in found.sites},
            run_time=await self._run_times.of(request),
        )
        try:
            flexibility = parse_flexibility(request.metadata, submission)
        except MetadataError as error:
            raise (_too_early(request, submission, found) or error) from error
        if flexibility is None:
            raise AssertionError("a job with a gridflex.io/ key is flexible")
        added = await self._ports.jobs.add(job_id, request, flexibility, submitted_at=submitted_at)
        if added is Added.CONFLICT:
            raise ProblemError(HTTPStatus.CONFLICT, _exists(job_id))

    async def _cluster_of(self, job_id: str) -> RayJobs:
        owner = ray_bodies.attempt_owner(job_id)
        job = await self._ports.jobs.get(owner[0]) if owner else None
        attempts = [attempt for attempt in job.attempts if attempt.ray_id == job_id] if job else []
        return cluster_at(attempts[0].site, self._ports.clusters) if attempts else self._default

    async def _others(self, cluster: RayJobs) -> list[dict[str, Any]]:
        try:
            jobs = await cluster.list()
        except SourceError as error:
            log.warning("jobs of %s are not listed: %s", cluster.base_url, error)
            return []
        return [
            dict(job.details)
            for job in jobs
            if ATTEMPT_OF not in (job.details.get("metadata") or {})
        ]


def _too_early(request: JobRequest, submission: Submission, found: Sized) -> SourceError | None:
    """Return what to say of a job that may be refused for sites whose size is not known yet."""
    most = dict.fromkeys(found.unsized, MOST_GPUS)
    try:
        parse_flexibility(
            request.metadata, replace(submission, site_gpus={**submission.site_gpus, **most})
        )
    except MetadataError:
        return None
    why = "; ".join(f"{name}: {reason}" for name, reason in found.degraded.items())
    return SourceError(f"whether a site has the GPUs for the job is not known yet: {why}")


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


def _json(body: Mapping[str, Any]) -> Reply:
    return Reply(HTTPStatus.OK, json.dumps(body).encode(), "application/json")


def _response(reply: Reply) -> Response:
    return Response(reply.body, status_code=reply.status, media_type=reply.media_type)


def _unknown(job_id: str) -> str:
    return f"Job {job_id} does not exist"


def _exists(job_id: str) -> str:
    return f"Job with submission_id {job_id} already exists."
