"""Why a job is where it is in a plan, and what else it could have done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.arrays import Arrays, Figures, Placement
from gridflex.planning.placing import Board
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import JobDemand, PlanningProblem

LEAST_SAVING_GBP: Final = 0.005
"""Half a penny; less is not worth a sentence."""


class Binding(StrEnum):
    """What keeps a job from a cheaper place."""

    NOTHING = "nothing"
    DEADLINE = "deadline"
    CAPACITY = "capacity"
    CONTINUITY = "continuity"
    CARBON_CAP = "carbon_cap"


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to run a job.

    Args:
        runs: Its runs.
        cost_gbp: Of the energy.
        carbon_kg: Of the energy.
        score_gbp: Cost, carbon at its price and waiting.
        is_on_time: Whether it finishes by the deadline.
    """

    runs: tuple[PlannedRun, ...]
    cost_gbp: float
    carbon_kg: float
    score_gbp: float
    is_on_time: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one job is where it is.

    Args:
        job_id: The job.
        chosen: What the plan does.
        now: Running at once and through, at the first site, as if capacity were free.
        second: The best placement without the first half-hour of the chosen one, in the capacity
            that the rest of the plan leaves; None if there is none.
        binding: What keeps the job from a cheaper place.
        binding_price_gbp: What lifting it alone would save on this job.
        text: The same in a few sentences.
    """

    job_id: JobId
    chosen: Choice
    now: Choice
    second: Choice | None
    binding: Binding
    binding_price_gbp: float
    text: str


def explain(problem: PlanningProblem, plan: Plan, job_id: JobId) -> Explanation:
    """Return why ``plan`` runs a job when and where it does.

    Raises:
        ContractError: The problem or the plan does not know the job.
    """
    demand = next((demand for demand in problem.jobs if demand.id == job_id), None)
    if demand is None or job_id not in plan.runs:
        raise ContractError(f"job {job_id}: not part of this plan")
    return _Explainer(problem, plan, demand).explanation()


class _Explainer:
    """Looks at one job alone, in the capacity that the rest of the plan leaves it."""

    def __init__(self, problem: PlanningProblem, plan: Plan, demand: JobDemand) -> None:
        self._demand = demand
        self._start = problem.start
        self._names = [outlook.site.name for outlook in problem.sites]
        free = [outlook.free_gpus.astype(float) for outlook in problem.sites]
        for other in problem.jobs:
            for run in plan.runs.get(other.id, ()) if other.id != demand.id else ():
                first = problem.start.until(run.start)
                free[self._names.index(run.site)][first : first + run.half_hours] -= run.gpus
        self._alone = replace(
            problem,
            jobs=(demand,),
            sites=tuple(
                replace(outlook, free_gpus=left)
                for outlook, left in zip(problem.sites, free, strict=True)
            ),
        )
        self._arrays = Arrays(self._alone)
        self._chosen = self._placement(plan.runs[demand.id])

    def explanation(self) -> Explanation:
        chosen = self._choice(self._chosen)
        now = self._choice(self._at_once())
        second = self._second()
        shown = self._choice(second) if second else None
        binding, price_gbp = self._binding(chosen)
        return Explanation(
            job_id=self._demand.id,
            chosen=chosen,
            now=now,
            second=shown,
            binding=binding,
            binding_price_gbp=price_gbp,
            text=" ".join(
                (
                    *_of_choice(chosen, now),
                    *_of_second(shown, chosen),
                    _of_binding(binding, price_gbp),
                )
            ),
        )

    def _placement(self, runs: tuple[PlannedRun, ...]) -> Placement | None:
        if not runs:
            return None
        indexed = tuple((self._start.until(run.start), run.half_hours) for run in runs)
        return Placement(self._names.index(runs[0].site), indexed)

    def _choice(self, placement: Placement | None) -> Choice:
        figures = self._arrays.figures(0, placement) if placement else Figures()
        return Choice(
            runs=self._planned(placement) if placement else (),
            cost_gbp=figures.cost_gbp,
            carbon_kg=figures.carbon_kg,
            score_gbp=self._arrays.objective_gbp(figures),
            is_on_time=placement is not None and self._arrays.is_on_time(0, placement),
        )

    def _planned(self, placement: Placement) -> tuple[PlannedRun, ...]:
        return tuple(
            PlannedRun(
                job_id=self._demand.id,
                site=self._names[placement.site],
                start=self._start + first,
                half_hours=length,
                gpus=self._demand.gpus,
            )
            for first, length in placement.runs
        )

    def _at_once(self) -> Placement:
        first = min(self._demand.release, self._arrays.half_hours - 1)
        length = min(self._demand.work, self._arrays.half_hours - first)
        running = int(self._arrays.running_at[0])
        return Placement(
            running if running >= 0 else self._arrays.sites_of(0)[0], ((first, length),)
        )

    def _second(self) -> Placement | None:
        if self._chosen is None or self._arrays.is_held(0):
            return None
        board = _empty_board(self._arrays)
        board.shut[self._chosen.site, self._chosen.runs[0][0]] = True
        return board.best(0)

    def _binding(self, chosen: Choice) -> tuple[Binding, float]:
        demand, alone = self._demand, self._alone
        held = not demand.interruptible and demand.running_at is not None
        roomy = tuple(
            replace(outlook, free_gpus=np.full_like(outlook.free_gpus, float(demand.gpus)))
            for outlook in alone.sites
        )
        relaxed = {
            Binding.CAPACITY: replace(alone, sites=roomy),
            Binding.DEADLINE: _with(alone, replace(demand, deadline=alone.half_hours)),
        }
        if not demand.interruptible:
            relaxed[Binding.CONTINUITY] = _with(alone, replace(demand, interruptible=True))
        if demand.carbon_cap_gco2_per_kwh is not None:
            relaxed[Binding.CARBON_CAP] = _with(
                alone, replace(demand, carbon_cap_gco2_per_kwh=None)
            )
        if held:
            relaxed = {Binding.CONTINUITY: relaxed[Binding.CONTINUITY]}
        savings = {
            binding: chosen.score_gbp - _best_score_gbp(problem, default=chosen.score_gbp)
            for binding, problem in relaxed.items()
        }
        binding = max(savings, key=lambda name: savings[name])
        if savings[binding] < LEAST_SAVING_GBP:
            return Binding.NOTHING, 0.0
        return binding, savings[binding]


def _with(problem: PlanningProblem, demand: JobDemand) -> PlanningProblem:
    return replace(problem, jobs=(demand,))


def _empty_board(arrays: Arrays) -> Board:
    return Board(arrays, np.zeros_like(arrays.free))


def _best_score_gbp(problem: PlanningProblem, *, default: float) -> float:
    arrays = Arrays(problem)
    best = _empty_board(arrays).best(0)
    return arrays.objective_gbp(arrays.figures(0, best)) if best else default


def _of_choice(chosen: Choice, now: Choice) -> tuple[str, ...]:
    if not chosen.runs:
        return ("It does not run in this plan: nowhere is room for it.",)
    runs = ", ".join(f"{run.start} to {run.end}" for run in chosen.runs)
    site = chosen.runs[0].site
    cost, carbon = now.cost_gbp - chosen.cost_gbp, now.carbon_kg - chosen.carbon_kg
    late = () if chosen.is_on_time else ("It cannot finish by its deadline.",)
    return (
        f"It runs at {site} {runs} for {chosen.cost_gbp:.2f} GBP and {chosen.carbon_kg:.2f} kgCO2.",
        f"Starting at once would cost {_more(cost, 'GBP')} and emit {_more(carbon, 'kgCO2')}.",
        *late,
    )


def _of_second(second: Choice | None, chosen: Choice) -> tuple[str, ...]:
    if second is None:
        return ("Nothing else would fit.",) if chosen.runs else ()
    extra = _more(second.score_gbp - chosen.score_gbp, "GBP")
    where = f"{second.runs[0].start} at {second.runs[0].site}"
    return (f"The second choice, {where}, comes to {extra}, carbon at its price included.",)


def _of_binding(binding: Binding, price_gbp: float) -> str:
    texts = {
        Binding.NOTHING: "Nothing keeps it from a cheaper place.",
        Binding.DEADLINE: f"Its deadline costs {price_gbp:.2f} GBP.",
        Binding.CAPACITY: f"Other jobs hold cheaper GPUs, worth {price_gbp:.2f} GBP to it.",
        Binding.CONTINUITY: f"That it may not be paused costs {price_gbp:.2f} GBP.",
        Binding.CARBON_CAP: f"Its carbon cap costs {price_gbp:.2f} GBP.",
    }
    return texts[binding]


def _more(amount: float, unit: str) -> str:
    return f"{abs(amount):.2f} {unit} {'more' if amount >= 0 else 'less'}"
