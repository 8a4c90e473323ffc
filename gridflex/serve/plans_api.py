"""``/v1/plans`` and why a job is where it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gridflex.adapters.jobs.plan_store import PlanStore, StoredPlan
from gridflex.checked_values import LARGEST_ID, Whole
from gridflex.fleet import MOST_GPUS
from gridflex.instants import Instant
from gridflex.jobs import JobId
from gridflex.planning.front import make_front, preferred_of
from gridflex.planning.front_record import front_record
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.planner import make_plan, run_now
from gridflex.planning.problem import PlanningProblem
from gridflex.planning.record import problem_from_record, result_record
from gridflex.planning.what_if import Changes, Spent, changed, moved_jobs, not_run, spent_by
from gridflex.serve.parameters import PlanNumber, page_size
from gridflex.serve.problems import ProblemError
from gridflex.units import MOST_PRICE_GBP

NEWEST: Final = "newest"
NO_PLAN: Final = (
    "there is no plan yet: the first is made once prices, intensities and the sites' GPUs are "
    "known; gridflex check says what is missing"
)
WHAT_IF_BUDGET_S: Final = 5.0
FRONT_BUDGET_S: Final = 2.0

Price = Annotated[float, Field(ge=0, le=MOST_PRICE_GBP, allow_inf_nan=False)]
"""GBP per tonne of CO2 or per GPU-hour."""


class RunView(BaseModel):
    """One unbroken run.

    Attributes:
        site: Where.
        start: First instant.
        end: First instant after it.
        half_hours: How many.
        gpus: GPUs held.
        power_cap_fraction: Power limit of each GPU as a share of its uncapped draw.
    """

    site: str
    start: datetime
    end: datetime
    half_hours: int
    gpus: int
    power_cap_fraction: float = 1.0

    @classmethod
    def of(cls, run: PlannedRun) -> RunView:
        """Return the view of a planned run."""
        return cls(
            site=run.site,
            start=run.start.start,
            end=run.end.start,
            half_hours=run.half_hours,
            gpus=run.gpus,
            power_cap_fraction=run.power_cap_fraction,
        )


class PlannedJob(BaseModel):
    """One job of a plan.

    Attributes:
        id: The job.
        runs: In order of time; empty where the plan finds no room.
    """

    id: str
    runs: list[RunView]


class PlanView(BaseModel):
    """A committed plan.

    Attributes:
        id: Counts up.
        made_at: GridFlex time.
        start: First half-hour it decides.
        reason: What called for it.
        result: Its figures, units in the names.
        run_now: The same figures for running every job at once; modelled.
        jobs: What runs when.
    """

    id: int
    made_at: datetime
    start: datetime
    reason: str
    result: dict[str, Any]
    run_now: dict[str, Any]
    jobs: list[PlannedJob]


class PlanLine(BaseModel):
    """A committed plan in a list.

    Attributes:
        id: Counts up.
        made_at: GridFlex time.
        start: First half-hour it decides.
        reason: What called for it.
    """

    id: int
    made_at: datetime
    start: datetime
    reason: str


class WhatIf(BaseModel, extra="forbid", allow_inf_nan=False):
    """What to assume differently.

    Attributes:
        gpus: GPUs by site.
        deadlines: Latest finish by job.
        carbon_caps_gco2_per_kwh: Carbon cap by job.
        carbon_price_gbp_per_tco2: What a tonne counts for.
    """

    gpus: dict[str, Annotated[Whole, Field(ge=0, le=MOST_GPUS)]] = {}
    deadlines: dict[str, Instant] = {}
    carbon_caps_gco2_per_kwh: dict[str, Annotated[float, Field(gt=0)]] = {}
    carbon_price_gbp_per_tco2: Price | None = None

    def changes(self) -> Changes:
        """Return them as the planner takes them."""
        return Changes(
            gpus=self.gpus,
            deadlines={JobId(job_id): at for job_id, at in self.deadlines.items()},
            carbon_caps_gco2_per_kwh={
                JobId(job_id): cap for job_id, cap in self.carbon_caps_gco2_per_kwh.items()
            },
            carbon_price_gbp_per_tco2=self.carbon_price_gbp_per_tco2,
        )


class WhatIfAnswer(BaseModel):
    """What would come of it.

    Attributes:
        result: Figures under the other conditions.
        unchanged: Figures of the same jobs as it is.
        moved_jobs: Jobs that would run at another time or place.
        not_run: Jobs for all of whose work there would be no room. Energy, cost, carbon, waiting
            and objective of both leave them out, and those for which there is none as it is; the
            bound and the gap are those of all jobs.
    """

    result: dict[str, Any]
    unchanged: dict[str, Any]
    moved_jobs: list[str]
    not_run: list[str]


class FrontPointView(BaseModel):
    """One plan of a front.

    Attributes:
        cost_gbp: Of the energy.
        carbon_kg: Of the energy.
        waiting_gpu_hours: Delay of the work, weighted by GPUs.
        late: How many jobs are late; null where a front was kept without telling.
        over_cap: How many jobs are above their carbon cap; null likewise.
        sites_over_cap: How many sites are above theirs; null likewise.
        origin: How it was found.
        moved_jobs: How many jobs run at another time or place than in the plan.
        moved: Which, as far as kept.
    """

    cost_gbp: float
    carbon_kg: float
    waiting_gpu_hours: float
    late: int | None
    over_cap: int | None
    sites_over_cap: int | None
    origin: str
    moved_jobs: int
    moved: list[str]

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> FrontPointView:
        """Return the view of a point; ``late`` was once the sum of all three."""
        if "over_cap" in kept:
            return cls(**kept)
        each = None if kept["late"] else 0
        return cls(**{**kept, "late": each, "over_cap": each, "sites_over_cap": each})


class FrontView(BaseModel):
    """Plans for the same jobs of which none is better in cost, carbon and waiting; modelled.

    Attributes:
        points: The cheapest first.
        knee: Index of the point that gives up least of each for the others.
        preferred: Index of the best point at the prices asked for.
        evaluated: Plans looked at.
    """

    points: list[FrontPointView]
    knee: int
    preferred: int
    evaluated: int


def create_plans_router(plans: PlanStore) -> APIRouter:
    """Return the routes below ``/v1/plans``."""
    api = APIRouter(prefix="/plans", tags=["plans"])

    @api.get("")
    async def index(
        limit: Annotated[int, page_size(1000)] = 50,
        before: Annotated[
            int | None,
            Query(ge=1, le=LARGEST_ID, description="Number of a plan; older ones are listed."),
        ] = None,
    ) -> list[PlanLine]:
        """List committed plans, the newest first.

        Number, when it was made, the first half-hour it decides and what called for it. Give the
        number of the last one as `before` for older ones.
        """
        return [PlanLine(**row) for row in await plans.listed(limit=limit, before=before)]

    @api.get("/{plan_id}")
    async def show(plan_id: PlanNumber) -> PlanView:
        """One plan: which job runs when and where.

        With its cost, carbon, waiting and distance from the proven optimum, beside those of
        running every job at once; units are in the names.
        """
        stored = await find_plan(plans, plan_id)
        problem = await problem_of_plan(plans, stored)
        at_once = await asyncio.to_thread(run_now, problem)
        return PlanView(
            id=stored.id,
            made_at=stored.made_at,
            start=stored.start.start,
            reason=stored.reason,
            result=dict(stored.result),
            run_now=result_record(at_once),
            jobs=[
                PlannedJob(id=job_id, runs=[RunView.of(run) for run in runs])
                for job_id, runs in stored.runs.items()
            ],
        )

    @api.get("/{plan_id}/front")
    async def front(
        plan_id: PlanNumber,
        gbp_per_tco2: Annotated[
            Price, Query(description="What a tonne of CO2 counts for, GBP, 0 to 1,000,000.")
        ] = 80.0,
        gbp_per_gpu_hour: Annotated[
            Price,
            Query(description="What a GPU-hour of waiting counts for, GBP, 0 to 1,000,000."),
        ] = 0.0,
    ) -> FrontView:
        """What cost, carbon and waiting could be traded for.

        Plans for the same jobs of which none is better in all three, and which of them is best at
        the two prices. The first call for a plan takes some seconds; prices change no plan.
        """
        stored = await find_plan(plans, plan_id)
        kept = await plans.front(stored.id)
        if kept is None:
            problem = await problem_of_plan(plans, stored)
            kept = await asyncio.to_thread(_front, problem, stored.as_plan())
            await plans.save_front(stored.id, kept)
        return _front_view(kept, gbp_per_tco2=gbp_per_tco2, gbp_per_gpu_hour=gbp_per_gpu_hour)

    @api.post("/{plan_id}/what-if")
    async def what_if(plan_id: PlanNumber, body: WhatIf) -> WhatIfAnswer:
        """Try a plan under other conditions.

        What it would be with other GPUs, deadlines, carbon caps or another carbon price, beside
        what it is, and which jobs would move. Nothing is changed. It takes some seconds.
        """
        stored = await find_plan(plans, plan_id)
        problem = await problem_of_plan(plans, stored)
        return await asyncio.to_thread(_what_if, problem, stored.as_plan(), body.changes())

    return api


async def find_plan(plans: PlanStore, plan_id: str) -> StoredPlan:
    """Return a plan by its number or as ``newest``.

    Raises:
        ProblemError: There is none.
    """
    if plan_id == NEWEST:
        found = await plans.newest()
    elif plan_id.isascii() and plan_id.isdigit() and len(plan_id) <= 18:  # noqa: PLR2004 - a bigint
        found = await plans.get(int(plan_id))
    else:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, f"plan: {plan_id!r} is not valid; valid is a number or {NEWEST}"
        )
    if found is None:
        why = NO_PLAN if plan_id == NEWEST else f"plan {plan_id} does not exist"
        raise ProblemError(HTTPStatus.NOT_FOUND, why)
    return found


async def problem_of_plan(plans: PlanStore, plan: StoredPlan) -> PlanningProblem:
    """Return what a plan was made from."""
    inputs: Mapping[str, Any] | None = await plans.inputs(plan.id)
    if inputs is None:
        raise ProblemError(
            HTTPStatus.GONE,
            f"what plan {plan.id} was made from is not kept any more: it was made on "
            f"{plan.made_at:%Y-%m-%d}, and retention.plan_inputs_days is over",
        )
    return await asyncio.to_thread(problem_from_record, inputs)


def _front(problem: PlanningProblem, plan: Plan) -> dict[str, Any]:
    return front_record(make_front(problem, budget_s=FRONT_BUDGET_S, standing=plan), plan)


def _front_view(
    kept: Mapping[str, Any], *, gbp_per_tco2: float, gbp_per_gpu_hour: float
) -> FrontView:
    points = [FrontPointView.of(point) for point in kept["points"]]
    objectives = np.array(
        [[point.cost_gbp, point.carbon_kg, point.waiting_gpu_hours] for point in points]
    )
    return FrontView(
        points=points,
        knee=kept["knee"],
        preferred=preferred_of(
            objectives, gbp_per_tco2=gbp_per_tco2, gbp_per_gpu_hour=gbp_per_gpu_hour
        ),
        evaluated=kept["evaluated"],
    )


def _what_if(problem: PlanningProblem, plan: Plan, changes: Changes) -> WhatIfAnswer:
    assumed = changed(problem, changes)
    other = make_plan(assumed, budget_s=WHAT_IF_BUDGET_S, standing=plan)
    stopped = not_run(assumed, other)
    left_out = {*stopped, *not_run(problem, plan)}
    return WhatIfAnswer(
        result=_less(result_record(other), spent_by(assumed, other, left_out)),
        unchanged=_less(result_record(plan), spent_by(problem, plan, left_out)),
        moved_jobs=[str(job_id) for job_id in moved_jobs(plan, other)],
        not_run=[str(job_id) for job_id in stopped],
    )


def _less(result: dict[str, Any], spent: Spent) -> dict[str, Any]:
    return result | {name: result[name] - amount for name, amount in asdict(spent).items()}
