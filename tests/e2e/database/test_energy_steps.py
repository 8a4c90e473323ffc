"""What goes wrong in one step of selling energy keeps no other from being done, on PostgreSQL."""

import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.agents.energy.sale import Prices
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.settlement.losses import LossFactors
from gridflex.market.trading.position import Status
from tests.e2e.database.energy_system import CLOSED, MINUTE, NEXT_DAY, Imbalance, System
from tests.e2e.world import ONE_SERVER

SF = datetime(2026, 7, 23, 0, 5, tzinfo=UTC)
"""16 working days after 1 July 2026, a minute past one in London."""

SETTLED = "settlement of 2026-07-01 in SF"

pytestmark = ONE_SERVER


@pytest.fixture
async def system(engine: AsyncEngine, tmp_path: Path) -> System:
    made = System(engine, tmp_path)
    await made.sell()
    return made


def take_away(folder: Path) -> Path:
    """Put a file where a folder was, and return where the folder is now."""
    away = folder.with_name("away")
    folder.rename(away)
    folder.write_text("not a folder")
    return away


def bring_back(folder: Path) -> None:
    folder.unlink()
    folder.with_name("away").rename(folder)


async def test_what_was_sold_is_settled_while_the_folder_is_away(system: System) -> None:
    system.now = NEXT_DAY
    await system.read(100)
    system.now = SF
    take_away(system.root / "inbox")

    report = await system.tick(market=False)
    bring_back(system.root / "inbox")
    mended = await system.tick(market=False)

    assert report.settled == ("2026-07-01 SF (1)",)
    assert "inbox: cannot be read" in report.degraded["selling"]
    assert "selling" not in mended.degraded


async def test_a_new_process_settles_while_the_folder_is_away(system: System) -> None:
    system.now = NEXT_DAY
    await system.read(100)
    system.now = SF
    take_away(system.root / "inbox")
    system.start()

    report = await system.tick(market=False)

    assert report.settled == ("2026-07-01 SF (1)",)
    assert "inbox: cannot be made: File exists" in report.degraded["trading"]


class Away:
    """Prices that cannot be read."""

    async def of(self, half_hour: HalfHour, *, now: datetime) -> Prices:  # noqa: ARG002
        raise SourceError("the prices are away")


async def test_answers_are_taken_and_deliveries_notified_while_prices_are_away(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    system = System(engine, tmp_path)
    await system.register()
    await system.plan()
    await system.tick()
    await system.tick()
    system.seller._quotes = Away()
    answered = await system.tick()
    statuses = await system.statuses()
    system.now = NEXT_DAY
    await system.read(100)

    notified = await system.tick()

    assert answered.degraded == {"prices": "the prices are away"}
    assert statuses[ArtefactKind.ECVN] is Status.ACCEPTED
    assert notified.notified == ("2026-07-01",)


class Broken(Imbalance):
    """Imbalance prices behind a bug, of some days."""

    def __init__(self) -> None:
        super().__init__()
        self.days = {date(2026, 7, 1)}

    async def of(self, day: date, *, now: datetime) -> dict[HalfHour, Decimal]:
        if day in self.days:
            raise ZeroDivisionError("nobody thought of it")
        return await super().of(day, now=now)


async def test_a_day_that_cannot_be_settled_keeps_nothing_else_from_being_done(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    system.now = NEXT_DAY
    await system.read(100)
    system.imbalance = broken = Broken()
    system.start()
    await system.plan("train-8", at=SF - 5 * MINUTE)
    system.now = SF

    report = await system.tick()
    broken.days.clear()
    again = await system.tick()

    assert report.degraded[SETTLED] == "ZeroDivisionError: nobody thought of it"
    assert report.pending == (str(HalfHour(SF - 5 * MINUTE) + 3),)
    assert "Traceback" in caplog.text
    assert again.settled == ("2026-07-01 SF (1)",)  # in the same half-hour
    assert SETTLED not in again.degraded


class Counted:
    """Losses that count how often, and where, they are read."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def read(self) -> None:
        self.threads.append(threading.current_thread())

    def at(self, half_hour: HalfHour) -> LossFactors:  # noqa: ARG002
        return LossFactors()


async def test_losses_are_read_once_in_a_tick_and_not_on_its_loop(system: System) -> None:
    system.seller._losses = losses = Counted()
    system.now = CLOSED

    await system.tick()
    await system.tick()

    assert len(losses.threads) == 2
    assert threading.current_thread() not in losses.threads
