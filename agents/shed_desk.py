"""The shed order, kept warm: what a request for power is answered from without a plan.

The order is read anew every few seconds; a request is answered from memory, so neither the
planner nor a slow database stands between a grid event and its answer. An order that is to be
carried out is kept first; whoever starts jobs and whoever plans them follows it from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import isodate
import numpy as np
from numpy.typing import NDArray

from gridflex import units
from gridflex.adapters.jobs.curtailment_store import CurtailmentStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.agents.grid import Grid
from gridflex.agents.site_prices import SitePrices, Tariffs
from gridflex.curtailment import CurtailedJob, Curtailment, CurtailmentRequest, held_until
from gridflex.errors import ContractError, GridFlexError, InfeasibleError, StaleDataError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.running import running_work, waiting_work
from gridflex.planning.shed import RunningWork, Shedding, ShedOrder

log = logging.getLogger(__name__)

RENEWED_EVERY_S: Final = 5.0
"""Wall time between two readings of what runs."""

STALE_AFTER_S: Final = 30.0
"""Age at which an answer waits for a new reading, if that comes within `PATIENCE_S`."""

PATIENCE_S: Final = 1.0

ASSUMED_GBP_PER_MWH: Final = 100.0
"""What energy is taken to cost while nothing is known about the price: near GB wholesale."""

PRICED_OVER: Final = 48
"""Half-hours ahead whose mean price is what lost work costs to do again."""


@dataclass(frozen=True, slots=True, eq=False)
class WarmOrder:
    """One reading of what runs.

    Args:
        work: What runs, without what stands still already.
        waiting: What is about to run.
        order: What could be shed.
        read_at: GridFlex time of the reading.
        price_gbp_per_kwh: What lost energy is taken to cost, by site.
    """

    work: tuple[RunningWork, ...]
    waiting: tuple[RunningWork, ...]
    order: ShedOrder
    read_at: datetime
    price_gbp_per_kwh: Mapping[str, float]

    @property
    def running_kw(self) -> float:
        """Dynamic power of all that runs."""
        return sum(one.power_kw for one in self.work)


class ShedDesk:
    """Answers what could be shed, and gives the order.

    Args:
        jobs: Where jobs are kept.
        curtailments: Where orders are kept.
        grid: What price to expect.
        sites: Asked once for the sites.
        now: GridFlex time.
        restart: What a start takes before work goes on.
        tariffs: Delivered prices; None counts energy at its wholesale price everywhere.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        curtailments: CurtailmentStore,
        grid: Grid,
        sites: Callable[[], Awaitable[Sequence[Site]]],
        now: Callable[[], datetime],
        restart: timedelta,
        tariffs: Tariffs | None = None,
    ) -> None:
        self._jobs = jobs
        self._curtailments = curtailments
        self._grid = grid
        self._ask_sites = sites
        self._now = now
        self._restart = restart
        self._prices = SitePrices(tariffs)
        self._sites: dict[str, Site] = {}
        self._warm: WarmOrder | None = None
        self._read_at_s = -STALE_AFTER_S

    async def keep_warm(self) -> None:
        """Read what runs again and again, until cancelled; a failure keeps the last reading."""
        while True:
            try:
                await self.renew()
            except GridFlexError as error:
                log.warning("the shed order stays as it is: %s", error)
            await asyncio.sleep(RENEWED_EVERY_S)

    async def renew(self) -> WarmOrder:
        """Read what runs now.

        Raises:
            SourceError: The database does not answer.
        """
        now = self._now()
        self._sites = {site.name: site for site in await self._ask_sites()}
        held = held_until(await self._curtailments.active(now))
        jobs = [job for job in await self._jobs.live_jobs() if job.id not in held]
        per_kwh = await self._prices_gbp_per_kwh(now)
        work = running_work(jobs, sites=self._sites, now=now, restart=self._restart)
        waiting = waiting_work(jobs, sites=self._sites, now=now, restart=self._restart)
        self._read_at_s = time.monotonic()
        self._warm = WarmOrder(
            work=work,
            waiting=waiting,
            order=ShedOrder(work, price_gbp_per_kwh=per_kwh),
            read_at=now,
            price_gbp_per_kwh=per_kwh,
        )
        return self._warm

    async def free(self, request: CurtailmentRequest) -> tuple[Shedding, WarmOrder]:
        """Return the cheapest cuts that free the power now, and the reading they rest on.

        Args:
            request: What is asked for.

        Raises:
            SourceError: Nothing was ever read, and it cannot be now.
            ContractError: There is no such site.
        """
        warm = self._warm or await self.renew()
        if time.monotonic() - self._read_at_s > STALE_AFTER_S:
            warm = await self._renewed_or(warm)
        self._require_site(request.site)
        return _freed(warm, request, now=self._now()), warm

    async def carry_out(
        self, order_id: str, request: CurtailmentRequest
    ) -> tuple[Curtailment, bool]:
        """Give the order to pause the cheapest jobs that free the power, as far as there are any.

        Args:
            order_id: Its id; an order that was given before under it is returned as it was.
            request: What is asked for.

        Returns:
            The order, and whether it is new.

        Raises:
            SourceError: The database does not answer; whether the order was given is unknown
                until it is given again under the same id.
            ContractError: There is no such site, or the id has another order.
            InfeasibleError: No job can give up power and be on time.
        """
        warm = await self.renew()
        self._require_site(request.site)

        def choose(standing: Sequence[Curtailment]) -> Curtailment:
            return self._order(order_id, request, warm, without=frozenset(held_until(standing)))

        placed = await self._curtailments.place(order_id, request, choose, now=warm.read_at)
        await self._renewed_or(warm)  # without those that give now
        return placed

    def _order(
        self,
        order_id: str,
        request: CurtailmentRequest,
        warm: WarmOrder,
        *,
        without: frozenset[JobId],
    ) -> Curtailment:
        found = _freed(warm, request, now=warm.read_at, without=without)
        if not found.cuts:
            within, hold = map(isodate.duration_isoformat, (request.within, request.hold))
            raise InfeasibleError(
                f"no job that runs can give up power within {within} for {hold} "
                "and still be on time"
            )
        back_by = {one.job_id: one.until for one in found.rebound}
        given = tuple(
            CurtailedJob(
                job_id=cut.job_id,
                site=cut.site,
                freed_kw=cut.freed_kw,
                lost_kwh=cut.lost_kwh,
                cost_gbp=cut.cost_gbp,
                acts_in=cut.acts_in,
                back_by=back_by[cut.job_id],
            )
            for cut in found.cuts
        )
        held = _held_back(warm, request, without=without)
        gone = without | {one.job_id for one in (*given, *held)}
        drawing = [one for one in (*warm.work, *warm.waiting) if one.job_id not in gone]
        return Curtailment(
            id=order_id,
            request=request,
            placed_at=warm.read_at,
            jobs=given + held,
            limits_kw={
                site: sum(one.power_kw for one in drawing if one.site == site)
                for site in ([request.site] if request.site else self._sites)
            },
        )

    def _require_site(self, site: str | None) -> None:
        if site is not None and site not in self._sites:
            raise ContractError(f"site: {site!r} is not one of {', '.join(self._sites)}")

    async def _prices_gbp_per_kwh(self, now: datetime) -> dict[str, float]:
        """Return what lost work costs at each site; of a tariff that cannot be used, plans tell."""
        start = HalfHour.containing(now)
        wholesale = await self._wholesale(now, start)
        costs = await self._prices.at(dict.fromkeys(self._sites, wholesale), start=start)
        return {
            site: float(cost.gbp_per_mwh.mean()) / units.KWH_PER_MWH for site, cost in costs.items()
        }

    async def _wholesale(self, now: datetime, start: HalfHour) -> NDArray[np.float64]:
        try:
            _, price = await self._grid.outlook(now, start=start, half_hours=PRICED_OVER)
        except StaleDataError:
            return np.full(PRICED_OVER, ASSUMED_GBP_PER_MWH)
        return price.values

    async def _renewed_or(self, last: WarmOrder) -> WarmOrder:
        try:
            return await asyncio.wait_for(self.renew(), PATIENCE_S)
        except (GridFlexError, TimeoutError) as error:
            log.warning("the shed order of %s is used: %s", last.read_at, error)
            return last


def _freed(
    warm: WarmOrder,
    request: CurtailmentRequest,
    *,
    now: datetime,
    without: frozenset[JobId] = frozenset(),
) -> Shedding:
    return warm.order.free(
        request.kw,
        within=request.within,
        hold=request.hold,
        now=now,
        site=request.site,
        without=without,
    )


def _held_back(
    warm: WarmOrder, request: CurtailmentRequest, *, without: frozenset[JobId]
) -> tuple[CurtailedJob, ...]:
    """Return what is about to run and can wait: it frees nothing, but would draw what is freed."""
    return tuple(
        CurtailedJob(
            job_id=one.job_id,
            site=one.site,
            freed_kw=0.0,
            lost_kwh=0.0,
            cost_gbp=0.0,
            acts_in=timedelta(0),
            back_by=warm.read_at + one.slack - one.restart,
        )
        for one in warm.waiting
        if one.job_id not in without
        and request.site in {None, one.site}
        and one.is_pausable
        and request.hold + one.restart <= one.slack
    )
