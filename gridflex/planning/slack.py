"""How far jobs can be moved without breaking anything: what there is to sell.

A job that waits for its planned run is a block: it keeps its length, its site and its own GPUs at
full power, and may start at other half-hours, as far as its deadline, its carbon cap, the GPUs
that the plan leaves free and a limit on the site's power allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gridflex import units
from gridflex.errors import InfeasibleError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import Array, JobDemand, Mode, PlanningProblem, SiteOutlook

ROUNDING_KW: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Block:
    """One waiting job as a whole.

    Args:
        job_id: The job.
        site: Where it runs.
        gpus: GPUs it holds.
        power_kw: Dynamic power at the meter while it runs.
        half_hours: How long it runs.
        planned: First half-hour by the plan in force.
        starts: Half-hours in which it could start, the planned one included, in order.
        interruptible: Whether it may be paused.
        carbon_cap_gco2_per_kwh: Greatest mean intensity over its run, if any.
    """

    job_id: JobId
    site: str
    gpus: int
    power_kw: float
    half_hours: int
    planned: HalfHour
    starts: tuple[HalfHour, ...]
    interruptible: bool = False
    carbon_cap_gco2_per_kwh: float | None = None

    @property
    def energy_kwh(self) -> float:
        """Energy of the whole run."""
        return self.half_hour_kwh * self.half_hours

    @property
    def half_hour_kwh(self) -> float:
        """Energy of one of its half-hours."""
        return units.energy_kwh(self.power_kw)

    def energy_from(self, start: HalfHour, half_hour: HalfHour) -> float:
        """Return what it uses in ``half_hour`` if it starts at ``start``."""
        return self.half_hour_kwh if 0 <= start.until(half_hour) < self.half_hours else 0.0


class Slack:
    """What a plan leaves open.

    Args:
        problem: What there is to run, and where.
        runs: What the plan in force says, by job.
        notice_half_hours: How many half-hours of the problem are too soon to change.
        held: Jobs that are promised already.
    """

    def __init__(
        self,
        problem: PlanningProblem,
        runs: Mapping[JobId, Sequence[PlannedRun]],
        *,
        notice_half_hours: int = 1,
        held: frozenset[str] = frozenset(),
    ) -> None:
        self._problem = problem
        self._runs = {
            job_id: tuple(part for run in some if (part := run.cut(problem.start)))
            for job_id, some in runs.items()
        }
        self._notice = notice_half_hours
        self._held = held
        self._sites = {outlook.site.name: outlook for outlook in problem.sites}
        self._jobs = {job.id: job for job in problem.jobs}
        self._used = self._usage(lambda run: float(run.gpus))
        self._used_kw = self._usage(self._power_kw)

    def blocks(self) -> tuple[Block, ...]:
        """Return the jobs that can be sold, in the problem's order."""
        found = (self._block(job) for job in self._problem.jobs if str(job.id) not in self._held)
        return tuple(block for block in found if block is not None and len(block.starts) > 1)

    def intensity_gco2_per_kwh(self, site: str, half_hour: HalfHour) -> float | None:
        """Return the intensity to expect; None outside the plan's horizon."""
        index = self._problem.start.until(half_hour)
        series = self._sites[site].intensity_gco2_per_kwh
        return float(series[index]) if 0 <= index < series.size else None

    def cost_gbp(self, block: Block, start: HalfHour) -> float:
        """Return what the energy of a block costs from ``start`` on, carbon at its price."""
        outlook, span = self._sites[block.site], self._span(block, start)
        per_mwh = outlook.price_gbp_per_mwh[span] + units.carbon_price_gbp_per_mwh(
            outlook.intensity_gco2_per_kwh[span], self._problem.carbon_price_gbp_per_tco2
        )
        return units.cost_gbp(block.half_hour_kwh, float(per_mwh.sum()))

    def require_room(self, moves: Mapping[Block, HalfHour]) -> None:
        """Refuse moves that cannot be made together.

        Raises:
            InfeasibleError: A block cannot start there, or the moves need more GPUs than there
                are; says which and when.
        """
        used = {name: usage.copy() for name, usage in self._used.items()}
        used_kw = {name: usage.copy() for name, usage in self._used_kw.items()}
        for block in moves:
            used[block.site][self._span(block, block.planned)] -= block.gpus
            used_kw[block.site][self._span(block, block.planned)] -= block.power_kw
        for block, start in moves.items():
            if start not in block.starts:
                raise InfeasibleError(
                    f"the block cannot start at {start}; it can at "
                    f"{', '.join(map(str, block.starts[:8]))}"
                )
            span = self._span(block, start)
            used[block.site][span] += block.gpus
            used_kw[block.site][span] += block.power_kw
            self._require_free(block, used[block.site], used_kw[block.site], span)

    def _require_free(self, block: Block, used: Array, used_kw: Array, span: slice) -> None:
        outlook = self._sites[block.site]
        over = used[span] > outlook.free_gpus[span]
        if over.any():
            when = self._problem.start + (span.start + int(np.argmax(over)))
            raise InfeasibleError(f"site {block.site} has no {block.gpus} GPUs free at {when}")
        over = used_kw[span] > _limit_kw(outlook)[span] + ROUNDING_KW
        if over.any():
            when = self._problem.start + (span.start + int(np.argmax(over)))
            raise InfeasibleError(
                f"site {block.site} has no {block.power_kw:g} kW below its limit at {when}"
            )

    def _usage(self, of: Callable[[PlannedRun], float]) -> dict[str, Array]:
        used = {name: np.zeros(self._problem.half_hours) for name in self._sites}
        for runs in self._runs.values():
            for run in runs:
                first = self._problem.start.until(run.start)
                used[run.site][first : first + run.half_hours] += of(run)
        return used

    def _power_kw(self, run: PlannedRun) -> float:
        job = self._jobs.get(run.job_id)
        if job is None:
            return 0.0
        if _is_own(run, job):
            return job.power_kw.get(run.site, 0.0)
        shape = (run.gpus, run.power_cap_fraction)
        chosen = (mode for mode in job.modes if (mode.gpus, mode.power_cap_fraction) == shape)
        return max((mode.power_kw.get(run.site, 0.0) for mode in chosen), default=0.0)

    def _block(self, job: JobDemand) -> Block | None:
        runs = self._runs.get(job.id, ())
        if len(runs) != 1 or job.running_at is not None or job.tier is Tier.T0:
            return None
        run = runs[0]
        first = self._problem.start.until(run.start)
        if first < self._notice or run.half_hours < job.work or not _is_own(run, job):
            return None
        block = Block(
            job_id=job.id,
            site=run.site,
            gpus=run.gpus,
            power_kw=job.power_kw[run.site],
            half_hours=run.half_hours,
            planned=run.start,
            starts=(),
            interruptible=job.interruptible,
            carbon_cap_gco2_per_kwh=job.carbon_cap_gco2_per_kwh,
        )
        return replace(block, starts=self._starts(job, block))

    def _starts(self, job: JobDemand, block: Block) -> tuple[HalfHour, ...]:
        outlook = self._sites[block.site]
        own = np.zeros(self._problem.half_hours)
        own[self._span(block, block.planned)] = 1.0
        free = outlook.free_gpus - self._used[block.site] + own * block.gpus >= block.gpus
        left_kw = _limit_kw(outlook) - self._used_kw[block.site] + own * block.power_kw
        free &= left_kw + ROUNDING_KW >= block.power_kw
        first = max(self._notice, job.release)
        last = min(job.deadline, self._problem.half_hours) - block.half_hours
        return tuple(
            self._problem.start + index
            for index in range(first, last + 1)
            if free[index : index + block.half_hours].all() and _under_cap(outlook, block, index)
        )

    def _span(self, block: Block, start: HalfHour) -> slice:
        first = self._problem.start.until(start)
        return slice(first, first + block.half_hours)


def narrowed(
    problem: PlanningProblem, promised: Mapping[str, tuple[HalfHour, int]]
) -> PlanningProblem:
    """Return the problem in which promised jobs run where it was promised.

    A job that is behind keeps as much time as it needs: a promise never makes a job late.

    Args:
        problem: What there is to run.
        promised: By job, first half-hour and length.
    """
    jobs = tuple(
        _narrowed(job, problem.start, *promised[str(job.id)]) if str(job.id) in promised else job
        for job in problem.jobs
    )
    return replace(problem, jobs=jobs)


def _narrowed(job: JobDemand, start: HalfHour, first: HalfHour, half_hours: int) -> JobDemand:
    release = max(job.release, start.until(first))
    if release + job.work > job.deadline:
        return job
    wanted = max(release + job.work, start.until(first) + half_hours)
    return replace(job, release=release, deadline=min(job.deadline, wanted), modes=_as_it_runs(job))


def _as_it_runs(job: JobDemand) -> tuple[Mode, ...]:
    return tuple(mode for mode in job.modes if mode.shape == job.running_shape)


def _is_own(run: PlannedRun, job: JobDemand) -> bool:
    return run.gpus == job.gpus and run.power_cap_fraction == 1.0


def _limit_kw(outlook: SiteOutlook) -> Array:
    if outlook.limit_kw is None:
        return np.full(outlook.free_gpus.shape, np.inf)
    return outlook.limit_kw


def _under_cap(outlook: SiteOutlook, block: Block, index: int) -> bool:
    cap = block.carbon_cap_gco2_per_kwh
    if cap is None:
        return True
    return float(outlook.intensity_gco2_per_kwh[index : index + block.half_hours].mean()) <= cap
