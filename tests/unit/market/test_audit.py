"""Settlements against the entries they rest on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gridflex.ledger.event import Event
from gridflex.ledger.verify.entries import parse_entry
from gridflex.market.audit import Traced, trace
from gridflex.market.messages.artefacts import (
    ArtefactKind,
    ContractNotice,
    ExpectedVolumes,
    channels_of,
)
from gridflex.market.messages.feedback import Feedback
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import BaselineIndicator
from gridflex.market.registry_records import reading_event
from gridflex.market.settlement.account import AccountPeriod
from gridflex.market.settlement.records import settlement_event
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.position import Position
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import answer_event, artefact_event, trade_event
from gridflex.market.volumes import ExportMWh
from tests.unit.market.days import CALENDAR
from tests.unit.market.test_settlement import EXAMPLE

AT = EXAMPLE.half_hour
EARLY = AT.start - timedelta(hours=4)
(UNIT,) = EXAMPLE.units
(PAIR,) = UNIT.pairs
(SOLD,) = EXAMPLE.sold
TRADE = Trade(SOLD.trade, "BUYER", AT, 1, SOLD.mwh * 2, SOLD.price_gbp_per_mwh)
READING = Reading(
    PAIR.meter, AT, Decimal(7200), Decimal(0), Evidence.SETTLEMENT, is_substituted=False,
    received_at=AT.end,
)  # fmt: skip


def desk() -> TradingDesk:
    position = Position(UNIT.unit, AT, BaselineIndicator.SUBMITTED, Decimal("3.2"), Decimal(1))
    return TradingDesk([position], channels=channels_of("GRIDFLEX"), keys={}, calendar=CALENDAR)


def sources(*, expected: str = "-10", kwh: str = "7200", is_accepted: bool = True) -> list[Event]:
    volumes = ExpectedVolumes({UNIT.unit: {AT: ExportMWh(Decimal(expected))}})
    notice = ContractNotice(TRADE.id[:10], "A1", {AT: SOLD.mwh})
    answer = Feedback(ArtefactKind.ECVN, is_accepted=is_accepted, reference=TRADE.id[:10])
    return [
        artefact_event(desk().draft(volumes, now=EARLY)),
        trade_event(TRADE),
        artefact_event(desk().draft(notice, now=EARLY)),
        answer_event(answer, file_sha256="ab" * 32),
        reading_event(replace(READING, import_kwh=Decimal(kwh))),
    ]


def traced(events: list[Event], period: AccountPeriod = EXAMPLE) -> Traced:
    logged: list[dict[str, Any]] = [
        parse_entry(one.entry(recorded_at=EARLY)) for one in [*events, settlement_event(period)]
    ]
    (found,) = trace(logged)
    return found


def test_every_input_is_followed_to_its_entry() -> None:
    found = traced(sources())

    assert (len(found.same), found.alone, found.different) == (6, (), ())


def test_a_settlement_without_sources_stands_alone() -> None:
    found = traced([])

    assert (found.same, len(found.alone), found.different) == ((), 6, ())


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        pytest.param(
            sources(expected="-9.5"), f"expected volume of {UNIT.unit} is", id="another expectation"
        ),
        pytest.param(sources(kwh="7300"), f"reading of {PAIR.meter} is 7.2", id="another reading"),
        pytest.param(
            sources(is_accepted=False), f"notice of trade {SOLD.trade} is True", id="not accepted"
        ),
    ],
)
def test_an_input_that_the_ledger_does_not_say_is_named(events: list[Event], problem: str) -> None:
    found = traced(events)

    (different,) = found.different
    assert different.startswith(problem)


def test_a_sale_at_another_price_is_named() -> None:
    dearer = replace(EXAMPLE, sold=(replace(SOLD, price_gbp_per_mwh=Decimal(150)),))

    assert traced(sources(), dearer).different == (
        f"price of trade {SOLD.trade} is 150, the ledger says {SOLD.price_gbp_per_mwh}",
    )


def test_of_two_readings_the_later_one_counts() -> None:
    corrected = reading_event(replace(READING, received_at=READING.received_at + timedelta(days=1)))

    assert traced([*sources(kwh="7300"), corrected]).different == ()
