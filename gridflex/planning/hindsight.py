"""What no schedule could have beaten, once prices and run times are known.

A finished job is taken as so many whole half-hours of work, for which `on_time_bound_gbp` holds
wherever on the clock they began, plus a rest that costs no less than the cheapest half-hour
that the job could have used. Pauses cost nothing here, so real schedules stay above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridflex import units
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.certificate import lp_prices, on_time_bound_gbp
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook
from gridflex.planning.tables import Tables, market_of, tables_of


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """One job that ran, as one unbroken run.

    Args:
        id: The job.
        tier: Its flexibility class.
        submitted_at: When it arrived.
        until: Its deadline, or its end where that was later.
        run_time: Of one unbroken run.
        gpus: GPUs it held.
        power_kw: Dynamic power while it ran.
        site: Where.
        interruptible: Whether it could be paused.
    """

    id: JobId
    tier: Tier
    submitted_at: datetime
    until: datetime
    run_time: timedelta
    gpus: int
    power_kw: float
    site: str
    interruptible: bool

    @property
    def whole_half_hours(self) -> int:
        """Half-hours of work, the rest left out."""
        return self.run_time // HALF_HOUR

    @property
    def rest_kwh(self) -> float:
        """Energy of what is left out."""
        return units.energy_over_kwh(self.power_kw, self.run_time % HALF_HOUR)


def hindsight_bound_gbp(
    jobs: Sequence[FinishedJob],
    sites: Sequence[SiteOutlook],
    *,
    start: HalfHour,
    carbon_price_gbp_per_tco2: float,
    budget_s: float = 5.0,
) -> float:
    """Return a bound on cost plus carbon of every way to run these jobs on time.

    Args:
        jobs: What ran.
        sites: Outturns from ``start`` to the last ``until``, and all GPUs that there were.
        start: Half-hour of index 0, no later than the first arrival.
        carbon_price_gbp_per_tco2: What a tonne counts for.
        budget_s: Wall time for the prices of capacity; the bound holds for any.
    """
    problem = PlanningProblem(
        start=start,
        jobs=tuple(_demand(job, start) for job in jobs if job.whole_half_hours),
        sites=tuple(sites),
        carbon_price_gbp_per_tco2=carbon_price_gbp_per_tco2,
    )
    tables = tables_of(problem)
    market = market_of(problem, tables)
    found = lp_prices(tables, market, budget_s=budget_s)
    markets = [market, *([found[0]] if found else [])]
    whole = max(on_time_bound_gbp(tables, priced) for priced in markets)
    site_of = {outlook.site.name: site for site, outlook in enumerate(sites)}
    return whole + sum(_rest_gbp(job, tables, site_of[job.site], start) for job in jobs)


def _demand(job: FinishedJob, start: HalfHour) -> JobDemand:
    low, high = _window(job, start)
    return JobDemand(
        id=job.id,
        tier=job.tier,
        release=low,
        deadline=high,
        work=job.whole_half_hours,
        gpus=job.gpus,
        power_kw={job.site: job.power_kw},
        interruptible=job.interruptible,
    )


def _rest_gbp(job: FinishedJob, tables: Tables, site: int, start: HalfHour) -> float:
    low, high = _window(job, start)
    per_half_hour_at_1_kw = float(tables.score[site, low:high].min())
    return job.rest_kwh * per_half_hour_at_1_kw / units.energy_kwh(1.0)


def _window(job: FinishedJob, start: HalfHour) -> tuple[int, int]:
    first = HalfHour.containing(job.submitted_at)
    return start.until(first), start.until(HalfHour.at_or_after(job.until))
