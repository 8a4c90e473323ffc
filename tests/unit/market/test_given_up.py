"""Runs that were given up, and orders to settle one late, as entries say them."""

import json
from datetime import UTC, date, datetime

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.registry import UnitId
from gridflex.market.settlement.given_up import (
    GivenUp,
    LateOrder,
    given_up_event,
    given_up_of,
    late_order_event,
    late_orders_of,
)
from gridflex.market.settlement.runs import Run

NOW = datetime(2026, 9, 20, 9, tzinfo=UTC)
UNIT, DAY = UnitId("V__CGRID001"), date(2026, 7, 1)


def test_only_entries_of_its_type_say_that_a_run_was_given_up_or_ordered_late() -> None:
    given_up = GivenUp(UNIT, DAY, Run.SF, (HalfHour.parse("2026-07-01T07:30Z"),), "no reading")
    order = LateOrder(UNIT, DAY, Run.RF, "meter found")
    events = given_up_event(given_up), late_order_event(order)
    entries = [json.loads(one.entry(recorded_at=NOW)) for one in events]
    others = [{**one, "event_type": EventType.METER_RECEIVED} for one in entries]

    found = given_up_of([*entries, *others]), late_orders_of([*entries, *others])

    assert found == ([given_up], [order])
