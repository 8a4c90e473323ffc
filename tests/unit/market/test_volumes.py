"""Signs that cannot be mixed, and rounding that happens once."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.market.policy import Dated, Effective
from gridflex.market.volumes import ExportMWh, ImportMWh, Rounding, quantised, share_out

MWH = st.decimals(-10_000, 10_000, places=4)


def test_an_import_is_a_negative_export() -> None:
    assert ImportMWh(Decimal(10)).as_export() == ExportMWh(Decimal(-10))
    assert ImportMWh.from_kwh(Decimal(7200)) == ImportMWh(Decimal("7.2"))


def test_the_two_signs_do_not_add() -> None:
    imported: Any = ImportMWh(Decimal(1))
    exported: Any = ExportMWh(Decimal(1))

    with pytest.raises(TypeError):
        imported + exported
    with pytest.raises(TypeError):
        exported - imported
    with pytest.raises(TypeError):
        sorted([imported, exported])
    assert imported != exported


@pytest.mark.parametrize("bad", [1.5, Decimal("NaN"), Decimal("Infinity"), 3])
def test_a_volume_is_a_finite_decimal(bad: object) -> None:
    with pytest.raises(ContractError, match="finite Decimal"):
        ImportMWh(bad)  # type: ignore[arg-type]  # what a caller without types may do


@given(MWH, MWH)
def test_converting_signs_keeps_sums(one: Decimal, other: Decimal) -> None:
    a, b = ImportMWh(one), ImportMWh(other)

    assert (a + b).as_export() == a.as_export() + b.as_export()
    assert (a - b).as_export() == a.as_export() - b.as_export()
    assert a + -a == ImportMWh(Decimal(0))


@pytest.mark.parametrize(
    ("value", "mode", "expected"),
    [
        pytest.param(Fraction(133, 15), ROUND_HALF_EVEN, "8.8667", id="recurring"),
        pytest.param(Decimal("0.00005"), ROUND_HALF_EVEN, "0.0000", id="half to even"),
        pytest.param(Decimal("0.00005"), ROUND_HALF_UP, "0.0001", id="half up"),
        pytest.param(Decimal("-0.00015"), ROUND_HALF_EVEN, "-0.0002", id="negative half to even"),
        pytest.param(Fraction(1, 3), ROUND_HALF_UP, "0.3333", id="third"),
        pytest.param(Fraction(-2, 3), ROUND_HALF_UP, "-0.6667", id="negative two thirds"),
    ],
)
def test_a_volume_is_rounded_once_from_the_exact_number(
    value: Decimal | Fraction, mode: str, expected: str
) -> None:
    assert str(quantised(value, places=4, mode=mode)) == expected


def test_what_may_be_sold_is_never_rounded_up() -> None:
    assert Rounding().contract(Decimal("2.9999")) == Decimal("2.999")


@given(
    st.integers(-(10**9), 10**9),
    st.dictionaries(st.text(min_size=1, max_size=3), st.decimals(0, 1000, places=3), min_size=1),
)
def test_shares_add_up_to_the_penny(pence: int, weights: dict[str, Decimal]) -> None:
    total = Decimal(pence).scaleb(-2)
    if not sum(weights.values()):
        with pytest.raises(ContractError):
            share_out(total, weights)
        return

    shares = share_out(total, weights)

    assert sum(shares.values()) == total
    exact = {
        name: Fraction(total) * Fraction(w) / Fraction(sum(weights.values()))
        for name, w in weights.items()
    }
    assert all(abs(Fraction(shares[name]) - exact[name]) < Fraction(1, 100) for name in weights)


def test_a_sum_finer_than_a_penny_cannot_be_shared() -> None:
    with pytest.raises(ContractError, match="cannot have 2 decimals"):
        share_out(Decimal("0.001"), {"a": Decimal(1)})


def test_an_odd_penny_goes_to_the_largest_remainder() -> None:
    assert share_out(Decimal("1.00"), {"a": Decimal(1), "b": Decimal(1), "c": Decimal(1)}) == {
        "a": Decimal("0.34"),
        "b": Decimal("0.33"),
        "c": Decimal("0.33"),
    }


RULE = Dated(
    "rate",
    (
        Effective(date(2025, 1, 1), "old", "a"),
        Effective(date(2026, 1, 1), "new", "b", until=date(2026, 7, 1)),
    ),
)


@pytest.mark.parametrize(
    ("day", "value"),
    [(date(2025, 12, 31), "old"), (date(2026, 1, 1), "new"), (date(2026, 6, 30), "new")],
)
def test_the_rule_of_the_day_holds(day: date, value: str) -> None:
    assert RULE.on(day) == value


@pytest.mark.parametrize("day", [date(2024, 12, 31), date(2026, 7, 1)])
def test_a_day_without_a_rule_is_an_error(day: date) -> None:
    with pytest.raises(ContractError, match=f"nothing is in force on {day}"):
        RULE.on(day)


def test_rules_that_overlap_are_refused() -> None:
    with pytest.raises(ContractError, match="overlaps"):
        Dated(
            "rate",
            (
                Effective(date(2025, 1, 1), 1, "a", until=date(2026, 2, 1)),
                Effective(date(2026, 1, 1), 2, "b"),
            ),
        )
