"""What shifting saved: the jobs as they ran, against running each at once, against the bound.

Energy is what was metered. Prices and intensities are outturns where they are known. The
run-now counterfactual starts every job when it was submitted or when enough GPUs are free,
first come first served, and runs it through; it is *modelled*, and it respects capacity,
because "everything at once" is a schedule that no cluster could have run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush

from gridflex import units
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, JobState, Tier
from gridflex.lifecycle import Job

Energy = Mapping[HalfHour, float]
"""kWh at the meter in each half-hour."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a kWh cost and emitted in each half-hour.

    Args:
        price_gbp_per_mwh: Wholesale price.
        intensity_gco2_per_kwh: Average carbon intensity.
    """

    price_gbp_per_mwh: Mapping[HalfHour, float]
    intensity_gco2_per_kwh: Mapping[HalfHour, float]


@dataclass(frozen=True, slots=True)
class Account:
    """Energy with what it cost and emitted.

    Args:
        energy_kwh: Dynamic energy at the meter.
        cost_gbp: At wholesale price.
        carbon_kg: At average intensity.
    """

    energy_kwh: float = 0.0
    cost_gbp: float = 0.0
    carbon_kg: float = 0.0

    def __add__(self, other: Account) -> Account:
        return Account(
            self.energy_kwh + other.energy_kwh,
            self.cost_gbp + other.cost_gbp,
            self.carbon_kg + other.carbon_kg,
        )

    def objective_gbp(self, carbon_price_gbp_per_tco2: float) -> float:
        """Return the cost with carbon at a price."""
        return self.cost_gbp + self.carbon_kg / units.KG_PER_TONNE * carbon_price_gbp_per_tco2


@dataclass(frozen=True, slots=True)
class JobResult:
    """How one job went.

    Args:
        job: With its attempts; it has ended.
        ran: As metered.
        run_now: The counterfactual.
        waited: From submission to its first start.
        waited_now: The same in the counterfactual.
        redone: Run time beyond that of one unbroken run, from pauses and resumes.
        was_late: Whether it ended after its deadline.
    """

    job: Job
    ran: Account
    run_now: Account
    waited: timedelta
    waited_now: timedelta
    redone: timedelta
    was_late: bool


@dataclass(frozen=True, slots=True)
class Row:
    """Some jobs together.

    Args:
        name: A tier, or ``all``.
        jobs: How many.
        met: How many ended by their deadline.
        ran: As metered.
        run_now: The counterfactual.
        mean_wait: From submission to first start.
        pauses: How often a job was paused.
        redone: Run time spent again or on resuming.
    """

    name: str
    jobs: int
    met: int
    ran: Account
    run_now: Account
    mean_wait: timedelta
    pauses: int
    redone: timedelta


def account(energy: Energy, prices: Prices) -> Account:
    """Return what this energy cost and emitted.

    Raises:
        ContractError: A half-hour has no price or no intensity.
    """
    total = Account()
    for half_hour, energy_kwh in energy.items():
        try:
            price = prices.price_gbp_per_mwh[half_hour]
            intensity = prices.intensity_gco2_per_kwh[half_hour]
        except KeyError as error:
            raise ContractError(f"no price or intensity is known for {half_hour}") from error
        total += Account(
            energy_kwh,
            units.cost_gbp(energy_kwh, price),
            units.kg(units.emissions_gco2(energy_kwh, intensity)),
        )
    return total


def spread(start: datetime, *, run_time: timedelta, power_kw: float) -> dict[HalfHour, float]:
    """Return the energy of an unbroken run at steady power, by half-hour."""
    energy: dict[HalfHour, float] = {}
    end = start + run_time
    half_hour = HalfHour.containing(start)
    while half_hour.start < end:
        inside = min(end, half_hour.end) - max(start, half_hour.start)
        energy[half_hour] = units.energy_over_kwh(power_kw, inside)
        half_hour += 1
    return energy


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job as a first-come-first-served queue sees it.

    Args:
        id: The job.
        submitted_at: When it arrives.
        run_time: How long it runs.
        gpus: GPUs it holds meanwhile.
        site: Where.
    """

    id: JobId
    submitted_at: datetime
    run_time: timedelta
    gpus: int
    site: str


def run_now_starts(
    jobs: Sequence[QueuedJob], *, site_gpus: Mapping[str, int]
) -> dict[JobId, datetime]:
    """Return when each job starts if every one runs as soon as enough GPUs are free.

    Whoever came first goes first; a later job that fits may pass one that does not, as on a
    Ray cluster.

    Args:
        jobs: In any order.
        site_gpus: GPUs of each site.

    Raises:
        ContractError: A job needs more GPUs than its site has.
    """
    starts: dict[JobId, datetime] = {}
    for site in {job.site for job in jobs}:
        here = sorted(
            (job for job in jobs if job.site == site), key=lambda job: (job.submitted_at, job.id)
        )
        starts |= _run_now_at(here, gpus=site_gpus[site])
    return starts


def _run_now_at(jobs: Sequence[QueuedJob], *, gpus: int) -> dict[JobId, datetime]:
    for job in jobs:
        if job.gpus > gpus:
            raise ContractError(f"job {job.id} needs {job.gpus} GPUs, {job.site} has {gpus}")
    starts: dict[JobId, datetime] = {}
    ends: list[tuple[datetime, int]] = []
    waiting: list[QueuedJob] = []
    arrivals = list(jobs)
    free = gpus
    while arrivals or waiting:
        now = _next_event(arrivals, ends)
        while arrivals and arrivals[0].submitted_at <= now:
            waiting.append(arrivals.pop(0))
        while ends and ends[0][0] <= now:
            free += heappop(ends)[1]
        for job in list(waiting):
            if job.gpus <= free:
                waiting.remove(job)
                starts[job.id] = now
                free -= job.gpus
                heappush(ends, (now + job.run_time, job.gpus))
    return starts


def _next_event(arrivals: Sequence[QueuedJob], ends: Sequence[tuple[datetime, int]]) -> datetime:
    times = [arrivals[0].submitted_at] if arrivals else []
    return min([*times, *([ends[0][0]] if ends else [])])


def rows(results: Iterable[JobResult]) -> list[Row]:
    """Return one row for each tier that occurs, and one for all."""
    everything = list(results)
    by_tier = {tier: [r for r in everything if r.job.flexibility.tier is tier] for tier in Tier}
    named = [(tier.value, some) for tier, some in by_tier.items() if some]
    return [_row(name, some) for name, some in [*named, ("all", everything)]]


def _row(name: str, results: Sequence[JobResult]) -> Row:
    waits = [result.waited for result in results]
    return Row(
        name=name,
        jobs=len(results),
        met=sum(1 for result in results if not result.was_late and _succeeded(result)),
        ran=sum((result.ran for result in results), Account()),
        run_now=sum((result.run_now for result in results), Account()),
        mean_wait=sum(waits, timedelta(0)) / max(len(waits), 1),
        pauses=sum(len(result.job.attempts) - 1 for result in results if result.job.attempts),
        redone=sum((result.redone for result in results), timedelta(0)),
    )


def _succeeded(result: JobResult) -> bool:
    return result.job.state is JobState.SUCCEEDED
