"""``/v1/plans/shed``: what to pause or cap when the grid asks for power at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from gridflex.agents.shed_desk import ShedDesk
from gridflex.planning.shed import Action


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class CutView(_View):
    """What one job gives; see `gridflex.planning.shed.Cut`."""

    job_id: str
    site: str
    action: Action
    freed_kw: float
    lost_kwh: float
    cost_gbp: float
    acts_in: timedelta


class ReboundView(_View):
    """What comes back after the event; see `gridflex.planning.shed.Rebound`."""

    job_id: str
    resumes_at: datetime
    power_kw: float
    extra_kwh: float
    until: datetime


class SheddingView(BaseModel):
    """The cheapest way to free power and keep every job on time; modelled.

    Attributes:
        asked_kw: What was asked for.
        freed_kw: Sum of what the cuts give.
        is_enough: Whether that is all of it.
        cost_gbp: Sum of what they cost: work done again, and what owners want.
        cuts: Cheapest first.
        rebound: What comes back when the hold is over.
        read_at: GridFlex time at which what runs was read.
        running_kw: Dynamic power of all that ran then.
        price_gbp_per_kwh: What lost energy is taken to cost.
    """

    asked_kw: float
    freed_kw: float
    is_enough: bool
    cost_gbp: float
    cuts: list[CutView]
    rebound: list[ReboundView]
    read_at: datetime
    running_kw: float
    price_gbp_per_kwh: float


def create_shed_router(desk: ShedDesk) -> APIRouter:
    """Return the route; it goes before those of ``/v1/plans``, to which ``shed`` is a number."""
    api = APIRouter(prefix="/plans", tags=["plans"])

    @api.get("/shed")
    async def shed(
        kw: Annotated[float, Query(gt=0, le=1e6, description="Power to free.")],
        within: Annotated[timedelta, Query(description="How soon, such as PT30S.")] = timedelta(
            seconds=30
        ),
        hold: Annotated[timedelta, Query(description="How long, such as PT1H.")] = timedelta(
            hours=1
        ),
        site: Annotated[str | None, Query(description="Where; anywhere if left out.")] = None,
    ) -> SheddingView:
        found, warm = await desk.free(kw, within=within, hold=hold, site=site)
        return SheddingView(
            asked_kw=kw,
            freed_kw=found.freed_kw,
            is_enough=found.is_enough,
            cost_gbp=found.cost_gbp,
            cuts=[CutView.model_validate(cut) for cut in found.cuts],
            rebound=[ReboundView.model_validate(back) for back in found.rebound],
            read_at=warm.read_at,
            running_kw=warm.running_kw,
            price_gbp_per_kwh=warm.price_gbp_per_kwh,
        )

    return api
