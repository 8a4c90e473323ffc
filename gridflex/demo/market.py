"""The demo's market: what the plan leaves free is sold, settled, proved and billed.

Exchange, central agents, boundary meter and system price are *simulated* and say so; messages,
deadlines, ledger, settlement, receipts and invoice are the real ones. P415 began on 7 November
2024; an earlier day is settled as if it had been in force.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from gridflex.adapters.grid import elexon
from gridflex.adapters.grid.store import GridStore
from gridflex.adapters.ledger.files import export_ledger
from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.market.position_book import PositionBook, TrackedPosition
from gridflex.agents.energy.reductions import Reductions
from gridflex.agents.energy.sale import Prices
from gridflex.agents.energy.sale_prices import SalePrices
from gridflex.agents.energy.settlement_rules import Rules, account_period
from gridflex.agents.energy.settling import Settler
from gridflex.agents.energy.system_prices import SystemPrices
from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.agents.energy.trader import LEAD, Trader
from gridflex.agents.ports import Ports
from gridflex.counterfactual import RunNow
from gridflex.demo.market_report import MarketReport, earned_gbp, leave, settle_again
from gridflex.demo.meter import boundary_readings, registration
from gridflex.errors import ContractError, GridFlexError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.ledger.event import EventType
from gridflex.ledger.verify.folder import read_entries, verify_ledger
from gridflex.ledger.verify.receipts import verify_receipt
from gridflex.lifecycle import Job
from gridflex.market.billing.fees import Month
from gridflex.market.billing.invoice import Document
from gridflex.market.billing.monthly import BillingContract, PartyFile, monthly_bill
from gridflex.market.billing.receipts import IssuedReceipt
from gridflex.market.billing.records import invoice_event
from gridflex.market.messages.artefacts import channels_of
from gridflex.market.registry import Msid, MsidPair, UnitId
from gridflex.market.settlement.book import SettlementBook, settle_book
from gridflex.market.settlement.compensation import MutualisedP415, ReferencePrice
from gridflex.market.settlement.records import book_of, replay
from gridflex.market.settlement.runs import Run, payment_day
from gridflex.market.trading.desk import OutgoingFile, TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.selling import SalePolicy
from gridflex.market.volumes import ExportMWh, Rounding
from gridflex.market.working_days import WorkingCalendar, england_and_wales
from gridflex.sandbox.exchange import SimulatedExchange
from gridflex.sandbox.market import SimulatedAgents
from gridflex.signals import Signal

log = logging.getLogger(__name__)

ACCOUNT: Final = "GRIDFLEX"
AUTHORISATION: Final = "ECVNAA0001"
SITE: Final = TradedSite(
    account=ACCOUNT,
    unit=UnitId("V__CDEMO001"),
    pair=MsidPair(Msid("1200012345679")),
    gsp_group="C",
    supplier="SUPPLY",
    authorisation=AUTHORISATION,
)
CHANNELS: Final = channels_of(ACCOUNT, phase="SIML")
LOT_MW: Final = Decimal("0.002")
DEPTH_MW: Final = Decimal(1)
POLICY: Final = SalePolicy(sale_fraction=Decimal("0.8"))
LOOK_EVERY_S: Final = 0.5
RECEIPT_WAIT_S: Final = 60.0
PRICE_LIST_SINCE: Final = date(2026, 1, 1)
"""An earlier day is billed in the first month that has a price list."""

SCRP: Final = ReferencePrice(Decimal("89.47"), is_official=False)
"""The quarter after P415 began for which a figure is known (docs/settlement.md)."""


class SimulatedCentre:
    """Central agents in this process, as a mailbox."""

    def __init__(self, agents: SimulatedAgents, ports: Ports) -> None:
        self._agents = agents
        self._clock = ports.clock
        self._waiting: deque[bytes] = deque()

    def send(self, file: OutgoingFile) -> None:
        """Deliver a file at once and keep the answers."""
        self._waiting += self._agents.deliver(file.payload, now=self._clock.now())

    def collect(self) -> Iterator[bytes]:
        """Yield the answers."""
        while self._waiting:
            yield self._waiting.popleft()

    def refuse(self, why: str) -> None:
        """Raise: what this process answers can be read."""
        raise ContractError(why)

    def refused(self) -> dict[str, str]:
        """Return that nothing was refused."""
        return {}


class DemoMarket:
    """Trades the demo's site beside its day, and closes the books after it.

    Args:
        ports: Database, clock and stores of the system.
        run_now: What jobs would do without flexibility.
        day: Settlement day on which the demo begins.
    """

    def __init__(self, ports: Ports, run_now: RunNow, *, day: date) -> None:
        self._ports = ports
        self._run_now = run_now
        self._day = day
        self._calendar = _calendar(day)
        self._offers: dict[HalfHour, Decimal] = {}
        self._quotes = SalePrices(ports.grid, GridStore(ports.engine))
        keys = {AUTHORISATION: "simulated"}
        agents = SimulatedAgents(
            units=[SITE.unit],
            keys=keys,
            meters=[int(SITE.pair.import_msid)],
            calendar=self._calendar,
        )
        desk = TradingDesk([], channels=CHANNELS, keys=keys, calendar=self._calendar)
        self._trader = Trader(
            SITE,
            trading=Messenger(desk, ledger=ports.ledger, mailbox=SimulatedCentre(agents, ports)),
            ledger=ports.ledger,
            exchange=SimulatedExchange(self._offers, depth_mw=DEPTH_MW, lot_mw=LOT_MW),
            jobs=ports.jobs,
            plans=ports.plans,
            run_now=run_now,
            policy=POLICY,
        )

    @asynccontextmanager
    async def trading(self) -> AsyncIterator[None]:
        """Trade half-hour after half-hour while the block runs."""
        now = self._ports.clock.now()
        await self._ports.ledger.append(registration(SITE, day=self._day), now=now)
        await self._trader.resume(now)
        task = asyncio.create_task(self._trade())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _trade(self) -> None:
        while True:
            try:
                now = self._ports.clock.now()
                await self._trader.tick(now, prices=await self._prices(now))
            except GridFlexError as error:
                log.warning("the demo's market: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self, *, gpus: int, keep: Path | None = None) -> MarketReport:
        """Settle, wait for the receipts, bill, and verify everything offline.

        Args:
            gpus: GPUs under management.
            keep: Where to leave the ledger, its key and the receipts; None leaves nothing.

        Raises:
            SourceError: A price, a receipt or the ledger is missing.
            VerificationError: Something does not verify.
        """
        stored = await self._ports.jobs.newest()
        jobs = [job for job in stored if job.ended_at and job.run_time(job.ended_at)]
        await self._read_meter(jobs)
        await self._trader.deliver(_delivered(await self._traded()), now=self._ports.clock.now())
        await self._settle(await self._traded())
        book = await self._book()
        documents = await self._bill(book, gpus)
        earning = {JobId(one.job) for one in book.contributions if one.reduction_mwh > 0}
        receipts = await self._receipts(jobs, earning=earning)
        return await self._verified(receipts, documents, keep)

    async def _prices(self, now: datetime) -> Mapping[HalfHour, Prices]:
        half_hour = HalfHour.containing(now) + LEAD
        prices = await self._quotes.of(half_hour, now=now)
        self._offers.setdefault(half_hour, prices.sale_gbp_per_mwh)
        return {half_hour: prices}

    async def _read_meter(self, jobs: Sequence[Job]) -> None:
        """Record what the simulated meter shows in every half-hour that was looked at."""
        metered = dict.fromkeys(self._trader.committed, 0.0)
        for row in await self._ports.jobs.energy([str(job.id) for job in jobs]):
            half_hour = HalfHour.containing(row.start)
            if half_hour in metered:
                metered[half_hour] += row.energy_kwh
        now = self._ports.clock.now()
        await self._ports.ledger.append(boundary_readings(SITE, metered, now=now), now=now)

    async def _traded(self) -> list[TrackedPosition]:
        sold = self._trader.sold
        book = PositionBook(self._ports.ledger, calendar=self._calendar)
        if not sold:
            return []
        return await book.positions(first=sold[0].half_hour, last=sold[-1].half_hour)

    async def _settle(self, traded: Sequence[TrackedPosition]) -> None:
        """Settle at once, on the simulated meter, at the market index as system price."""
        ledger, now = self._ports.ledger, self._ports.clock.now()
        store = GridStore(self._ports.engine)
        prices = SystemPrices(store, price=(Signal.PRICE, elexon.MARKET_INDEX))
        since = await ledger.size()
        periods = []
        for one in traded:
            at = one.position.half_hour
            known = await prices.of(at.settlement[0], now=now)
            if at not in known or one.reading is None:
                raise SourceError(f"no outturn of the price of {at}, or no reading")
            rules = Rules(MutualisedP415(), SCRP)
            periods.append(
                account_period(SITE, one, one.reading, system_gbp_per_mwh=known[at], rules=rules)
            )
        if periods:
            reductions = Reductions(self._ports.jobs, self._run_now)
            settler = Settler(ledger=ledger, reductions=reductions)
            await settler.record(periods, site=SITE, now=now, since=since)

    async def _book(self) -> SettlementBook:
        settled = await self._ports.ledger.find(EventType.SETTLEMENT_RUN)
        return book_of(one.event for one in settled)

    async def _bill(self, book: SettlementBook, gpus: int) -> tuple[Document, ...]:
        if not book.periods:
            return ()
        last = max(one.half_hour for one in book.periods).settlement[0]
        month = Month.of(max(last, PRICE_LIST_SINCE))
        contract = BillingContract(
            seller=PartyFile(name="GridFlex Ltd", address=("1 Example Street", "London")),
            customer=PartyFile(name="Demo Data Centre Ltd", address=("2 Example Road", "Slough")),
            account=ACCOUNT,
            gpus={str(month): gpus},
        )
        bill = monthly_bill(
            book,
            contract=contract,
            month=month,
            known_on=max(payment_day(last, run=Run.SF, calendar=self._calendar), month.end),
            calendar=self._calendar,
            rounding=Rounding(),
        )
        events = [invoice_event(one) for one in bill.documents]
        await self._ports.ledger.append(events, now=self._ports.clock.now())
        return bill.documents

    async def _receipts(
        self, jobs: Sequence[Job], *, earning: Collection[JobId]
    ) -> list[IssuedReceipt]:
        """Wait until every job has a signed receipt that also says what it earned, if anything."""
        found: dict[JobId, IssuedReceipt] = {}
        for _ in range(int(RECEIPT_WAIT_S / LOOK_EVERY_S)):
            for job in jobs:
                one = None if job.id in found else await self._ports.receipts.newest(job.id)
                if one is not None and (job.id not in earning or earned_gbp(one) is not None):
                    found[job.id] = one
            if len(found) == len(jobs):
                return list(found.values())
            await asyncio.sleep(LOOK_EVERY_S)
        missing = ", ".join(str(job.id) for job in jobs if job.id not in found)
        raise SourceError(f"no receipt for {missing}")

    async def _verified(
        self,
        receipts: Sequence[IssuedReceipt],
        documents: tuple[Document, ...],
        keep: Path | None,
    ) -> MarketReport:
        settings = self._ports.settings
        key = LedgerKey(settings.ledger_key_path, origin=settings.ledger.origin).signer.key
        with tempfile.TemporaryDirectory(prefix="gridflex-demo-ledger-") as scratch:
            folder = keep / "ledger" if keep else Path(scratch)
            await export_ledger(self._ports.ledger, folder)
            if keep is not None:
                leave(keep, receipts, key=str(key))
            checked = [verify_receipt(json.dumps(one.as_json()), keys=[key]) for one in receipts]
            report = verify_ledger(folder, keys=[key], receipts=checked)
            settle_again(read_entries(folder))
        entries = [one.event for one in await self._ports.ledger.find(EventType.SETTLEMENT_RUN)]
        outcome = settle_book(book_of(entries))
        return MarketReport(
            traded=len(outcome.results),
            sold_mwh=sum((one.sold_mwh for one in outcome.days), Decimal(0)),
            delivered_mwh=sum((one.delivered_mwh for one in outcome.days), Decimal(0)),
            net_gbp=sum((one.net_gbp for one in outcome.days), Decimal(0)),
            settled_again=sum(one.is_same for one in replay(entries)),
            earned_gbp=sum((earned_gbp(one) or Decimal(0) for one in receipts), Decimal(0)),
            ledger=report,
            receipts=len(checked),
            invoices=documents,
        )


def _delivered(tracked: Sequence[TrackedPosition]) -> dict[HalfHour, ExportMWh]:
    """Return what is notified: all of it rests on estimates, which back no claim elsewhere."""
    return {one.position.half_hour: one.claim.unclaimed for one in tracked if one.claim}


def _calendar(day: date) -> WorkingCalendar:
    return england_and_wales(day - timedelta(days=366), day + timedelta(days=4 * 366))
