"""Half-hourly meter readings: what was read, by which kind of meter, and what is missing.

A number is never just a number: a settlement meter, an asset meter, telemetry and an estimate
are different evidence, and a value that a data collector substituted is marked and stays marked.
A later version of a reading replaces an earlier one, later by its place in the ledger, as clocks
may be set back; both remain in the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.registry import Msid
from gridflex.market.volumes import ImportMWh
from gridflex.market.working_days import half_hours_of


class Evidence(StrEnum):
    """What kind of measurement a figure rests on, strongest first."""

    SETTLEMENT = "settlement"
    ASSET_METERED = "asset-metered"
    TELEMETRY = "telemetry"
    ESTIMATED = "estimated"


METERED: Final = frozenset({Evidence.SETTLEMENT, Evidence.ASSET_METERED})
"""What energy may be settled on."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one metering system recorded in one half-hour.

    Args:
        meter: Import id of the pair.
        half_hour: When.
        import_kwh: Taken from the grid, at least 0.
        export_kwh: Given to the grid, at least 0.
        evidence: What kind of meter.
        is_substituted: Whether the data collector replaced a missing or implausible value.
        received_at: When this version arrived; aware UTC.

    Raises:
        ContractError: An amount is negative or not a finite `Decimal`.
    """

    meter: Msid
    half_hour: HalfHour
    import_kwh: Decimal
    export_kwh: Decimal
    evidence: Evidence
    is_substituted: bool
    received_at: datetime

    def __post_init__(self) -> None:
        for name, value in (("import_kwh", self.import_kwh), ("export_kwh", self.export_kwh)):
            if not value.is_finite() or value < 0:
                raise ContractError(
                    f"meter {self.meter} {self.half_hour}: {name} {value} must be at least 0"
                )

    @property
    def net(self) -> ImportMWh:
        """Import minus export."""
        return ImportMWh.from_kwh(self.import_kwh - self.export_kwh)

    @property
    def counts_as_delivery(self) -> bool:
        """Whether a delivery may be claimed on it: metered for settlement, not substituted."""
        return self.evidence in METERED and not self.is_substituted


@dataclass(frozen=True, slots=True)
class MeterHistory:
    """The readings of one meter with all their versions.

    Args:
        meter: Import id of the pair.
        versions: Per half-hour, in the order in which they were recorded.
    """

    meter: Msid
    versions: Mapping[HalfHour, tuple[Reading, ...]]

    @classmethod
    def of(cls, meter: Msid, readings: Iterable[Reading]) -> MeterHistory:
        """Return the history of ``meter`` out of readings as recorded; repeats count once."""
        versions: dict[HalfHour, list[Reading]] = {}
        for reading in (one for one in readings if one.meter == meter):
            known = versions.setdefault(reading.half_hour, [])
            if reading not in known:
                known.append(reading)
        return cls(meter, {half_hour: tuple(some) for half_hour, some in versions.items()})

    def at(self, half_hour: HalfHour, *, known_at: datetime) -> Reading | None:
        """Return the reading that was recorded last of those that had arrived by ``known_at``."""
        arrived = [
            reading
            for reading in self.versions.get(half_hour, ())
            if reading.received_at <= known_at
        ]
        return arrived[-1] if arrived else None

    def load_mwh(self, day: date, *, known_at: datetime) -> tuple[Decimal | None, ...]:
        """Return net import in MWh of each half-hour of a settlement day; None where missing."""
        readings = [self.at(half_hour, known_at=known_at) for half_hour in half_hours_of(day)]
        return tuple(reading.net.mwh if reading else None for reading in readings)


def check_once(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """Return readings that came in together, as they are.

    Raises:
        ContractError: Two of one meter and half-hour differ.
    """
    found: dict[tuple[Msid, HalfHour], Reading] = {}
    sent = tuple(readings)
    for one in sent:
        first = found.setdefault((one.meter, one.half_hour), one)
        if one != first:
            raise ContractError(
                f"meter {one.meter} {one.half_hour}: two readings differ, {_said(first)} and "
                f"{_said(one)}; one reading of each half-hour is valid"
            )
    return sent


def refuse_unfinished(readings: Iterable[Reading]) -> None:
    """Refuse readings that came in before their half-hour was over: nobody had measured it.

    Raises:
        ContractError: One did; names its meter, its start and what is valid.
    """
    for one in readings:
        if one.half_hour.end > one.received_at:
            raise ContractError(
                f"meter {one.meter}: start_utc {one.half_hour} is not valid; valid is a half-hour "
                f"that is over, and it was {one.received_at:%Y-%m-%dT%H:%MZ} when it came in"
            )


def _said(one: Reading) -> str:
    mark = " substituted" if one.is_substituted else ""
    return f"{one.import_kwh} kWh import {one.export_kwh} kWh export {one.evidence}{mark}"
