"""A planning problem as arrays, and what a schedule in it comes to.

Jobs, sites and half-hours are indexes: shapes ``(J,)``, ``(S,)``, ``(T,)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridflex import units
from gridflex.jobs import JobId
from gridflex.planning.problem import Array, JobDemand, PlanningProblem
from gridflex.planning.schedule import ROUNDING, Index, Runs, Work, half_hours_of


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and when one job runs.

    Args:
        site: Index of the site.
        runs: ``(first half-hour, length)`` in order of time, half-hours of the problem.
    """

    site: int
    runs: Runs


@dataclass(frozen=True, slots=True)
class Figures:
    """What one or many placements come to."""

    energy_kwh: float = 0.0
    cost_gbp: float = 0.0
    carbon_kg: float = 0.0
    waiting_gbp: float = 0.0
    waiting_gpu_hours: float = 0.0
    absolute_gbp: float = 0.0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.energy_kwh + other.energy_kwh,
            self.cost_gbp + other.cost_gbp,
            self.carbon_kg + other.carbon_kg,
            self.waiting_gbp + other.waiting_gbp,
            self.waiting_gpu_hours + other.waiting_gpu_hours,
            self.absolute_gbp + other.absolute_gbp,
        )


class Arrays:
    """A planning problem as arrays.

    Args:
        problem: What to plan.

    Attributes:
        price: Shape ``(S, T)``, GBP/MWh.
        intensity: Shape ``(S, T)``, gCO2/kWh.
        score: Shape ``(S, T)``, GBP that a half-hour at 1 kW counts for, carbon included.
        free: Shape ``(S, T)``, GPUs that may be filled.
        power_kw: Shape ``(J, S)``, NaN where a job may not run.
        release: Shape ``(J,)``, first half-hour.
        deadline: Shape ``(J,)``, first half-hour past the deadline, at most T.
        gpus: Shape ``(J,)``.
        work: Shape ``(J,)``, half-hours.
        waiting_gbp: Shape ``(J,)``, per half-hour of delay of one half-hour of work.
    """

    def __init__(self, problem: PlanningProblem) -> None:
        self.problem = problem
        self.half_hours = problem.half_hours
        self.price = np.array([site.price_gbp_per_mwh for site in problem.sites], dtype=float)
        self.intensity = np.array(
            [site.intensity_gco2_per_kwh for site in problem.sites], dtype=float
        )
        self.free = np.array([site.free_gpus for site in problem.sites], dtype=float)
        price = self.price + units.carbon_price_gbp_per_mwh(
            self.intensity, problem.carbon_price_gbp_per_tco2
        )
        self.score = units.cost_gbp(np.full_like(price, units.energy_kwh(1.0)), price)
        jobs = problem.jobs
        names = [site.site.name for site in problem.sites]
        self.power_kw = np.array(
            [[job.power_kw.get(name, np.nan) for name in names] for job in jobs], dtype=float
        ).reshape(len(jobs), len(names))
        self.release = _whole(jobs, "release")
        self.deadline = np.clip(_whole(jobs, "deadline"), 0, self.half_hours)
        self.gpus = _whole(jobs, "gpus")
        self.work = _whole(jobs, "work")
        waiting = np.array([job.waiting_gbp_per_hour for job in jobs], dtype=float)
        self.waiting_gbp = waiting * units.HOURS_PER_HALF_HOUR / np.maximum(self.work, 1)
        self.running_at = np.array(
            [-1 if job.running_at is None else names.index(job.running_at) for job in jobs],
            dtype=np.int64,
        )

    def sites_of(self, job: int) -> list[int]:
        """Return the sites where a job may be placed now; the one it cannot leave, if so."""
        if self.is_held(job):
            return [int(self.running_at[job])]
        return [int(site) for site in np.flatnonzero(np.isfinite(self.power_kw[job]))]

    def is_held(self, job: int) -> bool:
        """Return whether a job runs now and cannot be interrupted."""
        return bool(self.running_at[job] >= 0) and not self.problem.jobs[job].interruptible

    def work_of(self, job: int, *, site: int) -> Work:
        """Return how much a job must run if it is placed at ``site``."""
        demand = self.problem.jobs[job]
        restart = demand.restart_half_hours
        if demand.running_at is None:
            return Work(demand.work, restart)
        if site == self.running_at[job]:
            return Work(demand.work, restart, continues=True)
        return Work(demand.work + restart, restart)

    def curve(self, job: int, *, site: int) -> Array:
        """Return shape ``(T,)``: what each half-hour of running counts for, GBP."""
        delay = np.arange(self.half_hours) - self.release[job]
        out: Array = self.power_kw[job, site] * self.score[site] + self.waiting_gbp[job] * delay
        return out

    def figures(self, job: int, placement: Placement) -> Figures:
        """Return what one placement comes to."""
        demand, site = self.problem.jobs[job], placement.site
        where = half_hours_of(placement.runs)
        weights = self.work_of(job, site=placement.site).weights(placement.runs)
        energy_kwh = units.energy_kwh(self.power_kw[job, site] * weights)
        cost = units.cost_gbp(energy_kwh, self.price[site, where])
        carbon_kg = units.kg(1.0) * units.emissions_gco2(energy_kwh, self.intensity[site, where])
        at_once = min(where.size, demand.work)
        delay = float(weights @ (where - demand.release)) - at_once * (at_once - 1) / 2
        mean_delay_hours = units.HOURS_PER_HALF_HOUR * delay / max(1, int(self.work[job]))
        carbon_gbp = carbon_kg * self.problem.carbon_price_gbp_per_tco2 / units.KG_PER_TONNE
        return Figures(
            energy_kwh=float(energy_kwh.sum()),
            cost_gbp=float(cost.sum()),
            carbon_kg=float(carbon_kg.sum()),
            waiting_gbp=mean_delay_hours * demand.waiting_gbp_per_hour,
            waiting_gpu_hours=mean_delay_hours * demand.gpus,
            absolute_gbp=float(np.abs(cost + carbon_gbp).sum()),
        )

    def objective_gbp(self, figures: Figures) -> float:
        """Return cost, carbon at its price and waiting in one figure."""
        carbon = figures.carbon_kg * self.problem.carbon_price_gbp_per_tco2 / units.KG_PER_TONNE
        return figures.cost_gbp + carbon + figures.waiting_gbp

    def is_met(self, job: int, placement: Placement) -> bool:
        """Return whether the placement holds all work."""
        return self.work_of(job, site=placement.site).is_met(placement.runs)

    def is_on_time(self, job: int, placement: Placement) -> bool:
        """Return whether the placement holds all work and ends by the deadline."""
        if not self.is_met(job, placement):
            return False
        first, length = placement.runs[-1]
        return first + length <= self.problem.jobs[job].deadline

    def is_under_cap(self, job: int, placement: Placement) -> bool:
        """Return whether the placement keeps the job's carbon cap, if it has one."""
        cap = self.problem.jobs[job].carbon_cap_gco2_per_kwh
        if cap is None or not placement.runs:
            return True
        weights = self.work_of(job, site=placement.site).weights(placement.runs)
        intensity = self.intensity[placement.site, half_hours_of(placement.runs)]
        return float(weights @ intensity) <= (cap + ROUNDING) * float(weights.sum())

    def load(self, placements: Mapping[JobId, Placement]) -> Array:
        """Return shape ``(S, T)``: GPUs in use."""
        used = np.zeros_like(self.free)
        for job, demand in enumerate(self.problem.jobs):
            placement = placements.get(demand.id)
            if placement and demand.gpus:
                used[placement.site, half_hours_of(placement.runs)] += self.gpus[job]
        return used


def _whole(jobs: tuple[JobDemand, ...], name: str) -> Index:
    return np.array([getattr(job, name) for job in jobs], dtype=np.int64)
