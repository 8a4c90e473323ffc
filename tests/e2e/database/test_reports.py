"""Central settlement reports through the folder, and the settlements that follow them.

1 MWh is expected, 0.8 are sold at 140 GBP/MWh. Our meter says 0.1 MWh and our price 210; theirs
say 0.12 MWh and 205.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.ledger.event import EventType
from gridflex.market.audit import trace
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.settlement.authority import Authority
from gridflex.market.settlement.records import settlement_inputs
from gridflex.market.settlement.runs import Run
from gridflex.sandbox.market import Mishap, SimulatedAgents
from gridflex.sandbox.market_folder import FolderMarket, Quotation
from gridflex.sandbox.reporting import ReportBasis
from tests.e2e.database.energy_system import KEYS, MINUTE, TERMS, System
from tests.e2e.database.test_settling import SF, at, deliver, end, net_gbp
from tests.e2e.database.test_trader import SITE, TRADED
from tests.e2e.world import ONE_SERVER
from tests.unit.market.days import CALENDAR

REPORT = "report of 2026-07-01 in SF"
OURS = Decimal("0.8") * 140 + Decimal("0.1") * 210
THEIRS = Decimal("0.8") * 140 + Decimal("0.08") * 205

pytestmark = ONE_SERVER


class Reported(System):
    """A seller whose market publishes reports, as soon as it has readings."""

    def __init__(
        self,
        engine: AsyncEngine,
        root: Path,
        mishaps: dict[ArtefactKind, list[Mishap | None]] | None = None,
    ) -> None:
        super().__init__(engine, root)
        self.readings = root / "theirs.csv"
        self.market = FolderMarket(
            root,
            agents=SimulatedAgents(
                units=[SITE.unit], keys=KEYS, meters=None, calendar=CALENDAR, mishaps=mishaps
            ),
            quotation=Quotation(Decimal(140), {}),
            basis=ReportBasis(
                self.readings, CALENDAR, system_price_gbp_per_mwh=Decimal("205.00000")
            ),
        )

    def meter(self, kwh: int = 120) -> None:
        """Give the central systems their reading."""
        row = f"{SITE.pair.import_msid},{TRADED},{kwh}"
        self.readings.write_text(f"meter,start_utc,import_kwh\n{row}\n")


@pytest.fixture
async def system(engine: AsyncEngine, tmp_path: Path) -> Reported:
    made = Reported(engine, tmp_path)
    await made.sell()
    await deliver(made)
    return made


async def test_a_run_is_settled_by_its_report_and_the_difference_told(system: Reported) -> None:
    system.meter()

    settled = await at(system, SF)
    later = await at(system, SF + timedelta(hours=1))

    assert settled.settled == ("2026-07-01 SF (1)",)
    assert await net_gbp(system) == {Run.SF: THEIRS}
    for said in (settled, later):
        assert said.degraded[REPORT] == (
            f"deviation MWh of {SITE.unit} in {TRADED} is 0.9000, reported 0.880; "
            f"metered MWh of {SITE.unit} in {TRADED} is -0.1, reported -0.120; "
            f"system price GBP/MWh in {TRADED} is 210, reported 205.00000"
        )
    (traced,) = trace([one.event for one in await system.ledger.find()])
    assert (traced.alone, traced.different) == ((), ())
    assert f"reported volumes of {SITE.unit}" in traced.same


async def test_a_report_that_comes_later_settles_its_run_again_and_once(system: Reported) -> None:
    own = await at(system, SF)
    system.meter()

    again = await at(system, SF + timedelta(hours=1))
    system.start()
    restarted = await at(system, SF + timedelta(hours=2))

    assert (own.settled, REPORT in own.degraded) == (("2026-07-01 SF (1)",), False)
    assert again.settled == ("2026-07-01 SF (1)",)
    assert await net_gbp(system) == {Run.SF: THEIRS}
    assert restarted.settled == ()
    assert restarted.degraded[REPORT] == again.degraded[REPORT]
    assert len(await system.ledger.find(EventType.SETTLEMENT_RUN)) == 2
    assert len(await system.ledger.find(EventType.REPORT_RECEIVED)) == 1


async def test_a_report_of_a_unit_that_is_not_traded_any_more_is_taken(system: Reported) -> None:
    await end(system)
    system.start()
    system.meter()

    settled = await at(system, SF)

    assert settled.settled == ("2026-07-01 SF (1)",)
    assert await net_gbp(system) == {Run.SF: THEIRS}


async def test_a_report_that_confirms_ours_raises_nothing(system: Reported) -> None:
    system.meter(100)
    system.imbalance.gbp_per_mwh = Decimal(205)

    settled = await at(system, SF)

    assert settled.degraded == {}
    assert await net_gbp(system) == {Run.SF: Decimal("0.8") * 140 + Decimal("0.1") * 205}


async def test_a_price_that_only_the_report_has_is_settled_at(system: Reported) -> None:
    system.meter(100)
    system.imbalance.gbp_per_mwh = None

    settled = await at(system, SF)

    assert (settled.settled, settled.degraded) == (("2026-07-01 SF (1)",), {})


async def test_where_reports_do_not_count_they_are_told_and_ours_stands(system: Reported) -> None:
    system.meter()
    terms = replace(TERMS, authority=Authority(frozenset()))
    system.seller._settlements = system.settlements(terms=terms)

    told = await at(system, SF)
    system.start()
    system.seller._settlements = system.settlements(terms=terms)
    restarted = await at(system, SF + MINUTE)

    assert await net_gbp(system) == {Run.SF: OURS}
    assert "deviation MWh" in told.degraded[REPORT]
    assert restarted.degraded[REPORT] == told.degraded[REPORT]


async def test_a_sale_whose_notice_nobody_answered_counts_as_the_report_has_it(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    system = Reported(engine, tmp_path, {ArtefactKind.ECVN: [Mishap.MUTE]})
    await system.sell()
    await deliver(system)
    await at(system, SF)
    (own,) = await system.ledger.find(EventType.SETTLEMENT_RUN)
    system.meter(100)

    await at(system, SF + timedelta(hours=1))

    (*_, counted) = await system.ledger.find(EventType.SETTLEMENT_RUN)
    ((before,), (after,)) = (settlement_inputs(one.event).periods[0].sold for one in (own, counted))
    assert (before.is_notified, after.is_notified) == (False, True)
    assert await net_gbp(system) == {Run.SF: Decimal("0.8") * 140 + Decimal("0.1") * 205}
