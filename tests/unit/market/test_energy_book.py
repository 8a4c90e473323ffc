"""Energy that is reserved, given back and reserved again, as the ledger keeps it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from gridflex.adapters.market.energy_book import EnergyBook, Refused
from gridflex.market.trading.exclusivity import Direction, Product, Reservation
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.test_desk import EARLY, PAIR, SIX

MOST = Decimal("1.0")
WANTED = Reservation(PAIR.import_msid, SIX, Direction.DOWN, Product.P415, Decimal("0.8"), "C1")


@pytest.fixture
def energy() -> EnergyBook:
    return EnergyBook(MemoryLedger())


async def test_what_was_given_back_can_be_reserved_again_in_the_same_words(
    energy: EnergyBook,
) -> None:
    for place in (0, 2, 4):
        held = await energy.reserve(WANTED, flexible_mwh=MOST, now=EARLY)
        assert not isinstance(held, Refused)
        assert held.index == place
        assert await energy.reserve(WANTED, flexible_mwh=MOST, now=EARLY) == held
        await energy.release(held, reason="not taken", now=EARLY)


async def test_what_was_refused_may_ask_again_once_somebody_gave_energy_back(
    energy: EnergyBook,
) -> None:
    first = await energy.reserve(WANTED, flexible_mwh=MOST, now=EARLY)
    assert not isinstance(first, Refused)
    other = replace(WANTED, contract="C2")
    assert await energy.reserve(other, flexible_mwh=MOST, now=EARLY) == Refused(
        1, f"meter {WANTED.meter} {SIX}: 0.8 MWh for p415, 0.2 of 1.0 MWh are free"
    )
    await energy.release(first, reason="not taken", now=EARLY)

    held = await energy.reserve(other, flexible_mwh=MOST, now=EARLY)

    assert not isinstance(held, Refused)
    assert held.reservation == other
