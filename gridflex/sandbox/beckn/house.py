"""Simulated jobs and a simulated day for the counterparties; every figure here is made up.

From 02:00 to 06:00 UTC energy is cheap and clean, at other times dear and dirty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Final

import numpy as np

from gridflex.beckn.flexibility.needs import OFFERED, Bid, Need
from gridflex.beckn.flexibility.offers import Terms
from gridflex.beckn.messaging.keeping import Store
from gridflex.beckn.roles.buying import Expected, Outlook
from gridflex.beckn.roles.procuring import Metered, need_item, need_table
from gridflex.beckn.roles.selling import Standing
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook
from gridflex.planning.slack import Slack

SITE: Final = "simulated"
GOOD: Final = Expected(price_gbp_per_mwh=80.0, intensity_gco2_per_kwh=90.0)
BAD: Final = Expected(price_gbp_per_mwh=140.0, intensity_gco2_per_kwh=250.0)
GOOD_FROM: Final = time(2)
GOOD_TO: Final = time(6)
HORIZON: Final = 96
RUN_HALF_HOURS: Final = 8
POWER_KW: Final = 37.5
GPUS: Final = 4
NEED_KW: Final = 100.0
NEED_PRICE_GBP_PER_KWH: Final = 0.6
NEED_PENALTY_GBP_PER_KWH: Final = 0.2


def simulated(half_hour: HalfHour) -> Expected:
    """Return what the simulated grid is like."""
    is_good = GOOD_FROM <= half_hour.start.time() < GOOD_TO
    return GOOD if is_good else BAD


class SimulatedMarket:
    """`gridflex.beckn.roles.buying.Market` of the simulated day.

    Args:
        now: GridFlex time.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    async def outlook(self) -> Outlook:
        """See `gridflex.beckn.roles.buying.Market.outlook`."""
        start = HalfHour.containing(self._now()) + 1
        return {one: simulated(one) for one in start.span(HORIZON)}


class SimulatedFeeder:
    """`gridflex.beckn.roles.procuring.Feeder` that wants less load in the same hours of every day.

    Its meters are simulated: what was offered is the baseline, and all of it is delivered.

    Args:
        subscriber_id: The buyer's.
        now: GridFlex time.
        wall: Wall time.
        wanted: Hours of the day, UTC, in which less load is wanted.
        price_gbp_per_kwh: What a kWh less earns.
    """

    methodology = "simulated"

    def __init__(
        self,
        subscriber_id: str,
        *,
        now: Callable[[], datetime],
        wall: Callable[[], datetime],
        wanted: Sequence[int],
        price_gbp_per_kwh: float = NEED_PRICE_GBP_PER_KWH,
    ) -> None:
        self._id = subscriber_id
        self._now = now
        self._wall = wall
        self._wanted = sorted(wanted)
        self._price = price_gbp_per_kwh

    async def now(self) -> HalfHour:
        """See `Feeder.now`."""
        return HalfHour.containing(self._now())

    async def needs(self) -> Sequence[Need]:
        """See `Feeder.needs`; that of the next such hours."""
        if not self._wanted:
            return []
        start = _next(HalfHour.containing(self._now()), time(self._wanted[0]))
        grid = start.span(2 * (self._wanted[-1] + 1 - self._wanted[0]))
        requested = [NEED_KW if one.start.hour in self._wanted else 0.0 for one in grid]
        return [
            need_item(
                resource_id=f"need-{start.start:%Y%m%dT%H%M}",
                buyer=self._id,
                name=f"Simulated feeder: {NEED_KW:g} kW less from {start}",
                table=need_table(
                    start,
                    requested_kw=requested,
                    price_gbp_per_kwh=self._price,
                    penalty_gbp_per_kwh=NEED_PENALTY_GBP_PER_KWH,
                ),
                until=self._wall() + timedelta(hours=1),
                methodology={"bestOf": 5, "outOf": 10},
            )
        ]

    async def metered(self, bid: Bid) -> Metered:
        """See `Feeder.metered`."""
        share = 1 / len(bid.meters)
        span = list(bid.table.start.span(bid.table.half_hours))
        return {
            meter: {one: (bid.table.at(OFFERED, one) * share, 0.0) for one in span}
            for meter in bid.meters
        }


class SimulatedHouse:
    """`gridflex.beckn.roles.selling.House` with some jobs of 150 kWh that wait for 22:00.

    Args:
        subscriber_id: The seller's.
        now: GridFlex time.
        store: What is promised.
        jobs: How many there are.
        premium_gbp_per_kwh: What a shifted kWh costs.
    """

    def __init__(
        self,
        subscriber_id: str,
        *,
        now: Callable[[], datetime],
        store: Store,
        jobs: int = 3,
        premium_gbp_per_kwh: Decimal = Decimal("0.15"),
    ) -> None:
        self._now = now
        self._store = store
        self._first = HalfHour.containing(now())
        self._planned = _next(self._first, time(22))
        self._jobs = tuple(JobId(f"simulated-{number}") for number in range(1, jobs + 1))
        self._terms = Terms(
            subscriber_id,
            "Simulated aggregator",
            "GB",
            price_gbp_per_kwh=dict.fromkeys(self._jobs, premium_gbp_per_kwh),
        )

    async def now(self) -> HalfHour:
        """See `House.now`."""
        return HalfHour.containing(self._now())

    async def standing(self) -> Standing:
        """See `House.standing`."""
        now = await self.now()
        start = now + 1
        grid = [simulated(one) for one in start.span(HORIZON)]
        deadline = start.until(self._planned + 2 * RUN_HALF_HOURS)
        outlook = SiteOutlook(
            site=Site(SITE, gpus=GPUS * len(self._jobs), gpu_type="H100"),
            price_gbp_per_mwh=np.array([one.price_gbp_per_mwh for one in grid]),
            intensity_gco2_per_kwh=np.array([one.intensity_gco2_per_kwh for one in grid]),
            free_gpus=np.full(HORIZON, float(GPUS * len(self._jobs))),
        )
        problem = PlanningProblem(
            start=start,
            jobs=tuple(_demand(job, deadline) for job in self._jobs),
            sites=(outlook,),
            carbon_price_gbp_per_tco2=80.0,
        )
        starts = await self._starts()
        runs = {job: (PlannedRun(job, SITE, starts[job], RUN_HALF_HOURS, GPUS),) for job in starts}
        held = frozenset(hold.thing for hold in await self._store.holds())
        return Standing(now, Slack(problem, runs, held=held), self._terms)

    async def used_kwh(self, job_id: JobId) -> Mapping[HalfHour, float]:
        """See `House.used_kwh`."""
        now = await self.now()
        start = (await self._starts())[job_id]
        return {one: POWER_KW / 2 for one in start.span(RUN_HALF_HOURS) if one < now}

    async def intensity_gco2_per_kwh(
        self, start: HalfHour, half_hours: int
    ) -> Mapping[HalfHour, float]:
        """See `House.intensity_gco2_per_kwh`."""
        return {one: simulated(one).intensity_gco2_per_kwh for one in start.span(half_hours)}

    async def _starts(self) -> dict[JobId, HalfHour]:
        held = {hold.thing: hold.start for hold in await self._store.holds()}
        return {job: held.get(str(job), self._planned) for job in self._jobs}


def _demand(job: JobId, deadline: int) -> JobDemand:
    return JobDemand(
        id=job,
        tier=Tier.T3,
        release=0,
        deadline=deadline,
        work=RUN_HALF_HOURS,
        gpus=GPUS,
        power_kw={SITE: POWER_KW},
        interruptible=True,
    )


def _next(after: HalfHour, when: time) -> HalfHour:
    today = datetime.combine(after.start.date(), when, tzinfo=after.start.tzinfo)
    moment = today if today >= after.start + timedelta(hours=1) else today + timedelta(days=1)
    return HalfHour(moment)
