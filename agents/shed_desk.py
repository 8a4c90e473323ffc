"""The shed order, kept warm: what a request for power is answered from without a plan.

The order is read anew every few seconds; a request is answered from memory, so neither the
planner nor a slow database stands between a grid event and its answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gridflex import units
from gridflex.adapters.job_store import JobStore
from gridflex.agents.grid import Grid
from gridflex.errors import ContractError, GridFlexError, StaleDataError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.planning.running import running_work
from gridflex.planning.shed import Shedding, ShedOrder

log = logging.getLogger(__name__)

RENEWED_EVERY_S: Final = 5.0
"""Wall time between two readings of what runs."""

STALE_AFTER_S: Final = 30.0
"""Age at which an answer waits for a new reading, if that comes within `PATIENCE_S`."""

PATIENCE_S: Final = 1.0

ASSUMED_GBP_PER_KWH: Final = 0.1
"""What lost work is taken to cost while nothing is known about the price: near GB wholesale."""

PRICED_OVER: Final = 48
"""Half-hours ahead whose mean price is what lost work costs to do again."""


@dataclass(frozen=True, slots=True, eq=False)
class WarmOrder:
    """One reading of what runs.

    Args:
        order: What could be shed.
        read_at: GridFlex time of the reading.
        running_kw: Dynamic power of all that runs.
        price_gbp_per_kwh: What lost energy is taken to cost.
    """

    order: ShedOrder
    read_at: datetime
    running_kw: float
    price_gbp_per_kwh: float


class ShedDesk:
    """Answers what could be shed.

    Args:
        jobs: Where jobs are kept.
        grid: What price to expect.
        sites: Asked once for the sites.
        now: GridFlex time.
        restart: What a start takes before work goes on.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        grid: Grid,
        sites: Callable[[], Awaitable[Sequence[Site]]],
        now: Callable[[], datetime],
        restart: timedelta,
    ) -> None:
        self._jobs = jobs
        self._grid = grid
        self._ask_sites = sites
        self._now = now
        self._restart = restart
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
            SourceError: The database does not answer, or nobody says how large a site is.
        """
        now = self._now()
        if not self._sites:
            self._sites = {site.name: site for site in await self._ask_sites()}
        jobs = await self._jobs.live_jobs()
        per_kwh = await self._price_gbp_per_kwh(now)
        work = running_work(jobs, sites=self._sites, now=now, restart=self._restart)
        self._read_at_s = time.monotonic()
        self._warm = WarmOrder(
            order=ShedOrder(work, price_gbp_per_kwh=per_kwh),
            read_at=now,
            running_kw=sum(one.power_kw for one in work),
            price_gbp_per_kwh=per_kwh,
        )
        return self._warm

    async def free(
        self, kw: float, *, within: timedelta, hold: timedelta, site: str | None
    ) -> tuple[Shedding, WarmOrder]:
        """Return the cheapest cuts that free ``kw`` now, and the reading they rest on.

        Args:
            kw: Power to free.
            within: How soon.
            hold: How long.
            site: Where; None for anywhere.

        Raises:
            SourceError: Nothing was ever read, and it cannot be now.
            ContractError: There is no such site.
        """
        warm = self._warm or await self.renew()
        if time.monotonic() - self._read_at_s > STALE_AFTER_S:
            warm = await self._renewed_or(warm)
        if site is not None and site not in self._sites:
            raise ContractError(f"site: {site!r} is not one of {', '.join(self._sites)}")
        return warm.order.free(kw, within=within, hold=hold, now=self._now(), site=site), warm

    async def _price_gbp_per_kwh(self, now: datetime) -> float:
        start = HalfHour.containing(now)
        try:
            _, price = await self._grid.outlook(now, start=start, half_hours=PRICED_OVER)
        except StaleDataError:
            return ASSUMED_GBP_PER_KWH
        return float(price.values.mean()) / units.KWH_PER_MWH

    async def _renewed_or(self, last: WarmOrder) -> WarmOrder:
        try:
            return await asyncio.wait_for(self.renew(), PATIENCE_S)
        except (GridFlexError, TimeoutError) as error:
            log.warning("the shed order of %s is used: %s", last.read_at, error)
            return last
