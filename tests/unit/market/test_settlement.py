"""One half-hour of one account, to the last digit, and what must always add up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.registry import BaselineIndicator, Msid, UnitId
from gridflex.market.settlement.account import (
    AccountPeriod,
    AccountResult,
    PairPeriod,
    SoldVolume,
    SystemPrice,
    UnitPeriod,
    imbalance_charge_gbp,
    settle,
)
from gridflex.market.settlement.compensation import (
    COMPENSATION,
    REFERENCE_PRICES,
    BilateralP510,
    MeterExport,
    MutualisedP415,
    MutualisedP511,
    ReferencePrice,
)
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import ExportMWh, ImportMWh

UNIT = UnitId("V__CGRID001")
METER = Msid("1200012345679")
SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
SCRP = ReferencePrice(Decimal("98.53"), is_official=False)


def imported(mwh: str) -> ImportMWh:
    return ImportMWh(Decimal(mwh))


def exported(mwh: str) -> ExportMWh:
    return ExportMWh(Decimal(mwh))


PAIR = PairPeriod(
    meter=METER,
    supplier="SUPPLIER",
    indicator=BaselineIndicator.SUBMITTED,
    metered=imported("7.2000"),
    delivered=exported("2.8000"),
)
EXAMPLE = AccountPeriod(
    account="GRIDFLEX",
    half_hour=SIX,
    run=Run.SF,
    units=(UnitPeriod(UNIT, is_active=True, submitted=exported("-10.0000"), pairs=(PAIR,)),),
    sold=(SoldVolume("T1", Decimal("3.000"), Decimal("140.00")),),
    system_price=SystemPrice.single(Decimal("210.00")),
    reference_price=SCRP,
    policy=MutualisedP415(),
)


def with_unit(**changed: object) -> AccountPeriod:
    return replace(EXAMPLE, units=(replace(EXAMPLE.units[0], **changed),))  # type: ignore[arg-type]


def test_the_worked_example_to_the_last_digit() -> None:
    result = settle(EXAMPLE)

    assert result.units[0].deviation == exported("2.8000")
    assert str(result.imbalance_mwh) == "-0.2000"
    assert result.imbalance_charge_gbp == Decimal("42.00")
    assert result.trade_revenue_gbp == Decimal("420.00")
    assert result.net_gbp == Decimal("378.00")
    assert result.compensation_gbp == Decimal("275.884")
    assert result.compensation_paid_gbp == 0
    assert result.net_gbp * Decimal("0.20") == Decimal("75.60")
    assert result.net_gbp * Decimal("0.80") == Decimal("302.40")
    assert result.units[0].residual == exported("0")


def test_a_bilateral_rule_takes_compensation_from_the_net() -> None:
    result = settle(replace(EXAMPLE, policy=BilateralP510()))

    assert result.compensation_paid_gbp == Decimal("275.884")
    assert result.net_gbp == Decimal("102.116")


def test_without_a_sale_the_whole_deviation_is_a_surplus_at_system_price() -> None:
    result = settle(replace(EXAMPLE, sold=()))

    assert result.imbalance_charge_gbp == Decimal("-588.00")
    assert result.net_gbp == Decimal("588.00")


def test_without_an_activity_notice_the_sale_is_bought_back() -> None:
    result = settle(with_unit(is_active=False))

    assert result.units[0].deviation == exported("0")
    assert result.imbalance_charge_gbp == Decimal("630.00")
    assert result.net_gbp == Decimal("-210.00")
    assert result.compensation_gbp == 0
    assert "activity notice" in result.units[0].notes[0]


def test_without_an_expected_volume_the_deviation_is_lost() -> None:
    result = settle(with_unit(submitted=None))

    assert result.units[0].expected is None
    assert result.net_gbp == Decimal("-210.00")
    assert "deviation is lost" in result.units[0].notes[0]


def test_without_an_accepted_contract_notice_the_sale_is_not_in_the_account() -> None:
    lost = replace(EXAMPLE.sold[0], is_notified=False)

    result = settle(replace(EXAMPLE, sold=(lost,)))

    assert result.sold_mwh == 0
    assert result.net_gbp == Decimal("588.00")
    assert result.unnotified_gbp == Decimal("420.00")


def test_at_a_negative_price_a_surplus_costs_money() -> None:
    price = SystemPrice.single(Decimal("-50"))

    assert imbalance_charge_gbp(Decimal(2), price=price) == Decimal(100)
    assert imbalance_charge_gbp(Decimal(-2), price=price) == Decimal(-100)
    assert str(imbalance_charge_gbp(Decimal(0), price=price)) == "0"


def test_two_prices_are_applied_to_their_sides() -> None:
    price = SystemPrice(sell_gbp_per_mwh=Decimal(80), buy_gbp_per_mwh=Decimal(120))

    assert imbalance_charge_gbp(Decimal(1), price=price) == -80
    assert imbalance_charge_gbp(Decimal(-1), price=price) == 120


def test_minus_five_expected_and_minus_four_metered_is_plus_one() -> None:
    pair = replace(PAIR, metered=imported("4"), delivered=exported("1"))

    result = settle(with_unit(submitted=exported("-5"), pairs=(pair,)))

    assert result.units[0].deviation == exported("1")


def test_a_baselined_pair_brings_its_baseline_with_the_other_sign() -> None:
    baselined = replace(
        PAIR,
        indicator=BaselineIndicator.BASELINED,
        delivered=None,
        baseline=imported("3"),
        metered=imported("2.5"),
        meter=Msid("2000050773706"),
    )

    result = settle(with_unit(pairs=(PAIR, baselined)))

    assert result.units[0].expected == exported("-13")
    assert result.units[0].deviation == exported("3.3")
    assert [pair.delivered.mwh for pair in result.units[0].pairs] == [
        Decimal("2.8"),
        Decimal("0.5"),
    ]


def test_an_inactive_pair_neither_adds_nor_takes() -> None:
    idle = replace(
        PAIR, indicator=BaselineIndicator.INACTIVE, delivered=None, meter=Msid("2000050773706")
    )

    result = settle(with_unit(pairs=(PAIR, idle)))

    assert result.units[0].deviation == exported("2.8")
    assert result.units[0].pairs[1].delivered == imported("0")
    assert result.net_gbp == Decimal("378.00")


def test_an_undefined_baseline_counts_as_the_outturn() -> None:
    undefined = replace(PAIR, indicator=BaselineIndicator.BASELINED, delivered=None)

    result = settle(with_unit(submitted=None, pairs=(undefined,)))

    assert result.units[0].deviation == exported("0")
    assert "baseline not defined" in result.units[0].notes[0]


def test_losses_scale_meters_to_the_grid_and_deviations_to_the_account() -> None:
    baselined = replace(
        PAIR,
        indicator=BaselineIndicator.BASELINED,
        delivered=None,
        baseline=imported("10"),
        line_loss_factor=Decimal("1.05"),
    )
    unit = UnitPeriod(
        UNIT,
        is_active=True,
        submitted=None,
        pairs=(baselined,),
        transmission_multiplier=Decimal("0.99"),
    )

    result = settle(replace(EXAMPLE, units=(unit,), sold=()))

    assert result.units[0].metered == exported("-7.56")
    assert result.units[0].deviation == exported("2.94")
    assert result.credited_mwh == Decimal("2.9106")


def test_what_the_delivered_volumes_do_not_explain_is_shown() -> None:
    short = replace(PAIR, delivered=exported("2.5"))

    result = settle(with_unit(pairs=(short,)))

    assert result.units[0].residual == exported("0.3")


def test_a_substituted_reading_is_noted() -> None:
    result = settle(with_unit(pairs=(replace(PAIR, is_substituted=True),)))

    assert result.units[0].notes == (f"meter {METER}: reading was substituted",)


def test_fees_and_balancing_volume_are_taken_off() -> None:
    result = settle(replace(EXAMPLE, fees_gbp=Decimal("1.50"), balancing_mwh=Decimal("0.3")))

    assert result.imbalance_mwh == Decimal("-0.5")
    assert result.net_gbp == Decimal("420.00") - Decimal("105.00") - Decimal("1.50")


# Compensation


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2024, 11, 7), "MutualisedP415"),
        (date(2026, 8, 23), "MutualisedP415"),
        (date(2026, 8, 24), "MutualisedP511"),
    ],
)
def test_compensation_follows_the_settlement_day(day: date, name: str) -> None:
    assert COMPENSATION.on(day).name == name


@pytest.mark.parametrize("day", [date(2024, 11, 6), date(2020, 1, 1)])
def test_there_is_no_compensation_before_p415(day: date) -> None:
    with pytest.raises(ContractError, match="nothing is in force"):
        COMPENSATION.on(day)


@pytest.mark.parametrize(
    ("day", "price"),
    [
        (date(2026, 2, 17), "87.21"),
        (date(2026, 3, 31), "87.21"),
        (date(2026, 8, 28), "98.53"),
        (date(2025, 9, 30), "90.93"),
    ],
)
def test_the_reference_price_is_one_figure_per_quarter(day: date, price: str) -> None:
    assert REFERENCE_PRICES.on(day).gbp_per_mwh == Decimal(price)


def test_a_quarter_without_a_published_price_is_an_error() -> None:
    with pytest.raises(ContractError, match="nothing is in force on 2026-10-01"):
        REFERENCE_PRICES.on(date(2026, 10, 1))


def test_p511_pays_meters_that_do_not_export_and_asks_for_its_threshold_otherwise() -> None:
    rule, delivered = MutualisedP511(), imported("2.8")

    load = rule.compensate(delivered, price=SCRP, meter=MeterExport(exported("0")))

    assert load.from_fund_gbp == Decimal("275.884")
    with pytest.raises(ContractError, match="threshold is not set"):
        rule.compensate(delivered, price=SCRP, meter=MeterExport(exported("0.5")))


@pytest.mark.parametrize(("largest", "paid"), [("1.0", "275.884"), ("1.1", "0")])
def test_p511_with_a_threshold_leaves_out_what_exports_more(largest: str, paid: str) -> None:
    rule = MutualisedP511(threshold=exported("1.0"))

    result = rule.compensate(imported("2.8"), price=SCRP, meter=MeterExport(exported(largest)))

    assert result.supplier_gbp == Decimal(paid)


PENCE = st.integers(-(10**7), 10**7).map(lambda pence: Decimal(pence).scaleb(-2))
NAMES = st.text("ABCDEFGH", min_size=1, max_size=3)


# Conservation

VOLUME = st.decimals(-50, 50, places=4)
SMALL = st.decimals(0, 50, places=4)


@st.composite
def periods(draw: st.DrawFn) -> AccountPeriod:
    """Any active unit of baselined pairs with any trades and prices."""
    pairs = tuple(
        PairPeriod(
            meter=Msid(f"{number:013d}"),
            supplier=draw(NAMES),
            indicator=BaselineIndicator.BASELINED,
            metered=ImportMWh(draw(VOLUME)),
            baseline=ImportMWh(draw(VOLUME)),
            line_loss_factor=draw(st.decimals(1, 2, places=3)),
        )
        for number in range(draw(st.integers(1, 4)))
    )
    sold = tuple(
        SoldVolume(f"T{number}", draw(st.decimals(-9, 9, places=3)), draw(PENCE))
        for number in range(draw(st.integers(0, 3)))
    )
    return replace(
        EXAMPLE,
        units=(UnitPeriod(UNIT, is_active=True, submitted=None, pairs=pairs),),
        sold=sold,
        system_price=SystemPrice.single(draw(PENCE)),
        reference_price=ReferencePrice(draw(PENCE), is_official=False),
    )


@given(periods())
def test_what_the_trading_party_gains_the_suppliers_are_adjusted_by(period: AccountPeriod) -> None:
    result = settle(period)

    deviation = sum((unit.deviation.mwh for unit in result.units), Decimal(0))
    adjusted = sum((pair.delivered.mwh for unit in result.units for pair in unit.pairs), Decimal(0))
    assert deviation == adjusted
    assert all(unit.residual.mwh == 0 for unit in result.units)


@given(periods())
def test_energy_credited_is_sold_or_imbalance(period: AccountPeriod) -> None:
    result = settle(period)

    assert result.credited_mwh == result.sold_mwh + result.imbalance_mwh + period.balancing_mwh


@given(periods())
def test_buyer_seller_and_system_settle_to_zero(period: AccountPeriod) -> None:
    """The buyer pays the trades; the system pays or takes the imbalance; nothing is left over."""
    result = settle(period)
    buyer = -result.trade_revenue_gbp
    system = result.imbalance_charge_gbp

    assert result.net_gbp + buyer + system + result.compensation_paid_gbp + result.fees_gbp == 0


@given(periods())
def test_compensation_is_paid_by_somebody(period: AccountPeriod) -> None:
    for policy in (MutualisedP415(), BilateralP510()):
        result: AccountResult = settle(replace(period, policy=policy))

        for unit in result.units:
            for pair in unit.pairs:
                one = pair.compensation
                assert one.supplier_gbp == one.from_fund_gbp + one.from_trading_party_gbp


@given(periods(), st.decimals(-5, 5, places=3))
def test_selling_more_at_the_system_price_changes_nothing(
    period: AccountPeriod, more: Decimal
) -> None:
    price = period.system_price.sell_gbp_per_mwh
    extra = SoldVolume("extra", more, price)

    before, after = settle(period), settle(replace(period, sold=(*period.sold, extra)))

    assert Fraction(after.net_gbp) == Fraction(before.net_gbp)
