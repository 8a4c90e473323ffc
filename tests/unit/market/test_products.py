"""Products beside P415: DFS payment, and never the same energy twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.settlement.dfs import dfs_payment, payment_factor, risks_deregistration
from gridflex.market.trading.exclusivity import (
    STACKABLE,
    Direction,
    ExclusivityLedger,
    Product,
    Reservation,
)

SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
METER = "1200012345679"


@pytest.mark.parametrize(
    ("delivered", "percent", "gbp"),
    [
        pytest.param("15", "100", "4500", id="all of it"),
        pytest.param("12", "80", "3600", id="80 percent"),
        pytest.param("6", "40", "1350", id="40 percent"),
        pytest.param("3", "20", "0", id="20 percent"),
        pytest.param("18", "120", "5400", id="120 percent"),
        pytest.param("30", "200", "5400", id="200 percent"),
        pytest.param("-15", "-100", "-4500", id="the other way"),
        pytest.param("-30", "-200", "-4500", id="far the other way"),
    ],
)
def test_dfs_pays_by_the_share_delivered(delivered: str, percent: str, gbp: str) -> None:
    payment = dfs_payment(
        contracted_mw=Decimal(30),
        price_gbp_per_mwh=Decimal(300),
        delivered_mwh=Decimal(delivered),
    )

    assert payment.delivered_percent == Decimal(percent)
    assert payment.gbp == Decimal(gbp)


@pytest.mark.parametrize("edge", ["0", "25", "50", "120", "-100"])
def test_the_dfs_factor_has_no_jumps(edge: str) -> None:
    step = Decimal("0.000001")
    around = [payment_factor(Decimal(edge) + sign * step) for sign in (-1, 0, 1)]

    assert max(around) - min(around) <= 4 * step / 100


def test_dfs_without_a_contract_is_refused() -> None:
    with pytest.raises(ContractError, match="must be above 0"):
        dfs_payment(
            contracted_mw=Decimal(0), price_gbp_per_mwh=Decimal(1), delivered_mwh=Decimal(1)
        )


@pytest.mark.parametrize(
    ("factors", "is_risky"),
    [
        pytest.param("11111", False, id="good"),
        pytest.param("00001", False, id="four in a row"),
        pytest.param("100000", True, id="five in a row"),
        pytest.param("01" * 9, False, id="nine"),
        pytest.param("01" * 10, True, id="ten"),
    ],
)
def test_persistent_failure_ends_the_registration(factors: str, *, is_risky: bool) -> None:
    assert risks_deregistration([Decimal(one) for one in factors]) is is_risky


def reservation(
    mwh: str = "2",
    *,
    product: Product = Product.P415,
    direction: Direction = Direction.DOWN,
    contract: str = "C1",
    half_hour: HalfHour = SIX,
) -> Reservation:
    return Reservation(METER, half_hour, direction, product, Decimal(mwh), contract)


def reserve(*reservations: Reservation, flexible: str = "3") -> ExclusivityLedger:
    return ExclusivityLedger().reserve(reservations, flexible_mwh=Decimal(flexible))


def test_energy_that_is_left_can_be_sold() -> None:
    ledger = reserve(reservation("2"), reservation("1", contract="C2"))

    free = ledger.free_mwh(METER, SIX, Direction.DOWN, flexible_mwh=Decimal(3))

    assert free == 0


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        pytest.param(reservation("1.001", contract="C2"), "1 of 3 MWh are free", id="twice"),
        pytest.param(
            reservation("0.5", product=Product.DFS, contract="C2"),
            "excludes dfs",
            id="two products",
        ),
        pytest.param(
            reservation("0.5", direction=Direction.UP, contract="C2"),
            "promised down",
            id="both ways",
        ),
        pytest.param(reservation("0", contract="C2"), "above 0", id="nothing"),
    ],
)
def test_the_same_energy_is_not_sold_twice(second: Reservation, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        reserve(reservation("2"), second)


def test_all_half_hours_of_a_contract_are_reserved_or_none() -> None:
    held = reserve(reservation("3", half_hour=SIX + 1))

    with pytest.raises(ContractError, match="0 of 3 MWh"):
        held.reserve(
            [reservation(contract="C2"), reservation(contract="C2", half_hour=SIX + 1)],
            flexible_mwh=Decimal(3),
        )
    assert held.held(METER, SIX, Direction.DOWN) == ()


def test_asking_again_for_the_same_changes_nothing() -> None:
    once = reserve(reservation("3"))

    assert once.reserve([reservation("3")], flexible_mwh=Decimal(3)) == once


def test_a_released_contract_frees_its_energy() -> None:
    ledger = reserve(reservation("3")).release("C1")

    assert ledger.free_mwh(METER, SIX, Direction.DOWN, flexible_mwh=Decimal(3)) == 3


RESERVATIONS = st.lists(
    st.builds(
        Reservation,
        meter=st.sampled_from(["A", "B"]),
        half_hour=st.sampled_from([SIX, SIX + 1]),
        direction=st.sampled_from(Direction),
        product=st.sampled_from(Product),
        mwh=st.decimals("0.001", 3, places=3),
        contract=st.sampled_from(["C1", "C2", "C3"]),
    ),
    max_size=30,
)


@given(RESERVATIONS, st.decimals(0, 5, places=3))
def test_no_kilowatt_hour_is_in_two_products(wanted: list[Reservation], flexible: Decimal) -> None:
    ledger = ExclusivityLedger()
    for one in wanted:
        try:
            ledger = ledger.reserve([one], flexible_mwh=flexible)
        except ContractError:
            continue

    for meter in "AB":
        for half_hour in (SIX, SIX + 1):
            down, up = (ledger.held(meter, half_hour, direction) for direction in Direction)
            assert not (down and up)
            held = down or up
            assert sum((one.mwh for one in held), Decimal(0)) <= flexible
            products = {one.product for one in held}
            assert all({a, b} in STACKABLE for a in products for b in products if a is not b)
