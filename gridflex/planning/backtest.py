"""A job trace replayed against a grid series, with only what was known at the time.

Half-hours count from the start of the grid series. In each one a policy says which open jobs it
wants to run; jobs that may not be paused and run, and those that can wait no longer, go first;
capacity does the rest. What a policy sees of the future is a forecast made from the past.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from gridflex import units
from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.problem import Array

HALF_HOURS_A_DAY: Final = 48


@dataclass(frozen=True, slots=True)
class Arrival:
    """One job of a trace.

    Args:
        id: The job.
        at: Half-hour in which it was submitted; it may run from there on.
        work: Half-hours it runs.
        gpus: GPUs it holds.
        power_kw: Dynamic power while it runs.
        deadline: First half-hour in which it should no longer run.
        interruptible: Whether it may be paused.
    """

    id: JobId
    at: int
    work: int
    gpus: int
    power_kw: float
    deadline: int
    interruptible: bool = True

    def __post_init__(self) -> None:
        for name, value, least in (
            ("at", self.at, 0),
            ("work", self.work, 1),
            ("gpus", self.gpus, 0),
        ):
            if value < least:
                raise ContractError(f"job {self.id}: {name} {value} is below {least}")


@dataclass(frozen=True, slots=True, eq=False)
class GridSeries:
    """Outturns of price and intensity.

    Args:
        price_gbp_per_mwh: Shape ``(T,)``.
        intensity_gco2_per_kwh: Shape ``(T,)``.
    """

    price_gbp_per_mwh: Array
    intensity_gco2_per_kwh: Array

    def __post_init__(self) -> None:
        if self.price_gbp_per_mwh.shape != self.intensity_gco2_per_kwh.shape:
            raise ContractError(
                f"grid: {self.price_gbp_per_mwh.size} prices and "
                f"{self.intensity_gco2_per_kwh.size} intensities"
            )

    @property
    def half_hours(self) -> int:
        """How long the series is."""
        return int(self.price_gbp_per_mwh.size)


class Forecast(Protocol):
    """What is expected of a series."""

    def ahead(self, series: Array, now: int, half_hours: int) -> Array:
        """Return shape ``(half_hours,)`` from ``now`` on; ``series[now:]`` is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Perfect:
    """The outturn itself: nobody has it, and nobody can do better."""

    def ahead(self, series: Array, now: int, half_hours: int) -> Array:
        """Return the outturn, its last value repeated beyond the end."""
        part = series[now : now + half_hours]
        out: Array = np.pad(part, (0, half_hours - part.size), mode="edge")
        return out


@dataclass(frozen=True, slots=True)
class Yesterday:
    """The newest day repeated."""

    def ahead(self, series: Array, now: int, half_hours: int) -> Array:
        """Return the 24 h before ``now`` again and again."""
        out: Array = np.resize(series[max(now - HALF_HOURS_A_DAY, 0) : now], half_hours)
        return out


@dataclass(frozen=True, slots=True)
class Profile:
    """The usual day plus how far the newest value is from it, fading.

    Args:
        days: Over which the usual day is taken.
        fade: Share of the distance that is left after each half-hour.
    """

    days: int = 28
    fade: float = 0.97

    def ahead(self, series: Array, now: int, half_hours: int) -> Array:
        """Return the profile with a decaying level."""
        days = min(self.days, now // HALF_HOURS_A_DAY)
        past = series[now - days * HALF_HOURS_A_DAY : now].reshape(days, HALF_HOURS_A_DAY)
        usual = past.mean(axis=0)
        level = past[-1, -1] - usual[-1]
        fading = self.fade ** np.arange(1, half_hours + 1, dtype=float)
        out: Array = np.resize(usual, half_hours) + level * fading
        return out


@dataclass(slots=True)
class OpenJob:
    """A job that has arrived and is not done."""

    arrival: Arrival
    left: int
    is_running: bool = False

    def must_run(self, now: int) -> bool:
        """Return whether waiting one half-hour more makes it late."""
        return now + self.left >= self.arrival.deadline


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a policy sees.

    Args:
        now: This half-hour.
        jobs: Open jobs in order of arrival.
        price: Expected GBP/MWh from ``now`` on.
        intensity: Expected gCO2/kWh from ``now`` on.
        score: Both, carbon at its price, GBP/MWh.
        past_score: The same of the past, newest last.
        gpus: Capacity.
    """

    now: int
    jobs: Sequence[OpenJob]
    price: Array
    intensity: Array
    score: Array
    past_score: Array
    gpus: int


class Policy(Protocol):
    """Says what runs now."""

    def wants(self, view: View) -> Sequence[JobId]:
        """Return the jobs to run in this half-hour, the most wanted first."""
        ...


@dataclass(slots=True, eq=False)
class Outcome:
    """What came of a policy.

    Args:
        energy_kwh: Used.
        cost_gbp: Of that energy at the outturn price.
        carbon_kg: Of that energy at the outturn intensity.
        waiting_gpu_hours: Time from arrival to end beyond the run time, weighted by GPUs.
        late: Jobs that ended past their deadline or never.
        pauses: How often a job was stopped before its end.
        load_gpus: Shape ``(T,)``.
        runs: By job, the half-hours in which it ran.
    """

    energy_kwh: float = 0.0
    cost_gbp: float = 0.0
    carbon_kg: float = 0.0
    waiting_gpu_hours: float = 0.0
    late: int = 0
    pauses: int = 0
    load_gpus: Array = field(default_factory=lambda: np.zeros(0))
    runs: dict[JobId, list[int]] = field(default_factory=dict)


def replay(
    arrivals: Sequence[Arrival],
    grid: GridSeries,
    policy: Policy,
    *,
    gpus: int,
    forecast: Forecast,
    carbon_price_gbp_per_tco2: float,
    look_ahead: int = 7 * HALF_HOURS_A_DAY,
    told: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Return what comes of a policy.

    Args:
        arrivals: The trace.
        grid: Outturns; a day before the first arrival at least.
        policy: What decides.
        gpus: Capacity.
        forecast: What the policy is told of the future.
        carbon_price_gbp_per_tco2: What a tonne counts for.
        look_ahead: Half-hours that the policy is told of.
        told: Called with each half-hour, for a progress bar.

    Raises:
        ContractError: A job needs more GPUs than there are, or arrives outside the series.
    """
    _check(arrivals, grid, gpus)
    score = grid.price_gbp_per_mwh + units.carbon_price_gbp_per_mwh(
        grid.intensity_gco2_per_kwh, carbon_price_gbp_per_tco2
    )
    waiting = sorted(arrivals, key=lambda job: job.at, reverse=True)
    outcome = Outcome(load_gpus=np.zeros(grid.half_hours))
    jobs: list[OpenJob] = []
    for now in range(min((job.at for job in arrivals), default=0), grid.half_hours):
        while waiting and waiting[-1].at <= now:
            jobs.append(OpenJob(waiting[-1], waiting.pop().work))
        if not jobs and not waiting:
            break
        view = View(
            now=now,
            jobs=jobs,
            price=forecast.ahead(grid.price_gbp_per_mwh, now, look_ahead),
            intensity=forecast.ahead(grid.intensity_gco2_per_kwh, now, look_ahead),
            score=forecast.ahead(score, now, look_ahead),
            past_score=score[:now],
            gpus=gpus,
        )
        _run(outcome, jobs, set(_admitted(view, policy.wants(view) if jobs else ())), now)
        jobs = [job for job in jobs if job.left]
        told(now)
    return _accounted(outcome, arrivals, grid)


def _check(arrivals: Sequence[Arrival], grid: GridSeries, gpus: int) -> None:
    for job in arrivals:
        if job.gpus > gpus:
            raise ContractError(f"job {job.id}: gpus {job.gpus} is above the capacity {gpus}")
        if not HALF_HOURS_A_DAY <= job.at < grid.half_hours:
            raise ContractError(
                f"job {job.id}: it arrives in half-hour {job.at}, which has not a day of the grid "
                f"series before it or is not among its {grid.half_hours}"
            )


def _admitted(view: View, wanted: Sequence[JobId]) -> list[JobId]:
    """Return what runs: first what must, then what is wanted, as far as there are GPUs."""
    by_id = {job.arrival.id: job for job in view.jobs}
    whole = [j for j in view.jobs if j.is_running and not j.arrival.interruptible]
    must = sorted(
        (job for job in view.jobs if job.must_run(view.now)), key=lambda job: job.arrival.deadline
    )
    free, chosen = view.gpus, dict[JobId, None]()
    for job in (*whole, *must, *(by_id[job_id] for job_id in wanted)):
        if job.arrival.id not in chosen and job.arrival.gpus <= free:
            free -= job.arrival.gpus
            chosen[job.arrival.id] = None
    return list(chosen)


def _run(outcome: Outcome, jobs: Sequence[OpenJob], running: set[JobId], now: int) -> None:
    for job in jobs:
        runs = job.arrival.id in running
        outcome.pauses += job.is_running and not runs
        job.is_running = runs
        if runs:
            job.left -= 1
            outcome.runs.setdefault(job.arrival.id, []).append(now)
            outcome.load_gpus[now] += job.arrival.gpus


def _accounted(outcome: Outcome, arrivals: Sequence[Arrival], grid: GridSeries) -> Outcome:
    for job in arrivals:
        ran = np.array(outcome.runs.get(job.id, ()), dtype=np.int64)
        kwh = units.energy_kwh(np.full(ran.size, job.power_kw))
        outcome.energy_kwh += float(kwh.sum())
        outcome.cost_gbp += float(units.cost_gbp(kwh, grid.price_gbp_per_mwh[ran]).sum())
        grams = units.emissions_gco2(kwh, grid.intensity_gco2_per_kwh[ran])
        outcome.carbon_kg += units.kg(float(grams.sum()))
        end = int(ran[-1]) + 1 if ran.size == job.work else grid.half_hours
        outcome.late += ran.size < job.work or end > job.deadline
        delay = units.HOURS_PER_HALF_HOUR * (end - job.at - job.work)
        outcome.waiting_gpu_hours += delay * job.gpus
    return outcome
