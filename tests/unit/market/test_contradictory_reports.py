"""Central reports that contradict each other or come early, over a ledger in memory.

10 MWh are expected, 7.2 metered, 3 sold at 140 GBP/MWh: 0.2 too little, at our price of 210.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from gridflex.adapters.market.position_book import PositionBook
from gridflex.agents.energy.settlement_rules import SettlementTerms
from gridflex.agents.energy.settling import Settlements, Settler, SettlingReport
from gridflex.agents.energy.traded_sites import EnergyTerms, TradedSites
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.market.registry_records import registry_event
from gridflex.market.settlement.book import settle_book
from gridflex.market.settlement.compensation import REFERENCE_PRICES
from gridflex.market.settlement.records import book_of
from gridflex.market.settlement.reported import report_event, unit_reports
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.s0142 import read_s0142
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import trade_event
from gridflex.market.working_days import half_hours_of
from tests.unit.market.days import CALENDAR
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS
from tests.unit.market.test_desk import EARLY, SIX, UNIT
from tests.unit.serve.test_positions_api import Served

DAY = date(2026, 7, 1)
II = datetime(2026, 7, 8, 0, 5, tzinfo=UTC)
SF = datetime(2026, 7, 23, 0, 5, tzinfo=UTC)
HOUR, LATE = timedelta(hours=1), timedelta(days=20)
PERIOD = SIX.settlement[1]
SOLD = Decimal(420)


def net(price: int | str) -> Decimal:
    return SOLD - Decimal("0.2") * Decimal(price)


def report(
    *,
    price: str = "205.00000",
    metered: str = "-7.200",
    deviation: str = "2.800",
    contract: str = "3.000",
    party: str = "GRIDFLEX",
    multiplier: str = "",
    day: str = "20260701",
    run: str = "SF",
) -> str:
    """Return a report of one half-hour in the layout that `read_s0142` reads."""

    def record(tag: str, size: int, given: dict[int, str]) -> str:
        fields = [tag] + [given.get(i, "") for i in range(1, size)]
        return "|".join(fields) + "|"

    return "\n".join(
        [
            "AAA|S0142013|D|20260722223519|SA|UKDC|PB|PORTAL|1|SIML|",
            f"SRH|{day}|{run}|1|1|{day}|1|1|NGC|",
            *([record("SPI", 54, {1: str(PERIOD), 2: price, 3: price})] if price else []),
            f"BPH|{day}|{run}|1|1|{day}|1|1|{party}|",
            f"SP7|{PERIOD}|",
            record("APD", 10, {6: contract, 7: "0", 8: "-0.2", 9: "2.8"}),
            record(
                "BP7",
                26,
                {1: UNIT, 8: metered, 12: multiplier, 18: "-10.000", 19: deviation},
            ),
            "ZZZ|9|0|",
            "",
        ]
    )


class Versioned(MemoryLedger):
    """Records an older version that comes back again, as the real ledger does."""

    async def append(self, events: Sequence[Event], *, now: datetime) -> list[int]:
        for event in events:
            newest = [
                one.event["id"]
                for one in self.logged
                if event.stem and one.event["id"].startswith(event.stem)
            ][-1:]
            if newest and newest != [event.id]:
                self._places.pop(event.id, None)
        return await super().append(events, now=now)


class System:
    """A half-hour that was sold, and who settles it."""

    def __init__(self) -> None:
        self.served = Served()
        self.ledger = self.served.ledger = self.served.trading._ledger = Versioned()
        self.price: Decimal | None = Decimal(210)
        self.now = SF - 2 * HOUR
        self.book = PositionBook(self.ledger, calendar=CALENDAR)
        self.start()

    def start(self) -> None:
        """Start the agent, again too: it knows nothing but the ledger."""
        self.settlements = Settlements(
            book=self.book,
            ledger=self.ledger,
            settler=Settler(ledger=self.ledger, reductions=self),  # type: ignore[arg-type]
            prices=self,  # type: ignore[arg-type]
            terms=SettlementTerms(REFERENCE_PRICES),
            calendar=CALENDAR,
        )

    async def of(self, asked: Any, **_: object) -> Any:  # noqa: ANN401 - reductions and prices
        if isinstance(asked, date):
            return {} if self.price is None else dict.fromkeys(half_hours_of(asked), self.price)
        return []

    async def sell(self) -> None:
        await self.served.sell()
        sold = Trade("EX1", "BUYER", SIX, 1, Decimal(6), Decimal(140), reference=f"{UNIT}:{SIX}")
        await self.ledger.append([trade_event(sold)], now=EARLY)

    async def arrive(self, text: str) -> None:
        digest = sha256(text.encode()).hexdigest()
        (one,) = unit_reports(read_s0142(text), units=[UNIT], file_sha256=digest)
        await self.ledger.append([report_event(one)], now=self.now)

    async def at(self, moment: datetime) -> SettlingReport:
        self.now = moment
        terms = EnergyTerms(UNIT, "local", "A1")
        sites = TradedSites(await self.book.registry(), terms)
        return await self.settlements.tick(moment, sites=sites)

    async def net_gbp(self) -> Mapping[Run, Decimal]:
        entries = [one.event for one in await self.ledger.find(EventType.SETTLEMENT_RUN)]
        return {one.run: one.net_gbp for one in settle_book(book_of(entries)).results}


@pytest.fixture
async def unread() -> System:
    made = System()
    await made.sell()
    return made


@pytest.fixture
async def system(unread: System) -> System:
    await unread.served.read("7200")
    return unread


async def test_this_file_reports_as_central_systems_do(system: System) -> None:
    await system.arrive(report())

    await system.at(SF)

    assert await system.net_gbp() == {Run.SF: net(205)}


async def test_a_report_that_goes_back_to_its_first_version_counts_again(system: System) -> None:
    await system.arrive(report(price="205.00000"))
    await system.at(SF)
    first = await system.net_gbp()
    await system.arrive(report(price="100.00000"))
    await system.at(SF + HOUR)
    second = await system.net_gbp()
    system.now += timedelta(minutes=1)
    await system.arrive(report(price="205.00000"))

    await system.at(SF + 2 * HOUR)

    assert (first, second) == ({Run.SF: net(205)}, {Run.SF: net(100)})
    assert len(await system.ledger.find(EventType.REPORT_RECEIVED)) == 3
    assert await system.net_gbp() == first


async def test_a_second_report_without_a_price_leaves_our_own_price(system: System) -> None:
    """What counts is the newest report and ours, not what an older report had said."""
    await system.arrive(report(price="205.00000"))
    await system.at(SF)
    await system.arrive(report(price=""))

    await system.at(SF + HOUR)

    assert await system.net_gbp() == {Run.SF: net(210)}


async def test_a_second_report_without_a_multiplier_leaves_our_own(system: System) -> None:
    await system.arrive(report(multiplier="1.1"))
    await system.at(SF)
    await system.arrive(report())

    await system.at(SF + HOUR)

    assert await system.net_gbp() == {Run.SF: net(205)}


async def test_sales_that_a_report_took_away_come_back_with_its_correction(system: System) -> None:
    """The first has nothing contracted, the second what decides nothing: ours stands."""
    await system.arrive(report(contract="0.000"))
    await system.at(SF)
    await system.arrive(report(contract="5.000"))

    await system.at(SF + HOUR)

    assert await system.net_gbp() == {Run.SF: net(205)}


async def test_a_second_report_is_told_against_our_own_price(system: System) -> None:
    await system.arrive(report(price="205.00000"))
    await system.at(SF)
    await system.arrive(report(price="100.00000"))

    told = await system.at(SF + HOUR)

    said = told.differing["report of 2026-07-01 in SF"]
    assert f"system price GBP/MWh in {SIX} is 210, reported 100.00000" in said


async def test_our_own_price_that_is_not_known_any_more_stays_the_reported_one(
    system: System,
) -> None:
    await system.arrive(report(price="205.00000"))
    await system.at(SF)
    system.price = None
    await system.arrive(report(price="", metered="-7.100", deviation="2.900"))

    settled = await system.at(SF + HOUR)

    assert settled.settled == ("2026-07-01 SF (1)",)
    assert await system.net_gbp() == {Run.SF: SOLD - Decimal("0.1") * 205}


async def test_what_follows_its_newest_report_is_not_settled_again(system: System) -> None:
    await system.arrive(report(price="205.00000"))
    await system.at(SF)
    await system.arrive(report(price="100.00000"))
    await system.at(SF + HOUR)
    system.start()
    await system.served.read("7100")

    settled = await system.at(SF + 2 * HOUR)

    assert settled.settled == ()
    assert await system.net_gbp() == {Run.SF: net(100)}


async def test_a_version_that_says_the_same_changes_nothing(system: System) -> None:
    await system.arrive(report())
    await system.at(SF)
    await system.arrive(report() + "\n")

    settled = await system.at(SF + HOUR)

    assert settled.settled == ()
    assert "reported 205" in settled.differing["report of 2026-07-01 in SF"]


async def test_a_block_of_another_party_does_not_decide_our_sales(system: System) -> None:
    """The unit stands in the block of somebody else, whose account contracted nothing."""
    await system.arrive(report(party="OTHER", contract="0.000"))

    await system.at(SF)

    assert await system.net_gbp() == {Run.SF: net(205)}


async def test_one_report_that_is_garbage_does_not_keep_others_from_being_settled(
    system: System,
) -> None:
    """One that was recorded before such prices were refused."""
    (good,) = unit_reports(read_s0142(report()), units=[UNIT], file_sha256="ab" * 32)
    bad = report_event(good)
    bad.body["half_hours"][PERIOD - 1]["sell_gbp_per_mwh"] = "NaN"
    await system.ledger.append([bad], now=system.now)

    settled = await system.at(SF)

    assert await system.net_gbp() == {Run.SF: net(210)}
    assert f"half_hours.{PERIOD - 1}.sell_gbp_per_mwh" in settled.waiting[bad.id]


async def test_a_look_before_the_day_does_not_hide_its_run() -> None:
    """A report of SF came before anything was traded on the day."""
    system = System()
    await system.ledger.append([registry_event(one) for one in RECORDS], now=EARLY)
    system.now = EARLY
    await system.arrive(report())
    await system.at(EARLY)
    await system.sell()
    await system.served.read("7200")

    settled = await system.at(EARLY + timedelta(days=10))

    assert "2026-07-01 SF (1)" in settled.settled


async def test_a_run_that_cannot_be_looked_at_is_told(system: System) -> None:
    """What keeps a given-up run from being looked at is told, not only logged."""

    async def refuse(*_: object) -> object:
        raise ContractError("the unit is not registered on that day")

    async def traded(*_: object) -> set[HalfHour]:
        return {SIX}

    found = await system.settlements._abandoned.given_up(
        SF + LATE,
        unit=UNIT,
        left_of=refuse,  # type: ignore[arg-type]
        traded=traded,  # type: ignore[arg-type]
    )

    assert any("not registered" in why for why in found.values())


async def test_a_run_due_long_after_its_report_came_follows_it(unread: System) -> None:
    """Its report was early, or the agent was away for two weeks."""
    unread.now = datetime(2026, 7, 3, 12, tzinfo=UTC)
    await unread.arrive(report())
    await unread.served.read("7200")

    await unread.at(SF)

    assert await unread.net_gbp() == {Run.SF: net(205)}
