"""What no plan can beat, and what capacity is worth.

Capacity is priced: with any prices ``λ >= 0`` per GPU and half-hour, the sum of every job's
cheapest schedule at those prices, less what all capacity would cost, is at most the objective
of any plan. So the certificate does not depend on how good the prices are; a linear programme
(HiGHS) finds the best ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import highspy
import numpy as np
from highspy._core import _Highs  # the public class prints a banner when it is made

from gridflex.planning.arrays import Arrays, Placement
from gridflex.planning.problem import Array
from gridflex.planning.schedule import Index, Work, half_hours_of

MISSING_FACTOR = 10.0
"""What work left undone counts for in the linear programme, in spreads of the score."""

LARGEST_LP = 400_000
"""Columns up to which the linear programme is solved."""


def lower_bound_gbp(arrays: Arrays, prices: Array, *, late: Mapping[int, Placement]) -> float:
    """Return a bound on the objective of every plan.

    Args:
        arrays: The problem.
        prices: Shape ``(S, T)``, at least 0, GBP per GPU and half-hour.
        late: Jobs that the plan could not finish on time; for them the bound assumes no
            deadline and as much work as they were given.
    """
    free = np.maximum(arrays.free - held_load(arrays), 0.0)
    total = -float((prices * free).sum())
    for job, demand in enumerate(arrays.problem.jobs):
        if arrays.is_held(job):
            length = min(demand.work, arrays.half_hours)
            held = Placement(int(arrays.running_at[job]), ((0, length),))
            total += arrays.objective_gbp(arrays.figures(job, held))
        else:
            total += _cheapest(arrays, prices, job, late.get(job))
    return total


def held_load(arrays: Arrays) -> Array:
    """Return shape ``(S, T)``: GPUs of jobs that run now and cannot be interrupted."""
    used = np.zeros_like(arrays.free)
    for job in range(len(arrays.problem.jobs)):
        if arrays.is_held(job):
            used[arrays.running_at[job], : arrays.work[job]] += arrays.gpus[job]
    return used


def capacity_prices(arrays: Arrays, *, budget_s: float) -> Array | None:
    """Return shape ``(S, T)``, what one more GPU would be worth; None if there is no answer.

    The linear programme relaxes contiguity, restarts and whole jobs.

    Args:
        arrays: The problem.
        budget_s: Wall time the solver may take.
    """
    free = np.maximum(arrays.free - held_load(arrays), 0.0)
    columns = _Columns(arrays)
    if columns.count == 0 or columns.count > LARGEST_LP:
        return np.zeros_like(free) if columns.count == 0 else None
    solver = _Highs()
    solver.setOptionValue("output_flag", False)  # noqa: FBT003 - HiGHS has no keywords
    solver.setOptionValue("time_limit", max(budget_s, 0.001))
    solver.setOptionValue("threads", 1)
    solver.passModel(columns.model(free))
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    duals = np.array(solver.getSolution().row_dual)[columns.jobs :]
    prices: Array = np.maximum(-duals, 0.0).reshape(free.shape)
    return prices


class _Columns:
    """Columns (job, site, half-hour) of the linear programme, plus undone work per job."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self.jobs = 0
        costs, rows, sizes, values = [], [], [], []
        row_of_capacity = np.arange(arrays.free.size).reshape(arrays.free.shape)
        demands = []
        for job, demand in enumerate(arrays.problem.jobs):
            low, high = int(arrays.release[job]), int(arrays.deadline[job])
            if arrays.is_held(job) or demand.gpus == 0 or high - low < demand.work:
                continue
            for site in arrays.sites_of(job):
                costs.append(arrays.curve(job, site=site)[low:high])
                pairs = np.empty((high - low, 2), dtype=np.int64)
                pairs[:, 0] = self.jobs
                pairs[:, 1] = -1 - row_of_capacity[site, low:high]
                rows.append(pairs.ravel())
                values.append(np.tile([1.0, float(demand.gpus)], high - low))
                sizes.append(np.full(high - low, 2))
            demands.append(demand.work)
            self.jobs += 1
        self._demands = np.array(demands, dtype=float)
        self._costs = np.concatenate([*costs, np.zeros(0)])
        self._rows = np.concatenate([*rows, np.zeros(0, dtype=np.int64)])
        self._rows = np.where(self._rows < 0, self.jobs - 1 - self._rows, self._rows)
        self._values = np.concatenate([*values, np.zeros(0)])
        self._sizes = np.concatenate([*sizes, np.zeros(0, dtype=np.int64)])
        self.count = int(self._costs.size)

    def model(self, free: Array) -> highspy.HighsLp:
        missing = MISSING_FACTOR * (1.0 + float(np.abs(self._costs).max(initial=0.0)))
        model = highspy.HighsLp()
        model.num_col_ = self.count + self.jobs
        model.num_row_ = self.jobs + free.size
        model.col_cost_ = np.concatenate([self._costs, np.full(self.jobs, missing)])
        model.col_lower_ = np.zeros(model.num_col_)
        model.col_upper_ = np.concatenate([np.ones(self.count), self._demands])
        model.row_lower_ = np.concatenate([self._demands, np.full(free.size, -highspy.kHighsInf)])
        model.row_upper_ = np.concatenate([self._demands, free.ravel()])
        sizes = np.concatenate([self._sizes, np.ones(self.jobs, dtype=np.int64)])
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        model.a_matrix_.index_ = np.concatenate([self._rows, np.arange(self.jobs)]).astype(np.int32)
        model.a_matrix_.value_ = np.concatenate([self._values, np.ones(self.jobs)])
        return model


def _cheapest(arrays: Arrays, prices: Array, job: int, late: Placement | None) -> float:
    demand = arrays.problem.jobs[job]
    low = int(arrays.release[job])
    high = arrays.half_hours if late else int(arrays.deadline[job])
    found = []
    for site in arrays.sites_of(job):
        score = (arrays.curve(job, site=site) + arrays.gpus[job] * prices[site])[low:high]
        work = arrays.work_of(job, site=site)
        if late and not arrays.is_met(job, late):
            work = Work(half_hours_of(late.runs).size)
        size = min(work.unbroken, demand.work)
        constant = float(arrays.waiting_gbp[job]) * size * (size - 1) / 2
        cheapest = _with_pauses if demand.interruptible or late else _unbroken
        found.append(cheapest(score, work) - constant)
    return min(found)


def _unbroken(score: Array, work: Work) -> float:
    """Return the least score of an unbroken run; its last half-hour counts as far as it is used."""
    length = work.unbroken
    if length > score.size:
        return float(np.inf)
    sums = np.lib.stride_tricks.sliding_window_view(score, length).sum(axis=1)
    unused = length - work.half_hours
    return float((sums - unused * score[length - 1 :]).min())


def _with_pauses(score: Array, work: Work) -> float:
    """Return a bound: unbroken, or the cheapest half-hours for the work and one restart."""
    if work.half_hours == 0:
        return 0.0
    paused = _cheapest_sum(score, work.half_hours + work.restart_half_hours)
    if work.restart_half_hours == 0:
        return paused
    first = score[: work.unbroken] if work.continues else score
    return min(paused, _unbroken(first, work))


def _cheapest_sum(score: Array, amount: float) -> float:
    whole = int(amount)
    ordered: Index | Array = np.sort(score)
    if whole >= ordered.size:
        return float(ordered.sum())
    return float(ordered[:whole].sum() + (amount - whole) * ordered[whole])
