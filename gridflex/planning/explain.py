"""Why a job is where it is in a plan, and what else it could have done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from gridflex import units
from gridflex.errors import ContractError
from gridflex.jobs import JobId, Shape
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.planner import runs_of
from gridflex.planning.problem import JobDemand, PlanningProblem
from gridflex.planning.solo import Place, Solo
from gridflex.planning.standing import left_by
from gridflex.units import gbp_text

LEAST_SAVING_GBP: Final = 0.005
"""Half a penny; less is not worth a sentence."""

MOST_PLACES: Final = 9
"""Beyond what tells a mean from its cap: `gridflex.planning.tally.CAP_TOLERANCE`."""


class Binding(StrEnum):
    """What keeps a job from a cheaper place."""

    NOTHING = "nothing"
    DEADLINE = "deadline"
    CAPACITY = "capacity"
    CONTINUITY = "continuity"
    CARBON_CAP = "carbon_cap"
    SITE_CARBON_CAP = "site_carbon_cap"


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
        self._is_held = demand.running_at is not None and not demand.interruptible
        sites = left_by(problem, plan, without=demand.id)
        self._alone = replace(problem, jobs=(demand,), sites=sites)
        self._solo = Solo(self._alone)
        self._chosen = self._solo.place_of(plan.runs[demand.id])
        self._sites = problem.sites
        self._sites_over_cap = plan.sites_over_cap
        self._elsewhere = _use_by_site(problem, plan, without=demand.id)

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
                    *_of_away(self._demand),
                    *self._of_caps(),
                    *self._of_mode(chosen),
                    *_of_second(shown, chosen),
                    _of_binding(binding, price_gbp),
                )
            ),
        )

    def _choice(self, place: Place | None) -> Choice:
        if place is None:
            return Choice(runs=(), cost_gbp=0.0, carbon_kg=0.0, score_gbp=0.0, is_on_time=False)
        figures = self._solo.figures(place)
        runs = runs_of(self._alone, self._solo.tables, self._solo.state(place))
        return Choice(
            runs=runs[self._demand.id],
            cost_gbp=float(figures.cost_gbp[0]),
            carbon_kg=float(figures.carbon_kg[0]),
            score_gbp=float(figures.objective_gbp[0]),
            is_on_time=not figures.is_late[0],
        )

    def _at_once(self) -> Place:
        horizon = self._alone.half_hours
        first = min(self._demand.release, horizon - 1)
        mask = np.zeros(horizon, dtype=np.uint8)
        mask[first : min(first + self._demand.work, horizon)] = 1
        return Place(self._solo.first_option(self._demand.running_at), mask)

    def _second(self) -> Place | None:
        if self._chosen is None or self._is_held:
            return None
        shut = np.zeros_like(self._solo.market.shut)
        site = int(self._solo.tables.site[self._chosen.option])
        shut[site, int(self._chosen.mask.argmax())] = True
        return self._solo.best(shut=shut)

    def _of_caps(self) -> tuple[str, ...]:
        """Say which carbon caps are not kept where it runs."""
        if self._chosen is None:
            return ()
        said = []
        figures, cap = self._solo.figures(self._chosen), self._demand.carbon_cap_gco2_per_kwh
        if cap is not None and figures.is_over_cap[0]:
            carbon_g = float(figures.carbon_kg[0]) * units.GRAMS_PER_KG
            mean = carbon_g / float(figures.energy_kwh[0])
            said.append(
                f"It cannot keep its carbon cap of {cap:.15g} gCO2/kWh: it comes to "
                f"{_above(mean, cap)}."
            )
        outlook = self._sites[int(self._solo.tables.site[self._chosen.option])]
        if outlook.site.name in self._sites_over_cap:
            said.append(
                f"The jobs of {outlook.site.name} together cannot keep its carbon cap of "
                f"{outlook.cap_gco2_per_kwh:g} gCO2/kWh."
            )
        return tuple(said)

    def _of_mode(self, chosen: Choice) -> tuple[str, ...]:
        """Say in which mode it runs, and what its own would come to; nothing if it is its own."""
        own = Shape(self._demand.gpus)
        if not chosen.runs or chosen.runs[0].shape == own:
            return ()
        shape = chosen.runs[0].shape
        going_on = self._demand.running_at if self._demand.running_shape is None else None
        plain = replace(self._demand, modes=(), running_shape=None, running_at=going_on)
        solo = Solo(_with(self._alone, plain))
        found = solo.best()
        said = f"It runs on {shape.gpus} GPUs{_limit(shape)}"
        if found is None:
            return (f"{said}; on its own {own.gpus} without a limit nothing would fit.",)
        extra = _more(float(solo.figures(found).objective_gbp[0]) - chosen.score_gbp, "GBP")
        return (f"{said}; on its own {own.gpus} without a limit it would come to {extra}.",)

    def _binding(self, chosen: Choice) -> tuple[Binding, float]:
        kept_out_gbp = chosen.score_gbp - _best_score_gbp(self._alone, default=chosen.score_gbp)
        if kept_out_gbp >= LEAST_SAVING_GBP and self._breaks_site_cap(self._solo.best()):
            return Binding.SITE_CARBON_CAP, kept_out_gbp
        demand, alone = self._demand, self._alone
        most = float(max(demand.gpus, *(mode.gpus for mode in demand.modes), 0))
        roomy = tuple(
            replace(outlook, free_gpus=np.full_like(outlook.free_gpus, most), limit_kw=None)
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
        if self._is_held:
            relaxed = {Binding.CONTINUITY: relaxed[Binding.CONTINUITY]}
        savings = {
            binding: chosen.score_gbp - _best_score_gbp(problem, default=chosen.score_gbp)
            for binding, problem in relaxed.items()
        }
        binding = max(savings, key=lambda name: savings[name])
        if savings[binding] < LEAST_SAVING_GBP:
            return Binding.NOTHING, 0.0
        return binding, savings[binding]

    def _breaks_site_cap(self, place: Place | None) -> bool:
        """Whether the plan with this job at ``place`` would be above the cap of its site."""
        if place is None:
            return False
        outlook = self._sites[int(self._solo.tables.site[place.option])]
        if outlook.cap_gco2_per_kwh is None:
            return False
        energy_kwh, carbon_g = self._elsewhere.get(outlook.site.name, (0.0, 0.0))
        figures = self._solo.figures(place)
        energy_kwh += float(figures.energy_kwh[0])
        carbon_g += float(figures.carbon_kg[0]) * units.GRAMS_PER_KG
        return carbon_g > outlook.cap_gco2_per_kwh * energy_kwh


def _use_by_site(
    problem: PlanningProblem, plan: Plan, *, without: JobId
) -> dict[str, tuple[float, float]]:
    """Return kWh and gCO2 of all other jobs in the plan, by site; restarts are left out."""
    outlooks = {outlook.site.name: outlook for outlook in problem.sites}
    use: dict[str, tuple[float, float]] = {}
    for job in problem.jobs:
        by_shape = {mode.shape: mode.power_kw for mode in job.modes}
        for run in plan.runs.get(job.id, ()) if job.id != without else ():
            first = problem.start.until(run.start)
            intensity = outlooks[run.site].intensity_gco2_per_kwh[first : first + run.half_hours]
            power_kw = by_shape.get(run.shape, job.power_kw)
            each_kwh = units.energy_kwh(power_kw[run.site])
            energy_kwh, carbon_g = use.get(run.site, (0.0, 0.0))
            use[run.site] = (
                energy_kwh + each_kwh * run.half_hours,
                carbon_g + each_kwh * float(intensity.sum()),
            )
    return use


def _with(problem: PlanningProblem, demand: JobDemand) -> PlanningProblem:
    return replace(problem, jobs=(demand,))


def _best_score_gbp(problem: PlanningProblem, *, default: float) -> float:
    solo = Solo(problem)
    best = solo.best()
    return float(solo.figures(best).objective_gbp[0]) if best else default


def _of_choice(chosen: Choice, now: Choice) -> tuple[str, ...]:
    if not chosen.runs:
        return ("It does not run in this plan: nowhere is room for it.",)
    runs = ", ".join(f"{run.start} to {run.end}" for run in chosen.runs)
    site = chosen.runs[0].site
    cost, carbon = now.cost_gbp - chosen.cost_gbp, now.carbon_kg - chosen.carbon_kg
    comes_to = f"{gbp_text(chosen.cost_gbp)} GBP and {chosen.carbon_kg:.2f} kgCO2"
    late = () if chosen.is_on_time else ("It cannot finish by its deadline.",)
    return (
        f"It runs at {site} {runs} for {comes_to}, whole half-hours counted.",
        f"Starting at once would cost {_more(cost, 'GBP')} and emit {_more(carbon, 'kgCO2')}.",
        *late,
    )


def _of_away(demand: JobDemand) -> tuple[str, ...]:
    """Say which of its sites do not answer, and whether it waits for them."""
    sites = ", ".join(demand.away)
    if not demand.away:
        return ()
    if set(demand.power_kw) <= set(demand.away):
        return (f"It cannot start, pause or move while site {sites} does not answer.",)
    return (f"Site {sites} did not answer, so that it is not planned there.",)


def _above(mean: float, cap: float) -> str:
    """Return a mean in as few places as tell it from the cap that it is above."""
    rounded = (f"{mean:.{places}f}" for places in range(MOST_PLACES))
    return next((shown for shown in rounded if float(shown) > cap), str(mean))


def _limit(shape: Shape) -> str:
    limited = shape.power_cap_fraction < 1
    return f" under a power limit of {shape.power_cap_fraction:.0%}" if limited else ""


def _of_second(second: Choice | None, chosen: Choice) -> tuple[str, ...]:
    if second is None:
        return ("Nothing else would fit.",) if chosen.runs else ()
    extra = _more(second.score_gbp - chosen.score_gbp, "GBP")
    where = f"{second.runs[0].start} at {second.runs[0].site}"
    return (f"The second choice, {where}, comes to {extra}, carbon at its price included.",)


def _of_binding(binding: Binding, price_gbp: float) -> str:
    texts = {
        Binding.NOTHING: "Nothing keeps it from a cheaper place.",
        Binding.DEADLINE: f"Its deadline costs {gbp_text(price_gbp)} GBP.",
        Binding.CAPACITY: f"Other jobs hold cheaper GPUs, worth {gbp_text(price_gbp)} GBP to it.",
        Binding.CONTINUITY: f"That it may not be paused costs {gbp_text(price_gbp)} GBP.",
        Binding.CARBON_CAP: f"Its carbon cap costs {gbp_text(price_gbp)} GBP.",
        Binding.SITE_CARBON_CAP: (
            f"The carbon cap of the site, over all its jobs, costs {gbp_text(price_gbp)} GBP here."
        ),
    }
    return texts[binding]


def _more(amount: float, unit: str) -> str:
    size = gbp_text(abs(amount)) if unit == "GBP" else f"{abs(amount):.2f}"
    return f"{size} {unit} {'more' if amount >= 0 else 'less'}"
