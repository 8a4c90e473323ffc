"""Power limits on GPUs: what a planned mode asks of them, and for how long it was in force.

A plan speaks of shares of a GPU's default limit, its driver of watts. Instants are aware UTC,
GridFlex time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridflex.jobs import JobId


@dataclass(frozen=True, slots=True)
class GpuSlot:
    """One GPU as its Ray cluster counts it.

    Args:
        node_id: Ray's id of the node.
        index: Ray's number of the GPU on it, from 0.
    """

    node_id: str
    index: int


@dataclass(frozen=True, slots=True)
class GpuPower:
    """What a GPU's driver says of its power limit.

    Args:
        uuid: The GPU, whatever its number.
        default_w: Limit at which it was delivered.
        least_w: Lowest limit that can be set.
        most_w: Highest one.
        limit_w: The one that is set.
        model: What it is sold as.
    """

    uuid: str
    default_w: float
    least_w: float
    most_w: float
    limit_w: float
    model: str

    def watts(self, fraction: float) -> float:
        """Return the limit that is ``fraction`` of the default, in mW, as far as it can be set."""
        return min(max(round(fraction * self.default_w, 3), self.least_w), self.most_w)


@dataclass(frozen=True, slots=True)
class NodePower:
    """What can be done about power on one node.

    Args:
        gpus: Its GPUs by Ray's number.
        refusal: Why no limit can be set here; None if it can.
    """

    gpus: tuple[GpuPower, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether the power limits of a site's plan can be set there.

    Args:
        site: Name.
        is_able: Whether they can.
        detail: On what, or why not.
        at: Since when.
    """

    site: str
    is_able: bool
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PowerLimit:
    """One limit on one GPU, from before it was set until it was lifted.

    Args:
        id: Its number.
        site: Where.
        node_id: Ray's id of the node.
        gpu: UUID of the GPU.
        job_id: The job whose mode it belongs to.
        attempt: Number of that job's run.
        before_w: Limit that goes back into force.
        limit_w: The one that was set.
        recorded_at: When it was decided.
        set_at: When it came into force; None if it never did, or nobody could note it.
        lifted_at: When it was lifted; None while it is, or may be, in force.
    """

    id: int
    site: str
    node_id: str
    gpu: str
    job_id: JobId
    attempt: int
    before_w: float
    limit_w: float
    recorded_at: datetime
    set_at: datetime | None = None
    lifted_at: datetime | None = None

    def within(self, begin: datetime, end: datetime) -> timedelta:
        """Return for how long it was in force between two instants."""
        if self.set_at is None:
            return timedelta(0)
        until = end if self.lifted_at is None else min(end, self.lifted_at)
        return max(until - max(begin, self.set_at), timedelta(0))


def limited_share(
    limits: Iterable[PowerLimit], *, gpus: int, begin: datetime, end: datetime
) -> float:
    """Return the share of a run's GPU time between two instants that was under a limit.

    Args:
        limits: Of the run.
        gpus: How many GPUs it holds, at least 1.
        begin: First instant, before ``end``.
        end: Last instant.
    """
    limited = sum((limit.within(begin, end) for limit in limits), timedelta(0))
    return min(limited / (gpus * (end - begin)), 1.0)
