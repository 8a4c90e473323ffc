"""Seller of energy: trades the registered unit half-hour by half-hour, and settles it.

Who is behind the unit's meters, who consented and who supplies them says the registry; a unit
that is not registered for a day is not traded on it, and what it traded before is settled.
Delivered volumes are notified from the readings of settlement meters, and of no others; each
settlement run is computed when it is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Protocol

from gridflex.adapters.position_book import PositionBook, TrackedPosition, raised
from gridflex.agents.admission import Admission, Admissions
from gridflex.agents.settling import Settlements
from gridflex.agents.traded import Conditions, Prices, Sold, TradedSite
from gridflex.agents.trader import AS_PLANNED, LEAD, Trader
from gridflex.errors import ContractError, StaleDataError
from gridflex.halfhour import HalfHour
from gridflex.market.alarms import AHEAD, WATCHED, Alarm, AlarmLimits
from gridflex.market.artefacts import ArtefactKind
from gridflex.market.deadlines import deadline
from gridflex.market.losses import NO_LOSSES, LossSource
from gridflex.market.orders import OrderPendingError
from gridflex.market.position import Status
from gridflex.market.registry import BaselineIndicator, MsidPair, Registry, UnitId
from gridflex.market.selling import Sale
from gridflex.market.volumes import ExportMWh
from gridflex.market.working_days import DAY, WorkingCalendar, end_of_day
from gridflex.units import gbp_text

log = logging.getLogger(__name__)

FEWEST_DELIVERIES: Final = 20
"""Metered half-hours from which their spread says how much of a plan is delivered."""


class Quotes(Protocol):
    """Where prices come from; see `gridflex.agents.sale_prices.SalePrices`."""

    async def of(self, half_hour: HalfHour, *, now: datetime) -> Prices:
        """Return the prices for a half-hour."""
        ...


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """What one tick did.

    Args:
        sold: Half-hour and MWh of a sale made in this tick.
        pending: Half-hours whose order the exchange has not answered.
        offered: How much of the half-hour was offered, and what it is expected to bring.
        notified: Settlement days whose delivered volumes were sent in this tick.
        settled: Settlement days and runs that were settled in this tick.
        predictability: How the unit's baseline is judged today, and who overrides that.
        degraded: What keeps it from trading or settling, and which deadlines are at risk.
    """

    sold: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    offered: str | None = None
    notified: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    predictability: str | None = None
    degraded: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnergyTerms:
    """What is traded, for whom.

    Args:
        unit: Secondary BM Unit.
        place: GridFlex's name of the site behind its meters.
        authorisation: Under which contract notices are sent.
        contract: Flexibility contract with the site, by which its revenue is told apart.
    """

    unit: UnitId
    place: str
    authorisation: str
    contract: str | None = None


@dataclass(frozen=True, slots=True)
class TradedSites:
    """Who is traded, day by day.

    Args:
        registry: Sites, units, consents and allocations.
        terms: What is traded.
    """

    registry: Registry
    terms: EnergyTerms

    @property
    def unit(self) -> UnitId:
        """Which unit."""
        return self.terms.unit

    def on(self, day: date) -> TradedSite:
        """Return the site that is traded on a settlement day; see `traded_site`."""
        return traded_site(self.registry, self.terms, day)

    def before(self, day: date) -> TradedSite | None:
        """Return the site of the last day before ``day`` on which one was traded; None if never."""
        ends = {
            min(day, one.validity.until or day)
            for one in self.registry.allocations
            if one.unit == self.unit
            and one.indicator is BaselineIndicator.SUBMITTED
            and one.validity.start < day
        }
        for end in sorted(ends, reverse=True):
            with suppress(ContractError):
                return self.on(end - DAY)
        return None


class EnergySeller:
    """Drives a trader in a running system.

    Args:
        terms: What is traded.
        book: The registry, and how messages stand.
        quotes: Prices.
        make_trader: Makes the trader of a site.
        settlements: Settles what was traded.
        admissions: Says whether it may be sold.
        calendar: Working days.
        limits: When to warn.
        losses: Between the meter and the energy account.
    """

    def __init__(
        self,
        terms: EnergyTerms,
        *,
        book: PositionBook,
        quotes: Quotes,
        make_trader: Callable[[TradedSite], Trader],
        settlements: Settlements,
        admissions: Admissions,
        calendar: WorkingCalendar,
        limits: AlarmLimits | None = None,
        losses: LossSource = NO_LOSSES,
    ) -> None:
        self._terms = terms
        self._book = book
        self._quotes = quotes
        self._make_trader = make_trader
        self._settlements = settlements
        self._admissions = admissions
        self._calendar = calendar
        self._limits = limits or AlarmLimits()
        self._losses = losses
        self._trader: Trader | None = None
        self._site: TradedSite | None = None
        self._raised: frozenset[str] = frozenset()
        self._recent: Sequence[TrackedPosition] | None = None

    async def tick(self, now: datetime) -> EnergyReport:
        """Sell the half-hour whose gate closes next, notify and settle what was delivered.

        Args:
            now: GridFlex time.

        Raises:
            SourceError: The database or the folder cannot be used; the next tick goes on.
        """
        try:
            sites = TradedSites(await self._book.registry(), self._terms)
        except ContractError as error:
            return EnergyReport(degraded={"registry": str(error)})
        report = await self._trade(sites, now)
        settling = await self._settlements.tick(now, sites=sites)
        return replace(
            report,
            settled=settling.settled,
            degraded=report.degraded | dict(settling.waiting) | dict(settling.differing),
        )

    async def _trade(self, sites: TradedSites, now: datetime) -> EnergyReport:
        """Sell the half-hour whose gate closes next, and notify what was delivered.

        A unit that is not traded any more still takes its answers and notifies its last days.
        """
        half_hour = HalfHour.containing(now) + LEAD
        day = half_hour.settlement[0]
        why: str | None = None
        site: TradedSite | None
        try:
            site = sites.on(day)
        except ContractError as error:
            site, why = sites.before(day), str(error)
        report = EnergyReport(degraded={} if why is None else {"registry": why})
        if site is None:
            return report
        trader = await self._trader_of(site, now)
        if self._recent is None:
            self._recent = await self._watched(now)
        if why is None:
            report = await self._sell(trader, half_hour, now)
        else:
            await trader.tick(now, prices={})
        watched = await self._watched(now)
        notified, failed = await self._notify(sites, watched, now)
        if notified:
            watched = await self._watched(now)
        self._recent = watched
        pressing = raised(watched, now=now, calendar=self._calendar, limits=self._limits)
        return replace(
            report,
            pending=tuple(map(str, trader.pending)),
            notified=tuple(map(str, notified)),
            degraded=report.degraded
            | failed
            | {f"refused/{name}": why for name, why in trader.refused.items()}
            | {f"order of {at}": why for at, why in trader.failed.items()}
            | self._told(pressing),
        )

    async def _trader_of(self, site: TradedSite, now: datetime) -> Trader:
        if self._trader is None or site != self._site:
            trader = self._make_trader(site)
            await trader.resume(now)
            self._trader, self._site = trader, site
        return self._trader

    async def _sell(self, trader: Trader, half_hour: HalfHour, now: datetime) -> EnergyReport:
        degraded: dict[str, str] = {}
        prices: dict[HalfHour, Prices] = {}
        try:
            prices[half_hour] = await self._quotes.of(half_hour, now=now)
        except StaleDataError as error:
            degraded["prices"] = str(error)
        sold: Sold | None = None
        admission = await self._admissions.of(
            self._terms.unit, day=half_hour.settlement[0], now=now
        )
        conditions = self._conditions(half_hour, admission)
        if conditions.held_back is not None:
            degraded["nothing is sold"] = conditions.held_back
        try:
            sold = await trader.tick(
                now,
                prices=prices,
                delivered_fractions=delivered_fractions(self._recent or ()),
                conditions=conditions,
            )
        except OrderPendingError as error:
            log.info("%s", error)
        decided = trader.decision(half_hour)
        made = (str(half_hour), str(sold.trade.mwh)) if sold and sold.trade else ()
        offered = _offer(half_hour, decided) if decided else None
        return EnergyReport(
            sold=made, offered=offered, predictability=admission.said, degraded=degraded
        )

    def _conditions(self, half_hour: HalfHour, admission: Admission) -> Conditions:
        """Return on what terms a half-hour is sold; without known losses it is not."""
        try:
            return Conditions(self._losses.at(half_hour).line, admission.held_back)
        except ContractError as error:
            return Conditions(held_back=str(error))

    async def _watched(self, now: datetime) -> list[TrackedPosition]:
        first, last = HalfHour.containing(now - WATCHED), HalfHour.containing(now) + AHEAD
        found = await self._book.positions(first=first, last=last)
        return [one for one in found if one.position.unit == self._terms.unit]

    async def _notify(
        self, sites: TradedSites, watched: Sequence[TrackedPosition], now: datetime
    ) -> tuple[list[date], dict[str, str]]:
        """Notify what was delivered, each day for who was traded on it; return what was not."""
        notified: list[date] = []
        failed: dict[str, str] = {}
        for day, delivered in self._to_notify(watched, now).items():
            try:
                site = sites.on(day)
            except ContractError as error:
                failed[f"delivered volumes of {day}"] = str(error)
                continue
            trader = await self._trader_of(site, now)
            await trader.deliver(delivered, now=now)
            notified.append(day)
        return notified, failed

    def _to_notify(
        self, watched: Sequence[TrackedPosition], now: datetime
    ) -> dict[date, dict[HalfHour, ExportMWh]]:
        """Return what each day delivered that is over and all metered, or whose time is short."""
        found: dict[date, dict[HalfHour, ExportMWh]] = {}
        waiting = [
            one for one in watched if one.position.track(ArtefactKind.DVN).status is Status.NONE
        ]
        for day in sorted({one.position.half_hour.settlement[0] for one in waiting}):
            of_day = [one for one in waiting if one.position.half_hour.settlement[0] == day]
            delivered = {at: volume for one in of_day for at, volume in _claimed(one).items()}
            due = deadline(
                ArtefactKind.DVN, half_hour=of_day[0].position.half_hour, calendar=self._calendar
            )
            is_short = due - now <= self._limits.warn
            is_whole = now >= end_of_day(day) and len(delivered) == len(of_day)
            if delivered and now < due and (is_whole or is_short):
                found[day] = delivered
        return found

    def _told(self, pressing: Sequence[Alarm]) -> dict[str, str]:
        """Return the alarms by what they are about; each is logged when it is new."""
        told = {f"{one.kind} {one.half_hour}": f"{one.urgency}: {one}" for one in pressing}
        for name in sorted(told.keys() - self._raised):
            log.warning("%s %s: %s", self._terms.unit, name, told[name])
        self._raised = frozenset(told)
        return told


def traded_site(registry: Registry, terms: EnergyTerms, day: date) -> TradedSite:
    """Return the site that is traded on a settlement day.

    Raises:
        ContractError: The unit is not registered, or has not exactly one pair with a submitted
            baseline on that day, at a boundary.
    """
    unit = registry.unit(terms.unit)
    pairs = [one.pair for one in registry.submitted(terms.unit, day=day)]
    pair = pairs[0] if len(pairs) == 1 else None
    if not isinstance(pair, MsidPair):
        at_boundary = sum(isinstance(one, MsidPair) for one in pairs)
        raise ContractError(
            f"unit {terms.unit} has {len(pairs)} pairs with a submitted baseline on {day}, "
            f"{at_boundary} of them at a boundary; it is traded with exactly one, at a boundary"
        )
    site = registry.site_of(pair)
    return TradedSite(
        account=unit.party,
        unit=terms.unit,
        pair=pair,
        gsp_group=site.gsp_group,
        supplier=site.supplier,
        authorisation=terms.authorisation,
        place=terms.place,
        contract=terms.contract,
    )


def delivered_fractions(recent: Iterable[TrackedPosition]) -> tuple[Decimal, ...]:
    """Return what share of the planned deliveries of late was delivered, as metered.

    As long as there are too few, all that is planned counts as delivered.
    """
    fractions = tuple(
        volume.mwh / one.position.expected_mwh
        for one in recent
        if one.position.expected_mwh > 0
        for volume in _claimed(one).values()
    )
    return fractions if len(fractions) >= FEWEST_DELIVERIES else AS_PLANNED


def _offer(half_hour: HalfHour, sale: Sale) -> str:
    return (
        f"{half_hour}: {sale.mwh} MWh, limited by {sale.binding}; "
        f"{gbp_text(sale.expected_net_gbp)} GBP expected, {gbp_text(sale.bad_case_gbp)} in the bad "
        f"case, {gbp_text(sale.nothing_sold_gbp)} without a sale"
    )


def _claimed(one: TrackedPosition) -> Mapping[HalfHour, ExportMWh]:
    """Return the delivery that may be claimed; empty without a reading that backs it."""
    return one.claim.deliveries[0].volumes if one.claim and one.claim.deliveries else {}
