"""Settings of who sells energy under P415."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, Field, field_validator, model_validator

from gridflex.checked_values import Secret
from gridflex.market.days import SettlementDay
from gridflex.market.settlement.authority import Figures
from gridflex.market.settlement.calendar import SettlementCalendar
from gridflex.market.settlement.losses import LEAST, MOST
from gridflex.market.volumes import ZERO


class ReferencePriceRow(BaseModel, extra="forbid", frozen=True):
    """A reference price of supplier compensation, which is published per quarter.

    Attributes:
        start: First settlement day.
        until: First day on which it no longer holds; None while it stands.
        gbp_per_mwh: The figure.
        is_official: False for a figure of one's own.
    """

    start: date
    until: date | None = None
    gbp_per_mwh: Decimal = Field(ge=0)
    is_official: bool = True


class LossRow(BaseModel, extra="forbid", frozen=True):
    """By what energy at the meter counts, until the next row begins.

    Attributes:
        start: First settlement day.
        line_loss_factor: Scales the meter to the grid supply point.
        transmission_multiplier: Scales the unit's deviation to the energy account.
    """

    start: SettlementDay
    line_loss_factor: Decimal = Field(default=Decimal(1), ge=LEAST, le=MOST)
    transmission_multiplier: Decimal = Field(default=Decimal(1), ge=LEAST, le=MOST)


class ExportRow(BaseModel, extra="forbid", frozen=True):
    """What the rule of compensation of August 2026 (P511) needs, until the next row begins.

    Attributes:
        start: First settlement day.
        threshold_mwh: Largest half-hourly export that is still eligible; None is not known.
        largest_mwh: Largest half-hourly export of the meter; readings that say more count.
    """

    start: SettlementDay
    threshold_mwh: Decimal | None = Field(default=None, ge=0)
    largest_mwh: Decimal = Field(default=ZERO, ge=0)


class PredictabilityRow(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """From which a baseline is too poor to sell on, until the next row begins.

    Attributes:
        start: First day on which it is judged so.
        bias_fraction: Greatest mean error relative to the mean load, either way.
        rrmse_fraction: Greatest root mean square error relative to the mean load.
        sample_days: Fewest days to judge by.
        source: Where the limits come from.
    """

    start: SettlementDay
    bias_fraction: float = Field(default=0.10, gt=0)
    rrmse_fraction: float = Field(default=0.20, gt=0)
    sample_days: int = Field(default=10, ge=1, le=60)
    source: str = "settings"


class InterestRow(BaseModel, extra="forbid", frozen=True):
    """What a later settlement run pays on its difference, until the next row begins.

    Attributes:
        start: First day of payment.
        fraction_per_year: Simple interest; 0.05 is 5 %.
    """

    start: SettlementDay
    fraction_per_year: Decimal = Field(ge=0, le=1)


Row = TypeVar("Row", LossRow, ExportRow, PredictabilityRow, InterestRow)


class EnergySettings(BaseModel, extra="forbid", frozen=True):
    """Selling energy under P415; without a unit nothing is sold.

    The unit, its meters, the customer's consent and the supplier are those of the registry
    (``gridflex settle register``); a unit that is not registered for a day is not traded on it.

    Attributes:
        unit: Secondary BM Unit; None sells nothing.
        site: Name of the site whose jobs are behind its meters; None is the default one.
        contract: Flexibility contract with the site, to which its revenue is attributed; without
            it ``wholesale:`` and the unit.
        authorisation: ECVNAA id under which contract notices are sent.
        credential: Key of that authorisation, which only the files bear.
        phase: ``OPER``, or a test phase of the central systems.
        folder: Where files and orders are exchanged; None is in ``state_dir``. Must be the same on
            every node that may run the agents.
        sale_fraction: Greatest share of the expected delivery that is sold.
        risk_aversion: 0 reads the system price at its mean, 1 at its worst tail.
        lot_mw: Smallest step of an order.
        reference_prices: For supplier compensation, over those derived from published cash flows
            from the first of them on.
        losses: Loss factors by day; without any they are 1.
        losses_file: The same by day or half-hour, as CSV (docs/settlement.md); read again when it
            changes. Not together with ``losses``.
        exports: Threshold and export of the meter for supplier compensation.
        predictability: Limits within which a baseline must have met the meter for the unit to be
            sold; the usual ones without.
        settlement_calendar: Published rows; where they are missing the usual lags count.
        interest: Rate on the differences between settlement runs; none without, and none for what
            is paid before the first row.
        reported: Which figures of central settlement reports (S0142) count instead of our own.
        report_tolerance_mwh: How far a volume of ours may be off a report before it is told.
        report_tolerance_gbp_per_mwh: The same for a price.
    """

    unit: str | None = Field(default=None, pattern=r"^V__[A-HJ-NP][A-Z0-9]{4}[0-9]{3}$")
    site: str | None = None
    contract: str | None = Field(default=None, min_length=1, max_length=100)
    authorisation: str = Field(default="", max_length=10)
    credential: Secret | None = None
    phase: str = Field(default="OPER", pattern=r"^[A-Z0-9]{4}$")
    folder: Path | None = None
    sale_fraction: Decimal = Field(default=Decimal("0.8"), gt=0, le=1)
    risk_aversion: Decimal = Field(default=Decimal("0.5"), ge=0, le=1)
    lot_mw: Decimal = Field(default=Decimal("0.1"), gt=0)
    reference_prices: tuple[ReferencePriceRow, ...] = ()
    losses: tuple[LossRow, ...] = ()
    losses_file: Path | None = None
    exports: tuple[ExportRow, ...] = ()
    predictability: tuple[PredictabilityRow, ...] = ()
    settlement_calendar: SettlementCalendar = ()
    interest: tuple[InterestRow, ...] = ()
    reported: tuple[Figures, ...] = tuple(Figures)
    report_tolerance_mwh: Decimal = Field(default=Decimal("0.001"), ge=0)
    report_tolerance_gbp_per_mwh: Decimal = Field(default=Decimal("0.01"), ge=0)

    @field_validator("losses", "exports", "predictability", "interest")
    @classmethod
    def _one_row_a_day(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        days = [one.start for one in rows]
        if len(set(days)) < len(days):
            twice = sorted({f"{one}" for one in days if days.count(one) > 1})
            raise ValueError(f"start {', '.join(twice)} is there twice; valid is one row of a day")
        return tuple(sorted(rows, key=lambda one: one.start))

    @model_validator(mode="after")
    def _one_source_of_losses(self) -> EnergySettings:
        if self.losses and self.losses_file is not None:
            raise ValueError("losses and losses_file are both given; valid is one of them")
        return self

    @model_validator(mode="after")
    def _authorised(self) -> EnergySettings:
        missing = [name for name in ("authorisation", "credential") if not getattr(self, name)]
        if self.unit is not None and missing:
            raise ValueError(
                f"unit {self.unit} is traded under an authorisation with its credential; missing: "
                + ", ".join(f"energy.{one} (or GRIDFLEX_ENERGY__{one.upper()})" for one in missing)
            )
        return self
