"""Trader: sells what the plan leaves free before gate closure, and notifies what was delivered.

A half-hour's expected import is what all jobs known by then would use, had each run at once. It
is committed before the gate closes, with the activity notice and the sale; what new jobs then
change is imbalance. Volumes go to the ledger before they go to anybody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.energy_book import EnergyBook, Refused
from gridflex.adapters.market.traded_entries import newest_messages, open_since, traded_entries
from gridflex.agents.energy.sale import Conditions, Exchange, Prices, Sold
from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.counterfactual import RunNow
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.commitments import Committed, commitment_event
from gridflex.market.messages.artefacts import (
    ActivityNotice,
    ArtefactKind,
    ContractNotice,
    DeliveredVolumes,
    ExpectedVolumes,
    PairDelivery,
)
from gridflex.market.trading.exclusivity import Direction, Product, Reservation
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.orders import OrderPendingError
from gridflex.market.trading.position import Status
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import trade_event
from gridflex.market.trading.reservations import Held
from gridflex.market.trading.restoring import continue_numbers, opened_by, order_reference
from gridflex.market.trading.selling import Outlook, Sale, SalePolicy, decide_sale
from gridflex.market.volumes import (
    HOURS_PER_HALF_HOUR,
    ExportMWh,
    ImportMWh,
    Rounding,
)
from gridflex.market.working_days import gate_closure
from gridflex.units import energy_kwh

LOOK_BACK: Final = timedelta(days=2)
LEAD: Final = 3
"""Half-hours ahead: the first whose gate closes within the next half-hour, not before."""


NOT_WORTH_IT: Final = "a delivery is expected to cost money"
"""Why a half-hour is not sold at prices below zero."""

AS_PLANNED: Final = (Decimal(1),)
"""All that the plan leaves free is delivered."""

FREELY: Final = Conditions()


@dataclass(frozen=True, slots=True)
class _Likely:
    prices: Prices
    delivered_fractions: tuple[Decimal, ...]


class Trader:
    """Trades one site.

    Args:
        site: Whose flexibility.
        trading: Sends the messages.
        ledger: Where trades are recorded.
        exchange: Where to sell.
        jobs: Jobs and their readings.
        plans: What is planned.
        run_now: What jobs would do without flexibility.
        policy: Weight of risk.
    """

    def __init__(
        self,
        site: TradedSite,
        *,
        trading: Messenger,
        ledger: LedgerStore,
        exchange: Exchange,
        jobs: JobStore,
        plans: PlanStore,
        run_now: RunNow,
        policy: SalePolicy,
    ) -> None:
        self._site = site
        self._trading = trading
        self._ledger = ledger
        self._exchange = exchange
        self._jobs = jobs
        self._plans = plans
        self._run_now = run_now
        self._policy = policy
        self._energy = EnergyBook(ledger)
        self._rounding = Rounding()
        self._done: set[HalfHour] = set()
        self._committed: dict[HalfHour, Committed] = {}
        self._trades: dict[HalfHour, Trade] = {}
        self._pending: set[HalfHour] = set()
        self._failed: dict[HalfHour, str] = {}
        self._decisions: dict[HalfHour, Sale] = {}

    @property
    def sold(self) -> tuple[Sold, ...]:
        """What was traded, in order of time."""
        return tuple(
            Sold(key, one.expected, one.planned, self._trades.get(key))
            for key, one in sorted(self._committed.items())
            if one.is_traded
        )

    @property
    def refused(self) -> Mapping[str, str]:
        """Why files that came in were set aside, by name."""
        return self._trading.refused

    @property
    def pending(self) -> tuple[HalfHour, ...]:
        """Half-hours whose order has no answer yet, in order of time."""
        return tuple(sorted(self._pending))

    @property
    def failed(self) -> Mapping[HalfHour, str]:
        """Why the exchange's answer for a half-hour cannot be used, until it is put right."""
        return dict(self._failed)

    def decision(self, half_hour: HalfHour) -> Sale | None:
        """Return how much this process decided to sell of a half-hour, and why."""
        return self._decisions.get(half_hour)

    @property
    def committed(self) -> tuple[HalfHour, ...]:
        """Half-hours for which a baseline was committed, sold or not, in order of time."""
        return tuple(sorted(self._committed))

    async def resume(self, now: datetime) -> None:
        """Take up what an earlier process traded and is not over; before the first tick.

        Raises:
            SourceError: The database or the mailbox cannot be reached.
        """
        continue_numbers(self._trading.desk, await newest_messages(self._ledger))
        entries = await traded_entries(self._ledger, first=open_since(now))
        restored = await self._trading.resume(entries, unit=self._site.unit, now=now)
        self._committed = dict(restored.committed)
        self._trades = dict(restored.trades)
        self._pending = {
            one.half_hour
            for one in self.sold
            if one.trade is None and one.half_hour.start > now - LOOK_BACK
        }
        await self._trading.collect(now=now)

    async def tick(
        self,
        now: datetime,
        *,
        prices: Mapping[HalfHour, Prices],
        delivered_fractions: Sequence[Decimal] = AS_PLANNED,
        conditions: Conditions = FREELY,
    ) -> Sold | None:
        """Trade the half-hour whose gate closes next; each step of it once.

        Args:
            now: GridFlex time.
            prices: Of the half-hours that may be traded.
            delivered_fractions: Equally likely shares of what the plan leaves free that are
                delivered in the end.
            conditions: For a half-hour that is not committed yet; its baseline is committed also
                where it is not to be sold.

        Raises:
            OrderPendingError: The exchange has not answered yet.
            SourceError: The database or the mailbox cannot be reached; the next tick goes on
                where this one stopped.
        """
        await self._trading.collect(now=now)
        self._trading.send_again(now=now)
        await self._close_pending(now)
        half_hour = HalfHour.containing(now) + LEAD
        if half_hour in self._done or half_hour not in prices:
            return None
        likely = _Likely(prices[half_hour], tuple(delivered_fractions))
        committed = self._committed.get(half_hour) or await self._commit(
            half_hour, likely, conditions, now
        )
        if committed.is_traded:
            await self._announce(half_hour, committed, now)
            await self._sell(half_hour, committed, likely, now)
            await self._trading.collect(now=now)
        self._done.add(half_hour)
        return next((one for one in self.sold if one.half_hour == half_hour), None)

    async def _commit(
        self, half_hour: HalfHour, likely: _Likely, conditions: Conditions, now: datetime
    ) -> Committed:
        """Record what is expected and planned, also where nothing of it is to be sold.

        Nothing is where a delivery is expected to cost money, sold or not: without an activity
        notice no deviation is measured.
        """
        expected, planned = await self._volumes(half_hour, now)
        reduction = (expected - planned).mwh
        is_enough = reduction >= self._policy.lot_mwh
        held_back = conditions.held_back
        if is_enough and held_back is None:
            sale = self._decide(reduction, likely)
            if not sale.is_worthwhile:
                held_back = NOT_WORTH_IT
                self._decisions[half_hour] = replace(sale, mwh=Decimal(0), binding=held_back)
        is_traded = is_enough and held_back is None
        committed = Committed(
            expected,
            planned,
            self._policy.sale_fraction,
            is_traded,
            conditions.line_loss_factor,
            held_back if is_enough else None,
        )
        unit = self._site.unit
        await self._ledger.append([commitment_event(committed, unit, half_hour)], now=now)
        if is_traded:
            self._trading.desk.open(opened_by(committed, unit, half_hour))
        self._committed[half_hour] = committed
        return committed

    async def _announce(self, half_hour: HalfHour, committed: Committed, now: datetime) -> None:
        unit = self._site.unit
        position = self._trading.desk.position(unit, half_hour)
        if position.track(ArtefactKind.SEV).status is Status.NONE:
            volumes = {unit: {half_hour: committed.submitted}}
            await self._trading.submit(ExpectedVolumes(volumes), now=now)
        if position.track(ArtefactKind.WMAN).status is Status.NONE:
            await self._trading.submit(ActivityNotice(half_hour, {unit: True}), now=now)

    async def _sell(
        self, half_hour: HalfHour, committed: Committed, likely: _Likely, now: datetime
    ) -> None:
        trade = self._trades.get(half_hour) or await self._order(half_hour, committed, likely, now)
        if trade is None:
            return
        await self._keep(trade, now)
        position = self._trading.desk.position(self._site.unit, half_hour)
        if position.track(ArtefactKind.ECVN).status is Status.NONE:
            notice = ContractNotice(trade.id, self._site.authorisation, {half_hour: trade.mwh})
            delivered_by = {(self._site.unit, half_hour): trade.mwh}
            await self._trading.submit(notice, now=now, split=delivered_by)

    async def _keep(self, trade: Trade, now: datetime) -> None:
        trade = replace(trade, contract=trade.contract or self._site.sold_under)
        await self._ledger.append([trade_event(trade)], now=now)
        self._trades[trade.first] = trade

    async def _close_pending(self, now: datetime) -> None:
        """Ask what became of orders whose gate closed; a sale that late cannot be notified."""
        for half_hour in self.pending:
            if now < gate_closure(half_hour):
                continue
            if half_hour.start < now - LOOK_BACK:
                self._pending.discard(half_hour)
                self._failed.pop(half_hour, None)
                continue
            wanted = self._reservation(half_hour, Decimal(0))
            held = (await self._energy.held(wanted.meter, half_hour)).of(wanted)
            with suppress(OrderPendingError):
                trade = self._place(held, half_hour) if held else None
                if trade is not None:
                    await self._keep(trade, now)
                elif held is not None:
                    await self._energy.release(held, reason="no answer in time", now=now)
                self._pending.discard(half_hour)

    def _place(self, held: Held, half_hour: HalfHour) -> Trade | None:
        """Place the order, under its name once, and return the sale; None if it was not taken.

        An answer that is not valid is none: whether the order was taken is not known.
        """
        self._pending.add(half_hour)
        try:
            trade = self._exchange.sell(
                first=half_hour,
                half_hours=1,
                mw=held.reservation.mwh / HOURS_PER_HALF_HOUR,
                limit_gbp_per_mwh=Decimal(0),
                reference=held.reservation.contract,
            )
        except ContractError as error:
            self._failed[half_hour] = str(error)
            raise OrderPendingError(f"order of {half_hour} has no valid answer") from error
        self._failed.pop(half_hour, None)
        return trade

    def _reservation(self, half_hour: HalfHour, mwh: Decimal) -> Reservation:
        return Reservation(
            meter=self._site.pair.import_msid,
            half_hour=half_hour,
            direction=Direction.DOWN,
            product=Product.P415,
            mwh=mwh,
            contract=order_reference(self._site.unit, half_hour),
        )

    async def _order(
        self, half_hour: HalfHour, committed: Committed, likely: _Likely, now: datetime
    ) -> Trade | None:
        reduction = (committed.expected - committed.planned).mwh
        own = self._reservation(half_hour, Decimal(0))
        others = (await self._energy.held(own.meter, half_hour)).others_mwh(own)
        free = max(reduction - others, Decimal(0))
        sale = self._decide(free, likely)
        self._decisions[half_hour] = sale
        if sale.mwh <= 0:
            return None
        wanted = self._reservation(half_hour, sale.mwh)
        held = await self._energy.reserve(wanted, flexible_mwh=reduction, now=now)
        if isinstance(held, Refused):
            return None
        trade = self._place(held, half_hour)
        self._pending.discard(half_hour)
        if trade is None:
            await self._energy.release(held, reason="not taken by the exchange", now=now)
        return trade

    def _decide(self, mwh: Decimal, likely: _Likely) -> Sale:
        """Return how much to sell where ``mwh`` would be delivered as planned."""
        outlook = Outlook(
            tuple(mwh * one for one in likely.delivered_fractions),
            likely.prices.system_gbp_per_mwh,
            likely.prices.sale_gbp_per_mwh,
        )
        return decide_sale(outlook, self._policy, rounding=self._rounding)

    async def _volumes(self, half_hour: HalfHour, now: datetime) -> tuple[ImportMWh, ImportMWh]:
        jobs = [*await self._jobs.ended_since(now - LOOK_BACK), *await self._jobs.open_jobs()]
        at_once = self._run_now.energy(jobs)
        here = [job for job in jobs if self._is_here(self._run_now.site(job).name)]
        expected = sum(at_once[job.id].get(half_hour, 0.0) for job in here)
        orders = await self._plans.orders(half_hour)
        planned = 0.0
        for job in jobs:
            run = orders.runs.get(job.id)
            if run is not None and job.ended_at is None and self._is_here(run.site):
                planned += energy_kwh(self._run_now.planned_kw(job, run))
        return self._import(expected), self._import(planned)

    def _is_here(self, site: str) -> bool:
        return self._site.place in {None, site}

    def _import(self, kwh: float) -> ImportMWh:
        return ImportMWh(self._rounding.volume_of_kwh(kwh))

    async def deliver(self, delivered: Mapping[HalfHour, ExportMWh], *, now: datetime) -> None:
        """Notify what was delivered in each traded half-hour, by settlement day, once.

        Args:
            delivered: Less import than was committed; half-hours without it are not notified yet.
            now: GridFlex time.
        """
        days: dict[date, dict[HalfHour, ExportMWh]] = {}
        for one in self.sold:
            position = self._trading.desk.position(self._site.unit, one.half_hour)
            is_sent = position.track(ArtefactKind.DVN).status is not Status.NONE
            if is_sent or one.half_hour not in delivered:
                continue
            day = one.half_hour.settlement[0]
            days.setdefault(day, {})[one.half_hour] = delivered[one.half_hour]
        site = self._site
        for volumes in days.values():
            delivery = PairDelivery(site.gsp_group, site.unit, site.pair, volumes)
            await self._trading.submit(DeliveredVolumes((delivery,)), now=now)
        await self._trading.collect(now=now)
