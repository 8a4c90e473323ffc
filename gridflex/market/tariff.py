"""What a MWh costs at the meter: commodity alone, or delivered with networks and levies.

A tariff is a dated file with a source for every rate. A component that the file does not state
is an error and never zero: a missing levy looks like a saving.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from gridflex.checked_values import Rows
from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.halfhour import LONDON, HalfHour
from gridflex.market.amounts import Amount
from gridflex.market.policy import Dated, Effective
from gridflex.market.volumes import ZERO

_SATURDAY: Final = 5
_MIDNIGHT: Final = time(0)


class Days(StrEnum):
    """On which days a window applies."""

    ALL = "all"
    WEEKDAYS = "weekdays"
    WEEKENDS = "weekends"


class Window(BaseModel, extra="forbid", frozen=True):
    """Hours of the clock in London, ``[start, end)``; an end of 00:00 is midnight.

    A window that ends before it starts goes on after midnight; days and months are those of the
    half-hour itself, as in published time bands.

    Attributes:
        days: Monday to Friday, Saturday and Sunday, or all.
        months: 1 to 12; empty for all.
        start: First minute.
        end: First minute after.
    """

    days: Days = Days.ALL
    months: Rows[Annotated[int, Field(ge=1, le=12)]] = ()
    start: time = _MIDNIGHT
    end: time = _MIDNIGHT

    @model_validator(mode="after")
    def _holds_something(self) -> Window:
        if self.start == self.end != _MIDNIGHT:
            raise ValueError(
                f"end: {self.end:%H:%M} is also the start, so the window holds nothing; valid is "
                "another end, or 00:00 to 00:00 for the whole day"
            )
        return self

    def holds(self, half_hour: HalfHour) -> bool:
        """Return whether a half-hour begins inside."""
        local = half_hour.start.astimezone(LONDON)
        is_weekend = local.weekday() >= _SATURDAY
        in_days = self.days is Days.ALL or is_weekend == (self.days is Days.WEEKENDS)
        in_months = not self.months or local.month in self.months
        after_start = self.start <= local.time()
        before_end = self.end == _MIDNIGHT or local.time() < self.end
        wraps = _MIDNIGHT < self.end < self.start
        in_hours = after_start or before_end if wraps else after_start and before_end
        return in_days and in_months and in_hours


class Band(BaseModel, extra="forbid", frozen=True):
    """One distribution time band.

    Attributes:
        name: Red, amber, green.
        gbp_per_mwh: Unit rate at the meter.
        windows: When it applies; the first band that holds counts.
    """

    name: str
    gbp_per_mwh: Amount
    windows: Rows[Window] = Field(min_length=1)


class Source(BaseModel, extra="forbid", frozen=True):
    """Where a rate comes from.

    Attributes:
        document: Title and version.
        url: Where it is published.
        sha256: Digest of the document used.
    """

    document: str
    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


LEVIES: Final = ("bsuos", "cfd", "ro", "fit", "ccl", "aahedc", "nuclear_rab", "supplier_fee")
"""Components charged on every MWh at the meter, beside losses, distribution and capacity."""

FIXED: Final = ("tnuos_residual", "duos_fixed", "duos_capacity", "metering")
"""Components charged per day."""


class TariffVersion(BaseModel, extra="forbid", frozen=True):
    """The rates of one period.

    Attributes:
        effective_from: First day.
        effective_until: First day that no longer counts; None while it stands.
        line_loss_factor: Meter to grid supply point.
        transmission_multiplier: Grid supply point to the national boundary.
        shape_gbp_per_mwh: Supplier's price for profile and risk.
        levies_gbp_per_mwh: Each of `LEVIES`; state 0 for one that does not apply.
        duos: Distribution bands; together they must hold every half-hour.
        capacity_market_gbp_per_mwh: Rate in the hours that set the supplier's charge.
        capacity_market_windows: Those hours.
        fixed_gbp_per_day: Each of `FIXED`.
        sources: Per component.
    """

    effective_from: date
    effective_until: date | None = None
    line_loss_factor: Amount = Field(ge=1)
    transmission_multiplier: Amount = Field(gt=0)
    shape_gbp_per_mwh: Amount
    levies_gbp_per_mwh: dict[str, Amount]
    duos: Rows[Band] = Field(min_length=1)
    capacity_market_gbp_per_mwh: Amount
    capacity_market_windows: Rows[Window]
    fixed_gbp_per_day: dict[str, Amount]
    sources: dict[str, Source]

    @model_validator(mode="after")
    def _complete(self) -> TariffVersion:
        named: dict[str, tuple[tuple[str, ...], Collection[str]]] = {
            "levies_gbp_per_mwh": (LEVIES, self.levies_gbp_per_mwh),
            "fixed_gbp_per_day": (FIXED, self.fixed_gbp_per_day),
            "sources": ((*LEVIES, *FIXED, "losses", "duos", "capacity_market"), self.sources),
        }
        for name, (needed, given) in named.items():
            missing, unknown = set(needed) - set(given), set(given) - set(needed)
            if missing or unknown:
                raise ValueError(
                    f"{name} of {self.effective_from}: missing {sorted(missing)}, unknown "
                    f"{sorted(unknown)}; state 0 where a component does not apply"
                )
        return self


class TariffFile(BaseModel, extra="forbid", frozen=True):
    """The tariff of one site over time.

    Attributes:
        site: Its name.
        versions: By date.
    """

    site: str
    versions: Rows[TariffVersion] = Field(min_length=1)

    def dated(self) -> Dated[TariffVersion]:
        """Return the versions as a dated policy."""
        return Dated(
            f"tariff of {self.site}",
            tuple(
                Effective(one.effective_from, one, "tariff file", one.effective_until)
                for one in self.versions
            ),
        )


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one MWh at the meter costs in one half-hour.

    Args:
        commodity_gbp_per_mwh: Wholesale price alone.
        components_gbp_per_mwh: Everything, by component; ``losses`` is what losses add to the
            commodity.
        duos_band: Distribution band that applied.
    """

    commodity_gbp_per_mwh: Decimal
    components_gbp_per_mwh: Mapping[str, Decimal]
    duos_band: str

    @property
    def delivered_gbp_per_mwh(self) -> Decimal:
        """Sum of all components."""
        return sum(self.components_gbp_per_mwh.values(), ZERO)


def read_tariff(text: str) -> TariffFile:
    """Return a tariff file written in YAML.

    Raises:
        ContractError: It is not YAML, or a component is missing, unknown or not valid.
    """
    try:
        return TariffFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ContractError(f"tariff file is not valid YAML: {error}") from error
    except ValidationError as error:
        raise ContractError(f"tariff file: {faults_text(error, whole='tariff')}") from error


def unit_cost(
    tariff: Dated[TariffVersion], *, half_hour: HalfHour, wholesale_gbp_per_mwh: Decimal
) -> UnitCost:
    """Return what a MWh at the meter costs in a half-hour.

    Args:
        tariff: The site's rates over time.
        half_hour: When.
        wholesale_gbp_per_mwh: Commodity price.

    Raises:
        ContractError: No version is in force, or no distribution band holds the half-hour.
    """
    version = tariff.on(half_hour.settlement[0])
    band = _band(version, half_hour)
    scale = version.line_loss_factor * version.transmission_multiplier
    peak = any(window.holds(half_hour) for window in version.capacity_market_windows)
    components = {
        "wholesale": wholesale_gbp_per_mwh,
        "losses": wholesale_gbp_per_mwh * (scale - 1),
        "shape": version.shape_gbp_per_mwh,
        "duos": band.gbp_per_mwh,
        "capacity_market": version.capacity_market_gbp_per_mwh if peak else ZERO,
        **{name: version.levies_gbp_per_mwh[name] for name in LEVIES},
    }
    return UnitCost(wholesale_gbp_per_mwh, components, band.name)


def fixed_cost_gbp(tariff: Dated[TariffVersion], *, day: date) -> Decimal:
    """Return the charges of a day that do not depend on use."""
    return sum(tariff.on(day).fixed_gbp_per_day.values(), ZERO)


def _band(version: TariffVersion, half_hour: HalfHour) -> Band:
    for band in version.duos:
        if any(window.holds(half_hour) for window in band.windows):
            return band
    raise ContractError(f"no distribution band of {version.effective_from} holds {half_hour}")
