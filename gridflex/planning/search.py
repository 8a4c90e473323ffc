"""The search for a plan: prices first, then whole jobs in real capacity.

Every job in turn moves to its best place at the current prices, which rise where more is used
than there is; repeated, this finds prices at which few jobs collide (an augmented Lagrangian,
swept job by job). Then prices stiffen until nothing collides, what still does is taken out and put
back, and each job is offered a better place until nobody wants one. Each stage may be cut short.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gridflex import units
from gridflex.planning import kernels
from gridflex.planning.budget import Budget
from gridflex.planning.one_job import TOLERANCE
from gridflex.planning.problem import Array, PlanningProblem
from gridflex.planning.tables import (
    Index,
    Market,
    State,
    copy_of,
    empty_state,
    market_of,
    restore,
    tables_of,
)
from gridflex.planning.tally import Tally, excess_kg, tally

PRICING: Final = (2.0,) * 4 + (1.0,) * 4 + (0.5,) * 4 + (0.25,) * 4
"""Stiffness of the sweeps that find prices, in mean scores per share of the largest room."""

REPRICING: Final = (1.0, 0.5, 0.5, 0.25, 0.25)
"""The same where the prices of the standing plan are known."""

FIRMING: Final = (1.0, 4.0, 16.0, 64.0)
"""Stiffness of the sweeps that clear collisions; prices stay."""

MOST_ROUNDS: Final = 8
MOST_RETRIES: Final = 64

MOST_MOVED: Final = 256
"""Jobs taken out and put back to make room for one: the smallest, then some of every size."""
BLOCK: Final = 4096
"""Jobs per call of a kernel, so that a budget is kept."""

TAX_STEPS: Final = 24
"""Rises of the tax tried for a site above its cap, each by three fifths."""


class Search:
    """One search; `best` is a complete state from the moment this is made.

    Args:
        problem: What to plan.
        budget: Time to think.
    """

    def __init__(self, problem: PlanningProblem, budget: Budget) -> None:
        self.problem = problem
        self.budget = budget
        self.tables = tables_of(problem)
        self.market = market_of(problem, self.tables)
        tables = self.tables
        movable = np.flatnonzero(~tables.held)
        fits = kernels.fits_alone(tables, self.market, movable) > 0
        slack = tables.deadline - tables.release - tables.own_work
        urgent = np.lexsort((-tables.own_gpus * tables.own_work, slack))
        large = np.lexsort((slack, -tables.own_gpus))
        could = np.zeros(tables.release.size, dtype=np.bool_)
        could[movable[fits]] = True
        hopeless = ~could & ~tables.held
        self._urgent, self._large = urgent[could[urgent]], large[could[large]]
        self.hopeless = urgent[hopeless[urgent]]
        self.base = self._held()
        self.prices = self.market
        self.best, self.figures = self._greedy()

    def run(self, *, prices: Array | None = None) -> None:
        """Search until the budget is spent or nothing improves.

        Args:
            prices: Shape ``(S, T)``, GBP per GPU, of a plan for nearly the same problem.
        """
        if self._urgent.size and not self.budget.is_spent:
            state = self._priced(prices)
            self.offer(self._settled(state))
        self.polish()
        if np.isfinite(self._caps()).any():
            self._keep_sites_clean()

    def adopt(self, state: State, *, prices: Array | None) -> None:
        """Take a complete state as it is, and prices to certify it with; search no further."""
        self.best, self.figures = state, tally(self.problem, self.tables, state)
        if prices is not None:
            self.prices = self.prices.at(np.maximum(prices, 0.0), self.prices.kw)

    def offer(self, state: State) -> None:
        """Take a complete state if it is better than the best so far."""
        figures = tally(self.problem, self.tables, state)
        if self.rank(state, figures) < self.rank(self.best, self.figures):
            self.best, self.figures = state, figures

    def rank(self, state: State, figures: Tally) -> tuple[int, int, int, float]:
        """Return what makes one state better than another: the smaller."""
        dirty = excess_kg(self.problem, self.tables, state, figures) > TOLERANCE
        return (
            int(figures.is_late.sum()),
            int(figures.is_over_cap.sum()),
            int(dirty.sum()),
            float(figures.objective_gbp.sum()),
        )

    def polish(self) -> None:
        """Offer every job a better place, until nobody wants one or time is up."""
        state = copy_of(self.best)
        everyone = np.concatenate([self.hopeless, self._urgent])
        nothing = np.zeros_like(self.market.gpu)
        free = self.market.at(nothing, nothing)._replace(tax=nothing)
        caps, excess = self._caps(), self._excess(state)
        for _ in range(MOST_ROUNDS):
            gained = 0.0
            for jobs in self._blocks(everyone):
                gained += kernels.improve(self.tables, state, free, jobs, caps, excess)
            if gained <= TOLERANCE or self.budget.is_spent:
                break
        self.offer(state)

    def place_all(self, state: State, jobs: Index, market: Market) -> Index:
        """Place jobs one after the other where they are best; return those without a place."""
        for part in self._blocks(jobs, always=True):
            kernels.sweep(self.tables, state, market, part)
        return jobs[state.option[jobs] < 0]

    def _blocks(self, jobs: Index, *, always: bool = False) -> list[Index]:
        """Return jobs in blocks while there is time; all of them if ``always``."""
        parts = [jobs[at : at + BLOCK] for at in range(0, jobs.size, BLOCK)]
        if always:
            return parts
        return [part for part in parts if not self.budget.is_spent]

    def _held(self) -> State:
        tables = self.tables
        state = empty_state(tables)
        for job in np.flatnonzero(tables.held).tolist():
            option = int(tables.first[job])
            slots = int(np.ceil(tables.work[option] - TOLERANCE))
            state.on[job, :slots] = 1
            state.option[job] = option
        return state

    def _greedy(self) -> tuple[State, Tally]:
        """Return a complete state: the urgent first, at no price of capacity.

        Jobs that no plan could finish on time go first, unless that makes more jobs late.
        """
        state, late = self._retried(self.hopeless)
        if self.hopeless.size and late:
            other, fewer = self._retried(self.hopeless[:0])
            if fewer < late + self.hopeless.size:
                state = other
        return state, tally(self.problem, self.tables, state)

    def _retried(self, first: Index) -> tuple[State, int]:
        """Place all; whoever finds no place moves to the front and all is placed again."""
        order, moved = self._urgent, np.zeros(self.tables.release.size, dtype=np.bool_)
        while True:
            state = copy_of(self.base)
            kernels.place_soonest(self.tables, state, self.market, first, False)  # noqa: FBT003
            stuck = self.place_all(state, order, self.market)
            again = stuck[~moved[stuck]]
            if not again.size or moved.sum() > MOST_RETRIES or self.budget.is_spent:
                break
            moved[again] = True
            order = np.concatenate([again, order[~np.isin(order, again)]])
        rest = np.concatenate([stuck, self.hopeless[~np.isin(self.hopeless, first)]])
        kernels.place_soonest(self.tables, state, self.market, rest, False)  # noqa: FBT003
        return state, int(rest.size)

    def _priced(self, prices: Array | None) -> State:
        """Find prices and return the colliding state that goes with them."""
        state = copy_of(self.base)
        kernels.place_soonest(
            self.tables,
            state,
            self.market,
            self.hopeless,
            False,  # noqa: FBT003
        )
        if prices is not None:
            self.prices = self.prices.at(np.maximum(prices, 0.0), self.prices.kw)
        for stiffness in PRICING if prices is None else REPRICING:
            if self.budget.is_spent:
                break
            gpu, kw = self._scales(stiffness)
            for jobs in self._blocks(self._urgent):
                kernels.sweep(self.tables, state, self.prices.soft(gpu, kw), jobs)
            over = state.used - self.market.room
            over_kw = np.where(
                np.isfinite(self.market.room_kw), state.used_kw - self.market.room_kw, 0.0
            )
            self.prices = self.prices.at(
                np.maximum(self.prices.gpu + gpu * over, 0.0),
                np.maximum(self.prices.kw + kw * over_kw, 0.0),
            )
        return state

    def _scales(self, stiffness: float) -> tuple[float, float]:
        """Return GBP per GPU and GPU, and GBP per kW and kW, of a stiffness."""
        tables, market = self.tables, self.market
        worth = float(np.abs(tables.score).mean()) or 1e-3
        per_gpu = worth * float(np.median(tables.power / np.maximum(tables.gpus, 1.0))) or 1e-3
        limited = market.room_kw[np.isfinite(market.room_kw)]
        return (
            stiffness * per_gpu / max(float(market.room.max()), 1.0),
            stiffness * worth / max(float(limited.max(initial=0.0)), 1.0),
        )

    def _settled(self, state: State) -> State:
        """Return a state without collisions, made from one with some."""
        for stiffness in FIRMING:
            soft = self.prices.soft(*self._scales(stiffness))
            for jobs in self._blocks(self._large):
                kernels.sweep(self.tables, state, soft, jobs)
        out = kernels.keep_fitting(self.tables, state, self.market, self._large)
        stuck = self.place_all(state, out, self.prices)
        for job in stuck.tolist():
            self._make_room(state, job)
        late = self._large[state.option[self._large] < 0]
        kernels.place_soonest(self.tables, state, self.market, late, False)  # noqa: FBT003
        return state

    def _make_room(self, state: State, job: int) -> None:
        """Place a job first and those in its way again; undone if one of them finds no place."""
        if self.budget.is_spent:
            return
        low, high = self.tables.release[job], self.tables.deadline[job]
        placed = self._large[state.option[self._large] >= 0]
        others = placed[state.on[placed, low:high].any(axis=1)]
        before = copy_of(state)
        for moved in (others[-MOST_MOVED:], others[:: -(-others.size // MOST_MOVED) or 1]):
            for other in moved.tolist():
                kernels.put(self.tables, state, other, int(state.option[other]), -1.0)
            first = np.concatenate([np.array([job], dtype=np.int64), moved])
            if not self.place_all(state, first, self.prices).size:
                return
            restore(state, before)

    def _keep_sites_clean(self) -> None:
        """Tax emissions at sites above their cap until they are under it, or nothing helps."""
        caps = self._caps()
        no_caps = np.full_like(caps, np.inf)
        tax = np.zeros_like(caps)
        step = float(np.abs(self.tables.score).mean()) / 50.0
        for _ in range(TAX_STEPS):
            excess = excess_kg(self.problem, self.tables, self.best, self.figures)
            dirty = excess > TOLERANCE
            if not dirty.any() or self.budget.is_spent:
                break
            tax = np.where(dirty, np.maximum(tax * 1.6, step), tax)
            above = self.tables.intensity - np.where(np.isfinite(caps), caps, 0.0)[:, None]
            market = self.market._replace(tax=tax[:, None] * above)
            self.market, self.prices = market, self.prices._replace(tax=market.tax)
            state = copy_of(self.best)
            for jobs in self._blocks(np.concatenate([self._urgent, self._urgent])):
                kernels.improve(self.tables, state, market, jobs, no_caps, np.zeros_like(tax))
            self.offer(state)
        self.polish()

    def _caps(self) -> Array:
        caps = [outlook.cap_gco2_per_kwh for outlook in self.problem.sites]
        return np.array([np.inf if cap is None else cap for cap in caps], dtype=float)

    def _excess(self, state: State) -> Array:
        """Return shape ``(S,)``: emissions above the caps, in g per half-hour of 1 kW."""
        figures = tally(self.problem, self.tables, state)
        excess = excess_kg(self.problem, self.tables, state, figures)
        per_kg = units.GRAMS_PER_KG / units.HOURS_PER_HALF_HOUR
        out: Array = np.where(np.isfinite(excess), excess, 0.0) * per_kg
        return out
