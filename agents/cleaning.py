"""Removes uploaded packages that nothing waits for, once a day."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from gridflex.adapters.job_store import JobStore
from gridflex.adapters.packages import PackageStore
from gridflex.errors import SourceError

log = logging.getLogger(__name__)

EVERY: Final = timedelta(days=1)
KEPT: Final = timedelta(days=1)
"""How long a package stays although no job needs it: its job may be about to be submitted."""


class Cleaner:
    """Prunes packages; checkpoints belong to the owners of the jobs and stay.

    Args:
        jobs: Whose open jobs need their packages.
        packages: Uploaded packages.
    """

    def __init__(self, *, jobs: JobStore, packages: PackageStore) -> None:
        self._jobs = jobs
        self._packages = packages
        self._due: datetime | None = None

    async def tick(self, wall: datetime) -> int:
        """Prune if a day has passed since the last time, and return how many files are gone.

        Args:
            wall: Wall time, by which files have their age.
        """
        if self._due and wall < self._due:
            return 0
        self._due = wall + EVERY
        needed = {uri for job in await self._jobs.open_jobs() for uri in job.request.package_uris}
        try:
            return await self._packages.prune(keep=needed, before=wall - KEPT)
        except SourceError as error:
            log.warning("packages are pruned tomorrow: %s", error)
            return 0
