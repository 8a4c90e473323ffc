"""What one account earned in one half-hour, from what was metered, expected, sold and priced.

Deviation is metered minus expected volume of each active unit, export positive, so that less
import is a positive deviation. The account's imbalance is what it was credited minus what it
sold; a surplus is paid and a shortfall charged at the system price, which may be negative.
Nothing is rounded here; money is rounded on the invoice.

Source: BSC Sections S-2, T and P as amended by P415. How losses apply to the deviation of a
trading unit is not confirmed: the transmission multiplier is an input and 1 by default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from gridflex.checked_values import Rows
from gridflex.halfhour import HalfHour
from gridflex.market.meters import Evidence
from gridflex.market.registry import BaselineIndicator, Msid, UnitId
from gridflex.market.settlement.compensation import (
    Compensation,
    CompensationPolicy,
    MeterExport,
    ReferencePrice,
)
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import NO_EXPORT, NO_IMPORT, ZERO, ExportMWh, ImportMWh

ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class PairPeriod:
    """One meter pair in one half-hour.

    Args:
        meter: Its import id.
        supplier: Party that supplies it.
        indicator: Who says its baseline.
        metered: Net import at the meter.
        baseline: Net import that was expected; only for a baselined pair. None where the
            baseline is not defined, which counts as the out-turn.
        delivered: What was notified as delivered; only for a submitted pair.
        line_loss_factor: Scales meter to grid supply point.
        largest_export: Largest half-hourly export of the meter.
        evidence: What the reading rests on.
        is_substituted: Whether the reading was substituted.
    """

    meter: Msid
    supplier: str
    indicator: BaselineIndicator
    metered: ImportMWh
    baseline: ImportMWh | None = None
    delivered: ExportMWh | None = None
    line_loss_factor: Decimal = ONE
    largest_export: ExportMWh = NO_EXPORT
    evidence: Evidence = Evidence.SETTLEMENT
    is_substituted: bool = False


@dataclass(frozen=True, slots=True)
class ReportedVolumes:
    """What a central settlement report says of a unit; what it leaves out is computed here.

    Args:
        metered: Loss-adjusted metered volume.
        expected: Settlement expected volume.
        deviation: What was measured of the one minus the other.
    """

    metered: ExportMWh | None
    expected: ExportMWh | None
    deviation: ExportMWh | None


@dataclass(frozen=True, slots=True)
class UnitPeriod:
    """One Secondary BM Unit in one half-hour.

    Args:
        unit: Which unit.
        is_active: Whether an activity notice is in force.
        submitted: Expected volume of its submitted pairs; None where none is in force.
        pairs: Its meters.
        transmission_multiplier: Loss multiplier of the unit.
        reported: Volumes of the run's central report, which count instead of those computed from
            the meters; None without one.
    """

    unit: UnitId
    is_active: bool
    submitted: ExportMWh | None
    pairs: Rows[PairPeriod]
    transmission_multiplier: Decimal = ONE
    reported: Annotated[ReportedVolumes | None, Field(exclude_if=lambda one: one is None)] = None


@dataclass(frozen=True, slots=True)
class SoldVolume:
    """Energy sold in the half-hour by one trade.

    Args:
        trade: Its id.
        mwh: Net sold; negative for a purchase.
        price_gbp_per_mwh: Agreed price.
        is_notified: Whether a contract notice for it was accepted.
        contract: Flexibility contract it serves, if one.
    """

    trade: str
    mwh: Decimal
    price_gbp_per_mwh: Decimal
    is_notified: bool = True
    contract: str | None = None


@dataclass(frozen=True, slots=True)
class SystemPrice:
    """Imbalance prices; equal since P305 but reported as two.

    Args:
        sell_gbp_per_mwh: Paid for a surplus.
        buy_gbp_per_mwh: Charged for a shortfall.
    """

    sell_gbp_per_mwh: Decimal
    buy_gbp_per_mwh: Decimal

    @classmethod
    def single(cls, gbp_per_mwh: Decimal) -> SystemPrice:
        """Return one price for both."""
        return cls(gbp_per_mwh, gbp_per_mwh)


@dataclass(frozen=True, slots=True)
class AccountPeriod:
    """All inputs of one account's half-hour in one run.

    Args:
        account: Party id of the trading party.
        half_hour: When.
        run: Which settlement run the inputs are of.
        units: Its units.
        sold: Its trades.
        system_price: Imbalance prices.
        reference_price: For supplier compensation.
        policy: Rule of compensation on that day.
        balancing_mwh: Balancing services volume of the account.
        fees_gbp: Exchange, notification and credit fees.
    """

    account: str
    half_hour: HalfHour
    run: Run
    units: Rows[UnitPeriod]
    sold: Rows[SoldVolume]
    system_price: SystemPrice
    reference_price: ReferencePrice
    policy: CompensationPolicy
    balancing_mwh: Decimal = ZERO
    fees_gbp: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class PairResult:
    """What was allocated to one meter pair.

    Args:
        meter: Its import id.
        supplier: Who is adjusted and compensated.
        delivered: Reduction of import at the grid supply point.
        compensation: For its supplier.
    """

    meter: Msid
    supplier: str
    delivered: ImportMWh
    compensation: Compensation


@dataclass(frozen=True, slots=True)
class UnitResult:
    """Deviation of one unit.

    Args:
        unit: Which unit.
        expected: Settlement expected volume; None where the deviation is lost.
        metered: Loss-adjusted metered volume.
        deviation: Metered minus expected, zero where it is not measured.
        credited_mwh: Deviation after transmission losses.
        pairs: Allocation to meters.
        residual: Deviation that no pair accounts for.
        notes: What went wrong, if anything.
    """

    unit: UnitId
    expected: ExportMWh | None
    metered: ExportMWh
    deviation: ExportMWh
    credited_mwh: Decimal
    pairs: tuple[PairResult, ...]
    residual: ExportMWh
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountResult:
    """The half-hour's outcome for the account; GBP exact.

    Args:
        account: Which account.
        half_hour: When.
        run: Which run.
        units: Deviations.
        credited_mwh: Sum of credited deviations.
        sold_mwh: Sum of notified sales.
        imbalance_mwh: Credited minus balancing minus sold; positive is a surplus.
        imbalance_charge_gbp: Positive is paid by the account, negative received.
        trade_revenue_gbp: From notified sales.
        unnotified_gbp: Contract value of sales whose notice was not accepted; not in the net.
        compensation_gbp: Credit of all suppliers.
        compensation_paid_gbp: Part of it that the account itself pays.
        fees_gbp: As given.
        net_gbp: Revenue minus charge, compensation paid and fees.
    """

    account: str
    half_hour: HalfHour
    run: Run
    units: tuple[UnitResult, ...]
    credited_mwh: Decimal
    sold_mwh: Decimal
    imbalance_mwh: Decimal
    imbalance_charge_gbp: Decimal
    trade_revenue_gbp: Decimal
    unnotified_gbp: Decimal
    compensation_gbp: Decimal
    compensation_paid_gbp: Decimal
    fees_gbp: Decimal
    net_gbp: Decimal


def settle(period: AccountPeriod) -> AccountResult:
    """Return the outcome of one half-hour."""
    units = tuple(_unit(unit, period) for unit in period.units)
    credited = sum((unit.credited_mwh for unit in units), ZERO)
    notified = [one for one in period.sold if one.is_notified]
    sold = sum((one.mwh for one in notified), ZERO)
    imbalance = credited - period.balancing_mwh - sold
    charge = imbalance_charge_gbp(imbalance, price=period.system_price)
    revenue = sum((one.mwh * one.price_gbp_per_mwh for one in notified), ZERO)
    compensations = [pair.compensation for unit in units for pair in unit.pairs]
    paid = sum((one.from_trading_party_gbp for one in compensations), ZERO)
    return AccountResult(
        account=period.account,
        half_hour=period.half_hour,
        run=period.run,
        units=units,
        credited_mwh=credited,
        sold_mwh=sold,
        imbalance_mwh=imbalance,
        imbalance_charge_gbp=charge,
        trade_revenue_gbp=revenue,
        unnotified_gbp=_value(period.sold) - revenue,
        compensation_gbp=sum((one.supplier_gbp for one in compensations), ZERO),
        compensation_paid_gbp=paid,
        fees_gbp=period.fees_gbp,
        net_gbp=revenue - charge - paid - period.fees_gbp,
    )


def imbalance_charge_gbp(imbalance_mwh: Decimal, *, price: SystemPrice) -> Decimal:
    """Return what an imbalance costs: negative is received for a surplus.

    At a negative price a surplus costs money and a shortfall earns it.
    """
    rate = price.sell_gbp_per_mwh if imbalance_mwh > 0 else price.buy_gbp_per_mwh
    return -imbalance_mwh * rate + ZERO  # no negative zero


def _unit(unit: UnitPeriod, period: AccountPeriod) -> UnitResult:
    metered = sum((_at_gsp(one.metered, one).as_export() for one in unit.pairs), NO_EXPORT)
    expected = _expected(unit)
    counts = unit.is_active and expected is not None
    deviation = metered - expected if counts and expected is not None else NO_EXPORT
    pairs = tuple(_pair(one, period, counts=counts) for one in unit.pairs)
    allocated = sum((one.delivered for one in pairs), NO_IMPORT)
    computed = UnitResult(
        unit=unit.unit,
        expected=expected,
        metered=metered,
        deviation=deviation,
        credited_mwh=deviation.mwh * unit.transmission_multiplier,
        pairs=pairs,
        residual=ExportMWh(deviation.mwh - allocated.mwh),
        notes=_notes(unit, expected),
    )
    return computed if unit.reported is None else _as_reported(computed, unit.reported, unit)


def _as_reported(computed: UnitResult, said: ReportedVolumes, unit: UnitPeriod) -> UnitResult:
    """Return a result with the volumes of the central report; what it does not say is kept."""
    deviation = computed.deviation if said.deviation is None else said.deviation
    expected = computed.expected if said.expected is None else said.expected
    differs = deviation != computed.deviation
    note = f"deviation as reported; {computed.deviation.mwh} MWh was computed"
    return replace(
        computed,
        expected=expected,
        metered=computed.metered if said.metered is None else said.metered,
        deviation=deviation,
        credited_mwh=deviation.mwh * unit.transmission_multiplier,
        residual=computed.residual + (deviation - computed.deviation),
        notes=(*computed.notes, *((note,) if differs else ())),
    )


def _expected(unit: UnitPeriod) -> ExportMWh | None:
    """Return submitted plus baselined volumes; None where a submitted pair has no value."""
    active = [one for one in unit.pairs if one.indicator is not BaselineIndicator.INACTIVE]
    needs_submission = any(one.indicator is BaselineIndicator.SUBMITTED for one in active)
    if needs_submission and unit.submitted is None:
        return None
    baselined = [one for one in unit.pairs if one.indicator is not BaselineIndicator.SUBMITTED]
    return sum(
        (_at_gsp(_baseline(one), one).as_export() for one in baselined),
        unit.submitted if needs_submission and unit.submitted is not None else NO_EXPORT,
    )


def _baseline(pair: PairPeriod) -> ImportMWh:
    """Return the baseline, or the out-turn for an inactive pair and an undefined baseline."""
    is_baselined = pair.indicator is BaselineIndicator.BASELINED
    return pair.baseline if is_baselined and pair.baseline is not None else pair.metered


def _pair(pair: PairPeriod, period: AccountPeriod, *, counts: bool) -> PairResult:
    delivered = _delivered(pair) if counts else NO_IMPORT
    compensation = period.policy.compensate(
        delivered, price=period.reference_price, meter=MeterExport(pair.largest_export)
    )
    return PairResult(pair.meter, pair.supplier, delivered, compensation)


def _delivered(pair: PairPeriod) -> ImportMWh:
    if pair.indicator is BaselineIndicator.SUBMITTED:
        return ImportMWh(pair.delivered.mwh) if pair.delivered is not None else NO_IMPORT
    return _at_gsp(_baseline(pair) - pair.metered, pair)


def _at_gsp(volume: ImportMWh, pair: PairPeriod) -> ImportMWh:
    return ImportMWh(volume.mwh * pair.line_loss_factor)


def _notes(unit: UnitPeriod, expected: ExportMWh | None) -> tuple[str, ...]:
    notes = []
    if not unit.is_active:
        notes.append("no activity notice is in force: no deviation is measured")
    if expected is None:
        notes.append("no expected volume is in force: the deviation is lost")
    for pair in unit.pairs:
        is_baselined = pair.indicator is BaselineIndicator.BASELINED
        if is_baselined and pair.baseline is None:
            notes.append(f"meter {pair.meter}: baseline not defined, out-turn taken")
        if pair.is_substituted:
            notes.append(f"meter {pair.meter}: reading was substituted")
    return tuple(notes)


def _value(sold: tuple[SoldVolume, ...]) -> Decimal:
    return sum((one.mwh * one.price_gbp_per_mwh for one in sold), ZERO)
