"""When the newest plan runs a job that waits, what that half-hour is like, and what forbids it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from gridflex.adapters.jobs.curtailment_store import CurtailmentStore
from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.curtailment import Curtailment, held_by
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import AttemptState, Job
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import SiteOutlook
from gridflex.serve.ray_bodies import NextRun

PLANS_REMEMBERED: Final = 4


class NextRuns:
    """Looks jobs up in the newest plan.

    Args:
        plans: Where plans are kept.
    """

    def __init__(self, plans: PlanStore) -> None:
        self._plans = plans
        self._outlooks: dict[int, Mapping[str, SiteOutlook]] = {}

    async def of(self, job_id: JobId, now: datetime) -> NextRun | None:
        """Return the next run of one job, or None if the plan has none."""
        found = await self._plans.next_run(job_id, after=HalfHour.containing(now))
        if found is None:
            return None
        plan, run = found
        return _expected(run, plan.start, await self._expectations(plan.id))

    async def of_all(self, now: datetime) -> Mapping[JobId, NextRun]:
        """Return the next run of every job that the newest plan runs again."""
        plan = await self._plans.newest()
        if plan is None:
            return {}
        outlooks = await self._expectations(plan.id)
        current = HalfHour.containing(now)
        ahead = {
            job_id: next((run for run in runs if run.end > current), None)
            for job_id, runs in plan.runs.items()
        }
        return {
            job_id: _expected(run, plan.start, outlooks)
            for job_id, run in ahead.items()
            if run is not None
        }

    async def _expectations(self, plan_id: int) -> Mapping[str, SiteOutlook]:
        if plan_id not in self._outlooks:
            self._outlooks[plan_id] = await self._plans.outlooks(plan_id)
            while len(self._outlooks) > PLANS_REMEMBERED:
                del self._outlooks[min(self._outlooks)]
        return self._outlooks[plan_id]


async def order_over(job: Job, curtailments: CurtailmentStore, now: datetime) -> Curtailment | None:
    """Return the order to free power under which a job stands still or is being paused."""
    attempt = job.live_attempt
    may_be_held = job.is_waiting or (attempt and attempt.state is AttemptState.STOPPING)
    return held_by(await curtailments.active(now)).get(job.id) if may_be_held else None


def _expected(run: PlannedRun, start: HalfHour, outlooks: Mapping[str, SiteOutlook]) -> NextRun:
    outlook = outlooks.get(run.site)
    if outlook is None:
        return NextRun(run.start.start, run.site)
    first = start.until(run.start)
    when = slice(first, first + run.half_hours)
    return NextRun(
        start=run.start.start,
        site=run.site,
        price_gbp_per_mwh=float(outlook.price_gbp_per_mwh[when].mean()),
        intensity_gco2_per_kwh=float(outlook.intensity_gco2_per_kwh[when].mean()),
    )
