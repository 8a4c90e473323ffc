"""Seller of energy: trades the registered unit half-hour by half-hour, and settles it.

Who is behind the unit's meters, who consented and who supplies them says the registry; a unit
that is not registered for a day is not traded on it, and what it traded before is settled.
Delivered volumes are notified from the readings of settlement meters, and of no others; each
settlement run is computed when it is due.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Protocol

from gridflex.adapters.market.position_book import PositionBook, TrackedPosition, raised
from gridflex.agents.energy.admission import Admission, Admissions
from gridflex.agents.energy.sale import Conditions, Prices, Sold
from gridflex.agents.energy.settling import Settlements, SettlingReport
from gridflex.agents.energy.traded_sites import EnergyTerms, TradedSite, TradedSites
from gridflex.agents.energy.trader import AS_PLANNED, FREELY, LEAD, Trader
from gridflex.agents.steps import Steps
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.messages.deadlines import deadline
from gridflex.market.settlement.losses import NO_LOSSES, LossSource
from gridflex.market.trading.alarms import AHEAD, WATCHED, Alarm, AlarmLimits
from gridflex.market.trading.orders import OrderPendingError
from gridflex.market.trading.position import Status
from gridflex.market.trading.selling import Sale
from gridflex.market.volumes import ExportMWh
from gridflex.market.working_days import WorkingCalendar, end_of_day
from gridflex.units import gbp_text

log = logging.getLogger(__name__)

FEWEST_DELIVERIES: Final = 20
"""Metered half-hours from which their spread says how much of a plan is delivered."""


class Quotes(Protocol):
    """Where prices come from; see `gridflex.agents.energy.sale_prices.SalePrices`."""

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

        A step that fails is told and tried again by the next tick, and keeps no other from being
        done: what was sold is settled also while the exchange's folder is away.

        Args:
            now: GridFlex time.

        Raises:
            SourceError: Who is traded cannot be read: the database is away.
        """
        try:
            sites = TradedSites(await self._book.registry(), self._terms)
        except ContractError as error:
            return EnergyReport(degraded={"registry": str(error)})
        steps = Steps(str(self._terms.unit))
        await steps.take("losses", asyncio.to_thread(self._losses.read))
        report = await steps.take("trading", self._trade(sites, now, steps)) or EnergyReport()
        told = await steps.take("notifying", self._follow(sites, now, steps)) or EnergyReport()
        settling = (
            await steps.take("settling", self._settlements.tick(now, sites=sites))
            or SettlingReport()
        )
        return replace(
            report,
            notified=told.notified,
            settled=settling.settled,
            degraded=report.degraded
            | told.degraded
            | dict(settling.waiting)
            | dict(settling.differing)
            | steps.failed,
        )

    async def _trade(self, sites: TradedSites, now: datetime, steps: Steps) -> EnergyReport:
        """Sell the half-hour whose gate closes next.

        A unit that is not traded any more still takes its answers.
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
            report = await self._sell(trader, half_hour, now, steps)
        else:
            await steps.take("selling", trader.tick(now, prices={}))
        return replace(
            report,
            pending=tuple(map(str, trader.pending)),
            degraded=report.degraded
            | {f"refused/{name}": why for name, why in trader.refused.items()}
            | {f"order of {at}": why for at, why in trader.failed.items()},
        )

    async def _follow(self, sites: TradedSites, now: datetime, steps: Steps) -> EnergyReport:
        """Notify what was delivered, and tell which deadlines are at risk."""
        watched = await self._watched(now)
        notified = await self._notify(sites, watched, now, steps)
        if notified:
            watched = await self._watched(now)
        self._recent = watched
        pressing = raised(watched, now=now, calendar=self._calendar, limits=self._limits)
        return EnergyReport(notified=tuple(map(str, notified)), degraded=self._told(pressing))

    async def _trader_of(self, site: TradedSite, now: datetime) -> Trader:
        if self._trader is None or site != self._site:
            trader = self._make_trader(site)
            await trader.resume(now)
            self._trader, self._site = trader, site
        return self._trader

    async def _sell(
        self, trader: Trader, half_hour: HalfHour, now: datetime, steps: Steps
    ) -> EnergyReport:
        """Sell a half-hour; where its price or its admission is not known, take answers alone."""
        price = await steps.take("prices", self._quotes.of(half_hour, now=now))
        asked = self._admissions.of(self._terms.unit, day=half_hour.settlement[0], now=now)
        admission = await steps.take("judging the baseline", asked)
        conditions = self._conditions(half_hour, admission) if admission else FREELY
        sold = await steps.take(
            "selling",
            self._sold(
                trader,
                now,
                prices={half_hour: price} if price and admission else {},
                conditions=conditions,
            ),
        )
        decided = trader.decision(half_hour)
        degraded = {
            "nothing is sold": conditions.held_back,
            "nothing will be sold": admission.ends if admission else None,
        }
        return EnergyReport(
            sold=(str(half_hour), str(sold.trade.mwh)) if sold and sold.trade else (),
            offered=_offer(half_hour, decided) if decided else None,
            predictability=admission.said if admission else None,
            degraded={name: why for name, why in degraded.items() if why is not None},
        )

    async def _sold(
        self,
        trader: Trader,
        now: datetime,
        *,
        prices: Mapping[HalfHour, Prices],
        conditions: Conditions,
    ) -> Sold | None:
        """Trade, and return what was sold; None while the exchange has not answered."""
        try:
            return await trader.tick(
                now,
                prices=prices,
                delivered_fractions=delivered_fractions(self._recent or ()),
                conditions=conditions,
            )
        except OrderPendingError as error:
            log.info("%s", error)
            return None

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
        self,
        sites: TradedSites,
        watched: Sequence[TrackedPosition],
        now: datetime,
        steps: Steps,
    ) -> list[date]:
        """Notify what was delivered, each day for who was traded on it; return which days."""

        async def notify(day: date, delivered: Mapping[HalfHour, ExportMWh]) -> date:
            trader = await self._trader_of(sites.on(day), now)
            await trader.deliver(delivered, now=now)
            return day

        notified = [
            await steps.take(f"delivered volumes of {day}", notify(day, delivered))
            for day, delivered in self._to_notify(watched, now).items()
        ]
        return [day for day in notified if day is not None]

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
