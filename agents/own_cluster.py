"""The Job API of the cluster on which this process runs, whatever the sites of the settings are."""

from __future__ import annotations

import asyncio

import ray
from ray.job_submission import JobSubmissionClient

from gridflex.adapters.clusters.ray_auth import find_token
from gridflex.adapters.clusters.ray_jobs import RayJob, RayJobs
from gridflex.errors import SourceError
from gridflex.lifecycle import JobRequest


class OwnCluster:
    """Found when it is first needed; implements `gridflex.agents.retraining.Cluster`."""

    def __init__(self) -> None:
        self._found: RayJobs | None = None

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        """Submit a job; one that is there already stays as it is.

        Raises:
            SourceError: The cluster has no dashboard, or that does not answer.
        """
        await (await self._jobs()).submit(ray_id, request)

    async def get(self, ray_id: str) -> RayJob | None:
        """Return one job, or None if the cluster does not know it.

        Raises:
            SourceError: The cluster has no dashboard, or that does not answer.
        """
        return await (await self._jobs()).get(ray_id)

    async def _jobs(self) -> RayJobs:
        if self._found is None:
            self._found = RayJobs(await asyncio.to_thread(_address), find_token())
        return self._found


def _address() -> str:
    gcs_address = ray.get_runtime_context().gcs_address
    try:
        found: str = JobSubmissionClient(gcs_address).get_address()
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SourceError(f"the Job API of the Ray at {gcs_address}: {error}") from error
    return found
