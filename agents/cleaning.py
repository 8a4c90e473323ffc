"""Removes once a day what is kept no longer: old records, packages that nothing waits for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Final, Protocol

from gridflex.adapters.jobs.packages import PackageStore
from gridflex.adapters.jobs.store import JobStore
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


class Forget(Protocol):
    """Removes old records, such as `gridflex.adapters.jobs.plan_store.PlanStore.forget_inputs`."""

    def __call__(self, *, before: datetime) -> Awaitable[int]:
        """Remove what is older, and return how much that was."""
        ...


class Retention:
    """Forgets one kind of record when it has grown old.

    Args:
        what: Its name, for the log.
        forget: Removes it.
        kept_days: How long it is kept; None is for good.
    """

    def __init__(self, what: str, forget: Forget, *, kept_days: float | None) -> None:
        self._what = what
        self._forget = forget
        self._kept = None if kept_days is None else timedelta(days=kept_days)
        self._due: datetime | None = None

    async def tick(self, now: datetime) -> int:
        """Forget if a day has passed since the last time, and return how much.

        Args:
            now: GridFlex time, by which records have their age.
        """
        if self._kept is None or (self._due and now < self._due):
            return 0
        self._due = now + EVERY
        try:
            forgotten = await self._forget(before=now - self._kept)
        except SourceError as error:
            log.warning("old %s are removed tomorrow: %s", self._what, error)
            return 0
        if forgotten:
            log.info("removed %d old %s", forgotten, self._what)
        return forgotten
