"""From jobs as they stand to the problem that the planner solves.

The current half-hour is always carried out by the plan in force; a new plan decides from the
next one on. So a job that runs now, or is about to, has worked until then when the new plan
begins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.curtailment import Curtailment, held_until, limits_at
from gridflex.fleet import (
    Site,
    allowed_sites,
    dynamic_power_kw,
    first_site,
    gpu_counts,
    shaped_power_kw,
    speed_fraction,
)
from gridflex.halfhour import HALF_HOUR, HalfHour, half_hours_needed
from gridflex.jobs import Flexibility, JobId, Shape, Tier
from gridflex.lifecycle import LEAST_REMAINING, RIGID_START, Job
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import JobDemand, Mode, PlanningProblem, SiteOutlook
from gridflex.quantiles import standard_deviation
from gridflex.settings import PlannerSettings

LONGEST_HORIZON: Final = 62 * 48

NO_TIME: Final = timedelta(0)


@dataclass(frozen=True, slots=True, eq=False)
class SiteState:
    """One site as the planner should see it.

    Args:
        site: Its description.
        price_gbp_per_mwh: Shape ``(T,)`` from the plan's start.
        intensity_gco2_per_kwh: Shape ``(T,)`` from the plan's start.
        other_gpus: Shape ``(T,)``, GPUs to leave to work that GridFlex does not steer.
        price_sd_gbp_per_mwh: Shape ``(T,)``, how far the price may be off; None if nobody says.
        intensity_sd_gco2_per_kwh: Shape ``(T,)``, the same of the intensity.
    """

    site: Site
    price_gbp_per_mwh: NDArray[np.float64]
    intensity_gco2_per_kwh: NDArray[np.float64]
    other_gpus: NDArray[np.float64]
    price_sd_gbp_per_mwh: NDArray[np.float64] | None = None
    intensity_sd_gco2_per_kwh: NDArray[np.float64] | None = None


def horizon(jobs: Sequence[Job], *, start: HalfHour, least: int) -> int:
    """Return how many half-hours a plan must look ahead to hold every job's deadline."""
    latest = max((job.flexibility.deadline for job in jobs), default=start.start)
    return min(max(least, start.until(HalfHour.containing(latest)) + 1), LONGEST_HORIZON)


def assemble(
    jobs: Sequence[Job],
    *,
    now: datetime,
    start: HalfHour,
    sites: Sequence[SiteState],
    running_now: Mapping[JobId, PlannedRun | None],
    settings: PlannerSettings,
    curtailments: Sequence[Curtailment] = (),
    away: Collection[str] = (),
) -> PlanningProblem:
    """Return the planning problem from ``start`` on.

    Args:
        jobs: Open jobs; those that their owner wants stopped are left out.
        now: GridFlex time, in the half-hour before ``start``.
        start: First half-hour to decide.
        sites: Sites in the order of the settings; the first is the default.
        running_now: Each job's run in the current half-hour by the plan in force.
        settings: Weights and overheads.
        curtailments: Orders to free power that are in force.
        away: Sites that do not answer: what runs there goes on, and what may run elsewhere is
            planned there.
    """
    maker = _DemandMaker(
        now=now,
        start=start,
        sites=[state.site for state in sites],
        settings=settings,
        held_until=held_until(curtailments),
        away=frozenset(away),
    )
    demands = tuple(
        maker.demand(job, running_now.get(job.id)) for job in jobs if not job.stop_requested_at
    )
    return PlanningProblem(
        start=start,
        jobs=demands,
        sites=tuple(
            _outlook(state, limit_kw=_limit_kw(curtailments, state, start=start)) for state in sites
        ),
        carbon_price_gbp_per_tco2=settings.carbon_price_gbp_per_tco2,
    )


class _DemandMaker:
    def __init__(
        self,
        *,
        now: datetime,
        start: HalfHour,
        sites: Sequence[Site],
        settings: PlannerSettings,
        held_until: Mapping[JobId, datetime],
        away: frozenset[str],
    ) -> None:
        self._now = now
        self._start = start
        self._sites = {site.name: site for site in sites}
        self._settings = settings
        self._held_until = held_until
        self._away = away
        self._restart = timedelta(seconds=settings.restart_s)

    def demand(self, job: Job, ordered: PlannedRun | None) -> JobDemand:
        flexibility = job.flexibility
        running_at = self._running_at(job, ordered)
        shape = self._running_shape(job, ordered) if running_at else Shape(flexibility.gpus)
        remaining, safe = self._remaining_at_start(job, running_at=running_at, shape=shape)
        is_nearly_done = running_at is not None and remaining <= LEAST_REMAINING
        work = max(1, half_hours_needed(remaining))
        ends = self._start.start + remaining
        if is_nearly_done:
            ends = min(ends, self._now + self._left_now(job))
        deadline = self._deadline(
            job, remaining, margin=safe - remaining, ends=ends if running_at else None
        )
        demand = JobDemand(
            id=job.id,
            tier=flexibility.tier,
            release=0 if running_at else self._release(job, latest=deadline - work),
            deadline=deadline,
            work=work,
            gpus=flexibility.gpus,
            power_kw={
                name: dynamic_power_kw(
                    flexibility, self._sites[name], cpus=job.request.entrypoint_cpus
                )
                for name in self._allowed(job, running_at)
            },
            interruptible=flexibility.interruptible and not is_nearly_done,
            running_at=running_at,
            restart_half_hours=self._restart / HALF_HOUR,
            carbon_cap_gco2_per_kwh=flexibility.carbon_cap_gco2_per_kwh,
            waiting_gbp_per_hour=self._settings.waiting_gbp_per_gpu_hour * flexibility.gpus,
            away=self._missed(job, running_at),
        )
        return self._shaped(job, demand, shape)

    def _shaped(self, job: Job, demand: JobDemand, running: Shape) -> JobDemand:
        """Return a demand with the other shapes in which its job may run."""
        own, by_kind = Shape(demand.gpus), dict[tuple[Shape, float], dict[str, float]]()
        for name in demand.power_kw:
            site = self._sites[name]
            shapes = _shapes(job.flexibility, site)
            if name == demand.running_at:
                shapes.add(running)
            for shape in sorted(shapes - {own}, key=astuple):
                speed = speed_fraction(job.flexibility, site, shape)
                by_kind.setdefault((shape, speed), {})[name] = shaped_power_kw(
                    job.flexibility, site, shape, cpus=job.request.entrypoint_cpus
                )
        return replace(
            demand,
            modes=tuple(
                Mode(shape.gpus, speed, power_kw, shape.power_cap_fraction)
                for (shape, speed), power_kw in by_kind.items()
            ),
            running_shape=running if demand.running_at and running != own else None,
        )

    def _release(self, job: Job, *, latest: int) -> int:
        """Return the first half-hour after an order under which the job stands still."""
        until = self._held_until.get(job.id, self._start.start)
        return max(0, min(_first_after(self._start, until), latest))

    def _running_shape(self, job: Job, ordered: PlannedRun | None) -> Shape:
        if job.live_attempt:
            return job.shape_of(job.live_attempt)
        return ordered.shape if ordered else Shape(job.flexibility.gpus)

    def _allowed(self, job: Job, running_at: str | None) -> tuple[str, ...]:
        if running_at and (running_at in self._away or not job.flexibility.interruptible):
            return (running_at,)
        allowed = allowed_sites(job.flexibility, self._sites, away=self._away)
        return allowed if running_at is None or running_at in allowed else (*allowed, running_at)

    def _missed(self, job: Job, running_at: str | None) -> tuple[str, ...]:
        """Return the sites where it might run that do not answer."""
        if running_at and not job.flexibility.interruptible:
            return tuple(self._away & {running_at})
        allowed = allowed_sites(job.flexibility, self._sites)
        return tuple(name for name in allowed if name in self._away)

    def _may_leave(self, job: Job, site: str) -> bool:
        """Return whether ``site`` does not answer and the job may run at another one."""
        return site in self._away and site not in self._allowed(job, None)

    def _running_at(self, job: Job, ordered: PlannedRun | None) -> str | None:
        site = self._place(job, ordered)
        return site if site in self._sites else None

    def _place(self, job: Job, ordered: PlannedRun | None) -> str | None:
        is_late = job.must_start(self._now, restart=self._restart)
        if job.id in self._held_until and not is_late:
            return None
        if job.live_attempt:
            return job.live_attempt.site if job.live_attempt.stop_reason is None else None
        if ordered and not self._may_leave(job, ordered.site):
            return ordered.site
        if is_late:
            return first_site(job.flexibility, self._sites, away=self._away)
        return None

    def _deadline(
        self, job: Job, remaining: timedelta, *, margin: timedelta, ends: datetime | None
    ) -> int:
        """Return the first half-hour in which the job must no longer run.

        Its deadline less what a long run would take more, as far as time allows. The half-hour
        in which its deadline falls is its own if it runs and, running on, ``ends`` in time; for a
        rigid job that is in time which is as late as its promised start may have been.
        """
        deadline, work = job.flexibility.deadline, max(1, half_hours_needed(remaining))
        late_start = RIGID_START + self._restart if job.flexibility.tier is Tier.T0 else NO_TIME
        latest = self._start.until(HalfHour.containing(deadline))
        if ends is not None and ends <= deadline + late_start:
            latest = max(latest, work)
        safe = self._start.until(HalfHour.containing(deadline - margin))
        return max(safe, min(latest, work))

    def _left_now(self, job: Job) -> timedelta:
        """Return what is left now of a job that runs or is about to, its start included."""
        attempt = job.live_attempt
        has_begun = attempt is not None and attempt.started_at is not None
        start = NO_TIME if has_begun else self._restart
        return job.remaining(self._now, restart=self._restart) + start

    def _remaining_at_start(
        self, job: Job, *, running_at: str | None, shape: Shape
    ) -> tuple[timedelta, timedelta]:
        """Return the run time that is left, as it probably is and as it safely is."""
        attempt = job.live_attempt
        is_at_work = (
            running_at is not None and attempt is not None and attempt.started_at is not None
        )
        at = self._start.start if is_at_work else self._now
        left = job.remaining(at, restart=self._restart)
        safe = job.safe_remaining(at, restart=self._restart)
        if is_at_work:
            return left, safe
        worked = timedelta(0)
        if running_at:
            speed = speed_fraction(job.flexibility, self._sites[running_at], shape)
            worked = (self._start.start - self._now) * speed
        to_come = self._restart - worked
        return max(left + to_come, LEAST_REMAINING), max(safe + to_come, LEAST_REMAINING)


def _shapes(flexibility: Flexibility, site: Site) -> set[Shape]:
    """Return the shapes that its owner (GPUs) and the site (power limits) allow a job."""
    counts = [gpus for gpus in gpu_counts(flexibility) if gpus <= site.gpus]
    caps = (1.0, *site.power_caps) if flexibility.gpus else (1.0,)
    return {Shape(gpus, cap) for gpus in counts for cap in caps}


def spread(quantiles: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the standard deviation that quantiles of `LEVELS` speak of, 0 where they say nothing.

    It is that of a normal error with the same 90 % band; None if they say nothing at all.

    Args:
        quantiles: Shape ``(T, len(LEVELS))``; NaN where a source did not say.
    """
    told = standard_deviation(quantiles)
    return None if np.isnan(told).all() else np.nan_to_num(told, nan=0.0)


def _first_after(start: HalfHour, moment: datetime) -> int:
    """Return the first half-hour, counted from ``start``, that begins at ``moment`` or later."""
    return -((start.start - moment) // HALF_HOUR)


def _limit_kw(
    curtailments: Sequence[Curtailment], state: SiteState, *, start: HalfHour
) -> NDArray[np.float64] | None:
    limits = limits_at(curtailments, state.site.name)
    if not limits:
        return None
    found = np.full(state.other_gpus.shape, np.inf)
    for until, kw in limits:
        during = slice(0, max(_first_after(start, until), 0))
        found[during] = np.minimum(found[during], kw)
    return found


def _outlook(state: SiteState, *, limit_kw: NDArray[np.float64] | None) -> SiteOutlook:
    return SiteOutlook(
        site=state.site,
        price_gbp_per_mwh=state.price_gbp_per_mwh,
        intensity_gco2_per_kwh=state.intensity_gco2_per_kwh,
        free_gpus=np.maximum(state.site.gpus - state.other_gpus, 0.0),
        limit_kw=limit_kw,
        cap_gco2_per_kwh=state.site.intensity_cap_gco2_per_kwh,
        price_sd_gbp_per_mwh=state.price_sd_gbp_per_mwh,
        intensity_sd_gco2_per_kwh=state.intensity_sd_gco2_per_kwh,
    )
