"""Selling energy through a folder, from the registry to the notified delivery, on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.market.baseline_facts import BaselineFacts
from gridflex.adapters.market.energy_book import EnergyBook
from gridflex.agents.energy import seller as energy
from gridflex.agents.energy.admission import Admissions
from gridflex.agents.energy.seller import EnergySeller
from gridflex.agents.energy.traded_sites import EnergyTerms
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.lifecycle import JobRequest
from gridflex.market.messages.artefacts import ExpectedVolumes
from gridflex.market.messages.drafts import read_draft
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import SecondaryBmUnit
from gridflex.market.registry_records import reading_event, registry_event
from gridflex.market.settlement.losses import Losses, LossFactors
from gridflex.market.trading.position import Stage, Status
from gridflex.market.volumes import ExportMWh
from gridflex.sandbox.market import Mishap
from tests.e2e.database.energy_system import CLOSED, DVN, ECVN, MINUTE, NEXT_DAY, SEV, WMAN, System
from tests.e2e.database.test_trader import BIG, JOB, SITE, SIX, TRADED
from tests.unit.market.days import CALENDAR
from tests.unit.market.registered import RECORDS


@pytest.fixture
def system(engine: AsyncEngine, tmp_path: Path) -> System:
    return System(engine, tmp_path)


async def test_a_unit_that_is_not_registered_is_not_traded(system: System) -> None:
    await system.plan()

    nowhere = await system.tick()
    unit = [one for one in RECORDS if isinstance(one, SecondaryBmUnit)]
    await system.ledger.append([registry_event(one) for one in unit], now=SIX)
    without_pairs = await system.tick()

    assert "is not registered" in nowhere.degraded["registry"]
    assert "has 0 pairs with a submitted baseline" in without_pairs.degraded["registry"]
    assert list((system.root / "outbox").iterdir()) == []


async def test_a_half_hour_is_sold_through_the_folder_and_its_delivery_notified(
    system: System,
) -> None:
    await system.register()
    await system.plan()

    offered = await system.tick()
    sold = await system.tick()
    notified = await system.tick()

    assert (offered.sold, offered.pending) == ((), (str(TRADED),))
    assert (sold.sold, sold.pending) == ((str(TRADED), "0.800"), ())
    assert await system.statuses() == {
        WMAN: Status.RECEIVED,
        SEV: Status.ACCEPTED,
        ECVN: Status.ACCEPTED,
        DVN: Status.NONE,
    }
    assert notified.degraded == {}
    await system.read(100)
    system.now = CLOSED
    for _ in range(3):
        assert (await system.tick()).notified == ()  # the day is not over
    system.now = NEXT_DAY
    assert (await system.tick()).notified == ()  # the next half-hour has no reading yet
    await system.read(100, TRADED + 1)

    assert (await system.tick()).notified == ("2026-07-01",)
    assert (await system.tick()).notified == ()
    assert await system.stage() is Stage.DVN_SENT
    assert (await system.statuses())[DVN] is Status.ACCEPTED


async def test_nothing_changes_after_gate_closure(system: System) -> None:
    await system.register()
    await system.plan()
    await system.tick()
    await system.tick(market=False)
    sent = {path.name for path in (system.root / "outbox").iterdir()}
    system.now = CLOSED + MINUTE

    late = await system.tick(market=False)  # the next half-hour's messages alone

    about = [
        one.event
        for one in await system.ledger.find(
            *(EventType.SEV_SUBMITTED, EventType.WMAN_SUBMITTED, EventType.ECVN_SUBMITTED),
            first=TRADED,
            last=TRADED,
        )
    ]
    assert [one["event_type"] for one in about] == ["sev.submitted", "wman.submitted"]
    assert {path.name for path in (system.root / "outbox").iterdir()} >= sent
    assert f"ecvn {TRADED}" not in late.degraded  # nothing was sold


async def test_an_order_that_nobody_answered_gives_its_energy_back(system: System) -> None:
    await system.register()
    await system.plan()
    await system.tick(market=False)
    system.now = CLOSED + 6 * MINUTE

    await system.tick(market=False)

    held = await EnergyBook(system.ledger).held(SITE.pair.import_msid, TRADED)
    assert held.held == ()
    assert held.released is not None


async def test_a_sale_that_was_answered_at_the_last_moment_is_kept_though_not_notified(
    system: System,
) -> None:
    await system.register()
    await system.plan()
    await system.tick(market=False)
    system.market.round(CLOSED - MINUTE)
    system.now = CLOSED
    system.start()  # and the process that placed it is gone

    report = await system.tick()

    trades = await system.ledger.find(EventType.CONTRACT_MESSAGE)
    assert [HalfHour.parse(one.event["valid_time"]) for one in trades] == [TRADED]
    assert f"ecvn {TRADED}" in report.degraded


async def test_a_rejected_notice_is_told_and_a_lost_file_sent_again(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    system = System(engine, tmp_path, {ECVN: [Mishap.REJECT], WMAN: [Mishap.LOSE]})
    await system.register()
    await system.plan()
    for _ in range(3):
        report = await system.tick()

    assert "rejected by simulation" in report.degraded[f"ecvn {TRADED}"]
    assert (await system.statuses())[WMAN] is Status.SENT
    await system.tick(6 * MINUTE)
    await system.tick()
    assert (await system.statuses())[WMAN] is Status.RECEIVED


async def test_without_a_price_nothing_is_sold_and_it_is_said(system: System) -> None:
    await system.register()
    await system.plan()
    system.is_priced = False

    report = await system.tick()

    assert report.degraded == {"prices": "no price is known"}
    assert list((system.root / "outbox").iterdir()) == []


async def test_nothing_is_sold_on_a_baseline_that_is_not_known_to_predict_until_somebody_says_so(
    system: System,
) -> None:
    await system.register(is_allowed=False)
    await system.plan()
    held_back = await system.tick()
    (commitment,) = await system.ledger.find(EventType.BASELINE_COMPUTED)
    await system.allow()
    system.now += timedelta(minutes=30)

    sold = [await system.tick() for _ in range(3)]

    assert "0 days to judge by, 10 needed" in held_back.degraded["nothing is sold"]
    assert commitment.event["body"]["is_traded"] is False
    assert commitment.event["body"]["held_back"] == held_back.degraded["nothing is sold"]
    assert [one.sold for one in sold] == [(), (str(TRADED + 1), "0.800"), ()]
    assert sold[-1].degraded == {}
    assert "sold all the same until 2027-01-01: first start" in str(sold[-1].predictability)


async def test_volumes_are_submitted_at_the_grid_supply_point(system: System) -> None:
    system.losses = Losses([(TRADED, LossFactors(line=Decimal("1.05")))])
    system.start()
    await system.sell()

    (sent,) = await system.ledger.find(EventType.SEV_SUBMITTED)
    artefact, _ = read_draft(sent.event["body"])
    assert isinstance(artefact, ExpectedVolumes)
    assert artefact.volumes[SITE.unit][TRADED] == ExportMWh(Decimal("-1.05"))
    (one,) = await system.book.positions(first=TRADED, last=TRADED)
    assert (one.expected.mwh, one.submitted.mwh) == (Decimal(1), Decimal("-1.05"))


async def test_where_losses_are_not_known_a_baseline_is_committed_and_nothing_sold(
    system: System,
) -> None:
    system.losses = Losses([(TRADED + 1, LossFactors(line=Decimal("1.05")))])
    system.start()
    await system.register()
    await system.plan()

    report = await system.tick()

    assert "losses: nothing is in force" in report.degraded["nothing is sold"]
    (commitment,) = await system.ledger.find(EventType.BASELINE_COMPUTED)
    assert commitment.event["body"]["is_traded"] is False
    assert "losses" in commitment.event["body"]["held_back"]
    assert list((system.root / "outbox").iterdir()) == []


async def test_jobs_of_another_site_are_not_sold(system: System) -> None:
    await system.register()
    elsewhere = replace(BIG, sites=("leeds",))
    await system.jobs.add(JOB, JobRequest("x"), elsewhere, submitted_at=SIX)
    terms = EnergyTerms(SITE.unit, "york", "AUTH000001")
    system.seller = EnergySeller(
        terms,
        book=system.book,
        quotes=system,
        make_trader=system._trader,
        settlements=system.settlements(),
        admissions=Admissions(BaselineFacts(system.ledger)),
        calendar=CALENDAR,
    )

    await system.tick()

    (commitment,) = await system.ledger.find(EventType.BASELINE_COMPUTED)
    assert commitment.event["body"]["expected_import_mwh"] == "0.0000"


async def test_an_estimate_is_not_notified_as_a_delivery(system: System) -> None:
    await system.register()
    await system.plan()
    for _ in range(3):
        await system.tick()
    estimate = Reading(
        meter=SITE.pair.import_msid,
        half_hour=TRADED,
        import_kwh=Decimal(100),
        export_kwh=Decimal(0),
        evidence=Evidence.ESTIMATED,
        is_substituted=False,
        received_at=system.now,
    )
    await system.ledger.append([reading_event(estimate)], now=system.now)
    system.now = NEXT_DAY

    assert (await system.tick()).notified == ()
    assert (await system.statuses())[DVN] is Status.NONE


async def test_a_seller_that_delivers_less_than_planned_sells_less(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 140 against system prices of 100 and 210, a wary seller sells the 73 % quantile."""
    monkeypatch.setattr(energy, "FEWEST_DELIVERIES", 1)
    await system.sell()
    await system.read(700)  # 0.3 MWh of 1 delivered
    system.start()
    system.now = CLOSED

    offered = await system.tick()
    await system.tick()
    sold = await system.tick()

    assert offered.offered is not None
    assert offered.offered.startswith(f"{TRADED + 1}: 0.200 MWh, limited by share of the expected")
    assert "GBP expected" in offered.offered
    assert sold.degraded == {}
    trades = await system.ledger.find(EventType.CONTRACT_MESSAGE, first=TRADED + 1)
    assert [one.event["body"]["mw"] for one in trades] == ["0.40"]


async def test_a_few_deliveries_say_nothing_about_the_next(system: System) -> None:
    await system.sell()
    await system.read(700)
    system.start()
    system.now = CLOSED

    report = await system.tick()

    assert report.offered is not None
    assert report.offered.startswith(f"{TRADED + 1}: 0.800 MWh")
