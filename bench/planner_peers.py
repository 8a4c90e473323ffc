"""What the planner is measured against, on the same problem and in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.termination import Termination
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.optimize import minimize

from gridflex.planning.problem import PlanningProblem
from gridflex.planning.tables import market_of, tables_of

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Programme:
    """The relaxed problem of one site without modes, restarts and contiguity, as a matrix.

    Args:
        cost: Per column, GBP of one half-hour.
        carbon: Per column, kg of one half-hour.
        work: Rows of jobs.
        need: What they add up to.
        load: Rows of half-hours.
        room: What they stay under.
    """

    cost: Array
    carbon: Array
    work: scipy.sparse.csr_array
    need: Array
    load: scipy.sparse.csr_array
    room: Array


def programme(problem: PlanningProblem) -> Programme:
    """Return a problem of one site as a linear programme."""
    tables = tables_of(problem)
    width = tables.deadline - tables.release
    job = np.repeat(np.arange(width.size), width)
    k = np.arange(job.size) - np.repeat(np.cumsum(width) - width, width)
    t, columns = tables.release[job] + k, np.arange(job.size)
    kwh = 0.5 * tables.power[job]
    ones = np.ones(job.size)
    return Programme(
        cost=kwh * tables.price[0, t] / 1000,
        carbon=kwh * tables.intensity[0, t] / 1000,
        work=scipy.sparse.csr_array((ones, (job, columns))),
        need=tables.own_work,
        load=scipy.sparse.csr_array(
            (tables.gpus[job], (t, columns)), shape=(problem.half_hours, job.size)
        ),
        room=market_of(problem, tables).room[0],
    )


def solve_lp(
    relaxed: Programme, score: Array, *, most_carbon: float = np.inf
) -> scipy.optimize.OptimizeResult:
    """Return SciPy's answer of the linear programme by HiGHS."""
    rows, limits = relaxed.load, relaxed.room
    if np.isfinite(most_carbon):
        rows = scipy.sparse.vstack([rows, scipy.sparse.csr_array(relaxed.carbon[None, :])])
        limits = np.append(limits, most_carbon)
    return scipy.optimize.linprog(
        score,
        A_ub=rows,
        b_ub=limits,
        A_eq=relaxed.work,
        b_eq=relaxed.need,
        bounds=(0, 1),
        method="highs",
    )


def solve_milp(relaxed: Programme, score: Array, *, limit_s: float) -> tuple[float, float]:
    """Return the objective of HiGHS's MILP within a time limit, and seconds; infinite if none."""
    began = time.process_time()
    solved = scipy.optimize.milp(
        score,
        integrality=np.ones(score.size),
        bounds=scipy.optimize.Bounds(0, 1),
        constraints=[
            scipy.optimize.LinearConstraint(relaxed.work, relaxed.need, relaxed.need),
            scipy.optimize.LinearConstraint(relaxed.load, -np.inf, relaxed.room),
        ],
        options={"time_limit": limit_s, "mip_rel_gap": 1e-4},
    )
    value = np.inf if solved.x is None else float(solved.fun)
    return value, time.process_time() - began


def exact_front(relaxed: Programme, points: int) -> Array:
    """Return shape ``(points, 2)``: least cost for each limit on carbon, by linear programmes."""
    cheapest = solve_lp(relaxed, relaxed.cost + 1e-6 * relaxed.carbon)
    cleanest = solve_lp(relaxed, relaxed.carbon + 1e-6 * relaxed.cost)
    low, high = (float(relaxed.carbon @ answer.x) for answer in (cleanest, cheapest))
    found = []
    for limit in np.linspace(low * (1 + 1e-9), high, points):
        answer = solve_lp(relaxed, relaxed.cost, most_carbon=limit)
        found.append((float(relaxed.cost @ answer.x), float(relaxed.carbon @ answer.x)))
    return np.array(found)


class _Starts(Problem):  # type: ignore[misc]  # pymoo has no types
    """Vanilla: the start of each job, run without pause; collisions are a constraint."""

    def __init__(self, problem: PlanningProblem) -> None:
        self.tables = tables_of(problem)
        self.room = market_of(problem, self.tables).room[0]
        self.size = self.tables.own_work.astype(int)
        super().__init__(
            n_var=self.size.size,
            n_obj=2,
            n_ieq_constr=1,
            xl=self.tables.release,
            xu=self.tables.deadline - self.size,
            vtype=int,
        )
        zero = np.zeros(1)
        self._price = np.concatenate([zero, np.cumsum(self.tables.price[0])]) / 2000
        self._carbon = np.concatenate([zero, np.cumsum(self.tables.intensity[0])]) / 2000

    def _evaluate(self, x: Array, out: dict[str, Array], *_args: object, **_kwargs: object) -> None:
        start = x.astype(int)
        end, power = start + self.size, self.tables.power
        cost = ((self._price[end] - self._price[start]) * power).sum(axis=1)
        carbon = ((self._carbon[end] - self._carbon[start]) * power).sum(axis=1)
        over = np.empty((len(x), 1))
        for row in range(len(x)):
            change = np.zeros(self.room.size + 1)
            np.add.at(change, start[row], self.tables.gpus)
            np.add.at(change, end[row], -self.tables.gpus)
            over[row] = np.maximum(np.cumsum(change)[:-1] - self.room, 0).sum()
        out["F"], out["G"] = np.column_stack([cost, carbon]), over


class _Seconds(Termination):  # type: ignore[misc]  # pymoo has no types
    def __init__(self, limit_s: float, timer: Callable[[], float]) -> None:
        super().__init__()
        self._end, self._timer = timer() + limit_s, timer

    def _update(self, _algorithm: object) -> float:
        return 1.0 if self._timer() >= self._end else 0.0


def vanilla_front(problem: PlanningProblem, *, limit_s: float) -> Array:
    """Return cost and carbon of pymoo's NSGA-II as it comes, with run-now in its population."""
    starts = _Starts(problem)
    rng = np.random.default_rng(0)
    first = rng.integers(starts.xl, starts.xu + 1, (100, starts.n_var))
    first[0] = starts.xl
    algorithm = NSGA2(
        pop_size=100,
        sampling=first,
        crossover=SBX(vtype=float, repair=RoundingRepair()),
        mutation=PM(vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    ends = _Seconds(limit_s, time.process_time)
    result = minimize(starts, algorithm, ends, seed=1)
    return np.atleast_2d(result.F)
