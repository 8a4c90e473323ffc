"""A plan: which half-hours each job runs, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Shape
from gridflex.planning.problem import Array


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One unbroken run of one job.

    Args:
        job_id: The job.
        site: Where.
        start: First half-hour.
        half_hours: How many, at least 1.
        gpus: GPUs it holds.
        power_cap_fraction: Power limit of each GPU as a share of its uncapped draw.
    """

    job_id: JobId
    site: str
    start: HalfHour
    half_hours: int
    gpus: int
    power_cap_fraction: float = 1.0

    @property
    def end(self) -> HalfHour:
        """The first half-hour after the run."""
        return self.start + self.half_hours

    @property
    def shape(self) -> Shape:
        """GPUs and power limit."""
        return Shape(self.gpus, self.power_cap_fraction)

    def covers(self, half_hour: HalfHour) -> bool:
        """Return whether the job runs in ``half_hour``."""
        return self.start <= half_hour < self.end

    def cut(self, start: HalfHour) -> PlannedRun | None:
        """Return the part from ``start`` on, or None if the run is over by then."""
        if self.end <= start:
            return None
        first = max(self.start, start)
        return replace(self, start=first, half_hours=first.until(self.end))


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Runs for every job of a problem, with its figures and its certificate.

    Args:
        start: Half-hour of index 0.
        runs: By job, in order of time.
        energy_kwh: Of all planned runs.
        cost_gbp: Of that energy.
        carbon_kg: Of that energy.
        waiting_gpu_hours: Delay of the work against starting at once, weighted by GPUs.
        objective_gbp: What was minimised: cost, carbon at its price, waiting, lateness.
        lower_bound_gbp: No plan for the problem can have a smaller objective.
        gap_fraction: ``(objective - bound) / scale`` with the scale the sum of what each run
            costs in absolute terms, so that it stays meaningful where costs are negative.
        late: Jobs that cannot, or in this plan do not, finish by their deadline.
        method: How it was found.
        shadow_prices_gbp_per_gpu: By site, shape ``(T,)``: what one more GPU in that half-hour
            would be worth.
        over_cap: Jobs for which no schedule under their carbon cap was found.
        sites_over_cap: Sites whose mean intensity no plan brought under their cap.
    """

    start: HalfHour
    runs: Mapping[JobId, tuple[PlannedRun, ...]]
    energy_kwh: float
    cost_gbp: float
    carbon_kg: float
    waiting_gpu_hours: float
    objective_gbp: float
    lower_bound_gbp: float
    gap_fraction: float
    late: tuple[JobId, ...]
    method: str
    shadow_prices_gbp_per_gpu: Mapping[str, Array]
    over_cap: tuple[JobId, ...] = ()
    sites_over_cap: tuple[str, ...] = ()
