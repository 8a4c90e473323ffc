"""What central settlement reports change of settlements.

The report of a run is the authority. What came in is in the ledger; here is found which
half-hours of a day a run has still to settle, or to settle again because its report came later
or says otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from gridflex.adapters.ledger.store import LedgerStore, Logged
from gridflex.agents.energy.traded_sites import TradedSites
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.baselines.commitments import is_commitment, read_commitment
from gridflex.market.registry import UnitId
from gridflex.market.settlement.account import AccountPeriod
from gridflex.market.settlement.authority import Authority, Figures
from gridflex.market.settlement.due_runs import WITHIN
from gridflex.market.settlement.records import book_of, differences_of, newest_of_run
from gridflex.market.settlement.reported import (
    Difference,
    UnitReport,
    as_reported,
    differences,
    follows,
    reports_of,
    told,
    unreadable_of,
)
from gridflex.market.settlement.runs import Run
from gridflex.market.working_days import half_hours_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """A run of a day.

    Args:
        day: Settlement day.
        run: Which run.
        report: Its central report; None while there is none.
    """

    day: date
    run: Run
    report: UnitReport | None


@dataclass(frozen=True, slots=True)
class Open:
    """What of a day is to be settled in a run.

    Args:
        left: Traded half-hours that no such run and no later one settled.
        again: Inputs of those that this run settled otherwise than its report says, or by an
            earlier report.
        anew: Those of an earlier report, whose inputs hold figures that are not ours.
        differs: Where others are off the report by more than is tolerated.
    """

    left: Collection[HalfHour] = ()
    again: Sequence[AccountPeriod] = ()
    anew: Collection[HalfHour] = ()
    differs: Sequence[Difference] = ()


class Reports:
    """Central reports of a unit, and what they change.

    Args:
        ledger: Where they are recorded.
        authority: Which of their figures count.
    """

    def __init__(self, ledger: LedgerStore, authority: Authority) -> None:
        self._ledger = ledger
        self._authority = authority
        self.unreadable: Mapping[str, str] = {}

    async def lately(self, now: datetime, *, unit: str) -> Mapping[tuple[date, Run], UnitReport]:
        """Return the reports that came in lately, by day and run; `unreadable` has the others.

        Raises:
            SourceError: The database cannot be reached.
        """
        found = await self._ledger.find(
            EventType.REPORT_RECEIVED, subject=f"unit:{unit}", recorded_since=now - WITHIN
        )
        entries = [one.event for one in found]
        known, self.unreadable = reports_of(entries), unreadable_of(entries)
        return {(one.day, one.run): one for one in known.values()}

    async def of(self, day: date, run: Run, *, unit: str) -> UnitReport | None:
        """Return the report of a run of a day, whenever it came in; None without one.

        Raises:
            SourceError: The database cannot be reached.
        """
        start = half_hours_of(day)[0]
        found = await self._ledger.find(
            EventType.REPORT_RECEIVED, subject=f"unit:{unit}", first=start, last=start
        )
        return reports_of(one.event for one in found).get((UnitId(unit), day, run))

    async def traded(self, first: date, last: date, *, unit: str) -> set[HalfHour]:
        """Return the half-hours of some settlement days in which a unit was traded.

        Raises:
            SourceError: The database cannot be reached.
        """
        committed = await self._ledger.find(
            EventType.BASELINE_COMPUTED,
            subject=f"unit:{unit}",
            first=half_hours_of(first)[0],
            last=half_hours_of(last)[-1],
        )
        return {
            HalfHour.parse(one.event["valid_time"])
            for one in committed
            if is_commitment(one.event) and read_commitment(one.event["body"]).is_traded
        }

    async def open(self, look: Look, sites: TradedSites) -> Open:
        """Return what of a day is to be settled in a run.

        Raises:
            ContractError: The unit was traded on that day without being registered.
            SourceError: The database cannot be reached.
        """
        span = half_hours_of(look.day)
        traded = await self.traded(look.day, look.day, unit=sites.unit)
        if not traded:
            return Open()
        account = sites.on(look.day).account
        found = await self._ledger.find(
            EventType.SETTLEMENT_RUN, subject=f"account:{account}", first=span[0], last=span[-1]
        )
        settled = [one.event for one in found]
        periods = book_of(settled).periods
        left = traded - {one.half_hour for one in periods if not look.run.is_after(one.run)}
        if look.report is None:
            return Open(left)
        later = {one.half_hour for one in periods if one.run.is_after(look.run)}
        anew = await self._by_earlier(look, found, unit=sites.unit) - later
        again = [
            one
            for one in periods
            if one.run is look.run
            and one.half_hour not in later
            and (one.half_hour in anew or not follows(one, look.report, self._authority.counts))
        ]
        open_ = {one.half_hour for one in again}
        stand = [one for one in periods if one.run is look.run and one.half_hour not in open_]
        differs = {
            (one.half_hour, one.what): one
            for one in (
                *(d for own in stand for d in differences(own, look.report, self._authority)),
                *(d for one in newest_of_run(settled, look.run) for d in differences_of(one)),
            )
            if one.half_hour not in open_
        }
        return Open(left, again, anew, list(differs.values()))

    async def _by_earlier(
        self, look: Look, settled: Sequence[Logged], *, unit: str
    ) -> set[HalfHour]:
        """Return the half-hours that a run settled when it had an earlier version of its report."""
        start, key = half_hours_of(look.day)[0], (UnitId(unit), look.day, look.run)
        found = await self._ledger.find(
            EventType.REPORT_RECEIVED, subject=f"unit:{unit}", first=start, last=start
        )
        versions = [one.index for one in found if key in reports_of([one.event])]
        if not versions:
            return set()
        places = {one.event["id"]: one.index for one in settled}
        return {
            HalfHour.parse(one["valid_time"])
            for one in newest_of_run((one.event for one in settled), look.run)
            if versions[0] < places[one["id"]] < versions[-1]
        }

    def prices(self, report: UnitReport | None) -> dict[HalfHour, Decimal]:
        """Return the system prices of a report, for where none is known otherwise."""
        if report is None or Figures.PRICES not in self._authority.counts:
            return {}
        given = {one.half_hour: one.sell_gbp_per_mwh for one in report.half_hours}
        return {at: price for at, price in given.items() if price is not None}

    def followed(
        self, own: Sequence[AccountPeriod], report: UnitReport | None
    ) -> tuple[Sequence[AccountPeriod], Sequence[Difference]]:
        """Return inputs with what counts of a report, and where ours are off it."""
        if report is None:
            return own, ()
        differs = [found for one in own for found in differences(one, report, self._authority)]
        if differs:
            log.warning("%s %s %s: %s", report.unit, report.day, report.run, told(differs))
        return [as_reported(one, report, self._authority.counts) for one in own], differs
