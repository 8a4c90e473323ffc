"""How much to sell."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.market.trading.selling import Outlook, SalePolicy, decide_sale
from gridflex.market.volumes import Rounding


def decimals(*values: float | str) -> tuple[Decimal, ...]:
    return tuple(Decimal(str(value)) for value in values)


DELIVERIES = decimals(*range(1, 11))
"""1 to 10 MWh, equally likely; mean 5.5."""

PRICES = decimals(50, 100, 150)
"""System price; mean 100."""

NEUTRAL = SalePolicy(risk_aversion=Decimal(0))
WARY = SalePolicy(risk_aversion=Decimal(1), tail_fraction=Decimal("0.3"))


def outlook(price: str, **changed: Decimal) -> Outlook:
    return Outlook(DELIVERIES, PRICES, Decimal(price), **changed)


@pytest.mark.parametrize(
    ("price", "mwh"),
    [
        pytest.param("101", "5.500", id="dearer than the system: sell the expectation"),
        pytest.param("100", "5.500", id="equal"),
        pytest.param("99", "0.000", id="cheaper: sell nothing"),
    ],
)
def test_without_fear_of_risk_it_is_all_or_nothing(price: str, mwh: str) -> None:
    assert decide_sale(outlook(price), NEUTRAL, rounding=Rounding()).mwh == Decimal(mwh)


@pytest.mark.parametrize(
    ("price", "quantile", "mwh"),
    [
        # short at 150, long at 50: the critical ratio is (price - 50) / 100
        pytest.param("60", "0.1", "1.000", id="tenth"),
        pytest.param("80", "0.3", "3.000", id="third of ten"),
        pytest.param("50", "0", "0.000", id="at the price of a surplus"),
        pytest.param("150", "1", "5.500", id="at the price of a shortfall, held at the mean"),
    ],
)
def test_a_wary_seller_sells_a_quantile_of_the_delivery(
    price: str, quantile: str, mwh: str
) -> None:
    sale = decide_sale(outlook(price), WARY, rounding=Rounding())

    assert (sale.short_price_gbp_per_mwh, sale.long_price_gbp_per_mwh) == decimals(150, 50)
    assert sale.quantile == Decimal(quantile)
    assert sale.mwh == Decimal(mwh)


def test_the_expected_net_is_worked_by_hand() -> None:
    # sell 3 at 80: 240; deliver 5.5 on average, so 2.5 of surplus at 100: 250
    sale = decide_sale(outlook("80"), WARY, rounding=Rounding())

    assert sale.expected_net_gbp == 490
    assert sale.nothing_sold_gbp == 550
    assert sale.shortfall_fraction == Decimal("0.2")
    assert sale.binding == "quantile of the delivery"


def test_fees_compensation_and_lost_work_are_in_the_net() -> None:
    costly = outlook(
        "80",
        fee_gbp_per_mwh=Decimal(10),
        compensation_gbp_per_mwh=Decimal(90),
        work_lost_gbp_per_mwh=Decimal(20),
    )

    sale = decide_sale(costly, WARY, rounding=Rounding())

    # the fee moves the ratio to 0.2, so 2 are sold at 70 net: 140; 3.5 of surplus at 100: 350;
    # 5.5 delivered cost 110 each: 605
    assert sale.mwh == 2
    assert sale.expected_net_gbp == 140 + 350 - 605
    assert not sale.is_worthwhile


def test_the_sale_is_a_whole_number_of_lots() -> None:
    lots = SalePolicy(risk_aversion=Decimal(0), lot_mwh=Decimal("0.05"))
    three_thirds = Outlook(decimals("1.03", "1.04"), PRICES, Decimal(200))

    assert decide_sale(three_thirds, lots, rounding=Rounding()).mwh == Decimal("1.000")


def test_an_outlook_without_scenarios_is_refused() -> None:
    with pytest.raises(ContractError, match="at least one"):
        Outlook((), PRICES, Decimal(1))


SCENARIOS = st.lists(st.decimals(-20, 20, places=3), min_size=1, max_size=12).map(tuple)
QUOTES = st.lists(st.decimals(-200, 2000, places=2), min_size=1, max_size=12).map(tuple)


@given(
    SCENARIOS,
    QUOTES,
    st.decimals(-200, 2000, places=2),
    st.decimals(0, 1, places=2),
    st.decimals(0, 1, places=2),
)
def test_never_more_is_sold_than_the_share_of_the_expectation(
    deliveries: tuple[Decimal, ...],
    prices: tuple[Decimal, ...],
    price: Decimal,
    share: Decimal,
    aversion: Decimal,
) -> None:
    policy = SalePolicy(risk_aversion=aversion, sale_fraction=share)

    sale = decide_sale(Outlook(deliveries, prices, price), policy, rounding=Rounding())

    assert 0 <= sale.mwh <= max(sale.expected_mwh * share, Decimal(0))
    assert sale.bad_case_gbp <= sale.expected_net_gbp + Decimal("1e-9")
    assert 0 <= sale.quantile <= 1


@given(SCENARIOS, QUOTES, st.decimals(-200, 2000, places=2))
def test_a_higher_price_never_sells_less(
    deliveries: tuple[Decimal, ...], prices: tuple[Decimal, ...], price: Decimal
) -> None:
    low, high = (
        decide_sale(Outlook(deliveries, prices, one), WARY, rounding=Rounding()).mwh
        for one in (price, price + 10)
    )

    assert low <= high


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("risk_aversion", "-0.1", "0 to 1"),
        ("sale_fraction", "-1", "0 to 1"),
        ("sale_fraction", "1.01", "0 to 1"),
        ("tail_fraction", "0", "above 0 up to 1"),
    ],
)
def test_a_policy_outside_its_limits_is_refused_by_name(name: str, value: str, valid: str) -> None:
    with pytest.raises(ContractError, match=f"^{name} {value} is not valid; valid is {valid}$"):
        SalePolicy(**{name: Decimal(value)})
