"""Orders and their answers as files."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gridflex.adapters.market.exchange import FolderExchange
from gridflex.agents.energy.sale import Exchange
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.trading.orders import (
    Order,
    OrderPendingError,
    read_answer,
    read_order,
    write_answer,
)
from gridflex.market.trading.reconciliation import Trade

SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
CLOSES = datetime(2026, 7, 1, 16, tzinfo=UTC)
WANTED: dict[str, Any] = {
    "first": SIX,
    "half_hours": 1,
    "mw": Decimal("1.6"),
    "limit_gbp_per_mwh": Decimal(50),
    "reference": f"V__CGRID001:{SIX}",
}
ORDER = Order(f"V__CGRID001:{SIX}", SIX, 1, Decimal("1.6"), Decimal(50))
TRADE = Trade("EX7", "BUYER", SIX, 1, Decimal("1.6"), Decimal("84.5"), reference=ORDER.reference)
NAME = "V__CGRID001-2026-07-01T17-00Z.json"


class At:
    """An exchange through a folder, at a time of ours."""

    def __init__(self, root: Path, at: datetime) -> None:
        self.at = at
        self.exchange: Exchange = FolderExchange(root, now=lambda: self.at)

    def sell(self, **other: Any) -> Trade | None:  # noqa: ANN401 - fields of the order
        return self.exchange.sell(**WANTED | other)


@pytest.fixture
def early(tmp_path: Path) -> At:
    return At(tmp_path, CLOSES - timedelta(minutes=30))


def test_an_order_waits_for_its_answer_and_is_placed_once(early: At, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(OrderPendingError, match="no answer yet"):
            early.sell()

    (placed,) = (tmp_path / "orders").iterdir()
    assert placed.name == NAME
    assert read_order(placed.read_bytes()) == ORDER
    (tmp_path / "trades" / NAME).write_bytes(write_answer(ORDER, TRADE))
    assert early.sell() == TRADE


def test_an_order_that_is_not_taken_sells_nothing(early: At, tmp_path: Path) -> None:
    (tmp_path / "trades" / NAME).write_bytes(write_answer(ORDER, None, reason="below the market"))

    assert early.sell() is None


def test_another_order_under_the_same_name_is_refused(early: At) -> None:
    with pytest.raises(OrderPendingError):
        early.sell()

    with pytest.raises(ContractError, match="another order has this name"):
        early.sell(mw=Decimal("1.7"))


@pytest.mark.parametrize(("after", "waits"), [(4, True), (5, False)])
def test_an_order_without_an_answer_was_not_taken_in_the_end(
    early: At, after: int, waits: bool
) -> None:
    with pytest.raises(OrderPendingError):
        early.sell()
    early.at = CLOSES + timedelta(minutes=after)

    if waits:
        with pytest.raises(OrderPendingError):
            early.sell()
    else:
        assert early.sell() is None


def test_nothing_is_offered_once_the_gate_is_closed(tmp_path: Path) -> None:
    assert At(tmp_path, CLOSES).sell() is None
    assert list((tmp_path / "orders").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"{", "file: .*valid is JSON"),
        (b'{"reference": "other"}', "is about 'other'"),
        (write_answer(ORDER, TRADE).replace(b"84.5", b"49.9"), "below the limit of 50"),
        (write_answer(ORDER, TRADE).replace(b'"BUYER"', b"null"), "needs buyer"),
        (
            write_answer(ORDER, TRADE).replace(b"EX7", b"TRADE-00007"),
            "valid is text of at most",
        ),
        (write_answer(ORDER, TRADE).replace(b"buyer", b"byer"), "byer is not known"),
    ],
)
def test_an_answer_that_is_not_one_is_refused(answer: bytes, problem: str) -> None:
    with pytest.raises(ContractError, match=problem):
        read_answer(answer, ORDER)


def test_an_order_that_is_not_one_is_refused() -> None:
    with pytest.raises(ContractError, match="order: reference is missing"):
        read_order(b"{}")
