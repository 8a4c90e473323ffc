"""NSGA-II (pymoo) over genomes that mix whole plans."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.termination import Termination
from pymoo.optimize import minimize
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from gridflex.planning.budget import Budget
from gridflex.planning.crossing import repair
from gridflex.planning.evaluating import evaluator
from gridflex.planning.problem import Array
from gridflex.planning.tables import Index, Market, Marks, Tables

POPULATION: Final = 160
"""Genomes on the paths between neighbouring plans, beside the plans themselves."""

SEED: Final = 1
"""Of the random numbers; the same number of generations gives the same front again."""

SHARE_MUTATED: Final = 0.02
LONGEST_STEP: Final = 3


def non_dominated(objectives: Array) -> Index:
    """Return the indexes of points that no other point beats, equal ones once."""
    _, first = np.unique(objectives, axis=0, return_index=True)
    fronts = NonDominatedSorting().do(objectives[first], only_non_dominated_front=True)
    out: Index = np.sort(first[fronts])
    return out


class Mixture(Problem):  # type: ignore[misc]  # pymoo has no types
    """For each job the plan in which it runs; cost, carbon and waiting are minimised.

    Args:
        tables: The problem.
        market: What room there is.
        option: Shape ``(K, J)``, of each plan; plans that differ little are neighbours.
        on: Shape ``(K, J, T)``, of each plan.
        per_job: Shape ``(K, J, 3)``, what each job comes to in each plan.
    """

    def __init__(
        self, tables: Tables, market: Market, *, option: Index, on: Marks, per_job: Array
    ) -> None:
        plans, jobs = option.shape
        super().__init__(n_var=jobs, n_obj=3, xl=0, xu=plans - 1, vtype=int)
        self.option, self.on, self.per_job = option, on, per_job
        self.totals = evaluator(per_job)
        self.tables, self.market = tables, market
        self.middle = (tables.release + tables.deadline) / 2
        self.order = np.lexsort((tables.deadline - tables.release, -tables.own_gpus))

    def _evaluate(self, x: Index, out: dict[str, Any], *_args: object, **_kwargs: object) -> None:
        out["F"] = self.totals(x)


def evolve(mixture: Mixture, budget: Budget) -> tuple[Index, int]:
    """Return the genomes of the best front, shape ``(n, J)``, and how many were looked at.

    Args:
        mixture: What to mix; each whole plan takes part from the beginning.
        budget: Time to think.
    """
    rng = np.random.default_rng(SEED)
    plans, jobs = mixture.option.shape
    seeds = np.repeat(np.arange(plans)[:, None], jobs, axis=1)
    pairs = _neighbours(mixture.per_job.sum(axis=1))
    paths = [_path(mixture, *pair, steps=max(POPULATION // len(pairs), 2)) for pair in pairs]
    low, high = rng.integers(0, plans, (2, POPULATION // 4, 1))
    cut = rng.uniform(mixture.middle.min(), mixture.middle.max() + 1, low.shape)
    mixed = np.where(mixture.middle < cut, low, high)
    first = _repaired(mixture, np.concatenate([seeds, *paths, mixed]))
    algorithm = NSGA2(
        pop_size=len(first),
        sampling=first,
        crossover=_SpanCrossover(mixture.middle),
        mutation=_StepMutation(),
        repair=_Fitting(),
        eliminate_duplicates=True,
    )
    result = minimize(mixture, algorithm, WhileAnotherFits(budget), seed=SEED)
    found = np.concatenate([first, np.atleast_2d(result.X).astype(np.int64)])
    best = non_dominated(mixture.totals(found))
    return found[best], int(algorithm.evaluator.n_eval)


def _neighbours(totals: Array) -> list[tuple[int, int]]:
    """Return pairs of plans that follow each other on the front of cost and carbon."""
    order = [int(i) for i in np.lexsort((totals[:, 1], totals[:, 0]))]
    kept = [order[0]]
    for i in order[1:]:
        if totals[i, 1] < totals[kept[-1], 1]:
            kept.append(i)
    return list(pairwise(kept)) or [(order[0], order[-1])]


def _path(mixture: Mixture, one: int, other: int, *, steps: int) -> Index:
    """Return genomes between two plans: first move the jobs that save most carbon per GBP."""
    change = mixture.per_job[other] - mixture.per_job[one]
    rank = np.argsort(np.argsort(np.arctan2(change[:, 0], -change[:, 1]), kind="stable"))
    moved = change[:, :2].any(axis=1)
    cuts = np.linspace(0, rank.size, steps + 2)[1:-1]
    return np.array([np.where(moved & (rank < cut), other, one) for cut in cuts], dtype=np.int64)


class _SpanCrossover(Crossover):  # type: ignore[misc]  # pymoo has no types
    """A span of time from one parent and the rest from the other."""

    def __init__(self, middle: Array) -> None:
        super().__init__(n_parents=2, n_offsprings=2)
        self._middle = middle

    def _do(
        self,
        _problem: Mixture,
        x: Index,
        *_args: object,
        random_state: np.random.Generator | None = None,
        **_kwargs: object,
    ) -> Index:
        rng = random_state or np.random.default_rng(SEED)
        low, high = self._middle.min(), self._middle.max() + 1
        ends = np.sort(rng.uniform(low, high, (2, x.shape[1], 1)), axis=0)
        inside = (self._middle >= ends[0]) & (self._middle < ends[1])
        return np.stack([np.where(inside, x[0], x[1]), np.where(inside, x[1], x[0])])


class _StepMutation(Mutation):  # type: ignore[misc]  # pymoo has no types
    """A few jobs move to a plan near their own."""

    def _do(
        self,
        problem: Mixture,
        x: Index,
        *_args: object,
        random_state: np.random.Generator | None = None,
        **_kwargs: object,
    ) -> Index:
        rng = random_state or np.random.default_rng(SEED)
        step = rng.integers(-LONGEST_STEP, LONGEST_STEP + 1, x.shape)
        moved = np.where(rng.random(x.shape) < SHARE_MUTATED, x + step, x)
        out: Index = np.clip(moved, 0, problem.option.shape[0] - 1)
        return out


class _Fitting(Repair):  # type: ignore[misc]  # pymoo has no types
    """Jobs that no longer fit move to the nearest plan in which they do."""

    def _do(self, problem: Mixture, x: Index, *_args: object, **_kwargs: object) -> Index:
        return _repaired(problem, x)


class WhileAnotherFits(Termination):  # type: ignore[misc]  # pymoo has no types
    """Ends a search whose next generation, if it took as long as the longest, would be too long.

    Args:
        budget: Time to think.
    """

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget
        self._left_s, self._longest_s = budget.left_s, 0.0

    def _update(self, _algorithm: NSGA2) -> float:
        left_s = self._budget.left_s
        self._longest_s = max(self._longest_s, self._left_s - left_s)
        self._left_s = left_s
        return 1.0 if left_s <= self._longest_s else 0.0


def _repaired(mixture: Mixture, genomes: Index) -> Index:
    out = np.ascontiguousarray(genomes, dtype=np.int64).copy()
    repair(mixture.tables, mixture.market, mixture.option, mixture.on, mixture.order, out)
    return out
