"""The trade-off between cost, carbon and waiting: a front of plans, none better in all three.

Plans at many prices of carbon and waiting, each from the sweeps that make the plan in force, span
the front. NSGA-II (pymoo) then crosses them: a genome says for each job in whose plan it runs, a
child takes a span of time from one parent and the rest from the other, and a compiled repair
moves a job that no longer fits to the nearest plan in which it does. Whatever the time budget,
the front holds at least the cheapest plan found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from gridflex import units
from gridflex.jobs import JobId
from gridflex.planning.budget import Budget
from gridflex.planning.one_job import TOLERANCE
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.planner import Standing, runs_of, state_of
from gridflex.planning.problem import Array, PlanningProblem
from gridflex.planning.search import Search
from gridflex.planning.tables import State, Tables, market_of, tables_of
from gridflex.planning.tally import excess_kg, tally

CARBON_PRICES: Final = (0.0, 60.0, 150.0, 350.0, 900.0, 20000.0)
"""GBP per tonne at which plans are made, from cost alone to carbon alone."""

GOLDEN: Final = (5**0.5 - 1) / 2

BETWEEN: Final = tuple(float(price) for price in np.geomspace(10.0, 10_000.0, 24))
"""More of them where waiting counts for nothing."""

FINER: Final = tuple(float(10 ** (1 + 3 * (i * GOLDEN % 1.0))) for i in range(96))
"""Still more where plans are so small that there is time for them."""

WAITING_PRICES: Final = (0.0, 0.001, 0.004, 0.02, 1.0)
"""GBP per GPU-hour of waiting, from none to as soon as possible."""

SHARE_FOR_PLANS: Final = 0.6
LARGEST_POOL: Final = 300_000_000
"""Bytes of schedules up to which plans are crossed."""


@dataclass(frozen=True, eq=False)
class FrontPoint:
    """One plan of the front.

    Args:
        cost_gbp: Of the energy.
        carbon_kg: Of the energy.
        waiting_gpu_hours: Delay of the work, weighted by GPUs.
        late: How many jobs are late.
        over_cap: How many jobs are above their carbon cap.
        sites_over_cap: How many sites are above theirs.
        origin: How it was found.
        made_from: What its runs are read from when somebody asks.
    """

    cost_gbp: float
    carbon_kg: float
    waiting_gpu_hours: float
    late: int
    over_cap: int
    sites_over_cap: int
    origin: str
    made_from: tuple[PlanningProblem, Tables, State]

    @cached_property
    def runs(self) -> Mapping[JobId, tuple[PlannedRun, ...]]:
        """By job, in order of time."""
        return runs_of(*self.made_from)


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Plans of which none is better than another in cost, carbon and waiting.

    Args:
        points: The cheapest first.
        knee: Index of the point that gives up least of each for the others.
        evaluated: Plans looked at.
    """

    points: tuple[FrontPoint, ...]
    knee: int
    evaluated: int

    @property
    def objectives(self) -> Array:
        """Shape ``(n, 3)``: GBP, kgCO2, GPU-hours."""
        return np.array([[p.cost_gbp, p.carbon_kg, p.waiting_gpu_hours] for p in self.points])

    def preferred(self, *, gbp_per_tco2: float, gbp_per_gpu_hour: float = 0.0) -> int:
        """Return the index of the best point at given prices.

        Args:
            gbp_per_tco2: What a tonne counts for.
            gbp_per_gpu_hour: What an hour of one GPU's work waiting counts for.
        """
        return preferred_of(
            self.objectives, gbp_per_tco2=gbp_per_tco2, gbp_per_gpu_hour=gbp_per_gpu_hour
        )


def make_front(
    problem: PlanningProblem, *, budget_s: float, standing: Standing | None = None
) -> Front:
    """Return the best front found in ``budget_s``; there is always one.

    Args:
        problem: What to plan.
        budget_s: Wall time to spend.
        standing: The plan in force; it takes part.
    """
    return front_within(problem, Budget(budget_s), standing=standing)


def front_within(
    problem: PlanningProblem, budget: Budget, *, standing: Standing | None = None
) -> Front:
    """Return what `make_front` does, within a budget that may count another time."""
    pool = _Pool(problem)
    if standing is not None:
        search = Search(problem, Budget(0.0))
        runs = standing.runs if isinstance(standing, Plan) else standing
        pool.add(state_of(search, runs), "standing plan")
    for search, origin in _plans(problem, budget):
        pool.add(search.best, origin)
    evaluated = pool.cross(budget) if problem.jobs and not budget.is_spent else 0
    return pool.front(evaluated=evaluated)


def knee_of(objectives: Array) -> int:
    """Return the point farthest below the plane through the extremes of each objective."""
    low, high = objectives.min(axis=0), objectives.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return int(((objectives - low) / span).sum(axis=1).argmin())


def preferred_of(objectives: Array, *, gbp_per_tco2: float, gbp_per_gpu_hour: float) -> int:
    """Return the index of the best row of (GBP, kgCO2, GPU-hours) at given prices."""
    weights = np.array([1.0, gbp_per_tco2 / units.KG_PER_TONNE, gbp_per_gpu_hour])
    return int((objectives @ weights).argmin())


def _weighed(
    problem: PlanningProblem, gbp_per_tco2: float, gbp_per_gpu_hour: float
) -> PlanningProblem:
    jobs = problem.jobs
    if gbp_per_gpu_hour or any(job.waiting_gbp_per_hour for job in jobs):
        jobs = tuple(replace(job, waiting_gbp_per_hour=gbp_per_gpu_hour * job.gpus) for job in jobs)
    return replace(problem, jobs=jobs, carbon_price_gbp_per_tco2=gbp_per_tco2)


def _plans(problem: PlanningProblem, budget: Budget) -> Iterator[tuple[Search, str]]:
    """Yield plans at the most different prices first, while there is time."""
    own = Search(problem, budget.part(SHARE_FOR_PLANS))
    own.run()
    yield own, "prices of the problem"
    known: dict[float, Search] = {}
    for carbon, waiting in _grid():
        if not budget.has_left(1.0 - SHARE_FOR_PLANS):
            return
        weighed = _weighed(problem, carbon, waiting)
        search = Search(weighed, budget.part(1.0 - (1.0 - SHARE_FOR_PLANS) / budget.left_share))
        near = known.get(waiting)
        search.run(prices=near.prices.gpu if near else None)
        known[waiting] = search
        yield search, f"{carbon:g} GBP/tCO2, {waiting:g} GBP/GPU h"


def _grid() -> list[tuple[float, float]]:
    """Return pairs of prices: the extremes of each objective, then the rest spread evenly."""
    pairs = [(carbon, waiting) for waiting in WAITING_PRICES for carbon in CARBON_PRICES]
    pairs += [(carbon, 0.0) for carbon in BETWEEN]
    spread = sorted(range(len(pairs)), key=lambda i: i * GOLDEN % 1.0)
    finer = [(carbon, 0.0) for carbon in FINER]
    extremes = [(0.0, 0.0), (CARBON_PRICES[-1], 0.0), (0.0, WAITING_PRICES[-1])]
    return [*extremes, *(pairs[i] for i in spread if pairs[i] not in extremes), *finer]


class _Pool:
    """Complete states and what they come to, always at the problem's own prices."""

    def __init__(self, problem: PlanningProblem) -> None:
        self.problem = problem
        self.tables = tables_of(problem)
        self.states: list[State] = []
        self.objectives: list[Array] = []
        self.broken: list[int] = []
        self.kinds: list[tuple[int, int, int]] = []
        self.origins: list[str] = []
        self.per_job: list[Array] = []

    def add(self, state: State, origin: str) -> None:
        figures = tally(self.problem, self.tables, state)
        per_job = np.column_stack(
            [figures.cost_gbp, figures.carbon_kg, figures.waiting_gpu_hours]
        ).reshape(-1, 3)
        self.states.append(state)
        self.per_job.append(per_job)
        self.objectives.append(per_job.sum(axis=0))
        dirty = excess_kg(self.problem, self.tables, state, figures) > TOLERANCE
        self.broken.append(int((figures.is_late | figures.is_over_cap).sum() + dirty.sum()))
        self.kinds.append(
            (int(figures.is_late.sum()), int(figures.is_over_cap.sum()), int(dirty.sum()))
        )
        self.origins.append(origin)

    def cross(self, budget: Budget) -> int:
        """Add the front of NSGA-II over the plans so far; return how many it looked at."""
        from gridflex.planning.genetic import Mixture, evolve  # noqa: PLC0415 - loads pymoo

        fair = sorted(self._fair(), key=lambda i: float(self.objectives[i][1]), reverse=True)
        size = self.states[0].on.size
        if len(fair) < 2 or len(fair) * size > LARGEST_POOL:  # noqa: PLR2004 - a pair to cross
            return 0
        mixture = Mixture(
            self.tables,
            market_of(self.problem, self.tables),
            option=np.array([self.states[i].option for i in fair]),
            on=np.array([self.states[i].on for i in fair]),
            per_job=np.array([self.per_job[i] for i in fair]),
        )
        genomes, evaluated = evolve(mixture, budget)
        everyone = np.arange(genomes.shape[1])
        for genome in genomes:
            state = self.states[0]._replace(
                option=mixture.option[genome, everyone], on=mixture.on[genome, everyone]
            )
            self.add(state, "NSGA-II")
        return evaluated

    def _fair(self) -> list[int]:
        """Return the plans with the fewest broken promises."""
        least = min(self.broken)
        return [i for i, broken in enumerate(self.broken) if broken == least]

    def front(self, *, evaluated: int) -> Front:
        from gridflex.planning.genetic import non_dominated  # noqa: PLC0415 - as above

        fair = self._fair()
        objectives = np.array([self.objectives[i] for i in fair])
        kept = [fair[i] for i in non_dominated(objectives)]
        kept.sort(key=lambda i: tuple(self.objectives[i]))
        points = tuple(self._point(i) for i in kept)
        knee = knee_of(np.array([self.objectives[i] for i in kept]))
        return Front(points, knee, evaluated=evaluated + len(self.states))

    def _point(self, index: int) -> FrontPoint:
        cost, carbon, waiting = (float(value) for value in self.objectives[index])
        late, over_cap, sites_over_cap = self.kinds[index]
        return FrontPoint(
            cost_gbp=cost,
            carbon_kg=carbon,
            waiting_gpu_hours=waiting,
            late=late,
            over_cap=over_cap,
            sites_over_cap=sites_over_cap,
            origin=self.origins[index],
            made_from=(self.problem, self.tables, self.states[index]),
        )
