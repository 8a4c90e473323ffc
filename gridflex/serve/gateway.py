"""What becomes of a request to Ray's own Job API, whose paths are in `gridflex.serve.ray_api`.

A job whose metadata has a ``gridflex.io/`` key is kept, planned and run later; any other is
passed to the default site at once and never touched. Uploaded packages are always kept here
and handed to a cluster when a job needs them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

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
from gridflex.serve.job_logs import all_logs, follow
from gridflex.serve.next_runs import NextRuns, order_over
from gridflex.serve.problems import ProblemError
from gridflex.serve.run_times import LearnedRunTimes
from gridflex.together import both, together

log = logging.getLogger(__name__)

SIZES_KEPT_S: Final = 30.0
"""Wall time after which a cluster whose size is not configured is asked for it again."""

MOST_FOLLOWED: Final = 800
"""Logs that one replica follows; each holds one of its places for requests."""

LISTED: Final = 1_000
"""Flexible jobs in the answer of ``GET /api/jobs/``, newest first."""


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
        return json_reply({"job_id": job_id, "submission_id": job_id})

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


def json_reply(body: Mapping[str, Any]) -> Reply:
    """Return an answer of ours as a cluster would give it."""
    return Reply(HTTPStatus.OK, json.dumps(body).encode(), "application/json")


def _exists(job_id: str) -> str:
    return f"Job with submission_id {job_id} already exists."
