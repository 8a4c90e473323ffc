"""What a state of placements comes to, job by job and in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gridflex import units
from gridflex.planning.bounding import weighted_sums
from gridflex.planning.problem import Array, PlanningProblem
from gridflex.planning.tables import Index, Mask, State, Tables

CAP_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Figures of a state; all arrays have shape ``(J,)``.

    Attributes:
        energy_kwh: Of all its runs.
        cost_gbp: Of that energy.
        carbon_kg: Of that energy.
        waiting_gpu_hours: Its delay times its GPUs.
        objective_gbp: Cost, carbon at its price and waiting.
        absolute_gbp: The same without regard to sign.
        half_hours: Planned.
        end: First half-hour after its last run.
        is_late: Whether work is missing or done past the deadline.
        is_over_cap: Whether it is above its carbon cap.
    """

    energy_kwh: Array
    cost_gbp: Array
    carbon_kg: Array
    waiting_gpu_hours: Array
    objective_gbp: Array
    absolute_gbp: Array
    half_hours: Index
    is_met: Mask
    is_late: Mask
    is_over_cap: Mask


def tally(problem: PlanningProblem, tables: Tables, state: State) -> Tally:
    """Return what a state comes to."""
    sums = weighted_sums(tables, state.on, state.option, tables.price)
    chosen = np.maximum(state.option, 0)
    power = tables.power[chosen] if tables.power.size else np.zeros(state.option.size)
    kwh = units.energy_kwh(power)
    energy, cost = kwh * sums[:, 0], units.cost_gbp(kwh, sums[:, 1])
    carbon_kg = units.kg(1.0) * units.emissions_gco2(kwh, sums[:, 2])
    is_met = sums[:, 7] > 0
    at_once = np.where(is_met, tables.own_work, np.minimum(sums[:, 5], tables.own_work))
    delay = np.where(sums[:, 5] > 0, sums[:, 3] - at_once * (at_once - 1) / 2, 0.0)
    waiting = tables.waiting * delay
    hours = units.HOURS_PER_HALF_HOUR * delay / np.maximum(tables.own_work, 1.0)
    carbon_gbp = carbon_kg * problem.carbon_price_gbp_per_tco2 / units.KG_PER_TONNE
    mean = np.divide(sums[:, 2], sums[:, 0], out=np.zeros(power.size), where=sums[:, 0] > 0)
    due = np.array([job.deadline for job in problem.jobs], dtype=float)
    return Tally(
        energy_kwh=energy,
        cost_gbp=cost,
        carbon_kg=carbon_kg,
        waiting_gpu_hours=hours * tables.own_gpus,
        objective_gbp=cost + carbon_gbp + waiting,
        absolute_gbp=power * sums[:, 4] + np.abs(waiting),
        half_hours=sums[:, 5].astype(np.int64),
        is_met=is_met,
        is_late=~is_met | (sums[:, 6] > due),
        is_over_cap=mean > tables.cap + CAP_TOLERANCE,
    )


def excess_kg(problem: PlanningProblem, tables: Tables, state: State, figures: Tally) -> Array:
    """Return shape ``(S,)``: emissions above each site's cap; minus infinity without one."""
    out = np.full(len(problem.sites), -np.inf)
    placed = state.option >= 0
    site = tables.site[state.option[placed]] if placed.any() else np.zeros(0, dtype=np.int64)
    for index, outlook in enumerate(problem.sites):
        if outlook.cap_gco2_per_kwh is not None:
            here = np.flatnonzero(placed)[site == index]
            allowed = units.kg(outlook.cap_gco2_per_kwh) * figures.energy_kwh[here]
            out[index] = float((figures.carbon_kg[here] - allowed).sum())
    return out
