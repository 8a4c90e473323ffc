"""Who pays the supplier whose customer used less, by the rule of the settlement day.

The supplier is settled as if the baseline had been used but bills what was metered. Under P415
it is made whole from a fund that all suppliers fill in proportion to final demand; under P511
only for meters that export little; a bilateral regime (P510, not in force) would let the
trading party pay. The reference price is one figure per quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from gridflex.errors import ContractError
from gridflex.market.policy import Dated, Effective
from gridflex.market.volumes import ZERO, ExportMWh, ImportMWh


@dataclass(frozen=True, slots=True)
class ReferencePrice:
    """Supplier Compensation Reference Price of one quarter.

    Args:
        gbp_per_mwh: The figure.
        is_official: False where it was derived from published cash flows and volumes.
    """

    gbp_per_mwh: Decimal
    is_official: bool


def _derived(start: date, until: date, price: str, how: str) -> Effective[ReferencePrice]:
    source = f"published cash flow over published volume, S0142 ({how})"
    return Effective(start, ReferencePrice(Decimal(price), is_official=False), source, until)


REFERENCE_PRICES: Final = Dated(
    "supplier compensation reference price",
    (
        _derived(date(2025, 7, 1), date(2025, 10, 1), "90.93", "aggregates"),
        _derived(date(2025, 10, 1), date(2026, 1, 1), "89.47", "aggregates"),
        _derived(date(2026, 1, 1), date(2026, 4, 1), "87.21", "reproduces whole-MWh volumes"),
        _derived(date(2026, 4, 1), date(2026, 7, 1), "82.26", "aggregates"),
        _derived(date(2026, 7, 1), date(2026, 10, 1), "98.53", "reproduces whole-MWh volumes"),
    ),
)
"""Replace by the official figures, which are published per price-cap quarter, before use."""


@dataclass(frozen=True, slots=True)
class MeterExport:
    """What a rule about exporting meters needs to know.

    Args:
        largest_half_hour: Largest half-hourly export of the meter.
    """

    largest_half_hour: ExportMWh


@dataclass(frozen=True, slots=True)
class Compensation:
    """Compensation for one delivered volume.

    Args:
        supplier_gbp: Credit of the supplier; negative where its customer used more.
        from_fund_gbp: Part of it that the fund pays.
        from_trading_party_gbp: Part of it that the trading party pays.
        policy: Name of the rule.
        price_gbp_per_mwh: Price applied.
    """

    supplier_gbp: Decimal
    from_fund_gbp: Decimal
    from_trading_party_gbp: Decimal
    policy: str
    price_gbp_per_mwh: Decimal


@dataclass(frozen=True, slots=True)
class MutualisedP415:
    """The fund pays the supplier for every delivered MWh."""

    name: Literal["MutualisedP415"] = "MutualisedP415"

    def compensate(
        self,
        delivered: ImportMWh,
        *,
        price: ReferencePrice,
        meter: MeterExport,  # noqa: ARG002 - every meter is eligible
    ) -> Compensation:
        """Return the supplier's credit from the fund."""
        amount = delivered.mwh * price.gbp_per_mwh
        return Compensation(amount, amount, ZERO, self.name, price.gbp_per_mwh)


@dataclass(frozen=True, slots=True)
class MutualisedP511:
    """The fund pays only for meters whose largest half-hourly export is small.

    Args:
        threshold: Largest export that is still eligible; not known from public sources, so
            None refuses any meter that exports.
    """

    threshold: ExportMWh | None = None
    name: Literal["MutualisedP511"] = "MutualisedP511"

    def compensate(
        self, delivered: ImportMWh, *, price: ReferencePrice, meter: MeterExport
    ) -> Compensation:
        """Return the supplier's credit from the fund, if the meter is eligible.

        Raises:
            ContractError: The meter exports and no threshold is configured.
        """
        if not self._is_eligible(meter):
            return Compensation(ZERO, ZERO, ZERO, self.name, price.gbp_per_mwh)
        amount = delivered.mwh * price.gbp_per_mwh
        return Compensation(amount, amount, ZERO, self.name, price.gbp_per_mwh)

    def _is_eligible(self, meter: MeterExport) -> bool:
        largest = meter.largest_half_hour
        if largest.mwh <= 0:
            return True
        if self.threshold is None:
            raise ContractError(
                f"the meter exports up to {largest.mwh} MWh and the P511 threshold is not set"
            )
        return largest <= self.threshold


@dataclass(frozen=True, slots=True)
class BilateralP510:
    """The trading party pays the supplier. Not in force; date and price are open.

    Args:
        agreed_gbp_per_mwh: Price agreed with the supplier; None for the reference price.
    """

    agreed_gbp_per_mwh: Decimal | None = None
    name: Literal["BilateralP510"] = "BilateralP510"

    def compensate(
        self,
        delivered: ImportMWh,
        *,
        price: ReferencePrice,
        meter: MeterExport,  # noqa: ARG002 - every meter is eligible
    ) -> Compensation:
        """Return the supplier's credit, paid by the trading party."""
        agreed = self.agreed_gbp_per_mwh
        rate = price.gbp_per_mwh if agreed is None else agreed
        amount = delivered.mwh * rate
        return Compensation(amount, ZERO, amount, self.name, rate)


CompensationPolicy = MutualisedP415 | MutualisedP511 | BilateralP510

COMPENSATION: Final[Dated[CompensationPolicy]] = Dated(
    "supplier compensation",
    (
        Effective(date(2024, 11, 7), MutualisedP415(), "P415 implementation date"),
        Effective(
            date(2026, 8, 24), MutualisedP511(), "P511, decision of 10 August 2026; threshold open"
        ),
    ),
)


def with_export_thresholds(
    thresholds: Sequence[Effective[ExportMWh | None]],
    policies: Dated[CompensationPolicy] = COMPENSATION,
) -> Dated[CompensationPolicy]:
    """Return the rules of compensation with the thresholds of P511, which are not public.

    Args:
        thresholds: Largest export that is still eligible, by the day from which it holds; each
            holds until the next, and None is not known.
        policies: Rules over time; before the first threshold they stay as they are.
    """
    entries: list[Effective[CompensationPolicy]] = []
    for number, entry in enumerate(policies.entries):
        following = policies.entries[number + 1 :]
        until = entry.until or (following[0].start if following else None)
        if not isinstance(entry.value, MutualisedP511):
            entries.append(entry)
            continue
        known = [one for one in thresholds if until is None or one.start < until]
        before = [one for one in known if one.start <= entry.start]
        later = [one for one in known if one.start > entry.start]
        first = before[-1].value if before else entry.value.threshold
        entries.append(replace(entry, value=replace(entry.value, threshold=first)))
        entries += [
            replace(
                entry,
                start=one.start,
                value=replace(entry.value, threshold=one.value),
                source=f"{entry.source}; {one.source}",
            )
            for one in later
        ]
    return Dated(policies.name, tuple(entries))
