"""``/v1/jobs``: jobs as GridFlex sees them, with their attempts, events and energy."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from gridflex.adapters.jobs.store import JobStore
from gridflex.agents.ports import Ports
from gridflex.checked_values import LARGEST_ID
from gridflex.curtailment import Curtailment, held_by
from gridflex.job_ids import refuse_no_job_id
from gridflex.jobs import Flexibility, JobId, JobState, Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, Outcome, StopReason
from gridflex.planning.explain import Binding, Choice, Explanation, explain
from gridflex.serve.job_history import JobHistory, history_of, past_lines
from gridflex.serve.next_runs import NextRuns, order_over
from gridflex.serve.parameters import JobName, page_size
from gridflex.serve.plans_api import RunView, problem_of_plan
from gridflex.serve.problems import ProblemError
from gridflex.serve.ray_bodies import NextRun, message

PAGE = 50
LARGEST_PAGE = 500


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class FlexibilityView(_View):
    """What the owner allows, after defaults; as in `gridflex.jobs.Flexibility`."""

    tier: Tier
    deadline: datetime
    duration: timedelta
    duration_is_declared: bool
    interruptible: bool
    gpus: int
    min_gpus: int
    max_gpus: int
    checkpoint_every: timedelta | None
    sites: tuple[str, ...]
    carbon_cap_gco2_per_kwh: float | None
    premium_gbp_per_kwh: str
    team: str | None
    project: str | None

    @classmethod
    def of(cls, flexibility: Flexibility) -> FlexibilityView:
        """Return the view of a job's flexibility."""
        names = set(cls.model_fields) - {"premium_gbp_per_kwh"}
        values = {name: getattr(flexibility, name) for name in names}
        return cls(premium_gbp_per_kwh=str(flexibility.premium_gbp_per_kwh), **values)


class AttemptView(_View):
    """One run on a cluster; as in `gridflex.lifecycle.Attempt`."""

    number: int
    ray_id: str
    site: str
    state: AttemptState
    decided_at: datetime
    started_at: datetime | None
    stop_reason: StopReason | None
    ended_at: datetime | None
    outcome: Outcome | None


class NextRunView(_View):
    """When the newest plan runs a job that waits; see `gridflex.serve.ray_bodies.NextRun`."""

    start: datetime
    site: str
    price_gbp_per_mwh: float | None
    intensity_gco2_per_kwh: float | None


class JobView(BaseModel):
    """One flexible job.

    Attributes:
        id: Submission id.
        state: Where it is.
        submitted_at: GridFlex time.
        ended_at: GridFlex time.
        entrypoint: What it runs.
        flexibility: What its owner allows.
        attempts: Its runs so far.
        next_run: What the newest plan intends, if it waits.
        message: What its owner is told.
    """

    id: str
    state: JobState
    submitted_at: datetime
    ended_at: datetime | None
    entrypoint: str
    flexibility: FlexibilityView
    attempts: list[AttemptView]
    next_run: NextRunView | None
    message: str

    @classmethod
    def of(
        cls, job: Job, next_run: NextRun | None, order: Curtailment | None, *, now: datetime
    ) -> JobView:
        """Return the view of a job."""
        return cls(
            id=job.id,
            state=job.state,
            submitted_at=job.submitted_at,
            ended_at=job.ended_at,
            entrypoint=job.request.entrypoint,
            flexibility=FlexibilityView.of(job.flexibility),
            attempts=[_attempt(attempt) for attempt in job.attempts],
            next_run=NextRunView.model_validate(next_run) if next_run else None,
            message=message(job, next_run, order, now=now),
        )


class JobPage(BaseModel):
    """Jobs, newest first.

    Attributes:
        jobs: This page.
        next_cursor: Give it as ``cursor`` to go on; null on the last page.
    """

    jobs: list[JobView]
    next_cursor: int | None


class EventView(BaseModel):
    """What happened to a job.

    Attributes:
        at: GridFlex time.
        recorded_wall: Wall time at which it was written down.
        kind: What.
        detail: More of it.
    """

    at: datetime
    recorded_wall: datetime | None
    kind: str
    detail: dict[str, Any]


class EnergyView(_View):
    """Energy of one attempt in one half-hour.

    Attributes:
        attempt: Number of the run.
        start: The half-hour.
        running_s: How long it ran in it, GridFlex time.
        energy_kwh: Dynamic energy at the meter.
        method: ``measured``, ``declared`` or ``modelled``.
    """

    attempt: int
    start: datetime
    running_s: float
    energy_kwh: float
    method: str


class JobDetail(JobView):
    """One job with its history.

    Attributes:
        events: In order.
        energy: Half-hours it ran in.
    """

    events: list[EventView]
    energy: list[EnergyView]


class ChoiceView(BaseModel):
    """One way to run a job; see `gridflex.planning.explain.Choice`."""

    runs: list[RunView]
    cost_gbp: float
    carbon_kg: float
    score_gbp: float
    is_on_time: bool

    @classmethod
    def of(cls, choice: Choice) -> ChoiceView:
        """Return the view of a choice."""
        return cls(
            runs=[RunView.of(run) for run in choice.runs],
            cost_gbp=choice.cost_gbp,
            carbon_kg=choice.carbon_kg,
            score_gbp=choice.score_gbp,
            is_on_time=choice.is_on_time,
        )


class ExplanationView(BaseModel):
    """Why a job runs when and where it does.

    Attributes:
        id: The job.
        state: Where it is.
        plan_id: The plan that was asked; null before the first one that runs the job, and after
            the end of the job, of which its runs are told.
        chosen: What that plan does.
        run_now: Running at once and through, as if capacity were free.
        second: The best other placement.
        binding: What keeps the job from a cheaper place.
        binding_price_gbp: What lifting that alone would save.
        history: What earlier jobs say about its run time and slack.
        lines: The same in sentences.
    """

    id: str
    state: JobState
    history: JobHistory
    plan_id: int | None = None
    chosen: ChoiceView | None = None
    run_now: ChoiceView | None = None
    second: ChoiceView | None = None
    binding: Binding | None = None
    binding_price_gbp: float | None = None
    lines: list[str]


def create_jobs_router(ports: Ports) -> APIRouter:
    """Return the routes below ``/v1/jobs``."""
    api = APIRouter(prefix="/jobs", tags=["jobs"])
    next_runs = NextRuns(ports.plans)

    async def find(job_id: str) -> Job:
        return await _find(ports.jobs, job_id)

    async def view(job: Job) -> JobView:
        now = ports.clock.now()
        next_run = await next_runs.of(job.id, now) if job.is_waiting else None
        order = await order_over(job, ports.curtailments, now)
        return JobView.of(job, next_run, order, now=now)

    @api.get("")
    async def page(
        limit: Annotated[int, page_size(LARGEST_PAGE)] = PAGE,
        cursor: Annotated[
            int | None,
            Query(
                ge=1,
                le=LARGEST_ID,
                description="`next_cursor` of the page before; not for the first.",
            ),
        ] = None,
    ) -> JobPage:
        """List flexible jobs, the newest first.

        Each with its state, its runs so far and when the newest plan runs it. Give `next_cursor`
        as `cursor` for older ones; it is null on the last page.
        """
        found = await ports.jobs.newest(limit=limit + 1, before_seq=cursor)
        jobs = found[:limit]
        now = ports.clock.now()
        planned = await next_runs.of_all(now)
        orders = held_by(await ports.curtailments.active(now))
        return JobPage(
            jobs=[
                JobView.of(
                    job,
                    planned.get(job.id) if job.is_waiting else None,
                    orders.get(job.id),
                    now=now,
                )
                for job in jobs
            ],
            next_cursor=jobs[-1].seq if len(found) > limit else None,
        )

    @api.get("/{job_id}")
    async def show(job_id: JobName) -> JobDetail:
        """One flexible job with its history.

        As in the list, with all that happened to it and the energy (kWh) of every half-hour it
        ran in.
        """
        job = await find(job_id)
        events = await ports.jobs.events(job.id)
        energy = await ports.jobs.energy([job.id])
        return JobDetail(
            **(await view(job)).model_dump(),
            events=[EventView.model_validate(event.model_dump()) for event in events],
            energy=[EnergyView.model_validate(row) for row in energy],
        )

    @api.get("/{job_id}/explain")
    async def why(job_id: JobName) -> ExplanationView:
        """Why a job runs when and where it does.

        The plan's choice beside running at once and the second choice, with cost (GBP) and carbon
        (kg); what keeps it from a cheaper place; and what earlier jobs say of its run time. An
        ended job is told by what it did.
        """
        job = await find(job_id)
        said = (await view(job)).message
        stored = None if job.state.is_final else await ports.plans.last_with(job.id)
        history = await history_of(
            job, jobs=ports.jobs, now=ports.clock.now(), restart=ports.restart
        )
        if stored is None:
            lines = [said, *past_lines(job), *history.lines]
            return ExplanationView(id=job.id, state=job.state, history=history, lines=lines)
        problem = await problem_of_plan(ports.plans, stored)
        found = await asyncio.to_thread(explain, problem, stored.as_plan(), job.id)
        return _explanation(job, stored.id, found, said, history)

    return api


async def _find(jobs: JobStore, job_id: str) -> Job:
    refuse_no_job_id(job_id, name="job_id")
    job = await jobs.get(JobId(job_id))
    if job is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"job {job_id} does not exist, or is not flexible")
    return job


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView.model_validate(attempt)


def _explanation(
    job: Job, plan_id: int, found: Explanation, said: str, history: JobHistory
) -> ExplanationView:
    return ExplanationView(
        id=job.id,
        state=job.state,
        plan_id=plan_id,
        chosen=ChoiceView.of(found.chosen),
        run_now=ChoiceView.of(found.now),
        second=ChoiceView.of(found.second) if found.second else None,
        binding=found.binding,
        binding_price_gbp=found.binding_price_gbp,
        history=history,
        lines=[said, f"Plan {plan_id}: {found.text}", *history.lines],
    )
