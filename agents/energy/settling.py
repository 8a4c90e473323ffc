"""Settles what was traded, run by run, once its readings and its prices are there.

Each run is computed from what the ledger holds by then, so that a later one picks up corrected
readings, late answers and the prices of its own time. A run is recorded once: whoever starts
again finds in the ledger what is settled. The published report of a run is the authority, and is
compared with what was computed here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Protocol

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.energy_book import EnergyBook
from gridflex.adapters.market.given_up_log import GivenUpLog
from gridflex.adapters.market.position_book import PositionBook, TrackedPosition
from gridflex.agents.energy.given_up import GivenUpRuns, Left
from gridflex.agents.energy.reductions import Reductions
from gridflex.agents.energy.reports import Look, Open, Reports
from gridflex.agents.energy.settlement_rules import SettlementTerms, account_period
from gridflex.agents.energy.traded_sites import TradedSite, TradedSites
from gridflex.agents.steps import Steps
from gridflex.errors import ContractError
from gridflex.halfhour import LONDON, HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.meters import METERED
from gridflex.market.settlement.account import AccountPeriod, settle
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.due_runs import due_days
from gridflex.market.settlement.records import book_of, settlement_event
from gridflex.market.settlement.reported import Difference, UnitReport, told
from gridflex.market.settlement.runs import Run
from gridflex.market.working_days import WorkingCalendar, half_hours_of

log = logging.getLogger(__name__)


class SystemPrices(Protocol):
    """Where imbalance prices come from; see `gridflex.agents.energy.system_prices.SystemPrices`."""

    async def of(self, day: date, *, now: datetime) -> Mapping[HalfHour, Decimal]:
        """Return those of a settlement day that are known, GBP/MWh."""
        ...


class Settler:
    """Records settlements.

    Args:
        ledger: Where.
        reductions: What jobs did.
    """

    def __init__(self, *, ledger: LedgerStore, reductions: Reductions) -> None:
        self._ledger = ledger
        self._reductions = reductions

    async def record(
        self,
        periods: Sequence[AccountPeriod],
        *,
        site: TradedSite,
        now: datetime,
        since: int,
        differs: Collection[Difference] = (),
    ) -> list[int]:
        """Settle half-hours and return their places in the ledger.

        What jobs did is worked out with the first run of a half-hour; later runs keep it.

        Args:
            periods: Inputs, of one account.
            site: Whose jobs.
            now: GridFlex time.
            since: Size of the ledger before the inputs were read.
            differs: Where own figures are off those of a central report.

        Raises:
            ConflictError: Somebody settled meanwhile; nothing is recorded.
            SourceError: The database cannot be reached.
        """
        about = {one.half_hour for one in periods}
        found = await self._ledger.find(
            EventType.SETTLEMENT_RUN,
            subject=f"account:{site.account}",
            first=min(about),
            last=max(about),
        )
        before = book_of(one.event for one in found)
        fresh = about - {one.half_hour for one in before.periods}
        new = await self._reductions.of(fresh, place=site.place)
        did = [*before.contributions, *await self._by_contract(new, site)]
        events = [
            settlement_event(
                one,
                contributions=[c for c in did if c.half_hour == one.half_hour],
                differences=[d for d in differs if d.half_hour == one.half_hour],
            )
            for one in periods
        ]
        return await self._ledger.append_unless_changed(
            events, now=now, since=since, kinds=[EventType.SETTLEMENT_RUN]
        )

    async def _by_contract(
        self, contributions: Sequence[Contribution], site: TradedSite
    ) -> list[Contribution]:
        """Say under which contract each was sold: one that moved the job, else the site's own."""
        if not contributions:
            return []
        about = {one.half_hour for one in contributions}
        served = await EnergyBook(self._ledger).served(
            site.pair.import_msid, first=min(about), last=max(about)
        )
        return [
            replace(one, contract=served.get((one.half_hour, one.job), site.sold_under))
            for one in contributions
        ]


@dataclass(frozen=True, slots=True)
class SettlingReport:
    """What one look did.

    Args:
        settled: Settlement days with the run and how many half-hours were settled in it.
        waiting: Why half-hours whose run is due are not settled, by day and run; also of runs
            that are not tried any more.
        differing: Where central reports do not confirm our own figures, by day and run.
    """

    settled: tuple[str, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)
    differing: Mapping[str, str] = field(default_factory=dict)


class Settlements:
    """Settles each run of a unit's traded half-hours when it is due, or when its report is there.

    Args:
        book: How messages stand, and readings.
        ledger: What was committed and what is settled.
        settler: Records.
        prices: Imbalance prices.
        terms: Rules and dates.
        calendar: Working days.
    """

    def __init__(
        self,
        *,
        book: PositionBook,
        ledger: LedgerStore,
        settler: Settler,
        prices: SystemPrices,
        terms: SettlementTerms,
        calendar: WorkingCalendar,
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._settler = settler
        self._prices = prices
        self._terms = terms
        self._calendar = calendar
        self._reports = Reports(ledger, terms.authority)
        self._finished: dict[tuple[date, Run], Look] = {}
        self._differing: dict[tuple[date, Run], Sequence[Difference]] = {}
        self._looked_in: HalfHour | None = None
        self._due: tuple[date, Mapping[date, Run]] | None = None
        self._abandoned = GivenUpRuns(
            GivenUpLog(ledger), calendar=calendar, published=terms.published
        )
        self._ordered: set[tuple[date, Run]] = set()
        self._last = SettlingReport()

    async def tick(self, now: datetime, *, sites: TradedSites) -> SettlingReport:
        """Settle what is due or ordered and has all it needs; looks once in each half-hour.

        Args:
            now: GridFlex time.
            sites: Who is traded on a day.

        Raises:
            SourceError: The database cannot be reached; the next tick goes on.
        """
        ordered = await self._abandoned.ordered(sites.unit)
        if self._looked_in == HalfHour.containing(now) and ordered == self._ordered:
            return replace(self._last, settled=())
        steps = Steps(f"settling of {sites.unit}")
        settled: list[str] = []
        waiting: dict[str, str] = {}
        reports = await self._reports.lately(now, unit=sites.unit)
        due = {*self._due_on(now.astimezone(LONDON).date()).items(), *reports, *ordered}
        for day, run in sorted(due, key=lambda one: (one[0], one[1].position)):
            name = f"settlement of {day} in {run}"
            look = await steps.take(name, self._look(day, run, reports, sites))
            if look is None or self._finished.get((day, run)) == look:
                continue
            found = await steps.take(name, self._settle(look, now, sites))
            if found is None:
                continue
            done, missing = found
            if done:
                settled.append(f"{day} {run} ({done})")
                log.info("settled %s half-hours of %s in %s", done, day, run)
            if missing:
                waiting[name] = missing
            else:
                self._finish(look, now)
        given_up = await steps.take("runs that were given up", self._given_up(now, sites))
        if not steps.may_go_better:
            self._looked_in, self._ordered = HalfHour.containing(now), ordered
        differing = {
            f"report of {day} in {run}": told(found)
            for (day, run), found in self._differing.items()
            if found and (day, run) in reports
        }
        told_of = (given_up or {}) | dict(self._reports.unreadable) | waiting | steps.failed
        self._last = SettlingReport(tuple(settled), told_of, differing)
        return self._last

    async def _look(
        self,
        day: date,
        run: Run,
        reports: Mapping[tuple[date, Run], UnitReport],
        sites: TradedSites,
    ) -> Look:
        """Return a run of a day with its report, whenever that came in."""
        report = reports.get((day, run))
        return Look(day, run, report or await self._reports.of(day, run, unit=sites.unit))

    async def _given_up(self, now: datetime, sites: TradedSites) -> dict[str, str]:
        return await self._abandoned.given_up(
            now,
            unit=sites.unit,
            left_of=partial(self._left_of, now=now, sites=sites),
            traded=partial(self._reports.traded, unit=sites.unit),
        )

    def _finish(self, look: Look, now: datetime) -> None:
        """Do not look again, unless the day is not over: then more of it may be traded."""
        if look.day < now.astimezone(LONDON).date():
            self._finished[look.day, look.run] = look

    def _due_on(self, today: date) -> Mapping[date, Run]:
        """Return the days of which a run came due lately; worked out once a day."""
        if self._due is None or self._due[0] != today:
            due = due_days(today, calendar=self._calendar, published=self._terms.published)
            self._due = today, due
        return self._due[1]

    async def _settle(
        self, look: Look, now: datetime, sites: TradedSites
    ) -> tuple[int, str | None]:
        """Settle a day and return how many half-hours were, and why others were not."""
        since = await self._ledger.size()
        open_ = await self._reports.open(look, sites)
        self._differing[look.day, look.run] = open_.differs
        if not open_.left and not open_.again:
            return 0, None
        site = sites.on(look.day)
        own, missing = await self._own(look, open_.left, site, now)
        own += await self._again(look, open_, site, now)
        followed, differs = self._reports.followed(own, look.report)
        periods = [one for one in followed if one not in open_.again]
        if periods:
            await self._settler.record(periods, site=site, now=now, since=since, differs=differs)
        self._differing[look.day, look.run] = [*open_.differs, *differs]
        return len(periods), _reasons(missing, len(open_.left))

    async def _again(
        self, look: Look, open_: Open, site: TradedSite, now: datetime
    ) -> list[AccountPeriod]:
        """Return our inputs of what is settled again: as it was, or as known without a report.

        What an earlier report said is not ours, and the newest may leave it out.
        """
        anew = (await self._own(look, open_.anew, site, now))[0] if open_.anew else []
        known = {one.half_hour: one for one in anew}
        return [known.get(one.half_hour, one) for one in open_.again]

    async def _left_of(self, day: date, run: Run, *, now: datetime, sites: TradedSites) -> Left:
        """Return what a run that is not tried any more has left of a day."""
        look = Look(day, run, await self._reports.of(day, run, unit=sites.unit))
        left = (await self._reports.open(look, sites)).left
        if not left:
            return Left()
        try:
            _, missing = await self._own(look, left, sites.on(day), now)
        except ContractError as error:
            return Left(tuple(sorted(left)), str(error))
        return Left(tuple(sorted(left)), _reasons(missing, len(left)))

    async def _own(
        self, look: Look, left: Collection[HalfHour], site: TradedSite, now: datetime
    ) -> tuple[list[AccountPeriod], Counter[str]]:
        """Return the inputs that are known here, and what is missing for others."""
        prices = {**self._reports.prices(look.report), **await self._prices.of(look.day, now=now)}
        span = half_hours_of(look.day)
        rules = self._terms.rules(look.day, look.run)
        found = await self._book.positions(first=span[0], last=span[-1])
        open_ = [
            one
            for one in found
            if one.position.unit == site.unit and one.position.half_hour in left
        ]
        missing = Counter(filter(None, (_missing(one, prices) for one in open_)))
        missing.update({"no position": len(left) - len(open_)})
        periods = []
        for one in open_:
            if one.reading is None or _missing(one, prices):
                continue
            price = prices[one.position.half_hour]
            try:
                period = account_period(
                    site, one, one.reading, system_gbp_per_mwh=price, rules=rules
                )
                settle(period)  # what cannot be settled waits alone
            except ContractError as error:
                missing[str(error)] += 1
            else:
                periods.append(period)
        return periods, missing


def _reasons(missing: Counter[str], half_hours: int) -> str | None:
    reasons = ", ".join(f"{reason} ({many})" for reason, many in sorted((+missing).items()))
    return f"{reasons} of {half_hours} half-hours" if reasons else None


def _missing(one: TrackedPosition, prices: Mapping[HalfHour, Decimal]) -> str | None:
    """Return what keeps a position from being settled; None if nothing does."""
    if one.reading is None or one.reading.evidence not in METERED:
        return "no reading of a settlement meter"
    return None if one.position.half_hour in prices else "no system price"
