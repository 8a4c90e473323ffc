"""Conversions, each with a case worked by hand."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex import units


def test_one_gpu_node_for_half_an_hour() -> None:
    energy = units.energy_kwh(10.2)

    assert energy == pytest.approx(5.1)
    assert units.cost_gbp(energy, 80.0) == pytest.approx(0.408)
    assert units.emissions_gco2(energy, 120.0) == pytest.approx(612.0)


def test_a_whole_day_is_converted_at_once() -> None:
    energy = units.energy_kwh(np.array([10.0, 0.0, 3.0]))

    np.testing.assert_allclose(energy, [5.0, 0.0, 1.5])
    np.testing.assert_allclose(
        units.cost_gbp(energy, np.array([100.0, 50.0, -20.0])), [0.5, 0, -0.03]
    )


def test_energy_over_ninety_minutes() -> None:
    assert units.energy_over_kwh(4.0, timedelta(minutes=90)) == pytest.approx(6.0)


def test_a_tonne_at_80_pounds_makes_a_megawatt_hour_at_150_grams_twelve_pounds_dearer() -> None:
    assert units.carbon_price_gbp_per_mwh(150.0, 80.0) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("converted", "expected"),
    [
        pytest.param(units.kg(2_500.0), 2.5, id="grams"),
        pytest.param(units.hours(timedelta(minutes=45)), 0.75, id="hours"),
    ],
)
def test_small_conversions(converted: float, expected: float) -> None:
    assert converted == pytest.approx(expected)


@pytest.mark.parametrize(
    ("amount", "printed"),
    [
        pytest.param(1234.5, "1,234.50", id="pence"),
        pytest.param(0.1, "0.10", id="ten pence"),
        pytest.param(0.05, "0.050", id="below ten pence"),
        pytest.param(Decimal("-0.00421"), "-0.0042", id="two digits of a negative amount"),
        pytest.param(1e-9, "0.000000", id="less than is worked out"),
        pytest.param(0, "0.00", id="nothing"),
    ],
)
def test_small_amounts_are_printed_with_two_digits(amount: float | Decimal, printed: str) -> None:
    assert units.gbp_text(amount) == printed


@given(st.floats(0, 1e5), st.floats(-1e3, 1e4), st.floats(-1e3, 1e4), st.integers(1, 48))
def test_cost_is_proportional_to_time_and_additive_in_price(
    power_kw: float, one: float, other: float, half_hours: int
) -> None:
    energy = units.energy_kwh(power_kw)
    whole = units.energy_over_kwh(power_kw, half_hours * timedelta(minutes=30))

    assert whole == pytest.approx(half_hours * energy)
    assert units.cost_gbp(energy, one) + units.cost_gbp(energy, other) == pytest.approx(
        units.cost_gbp(energy, one + other), abs=1e-6
    )
