"""Putting jobs into what capacity is left, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gridflex import units
from gridflex.jobs import JobId
from gridflex.planning.arrays import Arrays, Placement
from gridflex.planning.problem import Array
from gridflex.planning.schedule import (
    Mask,
    Runs,
    Work,
    best_through,
    best_with_pauses,
    half_hours_of,
    score_of,
    soonest,
)

CAP_STEPS = 12
"""Doublings of the price of carbon tried for a job whose carbon cap binds."""


MOST_MOVED = 64
"""Jobs moved to the front of the queue because they did not fit, per plan."""


LEAST_GAIN_GBP = 1e-9
"""Less is rounding, and would let two equal placements alternate."""


class Board:
    """Placements so far and the GPUs they leave free.

    Args:
        arrays: The problem.
        prices: Shape ``(S, T)``, GBP per GPU and half-hour; what capacity counts for.

    Attributes:
        free: Shape ``(S, T)``, GPUs left.
        shut: Shape ``(S, T)``, true where nothing more may be placed.
    """

    def __init__(self, arrays: Arrays, prices: Array) -> None:
        self.arrays = arrays
        self.prices = prices
        self.free = arrays.free.copy()
        self.shut = np.zeros(arrays.free.shape, dtype=np.bool_)
        self.placements: dict[int, Placement] = {}

    def put(self, job: int, placement: Placement) -> None:
        """Place a job, taking its GPUs."""
        self.placements[job] = placement
        self.free[placement.site, half_hours_of(placement.runs)] -= self.arrays.gpus[job]

    def take(self, job: int) -> Placement:
        """Take a job out again and return where it was."""
        placement = self.placements.pop(job)
        self.free[placement.site, half_hours_of(placement.runs)] += self.arrays.gpus[job]
        return placement

    def best(self, job: int) -> Placement | None:
        """Return the job's cheapest placement on time in what is free; None if none fits."""
        found = [
            (score, site, runs)
            for site in self.arrays.sites_of(job)
            for score, runs in self._best_at(job, site)
        ]
        if not found:
            return None
        _, site, runs = min(found, key=lambda item: (item[0], item[1]))
        return Placement(site, runs)

    def least_late(self, job: int, *, through: bool = False) -> Placement:
        """Return the placement that finishes first, deadline or not; most work if none does.

        Args:
            job: Which.
            through: Whether to leave no pauses, even where the job allows them.
        """
        arrays = self.arrays
        broken = arrays.problem.jobs[job].interruptible and not through
        found = []
        for site in arrays.sites_of(job):
            is_open = self._open(job, site)
            is_open[: arrays.release[job]] = False
            runs = soonest(is_open, arrays.work_of(job, site=site), broken=broken)
            placement = Placement(site, runs)
            missing = int(arrays.work[job]) - half_hours_of(runs).size
            end = runs[-1][0] + runs[-1][1] if runs else arrays.half_hours
            is_short = not (runs and arrays.is_met(job, placement))
            found.append((is_short, missing if is_short else 0, end, site, placement))
        return min(found, key=lambda item: item[:4])[4]

    def hold(self, job: int) -> Placement:
        """Return the placement of a job that runs now and goes on, whatever is free."""
        length = min(int(self.arrays.work[job]), self.arrays.half_hours)
        return Placement(int(self.arrays.running_at[job]), ((0, length),))

    def score(self, job: int, placement: Placement) -> float:
        """Return what a placement counts for, capacity at its price included."""
        arrays = self.arrays
        score = (
            arrays.curve(job, site=placement.site) + arrays.gpus[job] * self.prices[placement.site]
        )
        return score_of(placement.runs, score, arrays.work_of(job, site=placement.site))

    def _open(self, job: int, site: int) -> Mask:
        is_open: Mask = ~self.shut[site]
        gpus = self.arrays.gpus[job]
        if gpus:
            is_open &= self.free[site] >= gpus
        return is_open

    def _best_at(self, job: int, site: int) -> list[tuple[float, Runs]]:
        arrays = self.arrays
        low, high = int(arrays.release[job]), int(arrays.deadline[job])
        if high <= low:
            return []
        score = arrays.curve(job, site=site) + arrays.gpus[job] * self.prices[site]
        score = np.where(self._open(job, site), score, np.inf)[low:high]
        work = arrays.work_of(job, site=site)
        plan = best_with_pauses if arrays.problem.jobs[job].interruptible else _through
        runs = plan(score, work)
        cap = arrays.problem.jobs[job].carbon_cap_gco2_per_kwh
        if runs is not None and cap is not None:
            runs = self._under_cap(job, site, score, runs, cap=cap)
        if runs is None:
            return []
        shifted = tuple((first + low, length) for first, length in runs)
        return [(score_of(runs, score, work), shifted)]

    def _under_cap(self, job: int, site: int, score: Array, runs: Runs, *, cap: float) -> Runs:
        """Return runs under the job's carbon cap; the cleanest found where none is."""
        arrays = self.arrays
        work = arrays.work_of(job, site=site)
        plan = best_with_pauses if arrays.problem.jobs[job].interruptible else _through
        low = int(arrays.release[job])
        intensity = arrays.intensity[site, low : low + score.size]
        kwh = units.energy_kwh(float(arrays.power_kw[job, site]))
        spread = float(np.ptp(score[np.isfinite(score)]))
        price = max(spread, 1e-6) / max(float(np.ptp(intensity)) * kwh, 1e-9) / 8
        for _ in range(CAP_STEPS):
            if score_of(runs, intensity, work) / work.needed(runs) <= cap:
                return runs
            runs = plan(score + price * kwh * intensity, work) or runs
            price *= 2
        return runs


def _through(score: Array, work: Work) -> Runs | None:
    return best_through(score, work.unbroken)


def place_all(arrays: Arrays, prices: Array, order: Sequence[int]) -> Board:
    """Return a board with every job placed, in ``order``, held jobs before all.

    A job that no longer fits by its deadline is moved to the front and all is placed again,
    each job at most once; what still does not fit is placed to finish as soon as it can. Jobs
    that no plan could finish on time go first, unless that makes more jobs late.
    """
    hopeless = [job for job in order if not arrays.is_held(job) and not _could_fit(arrays, job)]
    board, stuck = _place_and_retry(arrays, prices, order, first=hopeless)
    if hopeless and stuck:
        other, fewer = _place_and_retry(arrays, prices, order, first=())
        if len(fewer) < len(stuck) + len(hopeless):
            return other
    return board


def by_urgency(arrays: Arrays) -> list[int]:
    """Return the jobs with least slack first, the larger of equals first."""
    slack = arrays.deadline - arrays.release - arrays.work
    area = arrays.gpus * arrays.work
    return [int(job) for job in np.lexsort((-area, slack))]


def improve(board: Board, jobs: Iterable[int]) -> float:
    """Take each job out and put it back where it is cheapest now; return the GBP gained.

    Args:
        board: Complete board; its prices are set to nothing.
        jobs: Which, in which order.
    """
    board.prices = np.zeros_like(board.prices)
    gained = 0.0
    for job in jobs:
        if board.arrays.is_held(job):
            continue
        before = board.take(job)
        was_on_time = board.arrays.is_on_time(job, before)
        after = board.best(job)
        if after is None or board.arrays.is_under_cap(job, before) > board.arrays.is_under_cap(
            job, after
        ):
            board.put(job, before)
            continue
        gain = board.score(job, before) - board.score(job, after)
        better = not was_on_time or gain > LEAST_GAIN_GBP
        board.put(job, after if better else before)
        gained += gain if better and was_on_time else 0.0
    return gained


def named(board: Board) -> Mapping[JobId, Placement]:
    """Return the placements by job id."""
    jobs = board.arrays.problem.jobs
    return {jobs[job].id: placement for job, placement in sorted(board.placements.items())}


def _place_and_retry(
    arrays: Arrays, prices: Array, order: Sequence[int], *, first: Sequence[int]
) -> tuple[Board, list[int]]:
    held = [job for job in order if arrays.is_held(job)]
    done = {*held, *first}
    others = [job for job in order if job not in done]
    moved: set[int] = set()
    while True:
        board = Board(arrays, prices)
        for job in held:
            board.put(job, board.hold(job))
        for job in first:
            board.put(job, board.least_late(job))
        stuck = _place(board, others)
        hopeful = [job for job in stuck if job not in moved and _could_fit(arrays, job)]
        if not hopeful or len(moved) > MOST_MOVED:
            break
        moved.update(hopeful)
        others = [*hopeful, *(job for job in others if job not in set(hopeful))]
    for job in stuck:
        board.put(job, board.least_late(job))
    return board, stuck


def _place(board: Board, jobs: Iterable[int]) -> list[int]:
    stuck = []
    for job in jobs:
        placement = board.best(job)
        if placement is None:
            stuck.append(job)
        else:
            board.put(job, placement)
    return stuck


def _could_fit(arrays: Arrays, job: int) -> bool:
    room = arrays.deadline[job] - arrays.release[job] >= arrays.work[job]
    return bool(room) and bool(arrays.gpus[job] <= arrays.free.max(initial=0.0))
