"""Whole settlement days with 46 and 50 half-hours, and prices below zero, through the seller.

A job of 2 MW would run all day and is planned for the next: 1 MWh is expected in each half-hour,
0.1 is metered, 0.8 are sold at 140 GBP/MWh, and imbalance is at 210, but for four half-hours about
the change of the clocks.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.agents.energy.sale import Prices
from gridflex.agents.energy.seller import EnergyReport
from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.agents.energy.trader import LEAD, Trader
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.lifecycle import JobRequest
from gridflex.market.baselines.commitments import read_commitment
from gridflex.market.baselines.waivers import Waiver, waiver_event
from gridflex.market.messages.artefacts import channels_of
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import Allocation, Consent, MeteredSite, Validity
from gridflex.market.registry_records import RegistryRecord, reading_event, registry_event
from gridflex.market.settlement.book import Statement, settle_book
from gridflex.market.settlement.records import book_of, replay
from gridflex.market.settlement.runs import Run, payment_day
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.selling import SalePolicy
from gridflex.market.working_days import DAY, half_hours_of
from gridflex.planning.plan import PlannedRun
from gridflex.sandbox.exchange import SimulatedExchange
from gridflex.sandbox.market import SimulatedAgents
from tests.e2e.database.energy_system import KEYS, Imbalance, System
from tests.e2e.database.test_trader import BIG, DEPTH_MW, JOB, SITE, SIX
from tests.e2e.world import ONE_SERVER
from tests.unit.market.central import Centre
from tests.unit.market.days import CALENDAR
from tests.unit.market.registered import RECORDS

SHORT, LONG = date(2026, 3, 29), date(2025, 10, 26)
CHEAP, SHORTFALL, UNWORTHY, SPILT = 2, 3, 4, 5
"""Places in the day: those from 01:00 on the short one, about 01:00 on the long one."""

HIGH = Prices(Decimal(140), (Decimal(100), Decimal(210)))
QUOTED = {
    CHEAP: Prices(Decimal(5), (Decimal(-50), Decimal(60))),
    UNWORTHY: Prices(Decimal(-20), (Decimal(-60), Decimal(-40))),
    SPILT: Prices(Decimal(-20), (Decimal(-100), Decimal(120))),
}
IMBALANCE = {CHEAP: Decimal(-50), SHORTFALL: Decimal(-30), SPILT: Decimal(-80)}
METERED_KWH = {SHORTFALL: 400}

pytestmark = ONE_SERVER

Value = TypeVar("Value")


class Day(System):
    """A seller on one settlement day, whose market answers at once."""

    def __init__(self, engine: AsyncEngine, root: Path, day: date) -> None:
        self.day = day
        self.span = half_hours_of(day)
        self.prices = dict.fromkeys(self.span, HIGH) | self.by_place(QUOTED)
        self.centre = Centre(
            SimulatedAgents(
                units=[SITE.unit],
                keys=KEYS,
                meters=[int(SITE.pair.import_msid)],
                calendar=CALENDAR,
            ),
            now=SIX,
        )
        super().__init__(engine, root)
        self.imbalance = Varying(self)
        self.start()

    def by_place(self, given: dict[int, Value]) -> dict[HalfHour, Value]:
        return {self.span[place]: value for place, value in given.items()}

    async def of(self, half_hour: HalfHour, *, now: object) -> Prices:  # noqa: ARG002
        return self.prices.get(half_hour, HIGH)

    def _trader(self, site: TradedSite) -> Trader:
        desk = TradingDesk([], channels=channels_of(site.account), keys=KEYS, calendar=CALENDAR)
        sale = {at: one.sale_gbp_per_mwh for at, one in self.prices.items()}
        return Trader(
            site,
            trading=Messenger(desk, ledger=self.ledger, mailbox=self.centre),
            ledger=self.ledger,
            exchange=SimulatedExchange(sale, depth_mw=DEPTH_MW),
            jobs=self.jobs,
            plans=self.plans,
            run_now=self.run_now,
            policy=SalePolicy(sale_fraction=Decimal("0.8"), lot_mwh=Decimal("0.05")),
        )

    async def prepare(self) -> None:
        """Register everybody from a month before, and hold the job until the day is over."""
        start = self.span[0].start - timedelta(hours=2)
        since = Validity(self.day - timedelta(days=30))
        records = [registry_event(_since(one, since)) for one in RECORDS]
        allowed = waiver_event(Waiver(SITE.unit, self.span[-1].end.date() + DAY, "first start"))
        await self.ledger.append([*records, allowed], now=start - timedelta(days=20))
        work = timedelta(hours=28)
        job = replace(BIG, duration=work, deadline=self.span[-1].end + 2 * work)
        await self.jobs.add(JOB, JobRequest("x"), job, submitted_at=start)
        await self.plans.commit(
            {JOB: (PlannedRun(JOB, "local", self.span[-1] + 1, 56, 8),)},
            made_at=start,
            start=HalfHour(start),
            reason="job",
            result={},
            inputs={},
        )

    async def at(self, moment: datetime) -> EnergyReport:
        self.centre.now = moment
        return await self.seller.tick(moment)

    async def trade(self) -> None:
        for half_hour in self.span:
            await self.at((half_hour + -LEAD).start)

    async def meter(self) -> None:
        """Read the meter in each half-hour, after the day."""
        kwh = dict.fromkeys(self.span, 100) | self.by_place(METERED_KWH)
        end = self.span[-1].end
        readings = [
            Reading(
                meter=SITE.pair.import_msid,
                half_hour=at,
                import_kwh=Decimal(one),
                export_kwh=Decimal(0),
                evidence=Evidence.SETTLEMENT,
                is_substituted=False,
                received_at=end,
            )
            for at, one in kwh.items()
        ]
        await self.ledger.append([reading_event(one) for one in readings], now=end)

    async def outcome(self) -> Statement:
        entries = [one.event for one in await self.ledger.find(EventType.SETTLEMENT_RUN)]
        assert all(one.is_same for one in replay(entries))
        return settle_book(book_of(entries))

    async def traded(self) -> list[bool]:
        """Return of each half-hour whether it was traded, by the ledger."""
        found = await self.ledger.find(
            EventType.BASELINE_COMPUTED, first=self.span[0], last=self.span[-1]
        )
        said = {one.event["sp"]: read_commitment(one.event["body"]).is_traded for one in found}
        return [said[f"{self.day}/{period}"] for period in range(1, len(self.span) + 1)]


class Varying(Imbalance):
    """Imbalance prices of a day."""

    def __init__(self, day: Day) -> None:
        super().__init__()
        self.prices = dict.fromkeys(day.span, Decimal(210)) | day.by_place(IMBALANCE)

    async def of(self, day: date, *, now: datetime) -> dict[HalfHour, Decimal]:  # noqa: ARG002
        return {at: one for at, one in self.prices.items() if at.settlement[0] == day}


def _since(record: RegistryRecord, since: Validity) -> RegistryRecord:
    if isinstance(record, MeteredSite):
        return record
    if isinstance(record, Consent):
        return replace(record, signed_on=since.start, validity=since)
    if isinstance(record, Allocation):
        return replace(record, registered_on=since.start - timedelta(days=14), validity=since)
    return replace(record, validity=since)


FIGURES = {
    SHORT: (46, Decimal("5631.00"), Decimal("3505.842")),
    LONG: (50, Decimal("6163.00"), Decimal("3918.786")),
}
"""Half-hours, net of the day and compensation of its supplier, GBP."""


@pytest.mark.parametrize("day", FIGURES, ids=["clocks go forward", "clocks go back"])
async def test_a_day_of_any_length_is_traded_notified_and_settled(
    engine: AsyncEngine, tmp_path: Path, day: date
) -> None:
    half_hours, net_gbp, compensation_gbp = FIGURES[day]
    system = Day(engine, tmp_path, day)
    await system.prepare()
    await system.trade()
    await system.meter()

    notified = await system.at(system.span[-1].end + timedelta(hours=2))
    paid_on = payment_day(day, run=Run.SF, calendar=CALENDAR)
    settled = await system.at(HalfHour.from_settlement(paid_on, 1).start + timedelta(minutes=5))

    traded = half_hours - 1
    assert len(system.span) == half_hours
    assert await system.traded() == [place != UNWORTHY for place in range(half_hours)]
    assert notified.notified == (str(day),)
    assert len(system.centre.agents.book.delivered) == traded
    assert settled.settled == (f"{day} SF ({traded})",)
    found = {one.half_hour: one for one in (await system.outcome()).results}
    # 0.8 sold at 140, 0.9 delivered, 0.1 paid at 210
    ordinary = Decimal("133.00")
    # 0.8 sold at 5, and 0.1 too much at -50
    assert found[system.span[CHEAP]].net_gbp == Decimal("-1.00")
    # 0.8 sold at 140, and 0.2 too little, for which -30 is earned
    assert found[system.span[SHORTFALL]].net_gbp == Decimal("118.00")
    # no sale below zero: 0.9 too much at -80
    assert found[system.span[SPILT]].net_gbp == Decimal("-72.00")
    (total,) = (await system.outcome()).days
    assert total.net_gbp == net_gbp
    assert total.net_gbp == (half_hours - 4) * ordinary + (-1 + 118 - 72)
    # 0.9 in all but one, where 0.6 were delivered, at 87.21 and 89.47 GBP/MWh
    compensated = sum(one.compensation_gbp for one in found.values())
    assert compensated == compensation_gbp
