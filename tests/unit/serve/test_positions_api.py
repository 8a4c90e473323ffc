"""Positions, alarms and claims over ASGI, from a ledger in memory; worked by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gridflex.adapters.market.given_up_log import GivenUpLog
from gridflex.agents.energy.given_up import GivenUpRuns
from gridflex.errors import ContractError
from gridflex.ledger.event import EventType
from gridflex.market.baselines.commitments import Committed, commitment_event
from gridflex.market.messages.artefacts import (
    ActivityNotice,
    ArtefactKind,
    ContractNotice,
    DeliveredVolumes,
    ExpectedVolumes,
    PairDelivery,
)
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import (
    SecondaryBmUnit,
    UnitId,
)
from gridflex.market.registry_records import reading_event, registry_event
from gridflex.market.settlement.given_up import GivenUp, LateOrder, late_order_event
from gridflex.market.settlement.records import settlement_event
from gridflex.market.settlement.runs import Run
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import trade_event
from gridflex.market.trading.restoring import opened_by
from gridflex.market.volumes import ExportMWh, ImportMWh
from gridflex.sandbox.market import Mishap
from gridflex.serve.positions_api import create_positions_router
from tests.unit.market.central import Centre
from tests.unit.market.days import CALENDAR
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS, SINCE, SITE
from tests.unit.market.test_desk import CHANNELS, EARLY, NEXT_DAY, PAIR, SIX, UNIT, agents
from tests.unit.market.test_settlement import EXAMPLE

DAY = {"first": "2026-07-01", "last": "2026-07-01"}


class Served:
    """The paths over a ledger that somebody else writes to."""

    def __init__(self, mishaps: Mapping[ArtefactKind, list[Mishap | None]] | None = None) -> None:
        self.at = EARLY
        self.ledger = MemoryLedger()
        self.centre = Centre(agents(mishaps or {}), now=EARLY)
        desk = TradingDesk([], channels=CHANNELS, keys={"A1": "SECRET"}, calendar=CALENDAR)
        self.trading = Messenger(desk, ledger=self.ledger, mailbox=self.centre)
        app = FastAPI()
        app.include_router(create_positions_router(self.ledger, self))
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://x")

    def now(self) -> datetime:
        return self.at

    async def get(self, path: str, **params: str) -> Any:  # noqa: ANN401 - JSON
        answer = await self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def open(self) -> None:
        """Register the unit and commit 10 MWh without flexibility, 7 with it."""
        await self.ledger.append([registry_event(one) for one in RECORDS], now=EARLY)
        committed = Committed(
            ImportMWh(Decimal("10.0000")), ImportMWh(Decimal("7.0000")), Decimal(1)
        )
        await self.ledger.append([commitment_event(committed, UNIT, SIX)], now=EARLY)
        self.trading.desk.open(opened_by(committed, UNIT, SIX))

    async def sell(self) -> None:
        await self.open()
        expected = ExpectedVolumes({UNIT: {SIX: ExportMWh(Decimal(-10))}})
        await self.trading.submit(expected, now=EARLY)
        await self.trading.submit(ActivityNotice(SIX, {UNIT: True}), now=EARLY)
        notice = ContractNotice("REF1", "A1", {SIX: Decimal("3.000")})
        await self.trading.submit(notice, now=EARLY)
        await self.trading.collect(now=EARLY)

    async def read(self, kwh: str, evidence: Evidence = Evidence.SETTLEMENT) -> None:
        reading = Reading(
            meter=PAIR.import_msid,
            half_hour=SIX,
            import_kwh=Decimal(kwh),
            export_kwh=Decimal(0),
            evidence=evidence,
            is_substituted=False,
            received_at=NEXT_DAY,
        )
        await self.ledger.append([reading_event(reading)], now=NEXT_DAY)
        self.at = self.centre.now = NEXT_DAY


async def test_a_position_shows_its_messages_and_their_answers() -> None:
    served = Served()
    await served.sell()

    (shown,) = await served.get("/positions", **DAY)

    assert (shown["unit"], shown["start"], shown["stage"]) == (UNIT, str(SIX), "ecvn-acked")
    assert (shown["expected_mwh"], shown["sold_mwh"], shown["counts"]) == ("3.0000", "3.000", True)
    statuses = {kind: one["status"] for kind, one in shown["messages"].items()}
    assert statuses == {"wman": "received", "sev": "accepted", "ecvn": "accepted", "dvn": "none"}
    assert shown["messages"]["sev"]["mwh"] == "-10"
    assert shown["gate_closes"] == "2026-07-01T16:00:00Z"
    assert shown["messages"]["dvn"]["due"] == "2026-07-02T23:00:00Z"  # midnight in London
    other = SecondaryBmUnit(UnitId("V__CGRID002"), "GRIDFLEX", SINCE)
    await served.ledger.append([registry_event(other)], now=EARLY)
    assert await served.get("/positions", **DAY, unit=other.id) == []
    assert await served.get("/positions", first="2026-07-02", last="2026-07-02") == []


async def test_what_is_recorded_between_two_looks_is_followed() -> None:
    served = Served()
    await served.open()
    (before,) = await served.get("/positions", **DAY)

    await served.trading.submit(ActivityNotice(SIX, {UNIT: True}), now=EARLY)

    (after,) = await served.get("/positions", **DAY)
    assert (before["stage"], after["stage"]) == ("planned", "wman-sent")


async def test_an_alarm_comes_before_the_gate_closes_although_nobody_trades_any_more() -> None:
    served = Served()
    await served.open()

    calm = await served.get("/alarms")
    served.at = datetime(2026, 7, 1, 15, 30, tzinfo=UTC)
    pressing = await served.get("/alarms")
    served.at = datetime(2026, 7, 1, 15, 50, tzinfo=UTC)
    critical = await served.get("/alarms")

    assert calm == []
    assert [(one["message"], one["urgency"], one["left_s"]) for one in pressing] == [
        ("wman", "warning", 1800.0),
        ("sev", "warning", 1800.0),
    ]
    assert {one["urgency"] for one in critical} == {"critical"}


async def test_a_sale_without_its_contract_notice_is_an_alarm() -> None:
    served = Served()
    await served.open()
    served.at = datetime(2026, 7, 1, 15, 30, tzinfo=UTC)
    sold = Trade("EX1", "BUYER", SIX, 1, Decimal(6), Decimal(140), reference=f"{UNIT}:{SIX}")

    before = {one["message"] for one in await served.get("/alarms")}
    await served.ledger.append([trade_event(sold)], now=EARLY)

    assert {one["message"] for one in await served.get("/alarms")} - before == {"ecvn"}


async def test_a_rejection_is_an_alarm_at_once() -> None:
    served = Served({ArtefactKind.ECVN: [Mishap.REJECT]})
    await served.sell()

    (alarm,) = await served.get("/alarms")

    assert (alarm["message"], alarm["urgency"]) == ("ecvn", "calm")
    assert alarm["problem"] == "rejected: rejected by simulation"
    assert "paid at system price" in alarm["consequence"]


async def test_a_claim_rests_on_the_settlement_meter() -> None:
    served = Served()
    await served.sell()
    await served.read("7200")

    (claim,) = await served.get("/deliveries", day="2026-07-01")

    assert claim["expected_import_mwh"] == "10.0000"
    assert claim["delivered_mwh"] == {PAIR.import_msid: "2.8000"}
    assert (claim["why_not"], claim["notified_mwh"], claim["status"]) == ([], None, "none")
    (position,) = await served.get("/positions", **DAY)
    assert position["stage"] == "metered"


async def test_an_estimate_backs_no_claim_and_says_so() -> None:
    served = Served()
    await served.sell()
    await served.read("7200", Evidence.ESTIMATED)

    (claim,) = await served.get("/deliveries", day="2026-07-01")

    assert (claim["delivered_mwh"], claim["unclaimed_mwh"]) == ({}, "2.8000")
    assert claim["why_not"] == [f"meter {PAIR.import_msid}: reading is estimated"]


async def test_a_notified_delivery_is_followed_to_its_settlement() -> None:
    served = Served()
    await served.sell()
    await served.read("7200")
    volumes = {SIX: ExportMWh(Decimal("2.8"))}
    await served.trading.submit(
        DeliveredVolumes((PairDelivery("C", UNIT, PAIR, volumes),)), now=NEXT_DAY
    )
    await served.trading.collect(now=NEXT_DAY)

    (claim,) = await served.get("/deliveries", day="2026-07-01")
    (notified,) = await served.get("/positions", **DAY)
    for run in (Run.SF, Run.II):
        await served.ledger.append([settlement_event(replace(EXAMPLE, run=run))], now=NEXT_DAY)
    (settled,) = await served.get("/positions", **DAY)

    assert (claim["notified_mwh"], claim["status"]) == ("2.8", "accepted")
    assert notified["stage"] == "dvn-sent"
    assert (EXAMPLE.half_hour, EXAMPLE.units[0].unit, settled["stage"]) == (SIX, UNIT, "SF")


@pytest.mark.parametrize("records", [(), (SITE,)], ids=["nothing", "a site alone"])
async def test_a_unit_that_is_not_registered_has_no_claim(records: tuple[Any, ...]) -> None:
    served = Served()
    await served.sell()
    served.ledger.logged = served.ledger.logged[len(RECORDS) :]
    await served.ledger.append([registry_event(one) for one in records], now=EARLY)

    (claim,) = await served.get("/deliveries", day="2026-07-01")

    assert claim["delivered_mwh"] == {}
    assert claim["why_not"] == ["not one submitted pair in the registry"]


async def test_a_run_that_was_given_up_is_listed_until_it_is_settled() -> None:
    served = Served()
    await served.open()
    log = GivenUpLog(served.ledger)
    one = GivenUp(UNIT, SIX.settlement[0], Run.SF, (SIX,), "no system price (1) of 1 half-hours")
    await log.give_up(one, now=EARLY)

    (told,) = await served.get("/given-up")
    ours = replace(EXAMPLE, half_hour=SIX)
    others = tuple(replace(unit, unit=UnitId("V__CGRID009")) for unit in EXAMPLE.units)
    for other in (replace(ours, run=Run.II), replace(ours, account="OTHER", units=others)):
        await served.ledger.append([settlement_event(other)], now=EARLY)
    still = await served.get("/given-up")
    await served.ledger.append([settlement_event(ours)], now=EARLY)

    assert told == {
        "unit": UNIT,
        "day": "2026-07-01",
        "run": "SF",
        "missing": "no system price (1) of 1 half-hours",
        "half_hours": ["2026-07-01T17:00Z"],
    }
    assert (ours.run, still, await served.get("/given-up")) == (Run.SF, [told], [])


async def test_an_order_to_settle_late_is_recorded_as_an_override() -> None:
    served = Served()
    await served.open()
    one = GivenUp(UNIT, SIX.settlement[0], Run.RF, (SIX,), "no settlement reading")
    await GivenUpLog(served.ledger).give_up(one, now=EARLY)
    order = {"unit": UNIT, "day": "2026-07-01", "run": "RF", "reason": "meter found"}

    answer = await served.http.post("/late", json=order)

    (kept,) = await GivenUpLog(served.ledger).orders(UNIT)
    assert (kept.day.isoformat(), kept.run, kept.reason) == ("2026-07-01", Run.RF, "meter found")
    (entry,) = await served.ledger.find(EventType.OVERRIDE_MADE)
    assert answer.json() == {"index": entry.index}


@pytest.mark.parametrize(
    ("day", "run"), [("2026-07-01", Run.RF), ("2030-01-01", Run.SF)], ids=["run", "day"]
)
async def test_only_a_run_that_was_given_up_is_settled_late(day: str, run: Run) -> None:
    served = Served()
    await served.open()
    log = GivenUpLog(served.ledger)
    order = LateOrder(UNIT, date.fromisoformat(day), run, "why not")
    with pytest.raises(ContractError, match=r"valid is nothing now$"):
        await log.order(order, now=EARLY)
    await log.give_up(GivenUp(UNIT, SIX.settlement[0], Run.SF, (SIX,), "no price"), now=EARLY)

    with pytest.raises(ContractError, match=rf"{day} {run} .* valid is 2026-07-01 SF$"):
        await served.http.post(
            "/late", json={"unit": UNIT, "day": day, "run": run.value, "reason": "why not"}
        )

    assert await log.orders(UNIT) == []


async def test_an_order_of_a_run_that_was_not_given_up_is_passed_over() -> None:
    ledger = MemoryLedger()
    runs = GivenUpLog(ledger)
    day = SIX.settlement[0]
    orders = [late_order_event(LateOrder(UNIT, day, run, "why")) for run in (Run.SF, Run.RF)]
    await ledger.append(orders, now=EARLY)
    await runs.give_up(GivenUp(UNIT, day, Run.SF, (SIX,), "no system price"), now=EARLY)

    ordered = await GivenUpRuns(runs, calendar=CALENDAR, published={}).ordered(UNIT)

    assert ordered == {(day, Run.SF)}
