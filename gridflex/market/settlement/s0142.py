"""The central settlement report, read for what a trading party must check.

SAA-I014 sub-flow 2. Parties come in blocks: a party header, its day, then its half-hours with
its units below. The party is the one of the block, never the letters inside a unit's id. Only
the fields that settlement and reconciliation need are read; meanings that were inferred from
published files and not from the format's own text are marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.registry import UnitId
from gridflex.market.settlement.account import SystemPrice
from gridflex.market.settlement.runs import Run

VERSIONS: Final = frozenset({"S0142013", "S0142014"})

FEWEST_FIELDS: Final[Mapping[str, int]] = {
    "AAA": 2,
    "SRH": 3,
    "SPI": 4,
    "BPH": 9,
    "APC": 13,
    "SP7": 2,
    "APD": 10,
    "BP7": 26,
    "ZZZ": 1,
}
"""Fields of each record that is read, tag included; later versions only add at the end."""

MOST_DIGITS: Final = 12
"""Before the point of any figure: no price or volume of a half-hour has as many."""

_BOM: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One unit of one party in one half-hour; MWh with the central sign, GBP.

    Args:
        party: Of the block.
        half_hour: When.
        unit: Which unit.
        metered_mwh: Metered volume.
        loss_factor: Transmission loss factor.
        loss_multiplier: Transmission loss multiplier.
        supplier_delivered_mwh: Supplier delivered volume.
        expected_mwh: Settlement expected volume (inferred).
        deviation_mwh: Deviation of a secondary unit, positive for less import (inferred).
        supplier_compensation_mwh: Supplier compensation volume.
        unit_compensation_mwh: Compensation volume of a secondary unit.
        supplier_compensation_gbp: Supplier compensation cash flow.
    """

    party: str
    half_hour: HalfHour
    unit: UnitId
    metered_mwh: Decimal | None
    loss_factor: Decimal | None
    loss_multiplier: Decimal | None
    supplier_delivered_mwh: Decimal | None
    expected_mwh: Decimal | None
    deviation_mwh: Decimal | None
    supplier_compensation_mwh: Decimal | None
    unit_compensation_mwh: Decimal | None
    supplier_compensation_gbp: Decimal | None


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One Energy Account of one party in one half-hour, MWh.

    Args:
        party: Of the block.
        half_hour: When.
        contract_mwh: Bilateral contract volume.
        balancing_mwh: Balancing services volume.
        imbalance_mwh: Energy imbalance volume.
        credited_mwh: Credited energy.
    """

    party: str
    half_hour: HalfHour
    contract_mwh: Decimal | None
    balancing_mwh: Decimal | None
    imbalance_mwh: Decimal | None
    credited_mwh: Decimal | None


@dataclass(frozen=True, slots=True)
class PartyDay:
    """Daily compensation of one party, GBP.

    Args:
        party: Of the block.
        raised_gbp: Its part of the fund; positive is a debit.
        compensation_gbp: Credit for its customers' reductions.
    """

    party: str
    raised_gbp: Decimal | None
    compensation_gbp: Decimal | None


@dataclass(frozen=True, slots=True)
class SettlementReport:
    """One report.

    Args:
        version: Flow and version.
        day: Settlement day.
        run: Which run.
        prices: System prices per half-hour.
        sourcing_cost: Supplier sourcing cost per half-hour, where given.
        units: All units.
        accounts: All accounts.
        parties: All parties.
        passed_over: How many records of each other type were not read.
    """

    version: str
    day: date
    run: Run
    prices: Mapping[HalfHour, SystemPrice]
    sourcing_cost: Mapping[HalfHour, Decimal]
    units: tuple[UnitRow, ...]
    accounts: tuple[AccountRow, ...]
    parties: tuple[PartyDay, ...]
    passed_over: Mapping[str, int]

    def of(self, party: str) -> tuple[UnitRow, ...]:
        """Return the units of one party."""
        return tuple(row for row in self.units if row.party == party)


def is_s0142(payload: bytes) -> bool:
    """Return whether a file says that it is such a report, of whatever version."""
    return payload.removeprefix(_BOM.encode()).startswith(b"AAA|S0142")


def read_s0142(text: str) -> SettlementReport:
    """Return a settlement report.

    Args:
        text: The unpacked file; a byte-order mark and both line ends are accepted.

    Raises:
        ContractError: The version is unknown, a record is too short or out of place, a value is
            not a number, or the file has no end.
    """
    return _Reader().read(text.splitlines())


@dataclass(slots=True)
class _Reader:
    version: str = ""
    day: date | None = None
    run: Run | None = None
    party: str = ""
    half_hour: HalfHour | None = None
    is_complete: bool = False
    prices: dict[HalfHour, SystemPrice] = field(default_factory=dict)
    sourcing_cost: dict[HalfHour, Decimal] = field(default_factory=dict)
    units: dict[tuple[str, HalfHour, UnitId], UnitRow] = field(default_factory=dict)
    accounts: list[AccountRow] = field(default_factory=list)
    parties: list[PartyDay] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)

    def read(self, lines: Iterable[str]) -> SettlementReport:
        for number, line in enumerate(lines, start=1):
            self._take(_fields(line), number)
        if not self.version or self.day is None or self.run is None or not self.is_complete:
            raise ContractError("settlement report is cut off or has no header")
        return SettlementReport(
            version=self.version,
            day=self.day,
            run=self.run,
            prices=self.prices,
            sourcing_cost=self.sourcing_cost,
            units=tuple(self.units.values()),
            accounts=tuple(self.accounts),
            parties=tuple(self.parties),
            passed_over=self.passed_over,
        )

    def _take(self, fields: list[str], number: int) -> None:
        tag = fields[0]
        fewest = FEWEST_FIELDS.get(tag)
        if fewest is None:
            self.passed_over[tag] = self.passed_over.get(tag, 0) + 1
            return
        if len(fields) < fewest:
            raise ContractError(
                f"settlement report line {number}: {tag} has {len(fields)} fields, {fewest} needed"
            )
        try:
            getattr(self, f"_take_{tag.lower()}")(fields)
        except (InvalidOperation, OverflowError, ValueError, ContractError) as error:
            raise ContractError(f"settlement report line {number}: {tag}: {error}") from error

    def _take_aaa(self, fields: list[str]) -> None:
        self.version = fields[1]
        if self.version not in VERSIONS:
            raise ContractError(f"version {self.version} is not {', '.join(sorted(VERSIONS))}")

    def _take_srh(self, fields: list[str]) -> None:
        self.day = datetime.strptime(fields[1], "%Y%m%d").replace(tzinfo=UTC).date()
        self._at("1")  # the last day of all has no half-hours
        self.run = Run(fields[2])

    def _take_spi(self, fields: list[str]) -> None:
        at = self._at(fields[1])
        price = SystemPrice(_needed(fields, 2), _needed(fields, 3))
        if self.prices.setdefault(at, price) != price:
            raise ContractError(f"{at} has another price already, {self.prices[at]}")
        cost = _number(fields, 53)
        if cost is not None:
            self.sourcing_cost[at] = cost

    def _take_bph(self, fields: list[str]) -> None:
        self.party, self.half_hour = fields[8], None

    def _take_apc(self, fields: list[str]) -> None:
        self.parties.append(PartyDay(self._party(), _number(fields, 11), _number(fields, 12)))

    def _take_sp7(self, fields: list[str]) -> None:
        self.half_hour = self._at(fields[1])

    def _take_apd(self, fields: list[str]) -> None:
        volumes = [_number(fields, position) for position in (6, 7, 8, 9)]
        self.accounts.append(AccountRow(self._party(), self._now(), *volumes))

    def _take_bp7(self, fields: list[str]) -> None:
        numbers = [_number(fields, position) for position in (8, 11, 12, 16, 18, 19, 22, 23, 25)]
        row = UnitRow(self._party(), self._now(), UnitId(fields[1]), *numbers)
        key = (row.party, row.half_hour, row.unit)
        if self.units.setdefault(key, row) != row:
            raise ContractError(f"{row.unit} has other figures in {row.half_hour} already")

    def _take_zzz(self, fields: list[str]) -> None:
        self.is_complete = bool(fields)

    def _at(self, period: str) -> HalfHour:
        if self.day is None:
            raise ContractError("a half-hour before the report's header")
        return HalfHour.from_settlement(self.day, int(period))

    def _party(self) -> str:
        if not self.party:
            raise ContractError("a record before any party header")
        return self.party

    def _now(self) -> HalfHour:
        if self.half_hour is None:
            raise ContractError("a record before any half-hour of the party")
        return self.half_hour


def _fields(line: str) -> list[str]:
    return line.removeprefix(_BOM).rstrip("\r\n").removesuffix("|").split("|")


def _number(fields: list[str], position: int) -> Decimal | None:
    if position >= len(fields) or not fields[position]:
        return None
    value = Decimal(fields[position])
    if not value.is_finite() or value.adjusted() >= MOST_DIGITS:
        raise ContractError(
            f"field {position} {fields[position][:40]!r} is not a number of at most {MOST_DIGITS} "
            "digits before the point"
        )
    return value


def _needed(fields: list[str], position: int) -> Decimal:
    value = _number(fields, position)
    if value is None:
        raise ContractError(f"field {position} is empty; a number is needed")
    return value


def compensation_by_party(report: SettlementReport) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Yield each party with what it was credited and what was raised from it, GBP."""
    for row in report.parties:
        yield row.party, row.compensation_gbp or Decimal(0), row.raised_gbp or Decimal(0)
