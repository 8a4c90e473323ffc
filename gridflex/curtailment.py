"""An order to free power that is carried out: which jobs stand still until when.

Orders are kept, so that whoever starts jobs and whoever plans them follows them whatever died in
between. A job that would be late if it stood still any longer runs all the same. Instants are
aware UTC, GridFlex time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridflex.errors import ContractError
from gridflex.jobs import MAX_WINDOW, JobId


def valid_within(within: timedelta) -> timedelta:
    """Return how soon power is asked for.

    Raises:
        ValueError: It is no such duration; says what is valid.
    """
    if not timedelta(0) <= within <= MAX_WINDOW:
        raise ValueError(f"valid is from PT0S to P{MAX_WINDOW.days}D")
    return within


def valid_hold(hold: timedelta) -> timedelta:
    """Return how long power is asked for: at most as long as a job may run.

    Raises:
        ValueError: It is no such duration; says what is valid.
    """
    if not timedelta(0) < hold <= MAX_WINDOW:
        raise ValueError(f"valid is longer than PT0S, at most P{MAX_WINDOW.days}D")
    return hold


@dataclass(frozen=True, slots=True)
class CurtailmentRequest:
    """What is asked for.

    Args:
        kw: Power to free.
        within: How soon; what comes from outside goes through `valid_within`.
        hold: How long; what comes from outside goes through `valid_hold`.
        site: Where; None for anywhere.
        reason: Why, for the record.
    """

    kw: float
    within: timedelta
    hold: timedelta
    site: str | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.kw > 0:
            raise ContractError(f"kw: {self.kw} is not valid; valid is above 0")


@dataclass(frozen=True, slots=True)
class CurtailedJob:
    """What one job gives; modelled.

    Args:
        job_id: The job.
        site: Where it ran.
        freed_kw: Dynamic power given up.
        lost_kwh: Energy of work that has to be done again, the restart included.
        cost_gbp: That energy and the owner's premium.
        acts_in: How long its pause takes.
        back_by: Latest instant by which it must have resumed to be on time.
    """

    job_id: JobId
    site: str
    freed_kw: float
    lost_kwh: float
    cost_gbp: float
    acts_in: timedelta
    back_by: datetime


@dataclass(frozen=True, slots=True)
class Curtailment:
    """One order.

    Args:
        id: Chosen by whoever gives it, so that it can be given again.
        request: What was asked for.
        placed_at: When it began.
        jobs: Who stands still, the cheapest first.
        limits_kw: Dynamic power that jobs may draw meanwhile, by site: what the others drew.
        ended_at: When somebody ended it before its time, if anybody did.
    """

    id: str
    request: CurtailmentRequest
    placed_at: datetime
    jobs: tuple[CurtailedJob, ...]
    limits_kw: Mapping[str, float]
    ended_at: datetime | None = None

    @property
    def until(self) -> datetime:
        """When it is over."""
        end = self.placed_at + self.request.hold
        return end if self.ended_at is None else min(end, self.ended_at)

    @property
    def freed_kw(self) -> float:
        """Sum of what its jobs give."""
        return sum(one.freed_kw for one in self.jobs)

    @property
    def is_enough(self) -> bool:
        """Whether that is what was asked for."""
        return self.freed_kw >= self.request.kw * (1 - 1e-9)

    @property
    def cost_gbp(self) -> float:
        """Sum of what that costs."""
        return sum(one.cost_gbp for one in self.jobs)

    def is_active(self, now: datetime) -> bool:
        """Whether it is to be followed at ``now``."""
        return self.placed_at <= now < self.until


def held_by(orders: Iterable[Curtailment]) -> dict[JobId, Curtailment]:
    """Return under which order each job stands still; under several, the last to end."""
    in_order = sorted(orders, key=lambda order: order.until)
    return {one.job_id: order for order in in_order for one in order.jobs}


def held_until(orders: Iterable[Curtailment]) -> dict[JobId, datetime]:
    """Return until when each job stands still."""
    return {job_id: order.until for job_id, order in held_by(orders).items()}


def closed_since(orders: Iterable[Curtailment]) -> dict[str, datetime]:
    """Return when each limited site got its newest order; plans from before do not know of it."""
    found: dict[str, datetime] = {}
    for order in orders:
        for site in order.limits_kw:
            found[site] = max(order.placed_at, found.get(site, order.placed_at))
    return found


def limits_at(orders: Sequence[Curtailment], site: str) -> list[tuple[datetime, float]]:
    """Return until when which limits on dynamic power in kW apply to a site."""
    return [(order.until, order.limits_kw[site]) for order in orders if site in order.limits_kw]
