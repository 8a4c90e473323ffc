"""Settling by itself: each run once when it is due, from what the ledger has, on PostgreSQL.

1 MWh is expected in the traded half-hour, 0.8 are sold at 140 GBP/MWh, and imbalance is at 210.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.energy_book import EnergyBook
from gridflex.agents.energy.reports import Look
from gridflex.agents.energy.seller import EnergyReport
from gridflex.agents.energy.settlement_rules import SettlementTerms
from gridflex.agents.energy.traded_sites import EnergyTerms, TradedSites
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.market.audit import trace
from gridflex.market.messages.artefacts import ArtefactKind, DeliveredVolumes
from gridflex.market.messages.drafts import read_draft
from gridflex.market.policy import Dated, Effective
from gridflex.market.registry import Allocation, MeteredSite, Msid, MsidPair, Validity
from gridflex.market.registry_records import registry_event
from gridflex.market.settlement.book import settle_book
from gridflex.market.settlement.compensation import (
    REFERENCE_PRICES,
    CompensationPolicy,
    MutualisedP511,
    with_export_thresholds,
)
from gridflex.market.settlement.losses import Losses, LossFactors
from gridflex.market.settlement.records import book_of, replay, settlement_event, settlement_inputs
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.show_back import newest_shares
from gridflex.market.trading.exclusivity import Direction, Product, Reservation
from gridflex.market.trading.position import Stage, Status
from gridflex.market.trading.reservations import Held
from gridflex.market.volumes import ExportMWh, Rounding
from gridflex.sandbox.market import Mishap
from tests.e2e.database.energy_system import MINUTE, NEXT_DAY, TERMS, System
from tests.e2e.database.test_trader import JOB, SITE, SIX, TRADED
from tests.e2e.world import ONE_SERVER
from tests.unit.market.registered import RECORDS

DAY = date(2026, 7, 1)
II, SF, R1 = (
    datetime(2026, 7, 8, 0, 5, tzinfo=UTC),
    datetime(2026, 7, 23, 0, 5, tzinfo=UTC),
    datetime(2026, 8, 25, 0, 5, tzinfo=UTC),
)
"""5, 16 and 39 working days after 1 July 2026, in the minutes after midnight in London (01:05)."""

pytestmark = ONE_SERVER


@pytest.fixture
async def system(engine: AsyncEngine, tmp_path: Path) -> System:
    made = System(engine, tmp_path)
    await made.sell()
    return made


async def deliver(system: System, kwh: int = 100) -> None:
    """Read the meter and notify the delivery, the day after."""
    system.now = NEXT_DAY
    await system.read(kwh)
    await system.tick()
    await system.tick()


async def at(system: System, moment: datetime) -> EnergyReport:
    system.now = moment
    return await system.tick()


async def net_gbp(system: System) -> dict[Run, Decimal]:
    entries = [one.event for one in await system.ledger.find(EventType.SETTLEMENT_RUN)]
    assert all(one.is_same for one in replay(entries))
    outcome = settle_book(book_of(entries))
    return {one.run: one.net_gbp for one in outcome.results if one.half_hour == TRADED}


async def end(system: System) -> None:
    """Take the unit's pair out of it after the day that was traded."""
    (held,) = [one for one in RECORDS if isinstance(one, Allocation)]
    ended = replace(held, validity=Validity(held.validity.start, DAY + timedelta(days=1)))
    await system.ledger.append([registry_event(ended)], now=system.now)


async def test_a_unit_that_is_not_traded_any_more_is_notified_and_settled_to_the_end(
    system: System,
) -> None:
    await end(system)
    system.start()
    await deliver(system)
    statuses = await system.statuses()

    settled = await at(system, SF)

    assert statuses[ArtefactKind.DVN] is Status.ACCEPTED
    assert settled.settled == ("2026-07-01 SF (1)",)
    assert "has 0 pairs with a submitted baseline on 2026-07-23" in settled.degraded["registry"]
    assert await net_gbp(system) == {Run.SF: Decimal("0.8") * 140 + Decimal("0.1") * 210}


async def test_what_was_delivered_is_notified_for_the_meter_of_its_day(system: System) -> None:
    await end(system)
    (metered,) = [one for one in RECORDS if isinstance(one, MeteredSite)]
    (held,) = [one for one in RECORDS if isinstance(one, Allocation)]
    new = MsidPair(Msid("1200012345688"))
    since = Validity(DAY + timedelta(days=1), held.validity.until)
    replaced = (
        replace(metered, pairs=(*metered.pairs, new)),
        replace(held, pair=new, validity=since),
    )
    await system.ledger.append([registry_event(one) for one in replaced], now=system.now)

    await deliver(system)

    (sent,) = await system.ledger.find(EventType.DVN_SUBMITTED)
    artefact, _ = read_draft(sent.event["body"])
    assert isinstance(artefact, DeliveredVolumes)
    assert [one.pair for one in artefact.deliveries] == [SITE.pair]


async def test_each_run_is_settled_once_when_it_is_due(system: System) -> None:
    await deliver(system)
    early = await at(system, II - timedelta(days=1))

    informed = await at(system, II)
    again = await at(system, II + timedelta(hours=1))
    paid = await at(system, SF)

    assert early.settled == ()
    assert (informed.settled, again.settled) == (("2026-07-01 II (1)",), ())
    assert paid.settled == ("2026-07-01 SF (1)",)
    expected = Decimal("0.8") * 140 + Decimal("0.1") * 210
    assert await net_gbp(system) == {Run.II: expected, Run.SF: expected}
    assert await system.stage() is Stage.SF
    (job,) = book_of([one.event for one in await system.ledger.find()]).contributions
    assert (job.job, job.reduction_mwh) == (str(JOB), Decimal("1.0000"))


async def test_what_was_earned_is_told_by_the_contract_that_sold_it(system: System) -> None:
    meter = SITE.pair.import_msid
    given_back = Reservation(
        meter, TRADED, Direction.DOWN, Product.BECKN, Decimal("0.2"), "beckn:t0", str(JOB)
    )
    book = EnergyBook(system.ledger)
    held = await book.reserve(given_back, flexible_mwh=None, now=system.now)
    assert isinstance(held, Held)
    await book.release(held, reason="the contract ended", now=system.now)
    await deliver(system)
    await at(system, II)

    ours = book_of([one.event for one in await system.ledger.find()])
    (before,) = ours.contributions
    (sold,) = ours.periods[0].sold
    assert before.contract == sold.contract == f"wholesale:{SITE.unit}"


async def test_a_job_that_a_contract_moved_earns_for_that_contract(system: System) -> None:
    moved = Reservation(
        SITE.pair.import_msid, TRADED, Direction.DOWN, Product.BECKN, Decimal("0.2"),
        "beckn:t1", str(JOB),
    )  # fmt: skip
    await EnergyBook(system.ledger).reserve(moved, flexible_mwh=None, now=system.now)
    await deliver(system)
    await at(system, SF)

    shares = newest_shares(
        book_of([one.event for one in await system.ledger.find()]),
        account=SITE.account,
        rounding=Rounding(),
    )
    assert shares.by_contract == {"beckn:t1": shares.total_gbp}
    assert shares.total_gbp == Decimal("133.00")


async def test_every_input_is_what_the_ledger_said_before(system: System) -> None:
    await deliver(system)
    await at(system, II)

    (traced,) = trace([one.event for one in await system.ledger.find()])

    assert (traced.alone, traced.different) == ((), ())
    assert len(traced.same) == 6


async def test_a_later_run_takes_the_corrected_reading_and_the_price_of_its_time(
    system: System,
) -> None:
    await deliver(system)
    await at(system, SF)
    await system.read(200)
    system.imbalance.gbp_per_mwh = Decimal(200)

    await at(system, R1)

    assert await net_gbp(system) == {
        Run.SF: Decimal("0.8") * 140 + Decimal("0.1") * 210,
        Run.R1: Decimal("0.8") * 140,
    }


async def test_what_was_notified_is_allocated_to_the_meter_whatever_is_read_later(
    system: System,
) -> None:
    await deliver(system)
    await system.read(200)
    await at(system, SF)

    (entry,) = await system.ledger.find(EventType.SETTLEMENT_RUN, first=TRADED, last=TRADED)
    ((unit,),) = [one.units for one in settle_book(settlement_inputs(entry.event)).results]
    assert unit.deviation.mwh == Decimal("0.8")
    assert unit.pairs[0].delivered.mwh == Decimal("0.9")
    assert unit.residual.mwh == Decimal("-0.1")


async def test_it_says_what_is_missing_and_settles_when_that_is_there(system: System) -> None:
    name = "settlement of 2026-07-01 in SF"
    waiting = await at(system, SF)
    still = await at(system, SF + MINUTE)
    await system.read(100)
    system.imbalance.gbp_per_mwh = None
    unpriced = await at(system, SF + timedelta(hours=1))
    system.imbalance.gbp_per_mwh = Decimal(210)

    done = await at(system, SF + timedelta(hours=2))

    assert waiting.degraded[name] == "no reading of a settlement meter (1) of 1 half-hours"
    assert still.degraded[name] == waiting.degraded[name]
    assert unpriced.degraded[name] == "no system price (1) of 1 half-hours"
    assert (done.settled, name in done.degraded) == (("2026-07-01 SF (1)",), False)


async def test_a_day_without_a_reference_price_waits_for_one(system: System) -> None:
    await deliver(system)
    known = system.settlements()
    unknown = Dated("reference price", REFERENCE_PRICES.entries[:2])
    system.seller._settlements = system.settlements(terms=SettlementTerms(unknown))

    refused = await at(system, SF)
    system.seller._settlements = known
    settled = await at(system, SF + MINUTE)

    assert "nothing is in force on 2026-07-01" in refused.degraded["settlement of 2026-07-01 in SF"]
    assert settled.settled == ("2026-07-01 SF (1)",)


async def test_the_published_calendar_comes_first(system: System) -> None:
    await deliver(system)
    published = {(DAY, Run.II): date(2026, 7, 3)}
    system.seller._settlements = system.settlements(
        terms=SettlementTerms(REFERENCE_PRICES, published)
    )

    settled = await at(system, datetime(2026, 7, 2, 23, 5, tzinfo=UTC))  # 00:05 in London

    assert settled.settled == ("2026-07-01 II (1)",)


async def test_a_process_that_starts_again_settles_nothing_twice(system: System) -> None:
    await deliver(system)
    await at(system, SF)
    system.start()

    again = await at(system, SF + MINUTE)

    assert again.settled == ()
    assert len(await system.ledger.find(EventType.SETTLEMENT_RUN)) == 1


async def test_an_earlier_run_is_not_settled_after_a_later_one(system: System) -> None:
    await deliver(system)
    early = SettlementTerms(REFERENCE_PRICES, {(DAY, Run.SF): date(2026, 7, 3)})
    system.seller._settlements = system.settlements(terms=early)
    await at(system, II - timedelta(days=4))
    system.start()

    late = await at(system, II)

    assert (late.settled, list(await net_gbp(system))) == ((), [Run.SF])


class Killed(BaseException):
    """The process is no more: nothing of it catches this."""


class Dying(LedgerStore):
    """Dies when it settles, before or after it took effect."""

    def __init__(self, engine: AsyncEngine, *, is_after: bool) -> None:
        super().__init__(engine)
        self._is_after = is_after

    async def append_unless_changed(
        self, events: Sequence[Event], *, now: datetime, since: int, kinds: Sequence[EventType]
    ) -> list[int]:
        if self._is_after:
            await super().append_unless_changed(events, now=now, since=since, kinds=kinds)
        raise Killed


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
async def test_a_process_may_die_while_it_settles(system: System, is_after: bool) -> None:
    await deliver(system)
    system.seller._settlements = system.settlements(Dying(system.engine, is_after=is_after))
    with pytest.raises(Killed):
        await at(system, SF)

    system.start()
    await at(system, SF + MINUTE)

    (entry,) = await system.ledger.find(EventType.SETTLEMENT_RUN)
    assert settlement_inputs(entry.event).periods[0].run is Run.SF


class Overtaken(LedgerStore):
    """Somebody else settles just before."""

    async def append_unless_changed(
        self, events: Sequence[Event], *, now: datetime, since: int, kinds: Sequence[EventType]
    ) -> list[int]:
        (period,) = settlement_inputs(
            {"body": events[0].body, "event_type": EventType.SETTLEMENT_RUN}
        ).periods
        other = settlement_event(replace(period, fees_gbp=Decimal(1)))
        await self.append([other], now=now)
        return await super().append_unless_changed(events, now=now, since=since, kinds=kinds)


async def test_what_somebody_else_settled_meanwhile_stands(system: System) -> None:
    await deliver(system)
    system.seller._settlements = system.settlements(Overtaken(system.engine))

    report = await at(system, SF)
    await at(system, SF + timedelta(hours=1))

    assert "recorded meanwhile" in report.degraded["settlement of 2026-07-01 in SF"]
    assert len(await system.ledger.find(EventType.SETTLEMENT_RUN)) == 1


class Hurrying(LedgerStore):
    """Somebody else settles at another price, just before we look how long the ledger is."""

    def __init__(self, system: System, sites: TradedSites) -> None:
        super().__init__(system.engine)
        self._system, self._sites = system, sites

    async def size(self) -> int:
        self._system.imbalance.gbp_per_mwh = Decimal(200)
        await self._system.settlements().tick(SF, sites=self._sites)
        self._system.imbalance.gbp_per_mwh = Decimal(210)
        return await super().size()


async def test_how_long_the_ledger_is_is_known_before_what_is_settled_is_read(
    system: System,
) -> None:
    await deliver(system)
    sites = TradedSites(await system.book.registry(), EnergyTerms(SITE.unit, "local", "A"))
    settlements = system.settlements(Hurrying(system, sites))

    found = await settlements._settle(Look(DAY, Run.SF, None), SF, sites)

    assert found == (0, None)
    (entry,) = await system.ledger.find(EventType.SETTLEMENT_RUN)
    assert settlement_inputs(entry.event).periods[0].system_price.buy_gbp_per_mwh == 200


async def test_an_exporting_meter_is_settled_by_the_threshold_in_force(system: System) -> None:
    await deliver(system)
    await system.read(100, export_kwh=40)
    rule: CompensationPolicy = MutualisedP511()
    strict = Dated("compensation", (Effective(date(2024, 11, 7), rule, "test"),))
    open_ = replace(TERMS, compensation=strict)
    known = replace(
        open_,
        compensation=with_export_thresholds(
            [Effective(DAY, ExportMWh(Decimal("0.05")), "test")], strict
        ),
        losses=Losses([(TRADED, LossFactors(transmission=Decimal("1.1")))]),
    )
    system.seller._settlements = system.settlements(terms=open_)
    refused = await at(system, SF)
    system.seller._settlements = system.settlements(terms=known)

    settled = await at(system, SF + MINUTE)

    assert "threshold is not set" in refused.degraded["settlement of 2026-07-01 in SF"]
    assert settled.settled == ("2026-07-01 SF (1)",)
    delivered = (1 - Decimal("0.06")) * Decimal("1.1")
    assert await net_gbp(system) == {
        Run.SF: Decimal("0.8") * 140 + (delivered - Decimal("0.8")) * 210
    }


async def test_a_half_hour_that_cannot_be_settled_keeps_no_other_from_it(system: System) -> None:
    system.now = SIX + timedelta(minutes=30)
    for _ in range(3):
        await system.tick()
    system.now = NEXT_DAY
    await system.read(100, export_kwh=40)
    await system.read(100, TRADED + 1)
    rule: CompensationPolicy = MutualisedP511()
    strict = Dated("compensation", (Effective(date(2024, 11, 7), rule, "test"),))
    system.seller._settlements = system.settlements(terms=replace(TERMS, compensation=strict))

    report = await at(system, SF)

    assert report.settled == ("2026-07-01 SF (1)",)
    assert report.degraded["settlement of 2026-07-01 in SF"].endswith(
        "the P511 threshold is not set (1) of 2 half-hours"
    )
    (entry,) = await system.ledger.find(EventType.SETTLEMENT_RUN)
    assert HalfHour.parse(entry.event["valid_time"]) == TRADED + 1


async def test_a_rejected_notice_is_settled_as_not_sold(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    system = System(engine, tmp_path, {ArtefactKind.ECVN: [Mishap.REJECT]})
    await system.sell()
    await deliver(system)

    await at(system, SF)

    assert await net_gbp(system) == {Run.SF: Decimal("0.9") * 210}
