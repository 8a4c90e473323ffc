"""A seller of energy that starts again: it goes on, and reads nothing that is long over."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.ledger.store import LedgerStore, Logged
from gridflex.adapters.market.position_book import PositionBook
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.trading.position import Status
from tests.e2e.database.energy_system import ECVN, LATER, System
from tests.e2e.database.test_trader import SIX, TRADED
from tests.unit.market.days import CALENDAR


@pytest.fixture
def system(engine: AsyncEngine, tmp_path: Path) -> System:
    return System(engine, tmp_path)


async def test_a_seller_that_starts_again_goes_on_where_the_other_stopped(system: System) -> None:
    await system.register()
    await system.plan()
    await system.tick()
    system.start()

    await system.tick()
    await system.tick()

    assert (await system.statuses())[ECVN] is Status.ACCEPTED
    orders = list((system.root / "orders").iterdir())
    assert len(orders) == 1


class Counting(LedgerStore):
    """Remembers which half-hours it was read about, but for what was committed in them."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.read: set[str] = set()

    async def find(self, *event_types: EventType, **options: Any) -> list[Logged]:  # noqa: ANN401
        found = await super().find(*event_types, **options)
        self.read |= {
            one.event["valid_time"]
            for one in found
            if one.event["valid_time"] and one.event["event_type"] != EventType.BASELINE_COMPUTED
        }
        return found


async def test_a_seller_that_starts_again_reads_nothing_that_is_long_over(system: System) -> None:
    await system.sell()
    system.now = between = SIX + timedelta(days=20)
    await system.plan("train-8", at=between)
    for _ in range(3):
        await system.tick()
    system.now = LATER
    await system.plan("train-9", at=LATER)
    system.ledger = ledger = Counting(system.engine)
    system.start()

    for _ in range(3):
        report = await system.tick()

    assert list(report.degraded) == [  # nobody read the meter
        "settlement of 2026-07-01 in SF",
        "settlement of 2026-07-21 in II",
    ]
    traded = HalfHour(LATER) + 3
    followed = {HalfHour(between) + 3, traded}
    assert {HalfHour.parse(one) for one in ledger.read} == {TRADED, *followed}
    ledger.read.clear()
    system.start()
    await system.tick()
    assert {HalfHour.parse(one) for one in ledger.read} == followed  # what was given up is kept
    (one,) = await system.book.positions(first=traded, last=traded)
    assert one.position.track(ECVN).status is Status.ACCEPTED
    assert sorted(path.name for path in (system.root / "taken").iterdir()) == [
        f"{role}00000000000{number}" for role in ("EN", "VP", "VT") for number in (1, 2, 3)
    ]
    (old,) = await system.book.positions(first=TRADED, last=TRADED)
    assert old.position.track(ECVN).status is Status.ACCEPTED


async def test_positions_of_the_past_are_those_that_were_followed(system: System) -> None:
    await system.sell()
    await system.read(100)
    (followed,) = await system.book.positions(first=TRADED, last=TRADED)
    system.now = LATER
    await system.plan("train-8", at=LATER)
    await system.tick()

    again = PositionBook(system.ledger, calendar=CALENDAR)
    await again.positions(first=HalfHour(LATER), last=HalfHour(LATER) + 3)

    assert await again.positions(first=TRADED, last=TRADED) == [followed]
