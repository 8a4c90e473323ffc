"""Settled energy, with its sign in its type, and how settlement rounds.

Supplier-side messages (baseline report, meter data, delivered volumes) count import positive;
central messages (expected volume, BM Unit volumes, deviation) count export positive. The two
never add up by accident: `ImportMWh` and `ExportMWh` are different types and turn into each
other by name only.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Final

from gridflex.errors import ContractError

KWH_PER_MWH: Final = Decimal(1000)
HOURS_PER_HALF_HOUR: Final = Decimal("0.5")
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, order=True)
class ImportMWh:
    """Energy over a half-hour, positive when taken from the grid (the supplier-side sign).

    Args:
        mwh: Exact amount in MWh.

    Raises:
        ContractError: ``mwh`` is not a finite `Decimal`.
    """

    mwh: Decimal

    def __post_init__(self) -> None:
        _check(self.mwh, "ImportMWh")

    @classmethod
    def from_kwh(cls, kwh: Decimal) -> ImportMWh:
        """Return an import of ``kwh``."""
        return cls(kwh / KWH_PER_MWH)

    def as_export(self) -> ExportMWh:
        """Return the same energy with the central sign."""
        return ExportMWh(-self.mwh)

    def __add__(self, other: ImportMWh) -> ImportMWh:
        return ImportMWh(self.mwh + other.mwh) if type(other) is ImportMWh else NotImplemented

    def __sub__(self, other: ImportMWh) -> ImportMWh:
        return ImportMWh(self.mwh - other.mwh) if type(other) is ImportMWh else NotImplemented

    def __neg__(self) -> ImportMWh:
        return ImportMWh(-self.mwh)


@dataclass(frozen=True, slots=True, order=True)
class ExportMWh:
    """Energy over a half-hour, positive when given to the grid (the central sign).

    Args:
        mwh: Exact amount in MWh.

    Raises:
        ContractError: ``mwh`` is not a finite `Decimal`.
    """

    mwh: Decimal

    def __post_init__(self) -> None:
        _check(self.mwh, "ExportMWh")

    def __add__(self, other: ExportMWh) -> ExportMWh:
        return ExportMWh(self.mwh + other.mwh) if type(other) is ExportMWh else NotImplemented

    def __sub__(self, other: ExportMWh) -> ExportMWh:
        return ExportMWh(self.mwh - other.mwh) if type(other) is ExportMWh else NotImplemented

    def __neg__(self) -> ExportMWh:
        return ExportMWh(-self.mwh)


@dataclass(frozen=True, slots=True)
class Rounding:
    """How many places the market's fields have and how halves go.

    The Code does not say which way halves go, so ``mode`` is a setting.

    Args:
        mode: A rounding mode of `decimal`.
        volume_places: Expected, baseline and delivered volumes; decimal(14,4).
        contract_places: Contract notifications; decimal(10,3).
        cash_places: Invoiced money.
    """

    mode: str = ROUND_HALF_EVEN
    volume_places: int = 4
    contract_places: int = 3
    cash_places: int = 2

    def volume(self, mwh: Decimal | Fraction) -> Decimal:
        """Return a metered, expected or delivered volume in MWh as it is reported."""
        return quantised(mwh, places=self.volume_places, mode=self.mode)

    def volume_of_kwh(self, kwh: float) -> Decimal:
        """Return energy that was metered or modelled in kWh as such a volume in MWh."""
        return self.volume(Decimal(repr(kwh)) / KWH_PER_MWH)

    def contract(self, mwh: Decimal | Fraction) -> Decimal:
        """Return a volume that may be sold: never more than ``mwh``."""
        return quantised(mwh, places=self.contract_places, mode=ROUND_DOWN)

    def cash(self, gbp: Decimal | Fraction) -> Decimal:
        """Return GBP in whole pence."""
        return quantised(gbp, places=self.cash_places, mode=self.mode)


def quantised(value: Decimal | Fraction, *, places: int, mode: str) -> Decimal:
    """Return ``value`` with exactly ``places`` decimals, rounded once from the exact number.

    A `Fraction` has no finite decimal form in general, so its remainder is first reduced to
    below, at or above the half and only then rounded.
    """
    exact = Fraction(value)
    whole, rest = divmod(abs(exact.numerator) * 10**places, exact.denominator)
    sticky = _side_of_half(rest, exact.denominator)
    sign = -1 if exact < 0 else 1
    rounded = (sign * (Decimal(whole) + sticky)).quantize(Decimal(1), rounding=mode)
    return rounded.scaleb(-places) + ZERO


def share_out(
    total: Decimal, weights: dict[str, Decimal], *, places: int = 2
) -> dict[str, Decimal]:
    """Split ``total`` by weight into amounts of ``places`` decimals that add up to it exactly.

    Args:
        total: What is shared, with at most ``places`` decimals.
        weights: Non-negative, not all zero.
        places: Decimals of each share.

    Raises:
        ContractError: A weight is negative, all are zero, or ``total`` is finer than ``places``.
    """
    if any(weight < 0 for weight in weights.values()) or not sum(weights.values()):
        raise ContractError(f"weights must be at least 0 and not all 0, got {weights}")
    whole = Fraction(sum(weights.values(), ZERO))
    exact = {name: Fraction(total) * Fraction(weight) / whole for name, weight in weights.items()}
    return rounded_together(exact, places=places)


def rounded_together(exact: dict[str, Fraction], *, places: int = 2) -> dict[str, Decimal]:
    """Round amounts to ``places`` decimals such that they still add up to the same sum.

    The smallest units left over go to the largest remainders, ties to the first name.

    Raises:
        ContractError: The sum itself has more than ``places`` decimals.
    """
    units = sum(exact.values(), Fraction(0)) * 10**places
    if units.denominator != 1:
        raise ContractError(f"a sum of {float(units) / 10**places} cannot have {places} decimals")
    scaled = {name: amount * 10**places for name, amount in exact.items()}
    shares = {name: amount.numerator // amount.denominator for name, amount in scaled.items()}
    left = int(units) - sum(shares.values())
    by_remainder = sorted(scaled, key=lambda name: (shares[name] - scaled[name], name))
    for name in by_remainder[:left]:
        shares[name] += 1
    return {name: Decimal(share).scaleb(-places) for name, share in shares.items()}


def _side_of_half(rest: int, denominator: int) -> Decimal:
    if rest == 0:
        return ZERO
    if 2 * rest == denominator:
        return Decimal("0.5")
    return Decimal("0.25") if 2 * rest < denominator else Decimal("0.75")


def _check(mwh: object, name: str) -> None:
    if not isinstance(mwh, Decimal) or not mwh.is_finite():
        raise ContractError(f"{name} must be a finite Decimal of MWh, got {mwh!r}")


NO_IMPORT: Final = ImportMWh(ZERO)
NO_EXPORT: Final = ExportMWh(ZERO)
