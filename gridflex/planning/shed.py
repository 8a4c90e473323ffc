"""Which running work gives up power first when the grid asks, and what comes back when.

The order is kept warm: the answer to "free N kW within S seconds for H hours" is a sort of a few
arrays, without a plan. Cheapest first: what is capped loses speed, what is paused loses the work
since its last checkpoint, and each owner is paid the premium for the energy not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np

from gridflex import units
from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.problem import Array
from gridflex.planning.tables import Index

ROUNDING_KW: Final = 1e-9


class Action(StrEnum):
    """What is done to a job."""

    CAP = "cap"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class RunningWork:
    """One running job that may give up power.

    Args:
        job_id: The job.
        site: Where it runs.
        power_kw: Dynamic power at the meter now.
        checkpoint_age: How long ago its last checkpoint was written.
        restart: What a resume takes before work goes on.
        slack: How long it may stand still and still be on time.
        premium_gbp_per_kwh: What the owner wants for energy not used.
        acts_in: How long a pause takes until the power is gone.
        is_pausable: Whether it may be paused.
        capped_kw: Power under its lowest cap; None where power cannot be capped.
        capped_throughput: Speed under that cap, as a share.
        cap_acts_in: How long the cap takes to act.
    """

    job_id: JobId
    site: str
    power_kw: float
    checkpoint_age: timedelta
    restart: timedelta
    slack: timedelta
    premium_gbp_per_kwh: float = 0.0
    acts_in: timedelta = timedelta(seconds=5)
    is_pausable: bool = True
    capped_kw: float | None = None
    capped_throughput: float = 1.0
    cap_acts_in: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        if self.power_kw < 0:
            raise ContractError(f"job {self.job_id}: power_kw {self.power_kw} is below 0")
        if self.capped_kw is not None and not 0 <= self.capped_kw <= self.power_kw:
            raise ContractError(
                f"job {self.job_id}: capped_kw {self.capped_kw} is not in [0, {self.power_kw}]"
            )
        if not 0 < self.capped_throughput <= 1:
            raise ContractError(
                f"job {self.job_id}: capped_throughput {self.capped_throughput} is not in (0, 1]"
            )


@dataclass(frozen=True, slots=True)
class Cut:
    """What one job gives.

    Args:
        job_id: The job.
        site: Where it runs.
        action: What is done.
        freed_kw: Power given up.
        lost_kwh: Energy of work that has to be done again, the restart included.
        cost_gbp: That energy and the owner's premium.
        acts_in: How long it takes.
    """

    job_id: JobId
    site: str
    action: Action
    freed_kw: float
    lost_kwh: float
    cost_gbp: float
    acts_in: timedelta


@dataclass(frozen=True, slots=True)
class Rebound:
    """What comes back after an event.

    Args:
        job_id: The job.
        resumes_at: When its power returns.
        power_kw: How much.
        extra_kwh: Energy it will use beyond the event that it would not have used then.
        until: Latest instant by which it must have resumed to be on time.
    """

    job_id: JobId
    resumes_at: datetime
    power_kw: float
    extra_kwh: float
    until: datetime


@dataclass(frozen=True, slots=True)
class Shedding:
    """The answer to a request.

    Args:
        cuts: Cheapest first.
        freed_kw: Sum of what the cuts give.
        is_enough: Whether that is what was asked for.
        cost_gbp: Sum of what they cost.
        rebound: What comes back, the earliest first.
    """

    cuts: tuple[Cut, ...]
    freed_kw: float
    is_enough: bool
    cost_gbp: float
    rebound: tuple[Rebound, ...]


class ShedOrder:
    """All that could be shed now.

    Args:
        work: Running jobs.
        price_gbp_per_kwh: What lost energy costs to use again, by site.
    """

    def __init__(
        self, work: Sequence[RunningWork], *, price_gbp_per_kwh: Mapping[str, float]
    ) -> None:
        self._work = tuple(work)
        pauses = [(i, Action.PAUSE) for i, one in enumerate(self._work) if one.is_pausable]
        caps = [(i, Action.CAP) for i, one in enumerate(self._work) if one.capped_kw is not None]
        self._moves = [*pauses, *caps]
        self._job = np.array([job for job, _ in self._moves], dtype=np.int64)
        jobs = [self._work[i] for i, _ in self._moves]
        paused = np.array([action is Action.PAUSE for _, action in self._moves], dtype=np.bool_)
        power = np.array([one.power_kw for one in jobs], dtype=float)
        capped = np.array([one.capped_kw or 0.0 for one in jobs], dtype=float)
        speed = np.array([one.capped_throughput for one in jobs], dtype=float)
        again_h = np.array([units.hours(one.checkpoint_age + one.restart) for one in jobs])
        self._freed = np.where(paused, power, power - capped)
        self._lost_kwh = np.where(paused, power * again_h, 0.0)
        self._slowdown = np.where(paused, 1.0, 1.0 - speed)
        self._wasted_kw = np.where(paused, 0.0, np.maximum(capped - speed * power, 0.0))
        self._premium = np.array([one.premium_gbp_per_kwh for one in jobs], dtype=float)
        self._slack_h = np.array([units.hours(one.slack) for one in jobs], dtype=float)
        self._again_h = np.where(paused, again_h, 0.0)
        self._acts_in_s = np.array(
            [
                (one.acts_in if pause else one.cap_acts_in).total_seconds()
                for one, pause in zip(jobs, paused.tolist(), strict=True)
            ],
            dtype=float,
        )
        self._site = np.array([one.site for one in jobs], dtype=np.str_)
        self._price = np.array([price_gbp_per_kwh[one.site] for one in jobs], dtype=float)

    def free(
        self,
        kw: float,
        *,
        within: timedelta,
        hold: timedelta,
        now: datetime,
        site: str | None = None,
        without: frozenset[JobId] = frozenset(),
    ) -> Shedding:
        """Return the cheapest cuts that free ``kw`` and keep every job on time.

        Args:
            kw: Power to free.
            within: How soon.
            hold: How long.
            now: When the event begins.
            site: Where; None for anywhere.
            without: Jobs that have given already.
        """
        hours = units.hours(hold)
        lost_kwh = self._lost_kwh + self._wasted_kw * hours
        cost = lost_kwh * self._price + self._premium * self._freed * hours
        usable = (self._acts_in_s <= within.total_seconds()) & (self._freed > ROUNDING_KW)
        usable &= hours * self._slowdown + self._again_h <= self._slack_h
        if site is not None:
            usable &= self._site == site
        if without:
            usable &= np.array(
                [self._work[job].job_id not in without for job, _ in self._moves], dtype=np.bool_
            )
        chosen = self._chosen(kw, cost, np.flatnonzero(usable))
        cuts = tuple(self._cut(move, float(lost_kwh[move]), float(cost[move])) for move in chosen)
        freed = sum(cut.freed_kw for cut in cuts)
        back = (self._rebound(move, hold, now) for move in chosen)
        return Shedding(
            cuts=cuts,
            freed_kw=freed,
            is_enough=freed >= kw - ROUNDING_KW,
            cost_gbp=sum(cut.cost_gbp for cut in cuts),
            rebound=tuple(sorted(back, key=lambda one: (one.resumes_at, one.job_id))),
        )

    def _chosen(self, kw: float, cost: Array, moves: Index) -> list[int]:
        """Return the moves that free ``kw`` at the least cost found, at most one per job.

        Moves are taken by cost per kW; after each, the cheapest single one that frees all that is
        left is tried instead of the rest, and last what turned out not to be needed is dropped.
        """
        order = moves[np.argsort(cost[moves] / self._freed[moves], kind="stable")]
        largest_kw = float(self._freed[moves].max(initial=0.0))
        taken: dict[int, int] = {}
        found: dict[int, int] | None = None
        freed = 0.0
        for move in order.tolist():
            left = kw - freed - ROUNDING_KW
            if left <= 0:
                break
            if left <= largest_kw and (last := self._last(left, cost, moves, taken)) is not None:
                ended = {**taken, self._moves[last][0]: last}
                if found is None or _total(ended, cost) < _total(found, cost):
                    found = ended
            job = self._moves[move][0]
            before = self._freed[taken[job]] if job in taken else 0.0
            if self._freed[move] > before:
                freed += self._freed[move] - before
                taken[job] = move
        ways = [self._needed(way, kw, cost) for way in (taken, found) if way is not None]
        enough = [way for way in ways if _total(way, self._freed) >= kw - ROUNDING_KW]
        best = min(enough or ways, key=lambda way: _total(way, cost))
        return sorted(best.values(), key=lambda move: (cost[move] / self._freed[move], move))

    def _last(
        self, left_kw: float, cost: Array, moves: Index, taken: Mapping[int, int]
    ) -> int | None:
        """Return the cheapest move that frees what is left, beside or in place of its job's own."""
        own = [taken.get(job) for job in self._job[moves].tolist()]
        held = np.array([-1 if move is None else move for move in own], dtype=np.int64)
        gain_kw = self._freed[moves] - np.where(held >= 0, self._freed[held], 0.0)
        extra = cost[moves] - np.where(held >= 0, cost[held], 0.0)
        extra = np.where(gain_kw >= left_kw, extra, np.inf)
        best = int(extra.argmin())
        return int(moves[best]) if np.isfinite(extra[best]) else None

    def _needed(self, taken: Mapping[int, int], kw: float, cost: Array) -> dict[int, int]:
        """Return what is needed of moves, the dearest that are not left out."""
        needed, spare = dict(taken), _total(taken, self._freed) - kw + ROUNDING_KW
        for job, move in sorted(taken.items(), key=lambda item: -cost[item[1]]):
            if self._freed[move] <= spare:
                spare -= self._freed[move]
                del needed[job]
        return needed

    def _cut(self, move: int, lost_kwh: float, cost_gbp: float) -> Cut:
        job, action = self._moves[move]
        work = self._work[job]
        return Cut(
            job_id=work.job_id,
            site=work.site,
            action=action,
            freed_kw=float(self._freed[move]),
            lost_kwh=lost_kwh,
            cost_gbp=cost_gbp,
            acts_in=timedelta(seconds=float(self._acts_in_s[move])),
        )

    def _rebound(self, move: int, hold: timedelta, now: datetime) -> Rebound:
        job, action = self._moves[move]
        work, hours = self._work[job], units.hours(hold)
        missed = work.power_kw * hours * float(self._slowdown[move])
        again = timedelta(hours=float(self._again_h[move]))
        return Rebound(
            job_id=work.job_id,
            resumes_at=now + hold,
            power_kw=float(self._freed[move]),
            extra_kwh=missed + float(self._lost_kwh[move]),
            until=now + work.slack - again if action is Action.PAUSE else now + hold,
        )


def _total(taken: Mapping[int, int], of_moves: Array) -> float:
    return float(of_moves[list(taken.values())].sum()) if taken else 0.0
