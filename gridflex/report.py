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
from gridflex.lifecycle import Job, Outcome, StopReason

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
        was_late_now: The same in the counterfactual.
    """

    job: Job
    ran: Account
    run_now: Account
    waited: timedelta
    waited_now: timedelta
    redone: timedelta
    was_late: bool
    was_late_now: bool


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
        mean_wait_now: The same in the counterfactual.
        pauses: How often a job was paused.
        redone: Run time spent again or on resuming.
    """

    name: str
    jobs: int
    met: int
    ran: Account
    run_now: Account
    mean_wait: timedelta
    mean_wait_now: timedelta
    pauses: int
    redone: timedelta


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one job beyond its attempts.

    Args:
        energy: As metered.
        power_kw: Dynamic power while it runs.
        unbroken: How long one unbroken run takes.
        site: Where the counterfactual runs it.
    """

    energy: Energy
    power_kw: float
    unbroken: timedelta
    site: str


def results(
    jobs: Iterable[Job],
    measured: Mapping[JobId, Measured],
    *,
    prices: Prices,
    site_gpus: Mapping[str, int],
) -> list[JobResult]:
    """Return how each job that ran to its end went.

    Args:
        jobs: Those that have not ended, or never ran, are left out.
        measured: For each of the others.
        prices: Of every half-hour in which a job ran, or would have run.
        site_gpus: GPUs of each site, all of which the counterfactual may use.

    Raises:
        ContractError: A price is missing, or a job needs more GPUs than its site has.
    """
    ran = [
        _Ran(job, start, job.ended_at) for job in jobs if (start := _start(job)) and job.ended_at
    ]
    queue = [_queued(one.job, measured[one.job.id]) for one in ran]
    starts = run_now_starts(queue, site_gpus=site_gpus)
    return [
        _result(one, measured[one.job.id], now=starts[one.job.id], prices=prices) for one in ran
    ]


@dataclass(frozen=True, slots=True)
class _Ran:
    job: Job
    started_at: datetime
    ended_at: datetime


def _queued(job: Job, measured: Measured) -> QueuedJob:
    return QueuedJob(
        job.id, job.submitted_at, measured.unbroken, job.flexibility.gpus, measured.site
    )


def _result(ran: _Ran, measured: Measured, *, now: datetime, prices: Prices) -> JobResult:
    job, deadline = ran.job, ran.job.flexibility.deadline
    run_now = spread(now, run_time=measured.unbroken, power_kw=measured.power_kw)
    return JobResult(
        job=job,
        ran=account(measured.energy, prices),
        run_now=account(run_now, prices),
        waited=ran.started_at - job.submitted_at,
        waited_now=now - job.submitted_at,
        redone=max(timedelta(0), job.run_time(ran.ended_at) - measured.unbroken),
        was_late=ran.ended_at > deadline,
        was_late_now=now + measured.unbroken > deadline,
    )


def _start(job: Job) -> datetime | None:
    return min((a.started_at for a in job.attempts if a.started_at), default=None)


def pauses(job: Job) -> int:
    """Return how often a job was paused; a run that its cluster lost is none."""
    return sum(
        attempt.stop_reason is StopReason.PAUSE and attempt.outcome is Outcome.STOPPED
        for attempt in job.attempts
    )


def saved_fraction(ran: float, run_now: float) -> float:
    """Return which share of ``run_now`` was saved; negative where more was spent.

    Prices can be negative, so the share is of the size of ``run_now``; 0 where that is 0.
    """
    return (run_now - ran) / abs(run_now) if run_now else 0.0


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
        ContractError: A job needs more GPUs than its site has, or its site is unknown.
    """
    starts: dict[JobId, datetime] = {}
    for site in sorted({job.site for job in jobs}):
        if site not in site_gpus:
            raise ContractError(f"site {site} is not one of {', '.join(sorted(site_gpus))}")
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
    return Row(
        name=name,
        jobs=len(results),
        met=sum(1 for result in results if not result.was_late and _succeeded(result)),
        ran=sum((result.ran for result in results), Account()),
        run_now=sum((result.run_now for result in results), Account()),
        mean_wait=_mean([result.waited for result in results]),
        mean_wait_now=_mean([result.waited_now for result in results]),
        pauses=sum(pauses(result.job) for result in results),
        redone=sum((result.redone for result in results), timedelta(0)),
    )


def _mean(waits: Sequence[timedelta]) -> timedelta:
    return sum(waits, timedelta(0)) / max(len(waits), 1)


def _succeeded(result: JobResult) -> bool:
    return result.job.state is JobState.SUCCEEDED
