"""What no plan can beat.

Capacity is priced: with any prices of at least 0, the sum of every job's cheapest schedule at
those prices, less what all capacity would cost, is at most the objective of any plan (Lagrangian
duality). So the certificate does not depend on how good the prices are. The prices of the search
are good; a linear programme (HiGHS) finds the best ones where it is small enough.
"""

from __future__ import annotations

from typing import Final

import highspy
import numpy as np
from highspy._core import _Highs  # the public class prints a banner when it is made

from gridflex.planning import kernels
from gridflex.planning.bounding import least_of_all
from gridflex.planning.budget import Budget
from gridflex.planning.problem import Array
from gridflex.planning.tables import ROUNDING, Index, Market, State, Tables, empty_state
from gridflex.planning.tally import Tally

MOST_STEPS: Final = 60
PATIENCE: Final = 3
"""Steps without a better bound after which they are halved."""

MISSING_FACTOR: Final = 10.0
"""What work left undone counts for in the linear programme, in largest scores."""


def bound_gbp(tables: Tables, market: Market, state: State, figures: Tally) -> float:
    """Return a bound on the objective of every plan.

    For jobs that the plan could not finish on time the bound assumes no deadline and as much
    work as they were given.

    Args:
        tables: The problem.
        market: Room and prices.
        state: Where each job is.
        figures: What that comes to.
    """
    horizon = tables.score.shape[1]
    late = figures.is_late & ~tables.held
    until = np.where(late, horizon, tables.deadline)
    cut_short = late & ~figures.is_met
    amount = np.where(cut_short, figures.half_hours.astype(float), -1.0)
    jobs = np.flatnonzero(~tables.held & ~(cut_short & (figures.half_hours == 0)))
    done = np.where(cut_short, np.minimum(amount, tables.own_work), tables.own_work)[jobs]
    at_once = tables.waiting[jobs] * done * (done - 1) / 2
    least = least_of_all(tables, market, jobs, until, amount)
    held = np.flatnonzero(tables.held)
    given = float(figures.objective_gbp[held].sum()) + _taxed(tables, market, state, held)
    return float((least - at_once).sum()) + given - market.worth()


def on_time_bound_gbp(tables: Tables, market: Market) -> float:
    """Return a bound on every plan in which all jobs are on time and none is running yet."""
    jobs = np.arange(tables.release.size)
    least = least_of_all(tables, market, jobs, tables.deadline, np.full(jobs.size, -1.0))
    at_once = tables.waiting * tables.own_work * (tables.own_work - 1) / 2
    return float((least - at_once).sum()) - market.worth()


def raised_gbp(
    tables: Tables, market: Market, state: State, figures: Tally, *, bound: float, budget: Budget
) -> float:
    """Return a better bound by moving prices to where the relaxed plan uses too much or little.

    Subgradient ascent with the steps of Polyak towards the plan's own objective.

    Args:
        tables: The problem.
        market: Room, and prices to begin with.
        state: Where each job is; all on time.
        figures: What that comes to.
        bound: What is known already.
        budget: Time to think.
    """
    jobs = np.flatnonzero(~tables.held)
    target, share, missed = float(figures.objective_gbp.sum()), 1.0, 0
    best = now = bound_gbp(tables, market, state, figures)
    limited = np.isfinite(market.room_kw)
    for _ in range(MOST_STEPS):
        if budget.is_spent:
            break
        free = empty_state(tables)
        kernels.sweep(tables, free, market.soft(0.0, 0.0), jobs)
        gpu = free.used - market.room
        kw = np.where(limited, free.used_kw - market.room_kw, 0.0)
        gpu[(market.gpu <= 0) & (gpu < 0)] = 0.0
        kw[(market.kw <= 0) & (kw < 0)] = 0.0
        steep = float((gpu**2).sum() + (kw**2).sum())
        if steep == 0:
            break
        step = share * max(target - now, 0.0) / steep
        market = market.at(
            np.maximum(market.gpu + step * gpu, 0.0), np.maximum(market.kw + step * kw, 0.0)
        )
        now = bound_gbp(tables, market, state, figures)
        missed = 0 if now > best else missed + 1
        best = max(best, now)
        if missed == PATIENCE:
            share, missed = share / 2, 0
    return max(best, bound)


def lp_prices(tables: Tables, market: Market, *, budget_s: float) -> tuple[Market, float] | None:
    """Return the best prices and the objective of the linear programme; None without answer.

    The programme relaxes contiguity, restarts, caps on intensity and whole jobs. A job's options
    share its work; jobs that are alike share their columns.

    Args:
        tables: The problem.
        market: What room there is.
        budget_s: Wall time the solver may take.
    """
    columns = _Columns(tables, market)
    if columns.count == 0:
        return market, 0.0
    solver = _Highs()
    solver.setOptionValue("output_flag", False)  # noqa: FBT003 - HiGHS has no keywords
    solver.setOptionValue("time_limit", max(budget_s, 0.001))
    solver.setOptionValue("threads", 1)
    solver.passModel(columns.model())
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    duals = np.maximum(-np.array(solver.getSolution().row_dual)[columns.jobs.size :], 0.0)
    gpu = duals[: market.room.size].reshape(market.room.shape)
    kw = np.zeros_like(gpu)
    kw.ravel()[columns.limited] = duals[market.room.size :]
    return market.at(gpu, kw), float(solver.getObjectiveValue())


def columns_of(tables: Tables) -> int:
    """Return how many columns the linear programme would have."""
    jobs, _ = alike(tables)
    width = np.maximum(tables.deadline - tables.release, 0)
    return int((width * np.diff(tables.first))[jobs].sum())


def alike(tables: Tables) -> tuple[Index, Array]:
    """Return the first of each kind of movable job, and how many there are of it.

    Jobs are alike if they have the same window, price of waiting and options.
    """
    movable = np.flatnonzero(~tables.held)
    most = int(np.diff(tables.first).max(initial=1))
    kinds = np.zeros((movable.size, 3 + 4 * most))
    kinds[:, 0], kinds[:, 1] = tables.release[movable], tables.deadline[movable]
    kinds[:, 2] = tables.waiting[movable]
    for number in range(most):
        option = tables.first[movable] + number
        has = option < tables.first[movable + 1]
        for column, values in enumerate((tables.site, tables.gpus, tables.power, tables.work)):
            kinds[has, 3 + 4 * number + column] = values[option[has]]
            kinds[~has, 3 + 4 * number + column] = -1.0
    _, first, count = np.unique(kinds, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return movable[first[order]], count[order].astype(float)


def _taxed(tables: Tables, market: Market, state: State, jobs: Index) -> float:
    total = 0.0
    for job in jobs.tolist():
        option = int(state.option[job])
        half_hours = np.flatnonzero(state.on[job])
        taxes = market.tax[tables.site[option], half_hours]
        total += float(tables.power[option] * taxes.sum())
    return total


class _Columns:
    """Columns (option, half-hour) of the linear programme, plus undone work, per kind of job."""

    def __init__(self, tables: Tables, market: Market) -> None:
        self._market = market
        self.limited = np.flatnonzero(np.isfinite(market.room_kw).ravel())
        width = tables.deadline - tables.release
        size = np.ceil(tables.work - ROUNDING)
        job_of = np.repeat(np.arange(tables.release.size), np.diff(tables.first))
        kinds, number = alike(tables)
        many = np.zeros(tables.release.size)
        many[kinds] = number
        usable = (many[job_of] > 0) & (width[job_of] >= size)
        options = np.flatnonzero(usable)
        self.jobs = np.unique(job_of[options])
        self._many = many[self.jobs]
        row = np.full(tables.release.size, -1)
        row[self.jobs] = np.arange(self.jobs.size)
        lengths = width[job_of[options]]
        option = np.repeat(options, lengths)
        k = np.arange(option.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        t = tables.release[job_of[option]] + k
        cell = tables.site[option] * tables.score.shape[1] + t
        self.count = int(option.size)
        self._row = row[job_of[option]]
        self._most = many[job_of[option]]
        self._cell = cell
        self._gpus, self._power = tables.gpus[option], tables.power[option]
        score = (tables.score + market.tax).ravel()[cell]
        self._cost = self._power * score + tables.waiting[job_of[option]] * k
        self._speed = 1.0 / tables.work[option]

    def model(self) -> highspy.HighsLp:
        """Each column is how many of a kind of job run in its half-hour with that option.

        They, each divided by the option's work, add up to how many there are.
        """
        jobs, cells = self.jobs.size, self._market.room.size
        missing = MISSING_FACTOR * (1.0 + float(np.abs(self._cost).max())) / self._speed.min()
        kw_row = np.full(cells, -1)
        kw_row[self.limited] = jobs + cells + np.arange(self.limited.size)
        rows = [self._row, jobs + self._cell]
        values = [self._speed, self._gpus]
        if self.limited.size:
            rows.append(kw_row[self._cell])
            values.append(self._power)
        index = np.column_stack(rows)
        value = np.column_stack(values)
        keep = index >= 0
        starts = np.concatenate(([0], np.cumsum(keep.sum(axis=1))))
        model = highspy.HighsLp()
        model.num_col_ = self.count + jobs
        model.num_row_ = jobs + cells + self.limited.size
        model.col_cost_ = np.concatenate([self._cost, np.full(jobs, missing)])
        model.col_lower_ = np.zeros(model.num_col_)
        model.col_upper_ = np.concatenate([self._most, self._many])
        free = np.full(cells + self.limited.size, -highspy.kHighsInf)
        room_kw = self._market.room_kw.ravel()[self.limited]
        model.row_lower_ = np.concatenate([self._many, free])
        model.row_upper_ = np.concatenate([self._many, self._market.room.ravel(), room_kw])
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        ends = starts[-1] + np.arange(1, jobs + 1)
        model.a_matrix_.start_ = np.concatenate([starts, ends]).astype(np.int32)
        model.a_matrix_.index_ = np.concatenate([index[keep], np.arange(jobs)]).astype(np.int32)
        model.a_matrix_.value_ = np.concatenate([value[keep], np.ones(jobs)])
        return model
