"""The clusters that the workload agent looks after, as it sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from gridflex.adapters.clusters.ray_jobs import RayJob
from gridflex.adapters.jobs.packages import PackageSink
from gridflex.errors import SourceError
from gridflex.lifecycle import JobRequest

Site = TypeVar("Site")


class Cluster(PackageSink, Protocol):
    """One Ray cluster's Job API; see `gridflex.adapters.clusters.ray_jobs.RayJobs`."""

    async def list(self) -> Sequence[RayJob]:
        """Return every job the cluster knows."""
        ...

    async def get(self, ray_id: str) -> RayJob | None:
        """Return one job, or None if the cluster does not know it."""
        ...

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        """Submit once, however often it is called with the same id."""
        ...

    async def stop(self, ray_id: str) -> bool:
        """Ask a job to stop."""
        ...


def cluster_at(site: str, clusters: Mapping[str, Site]) -> Site:
    """Return the cluster of a site.

    Raises:
        SourceError: The site is not, or no longer, in the settings.
    """
    if site not in clusters:
        raise SourceError(f"site {site} is not in the settings")
    return clusters[site]
