"""One job alone in the capacity that others leave it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridflex.planning import kernels
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import Array, PlanningProblem
from gridflex.planning.tables import Marks, Mask, State, empty_state, market_of, tables_of
from gridflex.planning.tally import Tally, tally


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """How and when the job runs.

    Args:
        option: Index of the option.
        mask: Shape ``(T,)``, 1 where it runs.
    """

    option: int
    mask: Marks


class Solo:
    """A problem with one job.

    Args:
        problem: The job, and what is free for it.
    """

    def __init__(self, problem: PlanningProblem) -> None:
        (self._demand,) = problem.jobs
        self.problem = problem
        self.tables = tables_of(problem)
        self.market = market_of(problem, self.tables)

    def best(self, *, shut: Mask | None = None, prices: Array | None = None) -> Place | None:
        """Return the cheapest place on time in what is free; None if there is none.

        Args:
            shut: Shape ``(S, T)``, half-hours that are not to be used.
            prices: Shape ``(S, T)``, what a GPU counts for, GBP per half-hour.
        """
        market = self.market if shut is None else self.market._replace(shut=shut)
        market = market if prices is None else market.at(prices, market.kw)
        low, high = int(self.tables.release[0]), int(self.tables.deadline[0])
        window = np.zeros(max(high - low, 0), dtype=np.uint8)
        state = empty_state(self.tables)
        _, option = kernels.respond(self.tables, state, market, 0, high, window)
        if option < 0:
            return None
        mask = np.zeros(self.problem.half_hours, dtype=np.uint8)
        mask[low : low + window.size] = window
        return Place(option, mask)

    def soonest(self) -> Place:
        """Return the place that finishes first, deadline or not; as much as fits."""
        mask = np.zeros(self.problem.half_hours, dtype=np.uint8)
        window = np.zeros_like(mask)
        state, low = empty_state(self.tables), int(self.tables.release[0])
        option = kernels.soonest(self.tables, state, self.market, 0, False, window)  # noqa: FBT003
        mask[low:] = window[: max(mask.size - low, 0)]
        return Place(option, mask)

    def place_of(self, runs: Sequence[PlannedRun]) -> Place | None:
        """Return planned runs as a place; None if there are none."""
        if not runs:
            return None
        mask = np.zeros(self.problem.half_hours, dtype=np.uint8)
        for run in runs:
            first = self.problem.start.until(run.start)
            mask[first : first + run.half_hours] = 1
        kind = (runs[0].site, runs[0].gpus, runs[0].power_cap_fraction)
        return Place(self._kinds().index(kind), mask)

    def first_option(self, site: str | None) -> int:
        """Return the first option at a site; the first of all without one."""
        return next(
            i for i, (name, _, _) in enumerate(self._kinds()) if site is None or name == site
        )

    def state(self, place: Place) -> State:
        """Return the state in which the job is there."""
        state = empty_state(self.tables)
        state.option[0] = place.option
        state.on[0] = place.mask
        return state

    def figures(self, place: Place) -> Tally:
        """Return what a place comes to."""
        return tally(self.problem, self.tables, self.state(place))

    def _kinds(self) -> list[tuple[str, int, float]]:
        names = [outlook.site.name for outlook in self.problem.sites]
        caps = [mode.power_cap_fraction for mode in self._demand.modes]
        return [
            (names[site], int(gpus), caps[mode] if mode >= 0 else 1.0)
            for site, gpus, mode in zip(
                self.tables.site.tolist(),
                self.tables.gpus.tolist(),
                self.tables.mode.tolist(),
                strict=True,
            )
        ]
