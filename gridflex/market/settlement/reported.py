"""Central settlement reports as events of the ledger, and settlements that follow them.

A report is recorded per unit, settlement day and run, with what it says of the unit, its account
and the prices. Where the figures of central systems count, a settlement takes them as inputs
beside its own, so that it can be run again without the report. Volumes of the account are only
compared: it may trade more than what is known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.market.registry import UnitId
from gridflex.market.settlement.account import (
    AccountPeriod,
    AccountResult,
    ReportedVolumes,
    SystemPrice,
    UnitPeriod,
    settle,
)
from gridflex.market.settlement.authority import Authority, Figures
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.s0142 import SettlementReport
from gridflex.market.volumes import ZERO, ExportMWh
from gridflex.market.working_days import half_hours_of

MOST_TOLD: Final = 3
"""Differences of a day and run that are named; the rest are counted."""


@dataclass(frozen=True, slots=True)
class ReportedHalfHour:
    """What a report says of a unit's half-hour; MWh with the central sign, None where nothing.

    Args:
        half_hour: When.
        sell_gbp_per_mwh: Paid for a surplus.
        buy_gbp_per_mwh: Charged for a shortfall.
        metered_mwh: Metered volume of the unit.
        expected_mwh: Its settlement expected volume.
        deviation_mwh: Its deviation, positive for less import.
        loss_multiplier: Its transmission loss multiplier.
        contract_mwh: Bilateral contract volume of its account.
        imbalance_mwh: Energy imbalance volume of its account.
    """

    half_hour: HalfHour
    sell_gbp_per_mwh: Decimal | None
    buy_gbp_per_mwh: Decimal | None
    metered_mwh: Decimal | None
    expected_mwh: Decimal | None
    deviation_mwh: Decimal | None
    loss_multiplier: Decimal | None
    contract_mwh: Decimal | None
    imbalance_mwh: Decimal | None


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What a report says of a unit.

    Args:
        unit: Which.
        party: Of its account.
        day: Settlement day.
        run: Which run.
        file_sha256: Digest of the whole file.
        half_hours: What it says, in order of time.
    """

    unit: UnitId
    party: str
    day: date
    run: Run
    file_sha256: str
    half_hours: tuple[ReportedHalfHour, ...]

    def at(self, half_hour: HalfHour) -> ReportedHalfHour | None:
        """Return what it says of one half-hour."""
        return next((one for one in self.half_hours if one.half_hour == half_hour), None)


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of ours that a report does not confirm.

    Args:
        half_hour: When.
        what: Which figure, with its unit of measure.
        ours: As computed.
        reported: As reported; None where the report does not have it.
    """

    half_hour: HalfHour
    what: str
    ours: Decimal
    reported: Decimal | None

    def __str__(self) -> str:
        said = "not reported" if self.reported is None else f"reported {self.reported}"
        return f"{self.what} in {self.half_hour} is {self.ours}, {said}"

    def as_json(self) -> dict[str, str | None]:
        """Return which figure it is and both sides of it, as text."""
        said = None if self.reported is None else str(self.reported)
        return {"what": self.what, "ours": str(self.ours), "reported": said}


_REPORT: Final = TypeAdapter(UnitReport)


def unit_reports(
    report: SettlementReport, *, units: Collection[UnitId], file_sha256: str
) -> Iterator[UnitReport]:
    """Yield what a report says of some units; those it does not name are left out.

    Raises:
        ContractError: One of them stands in the blocks of two parties: which account its energy
            is in is not known.
    """
    parties = _parties(report, units)
    rows = {(row.half_hour, row.unit): row for row in report.units}
    accounts = {(row.half_hour, row.party): row for row in report.accounts}
    for unit, party in sorted(parties.items()):
        half_hours = []
        for at in half_hours_of(report.day):
            price, row = report.prices.get(at), rows.get((at, unit))
            account = accounts.get((at, party))
            one = ReportedHalfHour(
                half_hour=at,
                sell_gbp_per_mwh=price.sell_gbp_per_mwh if price else None,
                buy_gbp_per_mwh=price.buy_gbp_per_mwh if price else None,
                metered_mwh=row.metered_mwh if row else None,
                expected_mwh=row.expected_mwh if row else None,
                deviation_mwh=row.deviation_mwh if row else None,
                loss_multiplier=row.loss_multiplier if row else None,
                contract_mwh=account.contract_mwh if account else None,
                imbalance_mwh=account.imbalance_mwh if account else None,
            )
            half_hours.append(one)
        yield UnitReport(unit, party, report.day, report.run, file_sha256, tuple(half_hours))


def _parties(report: SettlementReport, units: Collection[UnitId]) -> dict[UnitId, str]:
    parties: dict[UnitId, str] = {}
    for row in report.units:
        if row.unit in units and parties.setdefault(row.unit, row.party) != row.party:
            raise ContractError(
                f"settlement report of {report.day} in {report.run}: unit {row.unit} has rows of "
                f"{parties[row.unit]} and {row.party}; valid is one party"
            )
    return parties


def report_event(report: UnitReport) -> Event:
    """Return a report as an event; another version of it is another event."""
    stem = f"report:{report.unit}:{report.day}:{report.run}:"
    return Event(
        id=f"{stem}{report.file_sha256[:16]}",
        event_type=EventType.REPORT_RECEIVED,
        body=_REPORT.dump_python(report, mode="json"),
        subject=f"unit:{report.unit}",
        half_hour=half_hours_of(report.day)[0],
        stem=stem,
    )


def reports_of(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[UnitId, date, Run], UnitReport]:
    """Return the reports among entries; of two versions the later one counts.

    What cannot be read is passed over, so that it stops no other; see `unreadable_of`.
    """
    found = (_read(entry) for entry in entries if entry["event_type"] == EventType.REPORT_RECEIVED)
    return {(one.unit, one.day, one.run): one for one in found if isinstance(one, UnitReport)}


def unreadable_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return why reports among entries cannot be read, by the event's id."""
    return {
        entry["id"]: found
        for entry in entries
        if entry["event_type"] == EventType.REPORT_RECEIVED
        and isinstance(found := _read(entry), str)
    }


def _read(entry: Mapping[str, Any]) -> UnitReport | str:
    """Return a recorded report, or why it is none."""
    try:
        return _REPORT.validate_python(entry["body"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"recorded report cannot be read: {where}: {first['msg']}"


def as_reported(
    period: AccountPeriod, report: UnitReport, counts: Collection[Figures]
) -> AccountPeriod:
    """Return a half-hour's inputs with the figures of a report that count.

    Sales are notified if the contract volume of the account is all of them, and are not if it is
    zero; any other volume holds business that is not known here, and decides nothing.
    """
    said = report.at(period.half_hour)
    if said is None:
        return period
    if Figures.PRICES in counts and (price := _price(said)):
        period = replace(period, system_price=price)
    if Figures.VOLUMES not in counts:
        return period
    is_notified = all_notified(period, report)
    return replace(
        period,
        units=tuple(
            _as_said(one, said) if one.unit == report.unit else one for one in period.units
        ),
        sold=tuple(
            one if is_notified is None else replace(one, is_notified=is_notified)
            for one in period.sold
        ),
    )


def _as_said(unit: UnitPeriod, said: ReportedHalfHour) -> UnitPeriod:
    """Return a unit with what a report says; an empty field leaves our own, a zero is a value."""
    own, given = unit.transmission_multiplier, said.loss_multiplier
    multiplier = own if given is None else given
    return replace(unit, reported=volumes_of(said), transmission_multiplier=multiplier)


def follows(period: AccountPeriod, report: UnitReport, counts: Collection[Figures]) -> bool:
    """Return whether a half-hour's inputs have all figures of a report that count."""
    return as_reported(period, report, counts) == period


def without_report(period: AccountPeriod) -> AccountPeriod:
    """Return a half-hour's inputs with volumes of units as we compute them."""
    return replace(period, units=tuple(replace(one, reported=None) for one in period.units))


def differences(
    period: AccountPeriod, report: UnitReport, authority: Authority
) -> Iterator[Difference]:
    """Yield where our own figures of a half-hour are off those of a report.

    Args:
        period: Our inputs; reported volumes among them are passed over.
        report: Of the same day and run.
        authority: How far they may be off.
    """
    at, said = period.half_hour, report.at(period.half_hour)
    if said is None:
        return
    result = settle(without_report(period))
    volumes = [
        (f"{what} MWh of {one.unit}", None if ours is None else ours.mwh, theirs)
        for one in result.units
        if one.unit == report.unit
        for what, ours, theirs in (
            ("metered", one.metered, said.metered_mwh),
            ("expected", one.expected, said.expected_mwh),
            ("deviation", one.deviation, said.deviation_mwh),
        )
    ]
    if report.party == period.account:
        volumes.append(("contract MWh", result.sold_mwh, said.contract_mwh))
    ours = period.system_price
    prices = [("system price GBP/MWh", ours.sell_gbp_per_mwh, said.sell_gbp_per_mwh)]
    if said.buy_gbp_per_mwh != said.sell_gbp_per_mwh:
        prices.append(("buy price GBP/MWh", ours.buy_gbp_per_mwh, said.buy_gbp_per_mwh))
    for figures, tolerance in (
        (volumes, authority.tolerance_mwh),
        (prices, authority.tolerance_gbp_per_mwh),
    ):
        for what, mine, theirs in figures:
            if theirs is not None and abs((mine or ZERO) - theirs) > tolerance:
                yield Difference(at, what, mine or ZERO, theirs)
    yield from _multipliers(period, report.unit, said, result, authority)


def _multipliers(
    period: AccountPeriod,
    unit: UnitId,
    said: ReportedHalfHour,
    result: AccountResult,
    authority: Authority,
) -> Iterator[Difference]:
    """Yield a multiplier by which other energy is credited, by more than a volume may be off."""
    for own, found in zip(period.units, result.units, strict=True):
        if own.unit != unit or said.loss_multiplier is None:
            continue
        deviation = found.deviation.mwh if said.deviation_mwh is None else said.deviation_mwh
        off = deviation * (own.transmission_multiplier - said.loss_multiplier)
        if abs(off) > authority.tolerance_mwh:
            what = f"loss multiplier of {unit}"
            yield Difference(
                period.half_hour, what, own.transmission_multiplier, said.loss_multiplier
            )


def unconfirmed(
    period: AccountPeriod, reports: Mapping[UnitId, UnitReport], authority: Authority
) -> list[Difference]:
    """Return what the reports of a half-hour's units do not confirm, or do not have.

    Args:
        period: As for `differences`.
        reports: Of the same day and run.
        authority: How far our own figures may be off.
    """
    at, found = period.half_hour, list[Difference]()
    for one in settle(without_report(period)).units:
        report = reports.get(one.unit)
        said = report.at(at) if report else None
        found += [
            Difference(at, f"{what} MWh of {one.unit}", ours.mwh, None)
            for what, ours, theirs in (
                ("metered", one.metered, said.metered_mwh if said else None),
                ("deviation", one.deviation, said.deviation_mwh if said else None),
            )
            if theirs is None
        ]
        if report:
            found += differences(period, report, authority)
    return list({one.what: one for one in found}.values())


def all_notified(period: AccountPeriod, report: UnitReport) -> bool | None:
    """Return whether a report has all sales as notified, or none; None where it cannot say.

    It cannot where the unit stands in the block of another party than that of the account.
    """
    said = report.at(period.half_hour) if report.party == period.account else None
    total = sum((one.mwh for one in period.sold), ZERO)
    if said is None or said.contract_mwh not in {total, ZERO}:
        return None
    return said.contract_mwh == total


def volumes_of(said: ReportedHalfHour) -> ReportedVolumes | None:
    """Return the volumes of a unit; None where the report has none."""
    given = (said.metered_mwh, said.expected_mwh, said.deviation_mwh)
    if all(one is None for one in given):
        return None
    return ReportedVolumes(*(None if one is None else ExportMWh(one) for one in given))


def told(found: Collection[Difference]) -> str:
    """Return differences in words."""
    some = sorted(found, key=lambda one: (one.half_hour, one.what))
    rest = len(some) - MOST_TOLD
    named = "; ".join(map(str, some[:MOST_TOLD]))
    return f"{named}; and {rest} more" if rest > 0 else named


def _price(said: ReportedHalfHour) -> SystemPrice | None:
    if said.sell_gbp_per_mwh is None or said.buy_gbp_per_mwh is None:
        return None
    return SystemPrice(said.sell_gbp_per_mwh, said.buy_gbp_per_mwh)
