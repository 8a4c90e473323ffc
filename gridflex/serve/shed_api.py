"""``/v1/plans/shed``: what to pause when the grid asks for power at once, and the order to."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final, Self

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gridflex.agents.ports import Ports
from gridflex.agents.shed_desk import ShedDesk
from gridflex.curtailment import Curtailment, CurtailmentRequest, valid_hold, valid_within
from gridflex.jobs import MAX_WINDOW, JobState
from gridflex.planning.shed import Action
from gridflex.serve.parameters import page_size
from gridflex.serve.problems import ProblemError

LARGEST_PAGE: Final = 500

OrderId = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="The order's id; sent again with the same order, nothing more is shed.",
    ),
]


OrderPath = Annotated[str, Path(description="The order's id, as answered when it was given.")]
Within = Annotated[timedelta, AfterValidator(valid_within)]
Hold = Annotated[timedelta, AfterValidator(valid_hold)]


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
        price_gbp_per_kwh: What lost energy is taken to cost, by site.
    """

    asked_kw: float
    freed_kw: float
    is_enough: bool
    cost_gbp: float
    cuts: list[CutView]
    rebound: list[ReboundView]
    read_at: datetime
    running_kw: float
    price_gbp_per_kwh: dict[str, float]


class OrderBody(BaseModel):
    """What to free; see `gridflex.curtailment.CurtailmentRequest`."""

    model_config = ConfigDict(extra="forbid")

    kw: float = Field(gt=0, le=1e6)
    within: Within = timedelta(seconds=30)
    hold: Hold = timedelta(hours=1)
    site: str | None = None
    reason: str = Field(default="", max_length=500, pattern=r"^[^\x00]*$")

    def request(self) -> CurtailmentRequest:
        """Return it as the domain knows it."""
        return CurtailmentRequest(**self.model_dump())


class OrderedJobView(_View):
    """What one job gives; see `gridflex.curtailment.CurtailedJob`.

    Attributes:
        state: Where the job is now.
        stands_still: Whether it is on no cluster now.
    """

    job_id: str
    site: str
    freed_kw: float
    lost_kwh: float
    cost_gbp: float
    acts_in: timedelta
    back_by: datetime
    state: JobState
    stands_still: bool


class OrderView(BaseModel):
    """An order to free power that is carried out; powers are modelled.

    Attributes:
        id: Of the order.
        placed_at: GridFlex time.
        until: When it is over; its jobs run again from the next half-hour on, as planned.
        ended_at: When somebody ended it before its time.
        is_active: Whether it is being followed.
        asked_kw: What was asked for.
        freed_kw: Sum of what its jobs give.
        is_enough: Whether that is all of it.
        cost_gbp: Sum of what they cost.
        reason: Why, in the words of who gave it.
        limits_kw: Dynamic power that jobs may draw meanwhile, by site.
    """

    id: str
    placed_at: datetime
    until: datetime
    ended_at: datetime | None
    is_active: bool
    asked_kw: float
    freed_kw: float
    is_enough: bool
    cost_gbp: float
    reason: str
    limits_kw: dict[str, float]

    @classmethod
    def of(cls, order: Curtailment, *, now: datetime, **more: object) -> Self:
        """Return the view of an order at ``now``."""
        names = set(OrderView.model_fields) - {"is_active", "asked_kw", "reason"}
        return cls(
            **{name: getattr(order, name) for name in names},
            is_active=order.is_active(now),
            asked_kw=order.request.kw,
            reason=order.request.reason,
            **more,
        )


class OrderDetailView(OrderView):
    """An order with its jobs as they are now.

    Attributes:
        freed_now_kw: What those give that stand still now.
        jobs: The cheapest first.
    """

    freed_now_kw: float
    jobs: list[OrderedJobView]


class OrdersView(BaseModel):
    """Orders, the newest first."""

    orders: list[OrderView]


def create_shed_router(desk: ShedDesk, ports: Ports) -> APIRouter:
    """Return the routes; they go before those of ``/v1/plans``, to which ``shed`` is a number."""
    api = APIRouter(prefix="/plans", tags=["plans"])

    @api.get("/shed")
    async def shed(
        kw: Annotated[
            float, Query(gt=0, le=1e6, description="Power to free, kW, at most 1,000,000.")
        ],
        within: Annotated[
            Within, Query(description=f"How soon, such as PT30S, at most P{MAX_WINDOW.days}D.")
        ] = timedelta(seconds=30),
        hold: Annotated[
            Hold, Query(description=f"For how long, such as PT1H, at most P{MAX_WINDOW.days}D.")
        ] = timedelta(hours=1),
        site: Annotated[
            str | None, Query(description="Name of a site; anywhere if left out.")
        ] = None,
    ) -> SheddingView:
        """What to pause to free power at once.

        The cheapest running jobs that give it with every job on time, what that costs (GBP) and
        what comes back when. Nothing is paused: `POST` on this path does that.
        """
        request = CurtailmentRequest(kw, within=within, hold=hold, site=site)
        found, warm = await desk.free(request)
        return SheddingView(
            asked_kw=kw,
            freed_kw=found.freed_kw,
            is_enough=found.is_enough,
            cost_gbp=found.cost_gbp,
            cuts=[CutView.model_validate(cut) for cut in found.cuts],
            rebound=[ReboundView.model_validate(back) for back in found.rebound],
            read_at=warm.read_at,
            running_kw=warm.running_kw,
            price_gbp_per_kwh=dict(warm.price_gbp_per_kwh),
        )

    @api.post("/shed", status_code=HTTPStatus.CREATED)
    async def carry_out(
        body: OrderBody, response: Response, order_id: OrderId = None
    ) -> OrderDetailView:
        """Order jobs to pause, to free power at once.

        The cheapest jobs that keep on time stand still for `hold`; `is_enough` says whether they
        give what was asked for. 201 for a new order; 200 with the order there is where the same
        one comes again under its `Idempotency-Key`, 409 where another does.
        """
        order, is_new = await desk.carry_out(order_id or uuid.uuid4().hex, body.request())
        if not is_new:
            response.status_code = HTTPStatus.OK
        return await _detail(order, ports)

    @api.get("/shed/orders")
    async def orders(limit: Annotated[int, page_size(LARGEST_PAGE)] = 50) -> OrdersView:
        """List orders to free power, the newest first.

        Those in force and those that are over; `is_active` tells them apart.
        """
        now = ports.clock.now()
        found = await ports.curtailments.newest(limit=limit)
        return OrdersView(orders=[OrderView.of(order, now=now) for order in found])

    @api.get("/shed/orders/{order_id}")
    async def order(order_id: OrderPath) -> OrderDetailView:
        """One order to free power, with its jobs.

        Where each job is now, and how much power (kW) those give that stand still.
        """
        return await _detail(_known(await ports.curtailments.get(order_id), order_id), ports)

    @api.post("/shed/orders/{order_id}/end")
    async def end(order_id: OrderPath) -> OrderDetailView:
        """End an order to free power before its time.

        Its jobs may run again; an order that is over stays as it is.
        """
        ended = await ports.curtailments.end(order_id, at=ports.clock.now())
        return await _detail(_known(ended, order_id), ports)

    return api


def _known(order: Curtailment | None, order_id: str) -> Curtailment:
    if order is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no order {order_id!r}")
    return order


async def _detail(order: Curtailment, ports: Ports) -> OrderDetailView:
    """Return an order with where its jobs are; one that its owner deleted has ended."""
    jobs = []
    for one in order.jobs:
        job = await ports.jobs.get(one.job_id)
        jobs.append(
            OrderedJobView(
                **asdict(one),
                state=job.state if job else JobState.STOPPED,
                stands_still=job is None or job.live_attempt is None,
            )
        )
    freed_now = sum(one.freed_kw for one in jobs if one.stands_still)
    return OrderDetailView.of(order, now=ports.clock.now(), jobs=jobs, freed_now_kw=freed_now)
