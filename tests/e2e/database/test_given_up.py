"""Runs that are not tried any more: told, picked up by later ones, settled late on order.

As in test_settling: 1 MWh is expected, 0.8 are sold at 140 GBP/MWh, and imbalance is at 210.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.market.given_up_log import GivenUpLog
from gridflex.agents.energy.settlement_rules import SettlementTerms
from gridflex.errors import SourceError
from gridflex.ledger.event import EventType
from gridflex.market.settlement.compensation import REFERENCE_PRICES
from gridflex.market.settlement.given_up import LateOrder
from gridflex.market.settlement.reported import ReportedHalfHour, UnitReport, report_event
from gridflex.market.settlement.runs import Run
from tests.e2e.database.energy_system import System
from tests.e2e.database.test_settling import DAY, R1, SF, at, net_gbp
from tests.e2e.database.test_trader import SITE, TRADED
from tests.e2e.world import ONE_SERVER

pytestmark = ONE_SERVER


@pytest.fixture
async def system(engine: AsyncEngine, tmp_path: Path) -> System:
    made = System(engine, tmp_path)
    await made.sell()
    return made


GIVEN_UP = SF + timedelta(days=14)
"""A fortnight after it came due, a run is not tried any more."""


async def test_a_run_that_was_given_up_is_told_until_a_later_one_settles_it(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    name = "settlement of 2026-07-01 in SF"
    await at(system, SF)
    tried = await at(system, GIVEN_UP - timedelta(days=1))
    given_up = await at(system, GIVEN_UP)
    system.start()
    still = await at(system, GIVEN_UP + timedelta(days=5))
    await system.read(100)

    settled = await at(system, R1)

    assert tried.degraded[name] == "no reading of a settlement meter (1) of 1 half-hours"
    said = f"given up with 1 half-hours left, for {tried.degraded[name]}; "
    assert given_up.degraded[name] == said + "R1 picks it up on 2026-08-25"
    assert still.degraded[name] == given_up.degraded[name]
    (entry,) = await system.ledger.find(EventType.CONFIG_CHANGED)
    assert entry.event["body"]["half_hours"] == [str(TRADED)]
    (told,) = [one for one in caplog.records if "is given up" in one.getMessage()]
    assert told.levelname == "WARNING"
    assert settled.settled == ("2026-07-01 R1 (1)",)
    assert name not in settled.degraded
    (run,) = await GivenUpLog(system.ledger).given_up(SITE.unit)
    assert await GivenUpLog(system.ledger).open_half_hours(run) == ()


async def test_after_the_last_run_an_operator_may_have_it_settled_late(system: System) -> None:
    name = "settlement of 2026-07-01 in RF"
    last = SettlementTerms(REFERENCE_PRICES, {(DAY, Run.RF): date(2026, 9, 1)})
    system.seller._settlements = system.settlements(terms=last)
    over = datetime(2026, 9, 20, 9, tzinfo=UTC)
    given_up = await at(system, over)
    await system.read(100)
    unordered = await at(system, over + timedelta(hours=1))
    order = LateOrder(SITE.unit, DAY, Run.RF, "meter found")
    await GivenUpLog(system.ledger).order(order, now=system.now)

    late = await at(system, system.now)
    after = await at(system, over + timedelta(hours=3))

    assert "no run picks it up: gridflex settle late --unit" in given_up.degraded[name]
    assert (unordered.settled, name in unordered.degraded) == ((), True)
    assert late.settled == ("2026-07-01 RF (1)",)
    assert name not in late.degraded
    assert (after.settled, name in after.degraded) == ((), False)


async def test_a_run_is_settled_late_by_a_report_that_came_in_long_ago(system: System) -> None:
    last = SettlementTerms(REFERENCE_PRICES, {(DAY, Run.RF): date(2026, 9, 1)})
    system.seller._settlements = system.settlements(terms=last)
    system.imbalance.gbp_per_mwh = None
    await system.read(100)
    said = ReportedHalfHour(TRADED, Decimal(205), Decimal(205), *[None] * 6)
    report = UnitReport(SITE.unit, SITE.account, DAY, Run.RF, "0" * 64, (said,))
    await system.ledger.append([report_event(report)], now=datetime(2026, 9, 1, 9, tzinfo=UTC))
    given_up = await at(system, datetime(2026, 9, 20, 9, tzinfo=UTC))
    order = LateOrder(SITE.unit, DAY, Run.RF, "was not running")
    await GivenUpLog(system.ledger).order(order, now=system.now)

    late = await at(system, system.now)

    assert "left, for nothing any more" in given_up.degraded["settlement of 2026-07-01 in RF"]
    assert late.settled == ("2026-07-01 RF (1)",)
    assert await net_gbp(system) == {Run.RF: Decimal("0.8") * 140 + Decimal("0.1") * 205}


AFTER_R2 = datetime(2027, 1, 5, 0, 5, tzinfo=UTC)
"""69 days after R2 of 1 July came due, on 28 October, and before R3."""


async def test_runs_that_came_due_while_nobody_looked_are_told_and_can_be_settled(
    system: System,
) -> None:
    """The agent is away from the day after to next year."""
    name = "settlement of 2026-07-01 in R2"
    await system.read(100)
    system.start()
    told = await at(system, AFTER_R2)
    (listed,) = await GivenUpLog(system.ledger).given_up(SITE.unit)
    order = LateOrder(SITE.unit, DAY, Run.R2, "was not running")
    await GivenUpLog(system.ledger).order(order, now=system.now)

    late = await at(system, system.now)

    assert (
        "given up with 1 half-hours left, for nothing any more; R3 picks it up on"
        in (told.degraded[name])
    )
    assert (listed.day, listed.run, listed.half_hours) == (DAY, Run.R2, (TRADED,))
    assert late.settled == ("2026-07-01 R2 (1)",)
    assert name not in late.degraded


async def test_they_are_told_also_after_it_traded_again(system: System) -> None:
    """It traded, and failed before it had looked."""
    system.now = AFTER_R2 - timedelta(days=2)
    system.seller._settlements = Failing()  # type: ignore[assignment]
    system.imbalance.gbp_per_mwh = None
    await system.plan("train-9", at=AFTER_R2 - timedelta(days=2, minutes=5))
    await system.tick()
    system.start()

    told = await at(system, AFTER_R2)

    assert "settlement of 2026-07-01 in R2" in told.degraded


class Failing:
    """Settles nothing."""

    async def tick(self, *_: object, **__: object) -> None:
        raise SourceError("no database")
