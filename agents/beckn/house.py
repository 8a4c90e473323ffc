"""What the trading desk knows: the plan and the meters as a seller, the outlook as a buyer.

The orchestrator's view of the plan is what every order is checked against, and the grid's
outlook is what is bought by. Half-hours are in GridFlex time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol

from gridflex.adapters.tables import EnergyRow
from gridflex.agents.grid import Grid
from gridflex.beckn.flexibility.offers import Terms
from gridflex.beckn.messaging.keeping import Store
from gridflex.beckn.roles.buying import Expected, Outlook
from gridflex.beckn.roles.selling import Standing
from gridflex.beckn_settings import MarketSettings
from gridflex.errors import StaleDataError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.slack import Slack
from gridflex.signals import NATIONAL

if TYPE_CHECKING:
    from gridflex.agents.orchestrator import Position

OUTLOOK_HALF_HOURS: Final = 96


class Planner(Protocol):
    """Who knows the plan; see `gridflex.agents.orchestrator.Orchestrator`."""

    async def position(self, now: datetime) -> Position:
        """Return what there is to plan."""
        ...


class Metered(Protocol):
    """Who knows what jobs used; see `gridflex.adapters.jobs.store.JobStore`."""

    async def energy(self, job_ids: Sequence[str]) -> Sequence[EnergyRow]:
        """Return the metered half-hours of some jobs."""
        ...


class PlanHouse:
    """`gridflex.beckn.roles.selling.House` over the orchestrator's plan and the job store's meters.

    Args:
        planner: The plan.
        meters: What jobs used.
        grid: What is known about price and intensity.
        store: What is promised.
        settings: Prices and notice.
        now: GridFlex time.
        region: Of the carbon intensity.
    """

    def __init__(
        self,
        *,
        planner: Planner,
        meters: Metered,
        grid: Grid,
        store: Store,
        settings: MarketSettings,
        now: Callable[[], datetime],
        region: str = NATIONAL,
    ) -> None:
        self._planner = planner
        self._meters = meters
        self._grid = grid
        self._store = store
        self._settings = settings
        self._now = now
        self._region = region

    async def now(self) -> HalfHour:
        """See `House.now`."""
        return HalfHour.containing(self._now())

    async def standing(self) -> Standing:
        """See `House.standing`."""
        moment = self._now()
        position = await self._planner.position(moment)
        runs = position.standing.runs if position.standing else {}
        slack = Slack(
            position.problem,
            runs,
            notice_half_hours=self._settings.notice_half_hours,
            held=frozenset(hold.thing for hold in await self._store.holds()),
        )
        prices = {job.id: job.flexibility.premium_gbp_per_kwh for job in position.jobs}
        return Standing(HalfHour.containing(moment), slack, self._terms(prices))

    async def used_kwh(self, job_id: JobId) -> Mapping[HalfHour, float]:
        """See `House.used_kwh`."""
        used: dict[HalfHour, float] = {}
        for row in await self._meters.energy([str(job_id)]):
            half_hour = HalfHour.containing(row.start)
            used[half_hour] = used.get(half_hour, 0.0) + row.energy_kwh
        return used

    async def intensity_gco2_per_kwh(
        self, start: HalfHour, half_hours: int
    ) -> Mapping[HalfHour, float]:
        """See `House.intensity_gco2_per_kwh`."""
        try:
            intensity, _ = await self._grid.outlook(
                self._now(), start=start, half_hours=half_hours, region=self._region
            )
        except StaleDataError:
            return {}
        values = zip(start.span(half_hours), intensity.values, strict=True)
        return {half_hour: round(float(value), 3) for half_hour, value in values}

    def _terms(self, wanted: Mapping[JobId, Decimal]) -> Terms:
        least = self._settings.least_premium_gbp_per_kwh
        return Terms(
            subscriber_id=self._settings.subscriber_id or "unregistered",
            name=self._settings.name,
            grid_area=self._settings.grid_area,
            notice_half_hours=self._settings.notice_half_hours,
            price_gbp_per_kwh={job: max(price, least) for job, price in wanted.items()},
        )


class GridMarket:
    """`gridflex.beckn.roles.buying.Market` over the grid's outlook.

    Args:
        grid: What is known.
        now: GridFlex time.
        region: Of the carbon intensity.
    """

    def __init__(self, grid: Grid, *, now: Callable[[], datetime], region: str = NATIONAL) -> None:
        self._grid = grid
        self._now = now
        self._region = region

    async def outlook(self) -> Outlook:
        """See `Market.outlook`."""
        moment = self._now()
        start = HalfHour.containing(moment) + 1
        intensity, price = await self._grid.outlook(
            moment, start=start, half_hours=OUTLOOK_HALF_HOURS, region=self._region
        )
        rows = zip(start.span(OUTLOOK_HALF_HOURS), price.values, intensity.values, strict=True)
        return {one: Expected(float(cost), float(dirt)) for one, cost, dirt in rows}
