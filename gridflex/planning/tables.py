"""A planning problem as arrays.

An option is one way to run one job: a site and a mode. Jobs, options, sites and half-hours are
indexes; shapes are ``(J,)``, ``(O,)``, ``(S,)``, ``(T,)``. The options of a job are neighbours.
All are named tuples of arrays, which compiled code can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflex import units
from gridflex.planning.problem import Array, JobDemand, PlanningProblem

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Marks = NDArray[np.uint8]

ROUNDING: Final = 1e-9
HARD: Final = -1.0
"""Stiffness of a market in which capacity cannot be exceeded at any price."""


class Tables(NamedTuple):
    """What does not change while a plan is made.

    Attributes:
        release: Shape ``(J,)``, first half-hour.
        deadline: Shape ``(J,)``, first half-hour past the deadline, 0 to T.
        breakable: Shape ``(J,)``, whether the job may be paused.
        held: Shape ``(J,)``, whether it runs now and cannot be interrupted.
        restart: Shape ``(J,)``, half-hours of work that a further start adds.
        waiting: Shape ``(J,)``, GBP per half-hour of delay of one half-hour of work.
        cap: Shape ``(J,)``, greatest mean intensity in gCO2/kWh; infinite without one.
        own_work: Shape ``(J,)``, half-hours on its own GPUs at full power.
        own_gpus: Shape ``(J,)``.
        first: Shape ``(J + 1,)``: the options of job j are ``first[j]`` to ``first[j + 1]``.
        site: Shape ``(O,)``.
        mode: Shape ``(O,)``; -1 is the job's own GPUs at full power.
        gpus: Shape ``(O,)``, while it runs.
        power: Shape ``(O,)``, kW while it runs.
        work: Shape ``(O,)``, half-hours without a further start.
        continues: Shape ``(O,)``, whether going on at half-hour 0 is not a start.
        score: Shape ``(S, T)``, GBP that a half-hour at 1 kW counts for, carbon included.
        price: Shape ``(S, T)``, GBP/MWh.
        intensity: Shape ``(S, T)``, gCO2/kWh.
    """

    release: Index
    deadline: Index
    breakable: Mask
    held: Mask
    restart: Array
    waiting: Array
    cap: Array
    own_work: Array
    own_gpus: Array
    first: Index
    site: Index
    mode: Index
    gpus: Array
    power: Array
    work: Array
    continues: Mask
    score: Array
    price: Array
    intensity: Array


class State(NamedTuple):
    """Where every job is so far; changed in place.

    Attributes:
        option: Shape ``(J,)``; -1 while a job is not placed.
        on: Shape ``(J, T)``, 1 where it runs.
        used: Shape ``(S, T)``, GPUs of jobs that are not held.
        used_kw: Shape ``(S, T)``, their power.
    """

    option: Index
    on: Marks
    used: Array
    used_kw: Array


class Market(NamedTuple):
    """What capacity there is and what it counts for when a job looks for a place.

    Attributes:
        gpu: Shape ``(S, T)``, GBP per GPU and half-hour.
        kw: Shape ``(S, T)``, GBP per kW and half-hour.
        room: Shape ``(S, T)``, GPUs for jobs that are not held.
        room_kw: Shape ``(S, T)``, power for them; infinite where it is not limited.
        tax: Shape ``(S, T)``, GBP per kW and half-hour, of either sign: what keeps a site under
            its cap on mean intensity.
        shut: Shape ``(S, T)``, whether nothing more may be placed.
        stiffness: Rise of the price per GPU above the room; `HARD` keeps to the room.
        stiffness_kw: The same per kW.
    """

    gpu: Array
    kw: Array
    room: Array
    room_kw: Array
    tax: Array
    shut: Mask
    stiffness: float = HARD
    stiffness_kw: float = HARD

    def at(self, gpu: Array, kw: Array) -> Market:
        """Return the same capacity at other prices."""
        return self._replace(gpu=gpu, kw=kw)

    def soft(self, stiffness: float, stiffness_kw: float) -> Market:
        """Return the same market with capacity that may be exceeded at a price."""
        return self._replace(stiffness=stiffness, stiffness_kw=stiffness_kw)

    def worth(self) -> float:
        """Return what all capacity would cost."""
        limited = np.isfinite(self.room_kw)
        power = float((self.kw[limited] * self.room_kw[limited]).sum())
        return float((self.gpu * self.room).sum()) + power


def tables_of(problem: PlanningProblem) -> Tables:
    """Return a problem as arrays."""
    jobs, sites = problem.jobs, problem.sites
    price = np.array([site.price_gbp_per_mwh for site in sites], dtype=float)
    intensity = np.array([site.intensity_gco2_per_kwh for site in sites], dtype=float)
    full_price = price + units.carbon_price_gbp_per_mwh(
        intensity, problem.carbon_price_gbp_per_tco2
    )
    breakable = np.array([job.interruptible for job in jobs], dtype=np.bool_)
    running = np.array([job.running_at is not None for job in jobs], dtype=np.bool_)
    work = np.array([job.work for job in jobs], dtype=float)
    waiting = np.array([job.waiting_gbp_per_hour for job in jobs], dtype=float)
    rows, first = _options(problem)
    return Tables(
        release=np.array([job.release for job in jobs], dtype=np.int64),
        deadline=np.clip(
            np.array([job.deadline for job in jobs], dtype=np.int64), 0, problem.half_hours
        ),
        breakable=breakable,
        held=running & ~breakable,
        restart=np.array([job.restart_half_hours for job in jobs], dtype=float),
        waiting=waiting * units.HOURS_PER_HALF_HOUR / np.maximum(work, 1.0),
        cap=np.array(
            [
                np.inf if job.carbon_cap_gco2_per_kwh is None else job.carbon_cap_gco2_per_kwh
                for job in jobs
            ],
            dtype=float,
        ),
        own_work=work,
        own_gpus=np.array([job.gpus for job in jobs], dtype=float),
        first=first,
        site=rows[:, 0].astype(np.int64),
        mode=rows[:, 1].astype(np.int64),
        gpus=rows[:, 2].copy(),
        power=rows[:, 3].copy(),
        work=rows[:, 4].copy(),
        continues=rows[:, 5].astype(np.bool_),
        score=units.cost_gbp(np.full_like(price, units.energy_kwh(1.0)), full_price),
        price=price,
        intensity=intensity,
    )


def market_of(problem: PlanningProblem, tables: Tables) -> Market:
    """Return the capacity that held jobs leave, at no price."""
    room = np.array([site.free_gpus for site in problem.sites], dtype=float)
    room_kw = np.array(
        [
            np.full(problem.half_hours, np.inf) if site.limit_kw is None else site.limit_kw
            for site in problem.sites
        ],
        dtype=float,
    )
    for job in np.flatnonzero(tables.held).tolist():
        option = int(tables.first[job])
        slots = int(np.ceil(tables.work[option] - ROUNDING))
        room[tables.site[option], :slots] -= tables.gpus[option]
        room_kw[tables.site[option], :slots] -= tables.power[option]
    nothing = np.zeros_like(room)
    return Market(
        gpu=nothing,
        kw=nothing.copy(),
        room=np.maximum(room, 0.0),
        room_kw=np.maximum(room_kw, 0.0),
        tax=nothing.copy(),
        shut=np.zeros(room.shape, dtype=np.bool_),
    )


def empty_state(tables: Tables) -> State:
    """Return a state in which no job is placed."""
    jobs, half_hours = tables.release.size, tables.score.shape[1]
    return State(
        option=np.full(jobs, -1, dtype=np.int64),
        on=np.zeros((jobs, half_hours), dtype=np.uint8),
        used=np.zeros_like(tables.score),
        used_kw=np.zeros_like(tables.score),
    )


def copy_of(state: State) -> State:
    """Return a state of its own with the same placements."""
    return State(
        option=state.option.copy(),
        on=state.on.copy(),
        used=state.used.copy(),
        used_kw=state.used_kw.copy(),
    )


def restore(state: State, saved: State) -> None:
    """Set a state back to a copy of itself."""
    state.option[:] = saved.option
    state.on[:] = saved.on
    state.used[:] = saved.used
    state.used_kw[:] = saved.used_kw


def _options(problem: PlanningProblem) -> tuple[Array, Index]:
    index = {outlook.site.name: site for site, outlook in enumerate(problem.sites)}
    rows: list[tuple[float, ...]] = []
    first = [0]
    for demand in problem.jobs:
        rows.extend(_options_of(demand, index))
        first.append(len(rows))
    table = np.array(rows, dtype=float).reshape(len(rows), 6)
    return table, np.array(first, dtype=np.int64)


def _options_of(demand: JobDemand, index: dict[str, int]) -> Iterator[tuple[float, ...]]:
    """Yield (site, mode, GPUs, kW, half-hours, continues) of each option of one job.

    Changing the GPUs, the power limit or the site of a running job is a start that its work does
    not hold yet; a job that cannot be interrupted goes on as it is.
    """
    running, restart = demand.running_at, demand.restart_half_hours
    shape = demand.running_shape
    is_held = running is not None and not demand.interruptible
    for name, kw in demand.power_kw.items():
        if is_held and name != running:
            continue
        if not is_held or shape is None:
            stays = name == running and shape is None
            moved = 0.0 if stays or running is None else restart
            yield index[name], -1, demand.gpus, kw, demand.work + moved, stays
        for number, mode in enumerate(demand.modes):
            if name not in mode.power_kw or (is_held and mode.shape != shape):
                continue
            stays = name == running and mode.shape == shape
            moved = 0.0 if stays or running is None else restart
            work = demand.work / mode.throughput + moved
            yield index[name], number, mode.gpus, mode.power_kw[name], work, stays
